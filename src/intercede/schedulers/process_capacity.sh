# AREA SCHEDULER: prints the cores of the host, the cores in use by the pool, jobs that run, jobs that wait.
case $1 in /*) area=$1 ;; "~/"*) area=$HOME/${1#"~/"} ;; *) area=$HOME/$1 ;; esac
cores=$(getconf _NPROCESSORS_ONLN)
cd "$area/$2" 2>/dev/null || { echo "$cores 0 0 0"; exit 0; }
boot=$(cat /proc/sys/kernel/random/boot_id)
used=0 running=0
for entry in ".slots/$(uname -n)"/[0-9]*; do
  { read -r c b p _ <"$entry"; } 2>/dev/null || continue
  if [ "$b" = "$boot" ] && [ -d "/proc/$p" ]; then used=$((used + c)) running=$((running + 1)); fi
done
all=0 begun=0
for made in [A-Za-z0-9]*/process; do
  { read -r _ _ _ n _ <"$made"; } 2>/dev/null || continue
  tag=${made%/process}
  [ ! -L "$tag" ] || continue
  gone=0
  if [ -f "$tag/cancelled" ] || [ -f "$tag/purged" ]; then
    # copies that were taken away without ever starting
    gone=$(cat "$tag/cancelled" "$tag/purged" 2>/dev/null | tr , '\n' | awk -F- -v t="$tag" '
      { for (c = $1 + 0; c <= $NF + 0; c++) if (!(c in seen)) { seen[c] = 1; f = t "/c/" c "/record"
          if ((getline line < f) <= 0) k++; close(f) } } END { print k + 0 }')
  fi
  all=$((all + n - gone)) begun=$((begun + $(ls "$tag/c" 2>/dev/null | wc -l)))
done
waiting=$((all - begun))
[ "$waiting" -ge 0 ] || waiting=0
echo "$cores $used $running $waiting"
