# Grid Engine on the submit host. Words that go to qsub come from gridengine.py as arguments.
ic_ended='^z'
ic_name_at=3
ic_limit() { qconf -sconf global | awk '$1 == "max_aj_tasks" && $2 > 0 { print $2 }'; }
# DIRECTORY: what tells in queue and accounting which work area a job belongs to
ic_account() { printf '%s' "$1" | cksum | { read -r ic_sum ic_size; echo "ic-$ic_sum-$ic_size"; }; }
ic_submit() { # DIRECTORY NAME FIRST COUNT WORDS...
  ic_d=$1 ic_n=$2 ic_f=$3 ic_c=$4
  shift 4
  # $HOME and the like are replaced in it (8.1.9); the job's script goes there by itself
  case $ic_d in *\$*) ic_w=/ ;; *) ic_w=$ic_d ;; esac
  # a command and no script: that would be searched for `#$` lines, and be read by a login shell
  qsub -terse -t "1-$ic_c" -N "$ic_n" -A "$(ic_account "$ic_d")" -wd "$ic_w" -o /dev/null -j y -w e \
    -b y -shell n "$@" /bin/sh "$ic_d/runner" "$ic_d" "$ic_f"
}
# Whether an answer of qsub means for certain that nothing was queued.
ic_refused() {
  case $1 in
  *"Connection refused"*) return 0 ;;
  *"receiv"* | *"timeout"* | *"timed out"* | *"gdi request"* | *"read error"* | *"send error"*) return 1 ;;
  *"Unable to run job"* | *"Unable to read script file"* | *"qsub: "* | *"Unknown option"* | *"ERROR! "*) return 0 ;;
  esac
  return 1
}
ic_unsent() { return 1; }
# What the queue knows of this user's jobs, a line `JOB|TASKS|NAME|STATE|SUBMITTED|STARTED|QUEUE` for each element of qstat's.
# The tasks that wait are one element, `<tasks>2-4:1,7</tasks>`; pending and running jobs have wrappers of their own.
ic_jobs() {
  ic_got=$(qstat -u "$(id -un)" -xml 2>&1) || { printf '%s\n' "$ic_got"; return 1; }
  printf '%s\n' "$ic_got" | awk -F'[<>]' '
    $2 ~ /^job_list/ { split("", v) }
    NF > 4 { v[$2] = $3 }
    $2 == "/job_list" { print v["JB_job_number"] "|" v["tasks"] "|" v["JB_name"] "|" v["state"] "|" v["JB_submission_time"] "|" \
      v["JAT_start_time"] "|" v["queue_name"] }'
}
# NAME TAG: the id of our job of that name that was sent from that directory, since it is there: the same tag may be in
# use in another work area, or have been in use in this one long ago. Five minutes are for clocks that differ.
ic_named() {
  ic_a=$(ic_account "$ic_store/$2")
  ic_since=$(($(date -r "$2/size" +%s) - 300)) || return 1
  ic_got=$(ic_jobs) || return 1
  ic_id=$(printf '%s\n' "$ic_got" | awk -F'|' -v name="$1" '$3 == name { print $1 }' | sort -u)
  # shellcheck disable=SC2086 # numbers
  [ -z "$ic_id" ] || ic_id=$(qstat -j "$(echo $ic_id | tr ' ' ,)" 2>/dev/null |
    awk -v account="$ic_a" '$1 == "job_number:" { id = $2 } $1 == "account:" && $2 == account { print id }' | tail -n 1)
  [ -n "$ic_id" ] || ic_id=$(ic_accounts "$(id -un)" | awk -F: -v name="$1" -v account="$ic_a" -v since="$ic_since" '
    $5 == name && $7 == account && $9 >= since { print $6 }' | tail -n 1)
  [ -z "$ic_id" ] || printf '%s\n' "$ic_id"
}
ic_file() { echo "${SGE_ROOT:-/var/lib/gridengine}/${SGE_CELL:-default}/common/accounting"; }
ic_accounts() { # OWNER: the lines of accounting(5); nothing where there are none (yet)
  awk -F: -v owner="$1" '$4 == owner' "$(ic_file)" 2>/dev/null || :
}
ic_queue() { # NUMBERS with commas, or `-` for all that the user has
  ic_got=$(ic_jobs) || { printf '%s\n' "$ic_got"; return 1; }
  ic_got=$(printf '%s\n' "$ic_got" | awk -F'|' -v ids="$1" '
    BEGIN { n = split(ids, id, ","); for (i = 1; i <= n; i++) want[id[i]] = 1 }
    ids == "-" || ($1 in want)')
  # why a job is in an error state, only its own description says
  ic_bad=$(printf '%s\n' "$ic_got" | awk -F'|' '$4 ~ /E/ { print $1 }' | sort -u | tr '\n' ,)
  {
    [ -z "$ic_bad" ] || qstat -j "${ic_bad%,}" 2>/dev/null |
      awk '$1 == "job_number:" { id = $2 } /^error reason/ { t = $3; sub(/:$/, "", t); sub(/^error reason *[0-9]+: */, "")
        gsub(/\|/, "/"); print "?|" id "." t "|" $0 }'
    printf '%s\n' "$ic_got"
  } | awk -F'|' '
    $1 == "?" { why[$2] = $3; next }
    NF == 7 { rest = "|" $4 "|" $3 "|" $5 "|" $6 "|" $7 "|"; n = split($2, part, ","); list = ""
      for (i = 1; i <= n; i++) { sub(/:1$/, "", part[i])
        if ($4 ~ /E/) { m = split(part[i], e, /[-:]/); by = m > 2 ? e[3] : 1; if (m < 2) e[2] = e[1]
          for (t = e[1] + 0; t <= e[2] + 0; t += by) print $1 "." t rest why[$1 "." t] }
        else list = list (list == "" ? "" : ",") part[i] }
      if (list ~ /^[0-9]+$/) print $1 "." list rest; else if (list != "") print $1 ".[" list "]" rest }'
}
ic_history() { # lines `TAG COPY NATIVE ...` on stdin; of a range, the first one tells the array
  ic_want=$(awk '{ sub(/\..*/, "", $3) } !($3 in seen) { seen[$3] = 1; print $3 }')
  if [ -r "$(ic_file)" ]; then
    # as qacct does, which takes one job at a time and reads all of it for each. A job that was started several times has a
    # record for each, and the last one counts; tasks of a parallel job ($42) are not the job.
    printf '%s\n' "$ic_want" | awk -F: '
      FNR == NR { want[$1] = 1; next }
      ($6 in want) && ($42 == "NONE" || $42 == "") { id = $6 "." $36
        past[id] = id "|" $12 "|" $13 "|" $5 "|" $1 "|" $2 "|" $9 "|" $10 "|" $11 "|" $40 "|" $43 }
      END { for (id in past) print past[id] }' - "$(ic_file)"
    return
  fi
  for ic_id in $ic_want; do
    ic_got=$(qacct -j "$ic_id" 2>&1) || case $ic_got in *" not found"*) continue ;; *) printf '%s\n' "$ic_got"; return 1 ;; esac
    printf '%s\n' "$ic_got" | awk '
      function told() { if (v["jobnumber"] != "") { id = v["jobnumber"] "." v["taskid"]; past[id] = id "|" v["failed"] + 0 "|" \
        v["exit_status"] + 0 "|" v["jobname"] "|" v["qname"] "|" v["hostname"] "|" v["qsub_time"] "|" v["start_time"] "|" \
        v["end_time"] "|" v["category"] "|" v["maxvmem"] } split("", v) }
      /^====/ { told(); next }
      { key = $1; sub(/^[^ ]+ */, ""); sub(/ *$/, ""); v[key] = $0 }
      END { told(); for (id in past) print past[id] }'
  done
}
# Runs the command in ic_do on jobs that have that name, and on no others, whatever the ids say.
ic_order() { # NAME IDS
  ic_got=$(ic_jobs) || { printf '%s\n' "$ic_got"; return 1; }
  ic_got=$(printf '%s\n' "$ic_got" | awk -F'|' -v id="${2%%.*}" '$1 == id { print $3 }' | sort -u)
  [ -n "$ic_got" ] || return 0
  if [ "$ic_got" != "$1" ]; then
    echo "the job of that number is not $1"
    return 3
  fi
  $ic_do "$2"
}
ic_cancel() { # NAME TAG RANGES IDS
  ic_t=$2 ic_r=$3 ic_do=ic_end
  ic_order "$1" "$4"
}
# qdel says on stdout what came of each id, and fails if one of them is not known
ic_end() {
  mark "$ic_t" "$ic_r" || return
  ic_got=$(qdel "$1" 2>&1)
  ic_got=$(printf '%s\n' "$ic_got" |
    grep -v -e ' has registered the job' -e ' has deleted job' -e ' is already in deletion' -e '" does not exist$' -e '^ *$')
  [ -z "$ic_got" ] || { printf '%s\n' "$ic_got"; return 1; }
}
ic_release() { # NAME IDS
  ic_do=ic_free
  ic_order "$1" "$2"
}
ic_free() {
  ic_got=$(qrls "$1" 2>&1)
  ic_code=$?
  # of those in an error state; it fails even when it works (8.1.9)
  ic_more=$(qmod -cj "$1" 2>&1)
  [ "$ic_code" = 0 ] || case $ic_more in *"cleared error state"*) ;; *) printf '%s\n' "$ic_got"; return "$ic_code" ;; esac
}
