# On stdin: lines `TAG RANGES`: copies whose files go. Where all are gone, a tombstone stays in the submission's place.
# RANGES may be `rest`: those of parts that were abandoned or never began, which then cannot begin any more.
enter
unqueued() { # TAG COPIES SIZE
  first=0 found=
  while [ "$first" -lt "$2" ]; do
    # whoever makes that is entitled to submit the part (submit.sh)
    if [ ! -f "$1/chunk/$first" ] && mkdir "$1/chunk/$first.began" 2>/dev/null; then mkdir "$1/chunk/$first.abandoned"; fi
    last=$((first + $3 - 1))
    [ "$last" -lt "$2" ] || last=$(($2 - 1))
    if [ -d "$1/chunk/$first.abandoned" ] && [ ! -f "$1/chunk/$first" ]; then found=$found${found:+,}$first-$last; fi
    first=$((last + 1))
  done
  printf '%s\n' "$found"
}
while read -r tag ranges; do
  if present ".gone/$tag" && ! present "$tag"; then say purged "$tag" gone; continue; fi
  present "$tag" && [ ! -L "$tag/c" ] && [ ! -L "$tag/secrets" ] && [ ! -L "$tag/log" ] &&
    [ ! -L "$tag/back" ] && [ ! -L "$tag/one" ] || { say purged "$tag" nothing; continue; }
  plain "$tag/size" && { plain "$tag/purged" || [ ! -e "$tag/purged" ]; } && read -r copies size <"$tag/size" &&
    [ "$size" -gt 0 ] 2>/dev/null ||
    { say purged "$tag" failed; echo "the records of $tag are not files of ours: remove $ic_store/$tag by hand"; continue; }
  rest=
  if [ "$ranges" = rest ]; then rest=1 ranges=$(unqueued "$tag" "$copies" "$size"); fi
  said=$({ [ -z "$ranges" ] || printf '%s\n' "$ranges"; } 2>&1 >>"$tag/purged") ||
    { say purged "$tag" failed; printf '%s\n' "$said"; continue; }
  left=$(awk -v n="$copies" -v all="$copies" '{ k = split($1, r, ","); for (i = 1; i <= k; i++) { m = split(r[i], e, "-")
    for (c = e[1] + 0; c <= e[m] + 0 && c < all; c++) if (!(c in gone)) { gone[c] = 1; n-- } } } END { print n }' "$tag/purged")
  if [ "$left" -gt 0 ]; then
    printf '%s\n' "$ranges" | tr , '\n' | awk -F- -v t="$tag" -v size="$size" 'NF { for (c = $1 + 0; c <= $NF + 0; c++) {
      first = int(c / size) * size
      print t "/c/" c; print t "/secrets/" c; print t "/back/" c; print t "/one/" c ".line"; print t "/log/" first "." (c - first); print t "/log/" first "." (c - first) ".err" } }' | xargs rm -rf
    code=$?
    # of a part that began meanwhile, somebody has the jobs
    [ -z "$rest" ] || code=failed
    say purged "$tag" "$code"
    continue
  fi
  stone=.new/$ic_nonce.stone
  said=$(mkdir "$stone" 2>&1 && cp -R "$tag/digest" "$tag/meta" "$tag/size" "$tag/chunk" "$stone/" 2>&1 &&
    { [ ! -f "$tag/keys" ] || cp "$tag/keys" "$stone/"; } 2>&1 && mv "$stone" ".gone/$tag" 2>&1) ||
    { rm -rf "$stone"; say purged "$tag" failed; printf '%s\n' "$said"; continue; }
  mv "$tag" ".new/$ic_nonce.dead" && rm -rf ".new/$ic_nonce.dead"
  say purged "$tag" "$?"
done
say end
