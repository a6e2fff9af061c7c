# On stdin: a tar stream of TAG/COPY/NAME. A file is replaced where the job's secrets still are.
enter
renewed=
fresh=.new/$ic_nonce.$$
ic_said=$(mkdir "$fresh" 2>&1 && tar -xof - -C "$fresh" 2>&1) || { rm -rf "$fresh"; give_up "$ic_said"; }
[ -f "$fresh/whole" ] || { rm -rf "$fresh"; give_up "the stream of files was cut off"; }
# what has ended meanwhile needs none
ic_jobs=$(for file in "$fresh"/*/*/; do rest=${file#"$fresh"/} rest=${rest%/}; printf '/dev/null/%s %s\n' "${rest%%/*}" "${rest#*/}"; done)
ic_arrive
for file in "$fresh"/*/*/* "$fresh"/*/*/.[!.]* "$fresh"/*/*/..?*; do
  [ -f "$file" ] || continue
  rest=${file#"$fresh"/} name=${file##*/}
  tag=${rest%%/*} copy=${rest#*/}
  copy=${copy%%/*}
  if present "$tag" && [ ! -L "$tag/secrets" ] && present "$tag/secrets/$copy"; then
    mv -f "$file" "$tag/secrets/$copy/$name" && renewed="$renewed$tag $copy
"
  fi
done
rm -rf "$fresh"
renewed=$(printf %s "$renewed" | sort -u)
if [ -n "$renewed" ]; then
  seen=$(printf '%s\n' "$renewed" | ic_renewed)
  printf '%s\n' "$renewed" | while read -r tag copy; do
    case "
$seen
" in *"
$tag $copy
"*) say renewed "$tag" "$copy" ;; *) say late "$tag" "$copy" ;; esac
  done
fi
say end
