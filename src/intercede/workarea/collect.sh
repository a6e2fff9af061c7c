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
list=$(candidates | ic_bounded "$bytes" "$files")
say list
printf '%s\n' "$list"
say tar
printf '%s\n' "$list" | ic_streamed
