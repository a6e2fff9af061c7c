# shellcheck shell=bash
# shellcheck disable=SC2034  # DAEMONS, DOORS and BACKENDS are read by common.sh
# One name, two login nodes: connections go to them in turn. The head has all daemons and runs the jobs.
sed -i 's|^SlurmctldHost=.*|SlurmctldHost=head|; s|^AccountingStorageHost=.*|AccountingStorageHost=head|
  s|^NodeName=localhost|NodeName=head|' /etc/slurm/slurm.conf
if [ "$TESTBED_ROLE" = head ]; then
  DOORS=(balancer) BACKENDS=(login1 login2)
else
  DAEMONS=(munged)
  check_ready() { wait_for 90 controller_answers; }
fi
