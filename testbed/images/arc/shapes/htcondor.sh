# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # DAEMONS, LRMS and SCAN are read elsewhere; PIDFILE is an associative array there
# HTCondor behind the CE: a pool of one machine.
LRMS=condor SCAN=scan-condor-job
DAEMONS=(condor_master "${DAEMONS[@]}")
PIDFILE+=([condor_master]=/run/condor/master.pid)

start_condor_master() {
  local dir
  cp /usr/local/lib/testbed/arc/condor.conf /etc/condor/config.d/10-pool
  for dir in /run/condor /var/lock/condor /var/spool/condor /var/lib/condor /var/lib/condor/{execute,ended} $LOGS/condor; do
    install -d -o condor -g condor $dir
  done
  rm -rf /var/lock/condor/*
  condor_master -pidfile /run/condor/master.pid
  wait_for 90 pool_has_slots; wait_for 90 condor_q
}
pool_has_slots() { [ -n "$(condor_status -af Name)" ]; }
