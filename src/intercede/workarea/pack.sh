# HOME FILE: what is brought back of the copy in HOME, as one archive: names may be anything, and links stay links. Its last
# file says that it is whole.
ic_pack() {
  home=$1
  : >"$home/whole"
  {
    printf './%s\0' "$home/record" "$home/stdout" "$home/stderr"
    if [ ! -L "$home/work" ]; then
      . "$ic_dir/outputs"
      ic_outputs
    fi
  } >.names
  {
    xargs -0 sh -c 'find "$@" -print0 2>/dev/null' sh <.names | sort -zu
    printf './%s\0' "$home/whole"
  } | tar -cf .tar --format=gnu --hard-dereference --no-recursion --null -T - 2>/dev/null
  mv -f .tar "$2"
  rm -f .names
}
