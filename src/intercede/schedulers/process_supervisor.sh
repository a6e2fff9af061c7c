# DIRECTORY: starts the copies of one submission, as many at once as there are slots; each waits for its turn in the
# pool. Whoever holds the lock is the supervisor; a second one goes away.
exec 9>"$1/.supervisor" && flock -n 9 || exit 0
read -r slots cores _ copies _ <"$1/process" || exit 0
at_once=$((slots / cores))
# a wrapper that always ends well: xargs stops at a command that a signal ended
awk -v n="$copies" 'BEGIN { for (i = 0; i < n; i++) print i }' |
  xargs -P "$at_once" -n 1 sh -c 'setsid sh "$0/runner" "$0" 0 "$1" 9>&- >>"$0/log/0.$1" 2>&1; exit 0' "$1"
