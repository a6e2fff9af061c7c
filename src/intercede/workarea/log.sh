# TAG COPY NAME OFFSET LIMIT: a piece of a file of a job that may still run. A negative offset counts from the end.
tag=$1 copy=$2 name=$3 offset=$4 limit=$5
enter
present "$tag" || { say nothing; exit 0; }
ic_jobs="/dev/null/$tag $copy"
ic_arrive
case $name in
stdout | stderr) file=$tag/c/$copy/$name ;;
*) file=$tag/c/$copy/work/$name ;;
esac
[ -f "$tag/c/$copy/record" ] || ic_live "$name"
linkless "$file" || { say link; exit 0; }
ended=0
if [ -f "$tag/c/$copy/record" ]; then
  read -r _ _ _ end _ <"$tag/c/$copy/record"
  [ "$end" = - ] || ended=1
fi
[ -f "$file" ] || { say absent "$ended"; exit 0; }
{ command exec 3<"$file"; } 2>/dev/null || { say absent "$ended"; exit 0; }
# a job that runs may put a link there meanwhile: what counts is what was opened (proc(5): its path, and whether it is gone)
opened=/proc/$$/fd/3
case $(readlink "$opened" && echo .) in
"$ic_store/$file
." | "$ic_store/$file (deleted)
.") ;;
*) say link; exit 0 ;;
esac
size=$(wc -c <"$opened")
if [ "$offset" -lt 0 ]; then offset=$((size + offset)); [ "$offset" -ge 0 ] || offset=0; fi
say data "$offset" $((size)) "$ended"
tail -c "+$((offset + 1))" "$opened" | head -c "$limit"
