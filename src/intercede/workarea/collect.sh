# BYTES FILES; on stdin: lines `TAG COPY`. The answer is a list of what is there, and then one tar stream of what fits:
# bounds hold for each job before anything is sent. Names travel with newline and \001 exchanged, one a line.
bytes=$1 files=$2
enter
ic_jobs=$(awk '{ if ($1 != tag) print "/dev/null/" (tag = $1); print $2 }')
ic_arrive
ic_live
# every candidate, ended by NUL, whether or not it is there: `./TAG/c/COPY/stdout`, `./TAG/c/COPY/work/NAME`. What is
# known of a submission goes to the answer at once. (A loop over words, because `read` asks for every byte by itself.)
candidates() {
  for copy in $ic_jobs; do
    case $copy in /*)
      tag=${copy#/dev/null/} good=
      if present "$tag"; then known >&4; fi
      if present "$tag" && [ ! -L "$tag/c" ]; then good=1; fi
      # shellcheck disable=SC1090 # written by submit
      ic_outputs() { :; }
      if [ -n "$good" ] && plain "$tag/outputs"; then . "./$tag/outputs"; fi
      continue
      ;;
    esac
    home=$tag/c/$copy
    [ -n "$good" ] && [ ! -L "$home" ] || continue
    printf './%s/stdout\0./%s/stderr\0' "$home" "$home"
    [ -L "$home/work" ] || ic_outputs
  done
}
known() {
  plain "$tag/meta" || return 0
  say meta "$tag"
  cat "$tag/meta"
  plain "$tag/purged" || return 0
  say purged "$tag"
  cat "$tag/purged"
}
exec 4>&1
list=$(candidates | xargs -0 sh -c '[ "$#" = 0 ] || find "$@" -printf "%y %s %p\0"' sh 2>/dev/null |
  tr '\n\0' '\001\n' | awk -v bytes="$bytes" -v files="$files" '
  { type = $1; size = $2; name = substr($0, length(type) + length(size) + 3)
    if (name in seen) next
    seen[name] = 1
    split(name, part, "/"); job = part[2] "/" part[4]
    if (part[5] != "work" && (type == "d" || part[6] != "")) next
    if (type == "f") {
      if (count[job] + 1 > files) type = "files"
      else if (used[job] + size > bytes) type = "bytes"
      else { count[job]++; used[job] += size } }
    else if ((type == "d" || type == "l") && ++count[job] > files) type = "files"
    print type, size, name }')
say list
printf '%s\n' "$list"
say tar
printf '%s\n' "$list" | awk '$1 == "f" || $1 == "l" || $1 == "d" { print substr($0, length($1) + length($2) + 3) }' |
  tr '\n\001' '\0\n' | tar -cf - --format=gnu --hard-dereference --no-recursion --null -T - 2>/dev/null
