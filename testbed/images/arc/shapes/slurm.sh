# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # DAEMONS, LRMS and SCAN are read elsewhere; PIDFILE is an associative array there
# Slurm behind the CE: one node, the queues debug and short, no accounting.
LRMS=slurm SCAN=scan-SLURM-job
DAEMONS=(munged slurmctld slurmd "${DAEMONS[@]}")
PIDFILE+=([munged]=/run/munge/munged.pid [slurmctld]=/run/slurmctld.pid [slurmd]=/run/slurmd.pid)

start_munged() {
  install -d -o munge -g munge -m 755 /run/munge
  [ -e /etc/munge/munge.key ] || {
    head -c 128 /dev/urandom >/etc/munge/munge.key
    chown munge: /etc/munge/munge.key; chmod 400 /etc/munge/munge.key
  }
  [ -e $LOGS/munged.log ] || install -o munge -g munge -m 640 /dev/null $LOGS/munged.log
  runuser -u munge -- munged --force --log-file=$LOGS/munged.log
}

start_slurmctld() {
  local name
  cp /usr/local/lib/testbed/arc/slurm.conf /etc/slurm/
  install -d -o slurm -g slurm /var/lib/slurm /var/lib/slurm/slurmctld /var/lib/slurm/slurmd
  for name in slurmctld slurmd; do [ -e $LOGS/$name.log ] || install -o slurm -g slurm /dev/null $LOGS/$name.log; done
  slurmctld; wait_for 30 controller_answers
}
controller_answers() { scontrol ping | grep -q 'is UP'; }

# A-REX asks for the environment of a login, for which slurmd makes a name space of its own: it ends there, if it may not
start_slurmd() {
  sed -i '/--get-user-env/d; s/--export=NONE/--export=NIL/' /usr/share/arc/submit-SLURM-job
  slurmd; wait_for 60 node_is_idle
}
node_is_idle() { [ "$(sinfo -h -o %T | sort -u)" = idle ]; }
