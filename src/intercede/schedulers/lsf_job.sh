# Arguments: DIRECTORY FIRST. LSF Configuration Reference, "Environment variables set for job execution".
ic_identify() {
  ic_dir=$1 ic_first=$2 ic_index=$((LSB_JOBINDEX - 1)) ic_owner=- ic_attempt=1 ic_forward=''
  ic_native="Job <$LSB_JOBID> is submitted to queue <$LSB_QUEUE>."
  { read -r _ ic_attempt _ <"$ic_dir/c/$((ic_first + ic_index))/record"; } 2>/dev/null || return 0
  if ic_again; then ic_attempt=$((ic_attempt + 1)); return; fi
  echo "LSF started this job again, which it was not to do" >&2
  exit 75
}
ic_admit() { :; }
ic_again() { [ -f "$ic_dir/requeue" ]; }
ic_before() { :; }
ic_after() { :; }
