# shellcheck shell=bash
# shellcheck disable=SC2034  # DAEMONS is read by common.sh
# A login node with the central daemons and no slurmd, and three compute nodes: c1 and c2 in the queues of the plain
# shape, c3 to be broken, in a queue of its own that goes on to c1. A node that is silent for ten seconds is down.
# cred_expire is how long a job that lost its node waits before it is started again.
sed -i 's|^SlurmctldHost=.*|SlurmctldHost=login|; s|^AccountingStorageHost=.*|AccountingStorageHost=login|
  s|^NodeName=.*|NodeName=c[1-2] CPUs=32 RealMemory=64000 Weight=2\nNodeName=c3 CPUs=32 RealMemory=64000 Weight=1|
  s|Nodes=ALL|Nodes=c[1-2]|' /etc/slurm/slurm.conf
printf '%s\n' 'PartitionName=fragile Nodes=c[1,3] MaxTime=INFINITE State=UP' \
  SlurmdTimeout=10 MessageTimeout=6 AuthInfo=cred_expire=15 >> /etc/slurm/slurm.conf
case $TESTBED_ROLE in
login) DAEMONS=(munged mariadbd slurmdbd slurmctld) others=(c1 c2 c3) ;;
*)
  DAEMONS=(munged slurmd) others=(login)
  check_ready() { :; }
  ;;
esac
for other in "${others[@]}"; do wait_for 90 getent hosts "$other"; done
