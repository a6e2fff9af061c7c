# Slurm on the submit host. Words that go to sbatch come from slurm.py as arguments.
ic_ended='^(BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|REVOKED|TIMEOUT)'
ic_name_at=4
ic_limit() { scontrol show config | sed -n 's/^MaxArraySize *= *//p'; }
ic_submit() { # DIRECTORY NAME FIRST COUNT WORDS...
  ic_d=$1 ic_n=$2 ic_f=$3 ic_c=$4
  shift 4
  # a file name pattern: % is written %%
  case $ic_d in *%*) ic_o=$(printf '%s' "$ic_d" | sed 's/%/%%/g') ;; *) ic_o=$ic_d ;; esac
  # --export=NONE makes slurmd 24.11 switch users by a way that unprivileged containers forbid; NIL does not
  sbatch --parsable --export=NIL --array="0-$((ic_c - 1))" --job-name="$ic_n" --chdir="$ic_d" \
    --output="$ic_o/log/$ic_f.%a" \
    --input=/dev/null "$@" "$ic_d/runner" "$ic_d" "$ic_f"
}
# Whether an answer of sbatch means for certain that nothing was queued.
ic_refused() {
  case $1 in
  *"timed out"* | *"Zero Bytes"* | *"eceive failure"* | *"end failure"* | *"rotocol"*) return 1 ;;
  *"sbatch: error:"* | *"sbatch: fatal:"* | *"sbatch: unrecognized"* | *"sbatch: invalid"* | *"sbatch: option"*) return 0 ;;
  esac
  return 1
}
ic_unsent() { return 1; }
# NAME TAG: the id of our job of that name that was sent from that directory, since it is there: the same tag may be in
# use in another work area, or have been in use in this one long ago. Five minutes are for clocks that differ.
ic_named() {
  ic_since=$(date -u -d "@$(($(date -r "$2/size" +%s) - 300))" +%Y-%m-%dT%H:%M:%S) || return 1
  ic_got=$(squeue -h -a -t all -u "$(id -un)" -n "$1" -o '%F|%V|%Z') || return 1
  ic_id=$(printf '%s\n' "$ic_got" | ic_sent "$2")
  [ -n "$ic_id" ] || ic_id=$(sacct -n -X -P -u "$(id -un)" --name="$1" -S now-30days -o jobid,submit,workdir 2>/dev/null |
    sed 's/_[^|]*//' | ic_sent "$2")
  printf '%s\n' "$ic_id" | tail -n 1
}
ic_sent() { # TAG; on stdin: lines `ID|SUBMITTED|DIRECTORY`
  ic_d=$ic_store/$1 ic_since=$ic_since awk -F'|' '
    $2 >= ENVIRON["ic_since"] && substr($0, length($1) + length($2) + 3) == ENVIRON["ic_d"] { print $1 }'
}
ic_queue() { # -j IDS, or -u; `squeue -j` of nothing but unknown ids is an error, and means that there are none
  [ "$1" = -j ] || set -- -u "$(id -un)"
  ic_squeue "$@" || return
  # tasks that wait for different reasons may be one line, `7_[0-1]|PENDING|BeginTime,JobHeldUser|...`, which does not tell
  # them apart (seen on 20.11 and 26.05): one line each then
  case $ic_got in *"]|PENDING|"*,*)
    if printf '%s\n' "$ic_got" | grep -q ']|PENDING|[A-Za-z]*,[A-Z]'; then ic_squeue -r "$@" || return; fi ;;
  esac
  [ -z "$ic_got" ] || printf '%s\n' "$ic_got"
}
ic_squeue() {
  # tasks that wait come as one line, `ID_[RANGES]`, whatever the length of that
  ic_got=$(SLURM_BITSTR_LEN=0 squeue -h -a -t all "$@" -o '%i|%T|%r|%j|%P|%B|%V|%S|%e|%l' 2>&1) || case $ic_got in
    *"Invalid job id"*) ic_got= ;;
    *) printf '%s\n' "$ic_got" >&2; return 1 ;;
    esac
}
ic_history() { # lines `TAG COPY NATIVE ...` on stdin; of a range, the first one tells the array
  read -r ic_t ic_c ic_ids ic_x
  ic_ids=${ic_ids%_*}
  # one line, as of a whole array, needs no further program
  if read -r ic_t ic_c ic_id ic_x; then
    ic_ids=$({ echo "- - $ic_ids"; echo "- - $ic_id"; cat; } | awk '
      { sub(/_.*/, "", $3) } !($3 in seen) { seen[$3] = 1; printf "%s%s", (n ? n % 5000 ? "," : " " : ""), $3; n++ }')
  fi
  # the kernel takes no argument of over 128 KiB
  for ic_id in $ic_ids; do
    # as above: the tasks that never started are one line
    SLURM_BITSTR_LEN=0 sacct -n -P -X -j "$ic_id" \
      -o JobID,State,ExitCode,JobName,Partition,NodeList,Submit,Start,End,Timelimit || return
  done
}
# NAME IDS…: runs the command in ic_do on jobs that have that name, and on no others, whatever the ids say. Filters of
# scancel would cost a request for each task, and scontrol has none.
ic_order() {
  ic_n=$1
  shift
  ic_got=$(squeue -h -a -t all -j "$(printf '%s' "$*" | sed 's/_[^ ]*//g; s/ /,/g')" -o %j 2>&1) || case $ic_got in
    *"Invalid job id"*) return 0 ;;
    *) printf '%s\n' "$ic_got"; return 1 ;;
    esac
  if printf '%s\n' "$ic_got" | grep -qvxF -e "$ic_n"; then
    echo "the job of that number is not $ic_n"
    return 3
  fi
  [ -z "$ic_got" ] || $ic_do "$@"
}
ic_cancel() { # NAME TAG RANGES IDS...
  ic_n=$1 ic_t=$2 ic_r=$3 ic_do=ic_end
  shift 3
  ic_order "$ic_n" "$@"
}
ic_end() { mark "$ic_t" "$ic_r" && scancel "$@"; }
ic_release() { # NAME IDS...
  ic_do='scontrol release'
  ic_order "$@"
}
