# shellcheck shell=bash
# slurmctld soon forgets what has ended, so that the accounting, which a test may stop and start, is what must know.
sed -i 's|^MinJobAge=.*|MinJobAge=2|' /etc/slurm/slurm.conf
