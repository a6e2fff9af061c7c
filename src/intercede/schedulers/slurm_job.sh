# Arguments: DIRECTORY FIRST. sbatch(1), OUTPUT ENVIRONMENT VARIABLES.
ic_identify() {
  ic_dir=$1 ic_first=$2 ic_index=${SLURM_ARRAY_TASK_ID:-0} ic_native=$SLURM_ARRAY_JOB_ID ic_owner=-
  ic_attempt=$((${SLURM_RESTART_COUNT:-0} + 1))
  # Slurm ends a job by signalling all its processes; what `--signal=B:…` sends reaches this script alone
  ic_forward='USR1 USR2'
  # what sbatch makes of our --export: srun in the payload would take it for its own, and pass nothing on, not even PATH
  unset SLURM_EXPORT_ENV
}
ic_admit() { :; }
ic_again() { :; }
ic_before() { :; }
ic_after() { :; }
