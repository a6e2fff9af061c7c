# shellcheck shell=bash
# Jobs compete for what there is: two GPUs (devices that every container has: nobody computes on them), and cores of
# queues whose jobs make way for those of another one: `cheap` ends them, `patient` puts them back.
ln -s /dev/null /opt/gpu0; ln -s /dev/zero /opt/gpu1
echo 'NodeName=localhost Name=gpu File=/opt/gpu[0-1] Flags=nvidia_gpu_env' > /etc/slurm/gres.conf
sed -i 's|^NodeName=.*|& Gres=gpu:2|; s|^PartitionName=.*|& PriorityTier=10|' /etc/slurm/slurm.conf
# cred_expire is how long a job that was put back waits before it may start again
printf '%s\n' GresTypes=gpu AuthInfo=cred_expire=5 PreemptType=preempt/partition_prio PreemptMode=REQUEUE \
  'PartitionName=cheap Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL' \
  'PartitionName=patient Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE' \
  'PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF' >> /etc/slurm/slurm.conf
