# On stdin: lines `TAG FIRST WORDS…`.
enter
while read -r tag first words; do
  # shellcheck disable=SC2086 # as in cancel
  said=$(set -f; ic_release "$(named "$tag" "$first")" $words 2>&1 </dev/null)
  say released "$tag" "$first" "$?"
  printf '%s\n' "$said"
done
say end
