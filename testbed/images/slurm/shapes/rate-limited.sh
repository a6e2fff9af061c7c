# shellcheck shell=bash
# slurmctld's limiter of requests (23.02 and later): ten at once, then one in two seconds, for each user.
sed -i '$ a SlurmctldParameters=rl_enable,rl_bucket_size=10,rl_refill_rate=2,rl_refill_period=4' /etc/slurm/slurm.conf
