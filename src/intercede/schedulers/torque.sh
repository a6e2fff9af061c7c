# Torque, where it differs from OpenPBS, whose functions come before these. After the manual (Torque 6.1, Administrator's
# Guide, Appendix A), and never seen by us.
ic_ended='^$'
ic_name_at=0 # none: the table of qstat cuts names off
# its names have at most 15 letters, and those of an array's jobs the index behind them: ours is among the variables
ic_columns='job_state substate exit_status Hold_Types Stageout_status run_count IC_NAME queue exec_host ctime start_time comp_time Resource_List.walltime comment'
ic_keep=0
ic_limit() { qstat -B -f | sed -n 's/^ *max_job_array_size = \([0-9][0-9]*\)$/\1/p'; }
ic_submit() { # DIRECTORY NAME FIRST COUNT AGAIN WORDS...
  ic_d=$1 ic_n=$2 ic_f=$3 ic_c=$4 ic_r=$5
  shift 5
  [ "$ic_c" = 1 ] || set -- -t "0-$((ic_c - 1))" "$@"
  ic_s=$(ic_stamp "$ic_d") || return
  cd / || return
  ic_script | qsub -N "$(printf '%.15s' "$ic_n")" -S /bin/sh -j oe -o /dev/null -m n -r "$ic_r" -v "IC_SENT=$ic_s,IC_NAME=$ic_n" "$@"
}
# All jobs of ours that have not ended: `ID|STATE|...`, the identifiers without the server, which the table cuts off.
# qstat(1B), "Standard Output": Job id, Name, User, Time Use, S, Queue. `-x` would be XML here, and no history.
ic_table() {
  ic_all=$(qstat -t 2>&1) || { printf '%s\n' "$ic_all"; return 1; }
  printf '%s\n' "$ic_all" | ic_me=$(id -un) awk '
    $1 !~ /^[0-9]+(\[[0-9]+\])?([.].*)?$/ || NF < 6 { next }
    { user = $(NF - 3); sub(/\*$/, "", user); id = $1; sub(/\..*/, "", id) }
    $(NF - 1) != "C" && (user == ENVIRON["ic_me"] || (length(user) > 14 && index(ENVIRON["ic_me"], user) == 1)) {
      print id "|" $(NF - 1) "|||||||" $NF "||||||" }'
}
ic_queue() { ic_table; }
# Completed jobs are there for keep_completed seconds; afterwards, and if that is 0, nobody knows them.
ic_history() { # lines `TAG COPY NATIVE ...` on stdin
  ic_ids=$(cut -d' ' -f3)
  # shellcheck disable=SC2086 # identifiers, with no blanks in them
  set -f -- $ic_ids
  while [ "$#" -gt 0 ]; do
    ic_few=
    while [ "$#" -gt 0 ] && [ "${#ic_few}" -lt 700 ]; do ic_few="$ic_few $1"; shift; done
    # shellcheck disable=SC2086 # as above
    ic_qstat -f -1 $ic_few || return
  done
}
ic_named() { # NAME TAG
  ic_s=$(ic_stamp "$ic_store/$2") || return 1
  ic_got=$(ic_table) || return 1
  ic_got=$(printf '%s\n' "$ic_got" | cut -d'|' -f1 | sort -t'[' -u -k1,1 | tail -n 50)
  # shellcheck disable=SC2086 # as above
  [ -z "$ic_got" ] || (set -f; qstat -f -1 $ic_got 2>/dev/null) | ic_s=$ic_s ic_n=$1 awk '
    /^Job Id: / { id = substr($0, 9); sub(/\[[0-9]+\]/, "[]", id) }
    /^    Variable_List = / { all = "," substr($0, 21) ","
      if (index(all, ",IC_SENT=" ENVIRON["ic_s"] ",") && index(all, ",IC_NAME=" ENVIRON["ic_n"] ",")) print id }' | tail -n 1
}
# NAME WORDS...: gives in ic_got those of these jobs that have not ended; fails if one is called something else.
ic_ours() {
  ic_n=$1
  shift
  ic_got=$(ic_table) || { printf '%s\n' "$ic_got"; return 1; }
  ic_got=$(printf '%s\n' "$ic_got" | cut -d'|' -f1 | awk -v words="$*" '
    BEGIN { n = split(words, word, " ") }
    { k = split($0, p, /[][]/); for (i = 1; i <= n; i++) { m = split(word[i], q, /[][]/)
      if (p[1] != q[1]) continue
      if (m == 1) { print; next }
      j = split(q[2], e, "-"); if (k > 1 && p[2] + 0 >= e[1] + 0 && p[2] + 0 <= e[j] + 0) { print; next } } }')
  [ -n "$ic_got" ] || return 0
  ic_name=$(ic_qstat -f -1 "$(printf '%s\n' "$ic_got" | head -n 1)" | cut -d'|' -f8)
  [ "$ic_name" = "$ic_n" ] || { echo "the job of that number is not $ic_n"; return 3; }
}
ic_tell() { # COMMAND WORDS...
  ic_do=$1
  shift
  ic_said=$(for ic_w; do
    case $ic_w in
    *"[]"* | *[!]]) "$ic_do" "$ic_w" 2>&1 ;;
    *) ic_i=${ic_w#*\[} && "$ic_do" -t "${ic_i%%\]*}" "${ic_w%%\[*}[]" 2>&1 ;;
    esac
  done | grep -vE "^$ic_do: Unknown Job Id( Error)? ")
  [ -z "$ic_said" ] || { printf '%s\n' "$ic_said"; return 1; }
}
ic_release() { # NAME WORDS...
  ic_ours "$@" || return
  [ -n "$ic_got" ] || return 0
  shift
  ic_tell qrls "$@"
}
