# BYTES FILES; on stdin: lines `TAG COPY`. The answer is a list of what is there, and then one tar stream of what fits:
# bounds hold for each job before anything is sent. Names travel with newline and \001 exchanged, one a line.
bytes=$1 files=$2
enter
jobs=$(cat)
# every candidate, ended by NUL: `./TAG/c/COPY/stdout`, `./TAG/c/COPY/work/NAME`
candidates() {
  last=
  while read -r tag copy; do
    if [ "$tag" != "$last" ]; then
      last=$tag good=
      if present "$tag" && [ ! -L "$tag/c" ]; then good=1; fi
      # shellcheck disable=SC1090 # written by submit
      ic_outputs() { :; }
      if [ -n "$good" ] && plain "$tag/outputs"; then . "./$tag/outputs"; fi
    fi
    home=$tag/c/$copy
    [ -n "$good" ] && present "$home" || continue
    for name in stdout stderr; do [ ! -f "$home/$name" ] || printf './%s/%s\0' "$home" "$name"; done
    present "$home/work" || continue
    ic_outputs
  done
}
output() { # PATTERN: called by `outputs`
  IFS=
  # shellcheck disable=SC2086 # the pattern is to be expanded, and with no IFS it is not split
  set -- "$home/work/"$1
  unset IFS
  for name in "$@"; do
    # a name that leads through a link leads out: it is left behind, but for a link that is itself the last part
    if [ -e "$name" ] || [ -L "$name" ]; then
      rest=${name#"$home/work/"}
      case $rest in */*) linkless "$home/work/${rest%/*}" || continue ;; esac
      printf './%s\0' "$name"
    fi
  done
}
list=$(printf '%s\n' "$jobs" | candidates | xargs -0 sh -c '[ "$#" = 0 ] || find "$@" -printf "%y %s %p\0"' sh |
  tr '\n\0' '\001\n' | awk -v bytes="$bytes" -v files="$files" '
  { type = $1; size = $2; name = substr($0, length(type) + length(size) + 3)
    if (name in seen) next
    seen[name] = 1
    split(name, part, "/"); job = part[2] "/" part[4]
    if (type == "f") {
      if (count[job] + 1 > files) type = "files"
      else if (used[job] + size > bytes) type = "bytes"
      else { count[job]++; used[job] += size } }
    else if ((type == "d" || type == "l") && ++count[job] > files) type = "files"
    print type, size, name }')
for tag in $(printf '%s\n' "$jobs" | cut -d' ' -f1 | sort -u); do
  if present "$tag" && plain "$tag/meta"; then
    say meta "$tag"
    cat "$tag/meta"
    if plain "$tag/purged"; then
      say purged "$tag"
      cat "$tag/purged"
    fi
  fi
done
say list
printf '%s\n' "$list"
say tar
printf '%s\n' "$list" | awk '$1 == "f" || $1 == "l" || $1 == "d" { print substr($0, length($1) + length($2) + 3) }' |
  tr '\n\001' '\0\n' | tar -cf - --format=gnu --hard-dereference --no-recursion --null -T - 2>/dev/null
