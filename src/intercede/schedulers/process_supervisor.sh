# DIRECTORY: starts the copies of one submission, as many at once as there are slots; each waits for its turn in the
# pool. Whoever holds the lock is the supervisor; a second one goes away.
exec 9>>"$1/.supervisor" && flock -w 5 9 && echo $$ >"$1/.supervisor" || exit 0
read -r slots cores _ copies _ <"$1/process" || exit 0
at_once=$((slots / cores))
[ "$at_once" -gt 0 ] || exit 0 # xargs would take 0 for no bound
cd "$1" || exit 0
# Copies that were started, cancelled or purged are left out. A wrapper hides how the job ended: xargs stops at a command
# that a signal ended, or that says 255, as the wrapper does when the submission is gone.
{ ls c; echo; cat cancelled purged 2>/dev/null; } | awk -v n="$copies" '
  !ranges && $0 == "" { ranges = 1; next }
  !ranges { gone[$1] = 1; next }
  { k = split($0, r, ","); for (i = 1; i <= k; i++) { m = split(r[i], e, "-"); for (c = e[1] + 0; c <= e[m] + 0; c++) gone[c] = 1 } }
  END { for (i = 0; i < n; i++) if (!(i in gone)) print i }' |
  xargs -r -P "$at_once" -n 1 sh -c '[ -f "$0/runner" ] || exit 255
    setsid sh "$0/runner" "$0" 0 "$1" 9>&- >>"$0/log/0.$1" 2>&1; exit 0' "$1"
