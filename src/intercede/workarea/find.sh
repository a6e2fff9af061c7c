# TAG ABANDON(0|1): what came of a submission.
tag=$1 abandon=$2
enter
home=$tag
present "$tag" || home=.gone/$tag
present "$home" || { say nothing; say end; exit 0; }
if [ "$home" = "$tag" ]; then
  for began in "$tag"/chunk/*.began; do
    [ -d "$began" ] || continue
    first=${began##*/} first=${first%.began}
    [ -f "$tag/chunk/$first" ] || recover "$tag" "$first" ||
      { [ "$abandon" = 0 ] || { : >"$began/abandoned" && mkdir "$tag/chunk/$first.abandoned"; } 2>/dev/null; }
  done
fi
describe "$home"
say end
