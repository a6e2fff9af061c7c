# Arguments: DIRECTORY FIRST, and what ic_named goes by. Elements of an array are jobs of their own, counted from 1.
ic_identify() {
  ic_dir=$1 ic_first=$2 ic_index=$((OAR_ARRAY_INDEX - 1)) ic_native=$OAR_ARRAY_ID ic_owner=- ic_forward=
  # a job that is submitted again keeps array and index
  ic_attempt=0 ic_ended='' ic_was=''
  { read -r _ ic_attempt _ ic_ended _ _ _ _ _ _ ic_was _ <"$1/c/$((ic_first + ic_index))/record"; } 2>/dev/null
  ic_attempt=$((${ic_attempt:-0} + 1))
  # oarsub's -O would read % in the path of the work area, and counts from 1
  exec >"$ic_dir/log/$ic_first.$ic_index" 2>&1
  # OAR submits a job again of whose start it heard nothing in time
  if [ "$ic_was" = "$ic_native" ] && [ "$ic_ended" = - ] && [ ! -f "$1/requeue" ]; then
    echo "OAR started this job again, which it was not to do" >&2
    exit 75
  fi
  # an idempotent job that exits with 99 is submitted again
  trap 'case $? in 99) exit 98 ;; esac' EXIT
}
ic_admit() { :; }
# a job of another array is none that was submitted again
ic_again() { [ "$ic_was" = "$ic_native" ]; }
ic_before() { :; }
ic_after() { :; }
