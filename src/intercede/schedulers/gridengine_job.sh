# Arguments: DIRECTORY FIRST. qsub(1), ENVIRONMENTAL VARIABLES; tasks are counted from 1.
ic_identify() {
  ic_dir=$1 ic_first=$2 ic_index=$((SGE_TASK_ID - 1)) ic_native=$JOB_ID ic_owner=- ic_forward=
  ic_attempt=1
  # 1 if it was started before, however often
  if [ "${RESTARTED:-0}" != 0 ]; then
    { read -r _ ic_attempt _ <"$1/c/$((ic_first + ic_index))/record"; } 2>/dev/null
    ic_attempt=$((${ic_attempt:-0} + 1))
  fi
  # qsub's -o would read $ and : in the path of the work area, and $TASK_ID counts from 1
  exec >"$ic_dir/log/$ic_first.$ic_index" 2>&1
  # a job that exits with 99 is started again, one that exits with 100 waits in an error state until somebody comes
  trap 'case $? in 99 | 100) exit 98 ;; esac' EXIT
}
ic_admit() { :; }
ic_again() { :; }
ic_before() { :; }
ic_after() { :; }
