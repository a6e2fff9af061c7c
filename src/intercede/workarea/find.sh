# TAG ABANDON(0|1): what came of a submission.
tag=$1 abandon=$2
enter
give_up_part() { # its jobs never run the payload, so nobody else takes away their secrets
  { : >"$began/abandoned" && mkdir -p "$tag/chunk/$first.abandoned"; } 2>/dev/null || return
  [ ! -L "$tag/secrets" ] && plain "$tag/size" && read -r copies size <"$tag/size" || return
  awk -v t="$tag" -v first="$first" -v n="$copies" -v size="$size" 'BEGIN {
    for (c = first; c < n && c < first + size; c++) print t "/secrets/" c }' | xargs rm -rf
}
home=$tag
present "$tag" || home=.gone/$tag
present "$home" || { say nothing; say end; exit 0; }
if [ "$home" = "$tag" ]; then
  for began in "$tag"/chunk/*.began; do
    [ -d "$began" ] || continue
    first=${began##*/} first=${first%.began}
    [ -f "$tag/chunk/$first" ] || recover "$tag" "$first" || [ "$abandon" = 0 ] || give_up_part
  done
fi
describe "$home"
say end
