# On stdin: lines `TAG RANGES`: copies whose files go. Where all are gone, a tombstone stays in the submission's place.
enter
while read -r tag ranges; do
  if present ".gone/$tag" && ! present "$tag"; then say purged "$tag" gone; continue; fi
  present "$tag" && [ ! -L "$tag/c" ] && [ ! -L "$tag/secrets" ] && [ ! -L "$tag/log" ] &&
    [ ! -L "$tag/back" ] && [ ! -L "$tag/one" ] || { say purged "$tag" nothing; continue; }
  plain "$tag/size" && { plain "$tag/purged" || [ ! -e "$tag/purged" ]; } && read -r copies size <"$tag/size" ||
    { say purged "$tag" failed; echo "the records of $tag are not files of ours: remove $ic_store/$tag by hand"; continue; }
  printf '%s\n' "$ranges" >>"$tag/purged"
  left=$(awk -v n="$copies" -v all="$copies" '{ k = split($1, r, ","); for (i = 1; i <= k; i++) { m = split(r[i], e, "-")
    for (c = e[1] + 0; c <= e[m] + 0; c++) if (c < all && !(c in gone)) { gone[c] = 1; n-- } } } END { print n }' "$tag/purged")
  if [ "$left" -gt 0 ]; then
    printf '%s\n' "$ranges" | tr , '\n' | awk -F- -v t="$tag" -v size="$size" '{ for (c = $1 + 0; c <= $NF + 0; c++) {
      first = int(c / size) * size
      print t "/c/" c; print t "/secrets/" c; print t "/back/" c; print t "/one/" c ".line"; print t "/log/" first "." (c - first); print t "/log/" first "." (c - first) ".err" } }' | xargs rm -rf
    say purged "$tag" "$?"
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
