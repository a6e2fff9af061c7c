# shellcheck shell=bash
# A compute element in front of a pool, all in one container: users come with tokens or certificates, and files are spooled.
# TESTBED_PORT: where it listens, inside and on the host.
CE=/etc/condor-ce
GIVEN=/credentials
DAEMONS=(condor_master ce_issuer ce_master)
credentials() { python3 /usr/local/lib/testbed/ce/credentials.py "$@"; }
ce() { CONDOR_CONFIG=$CE/condor_config "$@"; }

# both masters have children of the same names
pid_of() {
  # the system cuts names after 15 characters
  local name=condor_${1#ce_}
  case $1 in
  condor_master) pgrep -xF /run/condor/master.pid condor_master ;;
  ce_master) pgrep -xF /run/condor-ce/master.pid condor_master ;;
  ce_issuer) pgrep -of '^python3 .*/ce/credentials.py serve$' ;;
  ce_*) pgrep -xP "$(cat /run/condor-ce/master.pid)" "${name:0:15}" ;;
  condor_*) pgrep -xP "$(cat /run/condor/master.pid)" "$1" ;;
  *) pgrep -xo "$1" ;;
  esac
} 2>/dev/null

# An image: a directory with what a job's script runs. It is none that a launcher has made, so it has no test of its own.
make_image() {
  local root=/srv/images/tiny program
  [ ! -e $root ] || return 0
  mkdir -p $root/usr/bin $root/usr/lib $root/usr/lib64 $root/etc $root/proc $root/dev $root/sys $root/tmp $root/var/tmp $root/home
  ln -s usr/bin usr/lib usr/lib64 $root/
  dpkg -L coreutils findutils tar sed grep dash | grep '^/usr/bin/' | while read -r program; do
    cp -L "$program" $root/usr/bin/
  done
  cp -L "$(command -v awk)" $root/usr/bin/awk
  ldd $root/usr/bin/* 2>/dev/null | awk '/^\t/ { for (i = 1; i <= NF; i++) if ($i ~ "^/") print $i }' | sort -u |
    xargs cp -L --parents -t $root
  echo ID=tiny >$root/etc/os-release
  touch $root/etc/passwd $root/etc/group
}

write_role() {
  make_image
  printf '%s\n' 'DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD' 'CONDOR_HOST = 127.0.0.1' 'NO_DNS = True' \
    'NETWORK_INTERFACE = 127.0.0.1' 'NETWORK_HOSTNAME = pool.test.local' 'SCHEDD_NAME = pool.test.local' \
    "FILESYSTEM_DOMAIN = $(hostname)" 'QUEUE_SUPER_USER_MAY_IMPERSONATE = .*' 'SINGULARITY_RUN_TEST_BEFORE_JOB = False' >/etc/condor/config.d/10-role
}

start_ce_issuer() {
  install -d -m 700 $GIVEN
  [ -e $GIVEN/ca.pem ] || {
    credentials make $GIVEN "$TESTBED_PORT"
    # libSciTokens trusts the CAs of the system, and no other
    cat $CE/ca.pem >>/etc/ssl/certs/ca-certificates.crt
  }
  setsid --fork python3 /usr/local/lib/testbed/ce/credentials.py serve </dev/null >>$LOGS/issuer.log 2>&1
}

# idtoken NAME USER SECONDS [KEY]
idtoken() {
  (umask 077; ce condor_token_create -identity "$2@users.htcondor.org" -lifetime "$3" -key "${4:-POOL}" >$GIVEN/idtoken-"$1")
}

start_ce_master() {
  local dir
  for dir in /run/condor-ce /var/lock/condor-ce /var/spool/condor-ce /var/lib/condor-ce /var/lib/condor-ce/execute $LOGS/condor-ce; do
    install -d -o condor -g condor $dir
  done
  install -d -m 700 $CE/passwords.d $CE/tokens.d
  rm -rf /var/lock/condor-ce/*
  echo "CE_PORT = $TESTBED_PORT" >$CE/config.run
  printf '%s\n' 'SCITOKENS /^https:\/\/localhost:8443,(alice|bob)$/ \1' 'SSL "/O=Test/CN=alice" alice' \
    'SSL "/O=Test/CN=bob" bob' 'FS /(.*)/ \1' >$CE/mapfile
  [ -e $CE/passwords.d/POOL ] || {
    (umask 077; for dir in POOL OTHER; do head -c 48 /dev/urandom >$CE/passwords.d/$dir; done)
    idtoken alice alice 86400; idtoken bob bob 86400
    idtoken expired alice 1; idtoken unmapped nobody-here 86400; idtoken stranger alice 86400 OTHER
    rm $CE/passwords.d/OTHER
  }
  CONDOR_CONFIG=$CE/condor_config condor_master -pidfile /run/condor-ce/master.pid
}
# their masters start them again by themselves
start_ce_schedd() { ce condor_on -schedd; }
start_ce_collector() { ce condor_on -collector; }

check_ready() {
  wait_for 90 pool_has_slots
  wait_for 90 condor_q
  wait_for 90 job_is_past "$(trivial_job)"
  wait_for 90 ce condor_q
}
