# Arguments: DIRECTORY FIRST. PBS User's Guide, "Environment Variables"; seen on 23.06.
ic_identify() {
  ic_dir=$1 ic_first=$2 ic_index=${PBS_ARRAY_INDEX:-0} ic_native=$PBS_JOBID ic_owner=- ic_attempt=1 ic_forward=''
  case $ic_native in *\[*) ic_native=${ic_native%%\[*}[]${ic_native#*\]} ;; esac
  unset IC_SENT IC_NAME
  # nothing in the environment counts the runs
  { read -r _ ic_attempt _ <"$ic_dir/c/$((ic_first + ic_index))/record"; } 2>/dev/null || return 0
  if ic_again; then ic_attempt=$((ic_attempt + 1)); return; fi
  # an array cannot be told to run only once
  echo "PBS started this job again, which it was not to do" >&2
  exit 75
}
ic_admit() { :; }
ic_again() { [ -f "$ic_dir/requeue" ]; }
ic_before() { :; }
ic_after() { :; }
