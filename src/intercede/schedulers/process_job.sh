# Arguments: DIRECTORY FIRST INDEX.
ic_identify() {
  ic_dir=$1 ic_first=$2 ic_index=$3 ic_attempt=1 ic_forward=
  ic_boot=$(cat /proc/sys/kernel/random/boot_id)
  read -r _ _ _ _ ic_native _ <"$1/process" || exit 0
  ic_owner=$$/$(ic_ticks $$)
}
# PID: when it was started, in clock ticks since boot (proc(5), stat, field 22)
ic_ticks() {
  { read -r ic_stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086
  set -- ${ic_stat##*) }
  echo "${20}"
}
# One pool of slots a work area and host, a slot a core: an entry `CORES BOOT PID TICKS` a running job. Whoever has
# the turn waits until there is room for him, so a wide job is not starved by narrow ones.
ic_admit() {
  read -r ic_slots ic_cores _ _ _ <"$ic_dir/process"
  ic_pool=${ic_dir%/*}/.slots/$(uname -n)
  [ ! -L "${ic_dir%/*}/.slots" ] && mkdir -p "$ic_pool" || exit 73
  exec 8>"$ic_pool/turn" && flock 8 || exit 73
  # after a cancel a second one may wait for the same copy: it is not to keep others waiting for room that it does not need
  [ ! -d "c/$ic_copy" ] || exit 0
  while :; do
    ic_used=0
    for ic_name in "$ic_pool"/[0-9]*; do
      { read -r ic_c ic_b ic_p ic_t <"$ic_name"; } 2>/dev/null || continue
      if [ "$ic_b" = "$ic_boot" ] && [ "$(ic_ticks "$ic_p")" = "$ic_t" ]; then ic_used=$((ic_used + ic_c)); else rm -f "$ic_name"; fi
    done
    [ $((ic_used + ic_cores)) -gt "$ic_slots" ] || break
    sleep 0.1
  done
  echo "$ic_cores $ic_boot $$ ${ic_owner#*/}" >"$ic_pool/.$$" && mv -f "$ic_pool/.$$" "$ic_pool/$$"
  exec 8>&-
}
ic_again() { return 1; }
ic_before() {
  read -r _ _ ic_limit _ <"$ic_dir/process"
  [ "$ic_limit" != 0 ] || return 0
  (
    trap 'kill "$ic_nap"; exit' TERM
    sleep "$ic_limit" &
    ic_nap=$!
    wait "$ic_nap"
    trap '' TERM
    echo walltime >"$ic_here/.flag"
    kill -TERM "-$$"
    sleep 5
    kill -KILL "-$$"
  ) </dev/null >/dev/null 2>&1 &
  ic_clock=$!
}
ic_after() {
  [ -z "${ic_clock-}" ] || kill "$ic_clock" 2>/dev/null
  [ -z "${ic_pool-}" ] || rm -f "$ic_pool/$$"
}
