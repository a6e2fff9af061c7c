# shellcheck shell=bash
# A site that lets little in: small arrays, few jobs a user, and a QOS with room for ten. A job that takes more memory than
# it asked for is ended.
sed -i 's|^MaxArraySize=.*|MaxArraySize=50|
  $ a AccountingStorageEnforce=associations,limits,qos
  $ a JobAcctGatherParams=OverMemoryKill' /etc/slurm/slurm.conf
start_slurmctld() {
  if [ ! -e "$STATE/limits" ]; then
    sacctmgr -i add qos narrow set MaxSubmitJobsPerUser=10
    sacctmgr -i modify user where account=test set MaxSubmitJobs=120 qos+=narrow
    touch "$STATE/limits"
  fi
  slurmctld; wait_for 30 controller_answers
}
