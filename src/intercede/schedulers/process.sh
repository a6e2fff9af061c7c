# No batch system: detached processes on this host. WORDS for ic_submit: SLOTS CORES WALLTIME(seconds or 0).
ic_ended='^(EXITED|VANISHED|CANCELLED)'
ic_here_is() { printf '%.24s.%.8s\n' "$(uname -n | tr -c 'A-Za-z0-9.\n' -)" "$(cat /proc/sys/kernel/random/boot_id)"; }
ic_limit() { :; }
ic_refused() { :; }
# TAG: whether a part that began has started nothing yet. To do that twice starts nothing twice: see ic_again.
ic_unsent() { [ -d "$1/chunk/0.began" ] && [ ! -f "$1/process" ]; }
ic_named() { [ ! -f "$2/process" ] || cut -d' ' -f5 "$2/process"; } # NAME TAG
ic_supervise() ( # DIRECTORY
  umask "${ic_umask:-$(umask)}"
  env -i HOME="$HOME" USER="$(id -un)" LOGNAME="$(id -un)" SHELL="${SHELL:-/bin/sh}" PATH="$PATH" setsid sh "$1/supervisor" "$1" \
    </dev/null >/dev/null 2>&1 &
)
ic_submit() { # DIRECTORY NAME FIRST COUNT SLOTS CORES WALLTIME
  ic_slots=$5
  [ "$ic_slots" != 0 ] || ic_slots=$(getconf _NPROCESSORS_ONLN)
  if [ "$6" -gt "$ic_slots" ]; then echo "resources.cores: $6 wanted, jobs may use $ic_slots here"; return 1; fi
  # the number tells the jobs of one submission from those of another
  ic_id=$(ic_here_is).$(od -An -N5 -tx1 /dev/urandom | tr -d ' \n')
  # whoever comes first: a part that started nothing may be sent by several at the same time
  echo "$ic_slots $6 $7 $4 $ic_id" >"$1/process.$$" || return 1
  ln "$1/process.$$" "$1/process" 2>/dev/null
  rm -f "$1/process.$$"
  read -r _ _ _ _ ic_id <"$1/process" || return 1
  ic_supervise "$1"
  printf '%s\n' "$ic_id"
}
# PID TICKS: whether that very process, or what it left in its process group, is there, and its state. No new process
# gets the number of a group that is not empty, so a group without its first process is still the job's.
ic_alive() {
  ic_stat=R
  { read -r ic_stat <"/proc/$1/stat"; } 2>/dev/null || { kill -0 "-$1" 2>/dev/null; return; }
  ic_stat=${ic_stat##*) }
  ic_tick=$2
  # shellcheck disable=SC2086
  set -- $ic_stat
  [ "${20}" = "$ic_tick" ] && [ "$1" != Z ] && ic_stat=$1
}
ic_queue() { # reads the records of ic_wanted; any question restarts a supervisor that died
  ic_host=$(ic_here_is)
  ic_wanted=$(printf '%s\n' "$ic_wanted" | spread)
  { printf '%s\n\n' "$ic_wanted"; records; } | ic_host=$ic_host awk '
    !told && $0 == "" { told = 1; next }
    !told { native[$1 " " $2] = $3; next }
    function machine(host) { sub(/\.[0-9a-f]+$/, "", host); return host }
    $3 == "purged" { next }
    { job = native[$1 " " $2]; sub(/_[0-9]+$/, "", job); host = job; sub(/\.[0-9a-f]+$/, "", host)
      if (!($1 in id)) { id[$1] = ""; f = "./" $1 "/process"
        if (!system("[ -f " f " ] && [ ! -L " f " ]") && (getline line < f) > 0) { split(line, w, " "); id[$1] = w[5] }
        close(f) }
      if (id[$1] != "" && id[$1] != job) next
      if ($4 == "v1" && $7 != "-") word = "EXITED"
      else if ($3 == "cancelled" && $4 != "v1") word = "CANCELLED"
      else if (machine(host) != machine(ENVIRON["ic_host"])) word = "FOREIGN"
      else if (host != ENVIRON["ic_host"]) word = "ELSEWHERE"
      else word = ($4 == "v1") ? "STARTED" : "PENDING"
      if (!($1 in sent)) { sent[$1] = "-"; f = "./" $1 "/meta"
        if (!system("[ -f " f " ] && [ ! -L " f " ]") && (getline line < f) > 0 && match(line, /"submitted": [0-9]+/)) sent[$1] = substr(line, RSTART + 13, RLENGTH - 13)
        close(f) }
      print native[$1 " " $2], word, $1, $13, sent[$1], $6, $12 }' | {
    ic_last=
    while read -r ic_job ic_word ic_tag ic_owner ic_sent ic_began ic_on; do
      if [ "$ic_word" = PENDING ] && [ "$ic_tag" != "$ic_last" ]; then
        ic_last=$ic_tag
        if ! [ -f "$ic_tag/process" ]; then ic_last=; continue; fi
        if flock -n "$ic_tag/.supervisor" true 2>/dev/null; then ic_supervise "$ic_store/$ic_tag"; fi
      elif [ "$ic_word" = STARTED ]; then
        ic_word=VANISHED
        if ic_alive "${ic_owner%%/*}" "${ic_owner##*/}"; then
          case $ic_stat in T | t) ic_word=SUSPENDED ;; *) ic_word=RUNNING ;; esac
        fi
      fi
      printf '%s|%s|%s|%s|%s\n' "$ic_job" "$ic_word" "$ic_sent" "$ic_began" "$ic_on"
    done
  }
}
ic_history() { cat >/dev/null; }
ic_cancel() { # NAME TAG RANGES: ends the processes of jobs that run; the mark keeps the others from starting
  present "$2" || { echo "the resource keeps nothing of $2"; return 1; }
  # any other host sees neither its processes nor its supervisor
  if plain "$2/process" && read -r _ _ _ _ ic_on <"$2/process"; then
    ic_on=${ic_on%.*.*} ic_host=$(ic_here_is)
    [ "$ic_on" = "${ic_host%.*}" ] || { echo "it belongs to host $ic_on: cancel it there"; return 1; }
  fi
  mark "$2" "$3" || return 1
  # the supervisor would start what was cancelled, only to see that; a new one leaves it out (jobs have their own session)
  { read -r ic_pid <"$2/.supervisor"; } 2>/dev/null && ! flock -n "$2/.supervisor" true && kill -TERM "-$ic_pid" 2>/dev/null &&
    ic_supervise "$ic_store/$2"
  ic_wanted=$(printf '%s\n' "$3" | tr , '\n' | awk -F- -v t="$2" '{ for (c = $1 + 0; c <= $NF + 0; c++) print t, c }')
  ic_groups=$(records | awk '$4 == "v1" && $7 == "-" { print $13 }' | while read -r ic_owner; do
    if ic_alive "${ic_owner%%/*}" "${ic_owner##*/}"; then echo "$ic_owner"; fi
  done)
  for ic_owner in $ic_groups; do kill -TERM "-${ic_owner%%/*}" && kill -CONT "-${ic_owner%%/*}"; done 2>/dev/null
  [ -z "$ic_groups" ] || setsid sh -c 'sleep 5; for o; do
      s= t=${o##*/}
      read -r s </proc/"${o%%/*}"/stat && { s=${s##*) }; set -- $s; [ "${20}" = "$t" ] || continue; }
      kill -KILL "-${o%%/*}"; done' sh $ic_groups \
    </dev/null >/dev/null 2>&1 &
  return 0
}
ic_release() { echo "nothing is ever held here"; }
