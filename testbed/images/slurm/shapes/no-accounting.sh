# shellcheck shell=bash
# shellcheck disable=SC2034  # DAEMONS is read by common.sh
# No slurmdbd: sacct fails, and all that is known of a job is what slurmctld still remembers (MinJobAge).
sed -i 's|^AccountingStorageType=.*|AccountingStorageType=accounting_storage/none|; /^AccountingStorageHost/d' /etc/slurm/slurm.conf
DAEMONS=(munged slurmctld slurmd)
job_is_accounted() { [ "$(squeue -h -t all -j "$1" -o %T)" = COMPLETED ]; }
