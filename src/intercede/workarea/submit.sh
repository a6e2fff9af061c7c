# TAG DIGEST COPIES WAIT WORDS…: the submission comes as a tar stream on stdin. At most once per (tag, part): a directory
# appears under its tag complete or not at all, and making `chunk/FIRST.began` is what entitles to submit that part.
tag=$1 digest=$2 copies=$3 wait=$4
shift 4
enter create
unpack() {
  fresh=.new/$ic_nonce.$$
  ic_said=$(mkdir "$fresh" "$fresh/chunk" "$fresh/c" "$fresh/log" 2>&1) || { rm -rf "$fresh"; give_up "$ic_said"; }
  # asked for while the files are on their way
  [ "$copies" = 1 ] || ic_limit >"$fresh/limit" 2>/dev/null </dev/null &
  ic_said=$(tar -xof - -C "$fresh" 2>&1)
  ic_code=$?
  wait
  [ "$ic_code" = 0 ] || { rm -rf "$fresh"; give_up "$ic_said"; }
  # a stream that was cut between two files unpacks without a complaint; its last file is missing then
  [ -f "$fresh/whole" ] || { rm -rf "$fresh"; give_up "the stream of files was cut off"; }
  modes=$(ls -ld "$fresh/secrets" 2>/dev/null)
  case $modes in "" | drwx------*) ;; *) rm -rf "$fresh"; give_up "modes do not hold here: $modes" ;; esac
  ic_limit=
  { read -r ic_limit <"$fresh/limit"; } 2>/dev/null
  case $ic_limit in "" | *[!0-9]* | 0) ic_limit=$copies ;; esac
  [ "$ic_limit" -le "$copies" ] || ic_limit=$copies
  ic_said=$(echo "$copies $ic_limit" 2>&1 >"$fresh/size") || { rm -rf "$fresh"; give_up "$ic_said"; }
  # rename(2) to a name that is free; if somebody was faster, mv fails or moves it *into* theirs
  mv "$fresh" "$tag" 2>/dev/null && [ ! -e "$tag/${fresh##*/}" ] && ours=1
  if [ -z "$ours" ]; then rm -rf "$fresh" "$tag/${fresh##*/}"; fi
}
await() {
  polls=$((wait * 5))
  while [ "$polls" -gt 0 ] && [ -d "$1.began" ] && [ ! -f "$1" ]; do sleep 0.2; polls=$((polls - 1)); done
}
part() { # FIRST COUNT WORDS...: whether to go on with the next part
  first=$1 count=$2 mark=$tag/chunk/$1
  shift 2
  if [ -f "$mark" ] || [ -d "$mark.abandoned" ] || { ! mkdir "$mark.began" 2>/dev/null && ! ic_unsent "$tag"; }; then
    # whoever made it may be at it still
    if [ ! -f "$mark" ] && [ -d "$mark.began" ]; then
      await "$mark"
      [ -f "$mark" ] || recover "$tag" "$first"
    fi
    chunk "$tag" "$first" "$count"
    return 0
  fi
  said=$(umask "$ic_umask"; ic_submit "$ic_store/$tag" "$(named "$tag" "$first")" "$first" "$count" "$@" 2>&1 </dev/null)
  code=$?
  if [ "$code" = 0 ]; then
    write "$mark" "$said"
    say chunk "$first" "$count" known
  elif [ "$code" = 127 ] || { { [ "$code" -le 128 ] || [ "$code" -ge 150 ]; } && ic_refused "$said"; }; then
    # one that a signal ended may have queued it, whatever it had complained of (PBS and OAR refuse with 153 and more)
    rmdir "$mark.began"
    say chunk "$first" "$count" refused "$code"
    printf '%s\n' "$said"
    return 1
  elif recover "$tag" "$first"; then
    chunk "$tag" "$first" "$count"
    return 0
  else
    say chunk "$first" "$count" unknown "$code"
    printf '%s\n' "$said"
    return 1
  fi
  printf '%s\n' "$said"
}
ours=
if ! present ".gone/$tag" && [ ! -e "$tag" ] && [ ! -L "$tag" ]; then unpack; fi
home=$tag
present ".gone/$tag" && home=.gone/$tag
present "$home" || give_up "$ic_store/$home is not a directory of ours"
if ! plain "$home/digest" || ! plain "$home/size"; then
  present "$home" && give_up "$ic_store/$home has no records of ours"
  # it was refused and taken away just now
  say here 0; say chunk 0 "$copies" never; say end
  exit 0
fi
read -r theirs <"$home/digest" || :
if [ "$theirs" != "$digest" ]; then
  say conflict
elif [ "$home" != "$tag" ]; then
  if [ -n "$ours" ]; then rm -rf "$tag"; fi
  say gone
  chunks "$home"
else
  say here "${ours:-0}"
  read -r copies size <"$tag/size"
  next=0
  while [ "$next" -lt "$copies" ]; do
    left=$((copies - next))
    [ "$left" -le "$size" ] || left=$size
    part "$next" "$left" "$@" || break
    next=$((next + left))
  done
  # nothing got in: nothing stays
  if [ ! -f "$tag/chunk/0" ] && rmdir "$tag/chunk" 2>/dev/null; then mv "$tag" ".new/$ic_nonce.no" 2>/dev/null && rm -rf ".new/$ic_nonce.no"; fi
fi
say end
