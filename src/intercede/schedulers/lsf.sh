# LSF on the submit host, after the LSF 10.1 Command Reference, and never seen by us. Every submission is an array, whose
# index counts from 1. WORDS of ic_submit: options of bsub.
ic_ended='^(DONE|EXIT)'
ic_name_at=6
ic_limit() { bparams -a 2>/dev/null | awk '$1 == "MAX_JOB_ARRAY_SIZE" { n = $3 } END { print n + 0 ? n + 0 : 1000 }'; }
# What tells our submission from any other of that name: its directory, and when that was made.
ic_stamp() { printf '%s-%s\n' "$(printf '%s' "$1" | cksum | cut -d' ' -f1)" "$(date -r "$1/size" +%s)"; }
ic_submit() { # DIRECTORY NAME FIRST COUNT WORDS...
  ic_d=$1 ic_n=$2 ic_f=$3 ic_c=$4
  shift 4
  ic_s=$(ic_stamp "$ic_d") || return
  cd / || return
  # bsub.stdin: the script comes on stdin, and takes no arguments. bsub.-J: the name of an array may have no +, so ours is
  # in the description. Its own output is a report by mail (bsub.-o): the runner's goes to a file of ours.
  printf '%s\n' '#!/bin/sh' "IFS= read -r ic_d <<'IC_END'" "$ic_d" IC_END \
    'exec "$ic_d/runner" "$ic_d" '"$ic_f"' </dev/null >"$ic_d/log/'"$ic_f"'.$((LSB_JOBINDEX - 1))" 2>&1' |
    bsub -J "${ic_n%%+*}[1-$ic_c]" -Jd "$ic_n/$ic_s" -env none -o /dev/null "$@"
}
# Whether an answer of bsub means for certain that nothing was queued.
ic_refused() { case $1 in *"Job not submitted"*) return 0 ;; esac; return 1; }
ic_unsent() { return 1; }
# OPTIONS [IDS]: a line `ID|STAT|EXIT_CODE|QUEUE|HOST|DESCRIPTION|REASON` for each job that bjobs shows. Its exit status
# means nothing (lsf.conf, LSB_BJOBS_CONSISTENT_EXIT_CODE), so what it complains of is read.
ic_bjobs() {
  {
    ic_complaint=$(bjobs "$@" -noheader -o "jobid jobindex stat exit_code queue exec_host job_description exit_reason delimiter='^'" 2>&1 >&3 3>&-)
    printf '\nended %s\n%s\n' "$?" "$ic_complaint"
  } 3>&1 | awk -F'^' '
    over { if ($0 != "" && $0 !~ /^Job <[^>]*> is not found$/ && $0 !~ /^No (unfinished )?job found *$/) bad = bad $0 "\n"; next }
    /^ended [0-9]+$/ { over = 1; next }
    $0 == "" || /^Job <[^>]*> is not found$/ || /^No (unfinished )?job found *$/ { next }
    NF < 8 { bad = bad $0 "\n"; next }
    # lsf.conf, LSB_BJOBS_DISPLAY_ENH: the index may stand in the identifier as well
    { id = $1; sub(/\[.*/, "", id); gsub(/\|/, "?"); rest = $8; for (i = 9; i <= NF; i++) rest = rest "^" $i
      print id "[" $2 "]|" $3 "|" $4 "|" $5 "|" $6 "|" $7 "|" rest }
    END { printf "%s", bad; exit bad != "" }'
}
ic_queue() { if [ "$1" = all ]; then ic_bjobs -a; else ic_bjobs -a "$@"; fi; } # all, or ids; -a: ended ones, for CLEAN_PERIOD
ic_history() { cat >/dev/null; }
ic_named() { # NAME TAG
  ic_s=$(ic_stamp "$ic_store/$2") || return 1
  ic_got=$(ic_bjobs -a -J "${1%%+*}") || return 1
  printf '%s\n' "$ic_got" | ic_s=$1/$ic_s awk -F'|' '$6 == ENVIRON["ic_s"] { sub(/\[.*/, "", $1)
    print "Job <" $1 "> is submitted to queue <" $4 ">." }' | tail -n 1
}
# NAME WORDS...: gives in ic_got those of these arrays that have not ended; fails if one is called something else.
ic_ours() {
  ic_n=$1
  shift
  ic_ids=$(printf '%s\n' "$@" | sed 's/\[.*//' | sort -u)
  # shellcheck disable=SC2086 # identifiers, with no blanks in them
  ic_got=$(ic_bjobs $ic_ids) || { printf '%s\n' "$ic_got"; return 1; }
  if [ -n "$ic_got" ] && printf '%s\n' "$ic_got" | cut -d'|' -f6 | sed 's,/.*,,' | grep -qvxF -e "$ic_n"; then
    echo "the job of that number is not $ic_n"
    return 3
  fi
}
# COMMAND IDS...: gives what it complains of, but for jobs that have ended. (xargs stops at a status of 255, which means
# nothing here.)
ic_tell() {
  ic_do=$1
  shift
  ic_said=$(printf '%s\n' "$@" | xargs -n 100 sh -c 'ic_do=$1; shift; "$ic_do" "$@" || :' sh "$ic_do" 2>&1 |
    grep -vE '^Job <[^>]*>(: Job has already finished|: No matching job found| is being (terminated|resumed))\.? *$')
  [ -z "$ic_said" ] || { printf '%s\n' "$ic_said"; return 1; }
}
ic_cancel() { # NAME TAG RANGES IDS...
  ic_n=$1 ic_tag=$2 ic_r=$3
  shift 3
  ic_ours "$ic_n" "$@" || return
  [ -n "$ic_got" ] || return 0
  mark "$ic_tag" "$ic_r" || return
  # all that is left of the array is one order
  if { printf '%s\n' "$@" '' && printf '%s\n' "$ic_got" | cut -d'|' -f1; } | awk '
    $0 == "" { shown = 1; next } !shown { asked[$0]; next } !($0 in asked) { exit 1 }'; then set -- "${1%%\[*}"; fi
  ic_tell bkill "$@"
}
ic_release() { # NAME IDS...
  ic_ours "$@" || return
  [ -n "$ic_got" ] || return 0
  shift
  ic_tell bresume "$@"
}
