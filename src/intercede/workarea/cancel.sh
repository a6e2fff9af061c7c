# On stdin: lines `TAG FIRST RANGES WORDS…`: copies of one part to cancel as `0-9,12`, and the scheduler's words for
# the same jobs.
enter any
# TAG RANGES: remembers that the end was ordered; called by ic_cancel when it is sure of the jobs, before it ends them
mark() {
  present "$1" || return 0
  if [ -e "$1/cancelled" ] || [ -L "$1/cancelled" ]; then plain "$1/cancelled" || rm -rf "$1/cancelled"; fi
  printf '%s\n' "$2" >>"$1/cancelled"
}
while read -r tag first ranges words; do
  if present ".gone/$tag" && ! present "$tag"; then say cancelled "$tag" "$first" gone; continue; fi
  # shellcheck disable=SC2086 # the words hold no blanks and no patterns but what the scheduler reads
  said=$(set -f; ic_cancel "$(named "$tag" "$first")" "$tag" "$ranges" $words 2>&1 </dev/null)
  code=$?
  say cancelled "$tag" "$first" "$code"
  printf '%s\n' "$said"
  if [ "$code" = 0 ] && present "$tag" && [ ! -L "$tag/secrets" ]; then
    printf '%s\n' "$ranges" | tr , '\n' | while IFS=- read -r from to; do
      copy=$from
      while [ "$copy" -le "${to:-$from}" ]; do
        if [ -d "$tag/secrets/$copy" ]; then printf '%s\n' "$tag/secrets/$copy"; fi
        copy=$((copy + 1))
      done
    done | xargs sh -c '[ "$#" = 0 ] || rm -rf "$@"' sh
  fi
done
say end
