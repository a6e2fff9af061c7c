# BYTES FILES; on stdin: names of candidates `./TAG/c/COPY/…`, each ended by NUL, whether or not they are there. A line
# `TYPE SIZE NAME` for all that is there; of what breaks a bound of its job the type is that bound's name. Names have newline
# and \001 exchanged, so that each is one line.
ic_bounded() {
  xargs -0 sh -c '[ "$#" = 0 ] || find "$@" -printf "%y %s %p\0"' sh 2>/dev/null |
    tr '\n\0' '\001\n' | awk -v bytes="$1" -v files="$2" '
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
    print type, size, name }'
}
# Those lines on stdin: one tar stream of what fits.
ic_streamed() {
  awk '$1 == "f" || $1 == "l" || $1 == "d" { print substr($0, length($1) + length($2) + 3) }' |
    tr '\n\001' '\0\n' | tar -cf - --format=gnu --hard-dereference --no-recursion --null -T - 2>/dev/null
}
