# shellcheck shell=bash
# What the images of all systems share: users, sshd, credentials made per run, and daemons that can be stopped and frozen.
# A system's testbed-node sources this, lists its daemons in DAEMONS (in the order they start) with their PIDFILE, defines
# setup_system, start_<daemon>, check_ready and print_version, and ends with: main "$@"
LOGS=/var/log/testbed
STATE=/run/testbed
USERS=(alice bob carol dave)
declare -A PIDFILE=([sshd]=/run/sshd.pid [balancer]=/run/balancer.pid)
# What is opened when all else is up
DOORS=(sshd)

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
  local until=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt "$until" ] || { echo "testbed: gave up waiting for: $*" >&2; return 1; }
    sleep 0.1
  done
}

setup_users() {
  useradd -m -s /bin/bash alice; useradd -m -s /bin/bash bob
  useradd -m -s "$(command -v fish)" carol; useradd -m -s "$(command -v tcsh)" dave
  # "*" and not "!": no password, yet sshd without PAM lets a key in
  sed -i -E "s/^($(IFS='|'; echo "${USERS[*]}")):[^:]*:/\1:*:/" /etc/shadow
  # Logins that talk, on both streams, also when no terminal is there: a client must find its answer in between
  install -d -o carol -g carol ~carol/.config ~carol/.config/fish
  printf '%s\n' 'echo "Welcome to the cluster, carol"' 'echo "quota: 93% used" >&2' > ~carol/.config/fish/config.fish
  printf '%s\n' 'echo "Welcome to the cluster, dave"' 'sh -c "echo quota: 93% used >&2"' > ~dave/.cshrc
  chown carol: ~carol/.config/fish/config.fish; chown dave: ~dave/.cshrc
}

setup_sshd() {
  local conf=/etc/ssh/sshd_config
  rm -f /etc/ssh/ssh_host_*
  # As a site has it: ten sessions a connection, the default throttling of new connections
  printf '%s\n' 'HostKey /etc/ssh/ssh_host_ed25519_key' 'HostKey /etc/ssh/ssh_host_ecdsa_key' \
    'AuthorizedKeysFile /etc/ssh/authorized_keys' 'PermitRootLogin no' 'PasswordAuthentication yes' \
    'KbdInteractiveAuthentication no' 'UsePAM no' 'UseDNS no' 'MaxSessions 10' 'AcceptEnv LANG LC_*' \
    'Subsystem sftp /usr/lib/openssh/sftp-server' > $conf
  # OpenSSH 9.8 and later shut an address out after failures; here every client has the same one
  mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
  if /usr/sbin/sshd -t -o PerSourcePenalties=no 2>/dev/null; then echo 'PerSourcePenalties no' >> $conf; fi
  rm /etc/ssh/ssh_host_*
}

start_sshd() { mkdir -p /run/sshd; /usr/sbin/sshd -E $LOGS/sshd.log; }

# BACKENDS: what a node does in place of a server of its own; connections go to their sshd in turn
start_balancer() {
  setsid --fork /opt/venv/bin/python /usr/local/lib/testbed/balancer.py "${PIDFILE[balancer]}" "${BACKENDS[@]}" \
    </dev/null >>$LOGS/balancer.log 2>&1
}

# together FILE COMMAND...: makes a file with the command; of nodes that share a directory, the first one makes it for all
together() {
  local file=$1 shared=${TESTBED_SHARED:-}/.testbed; shift
  if [ -z "${TESTBED_SHARED:-}" ]; then "$@"; return; fi
  install -d -m 700 "$shared"
  (
    flock 9
    [ -e "$shared/${file##*/}" ] || { "$@"; cp -p "$file" "$shared/"; }
  ) 9>"$shared/lock"
  [ -e "$file" ] || cp -p "$shared/${file##*/}" "$file"
}

make_host_key() {
  together "$1" ssh-keygen -q -t "$2" -N '' -f "$1"
  [ -e "$1.pub" ] || ssh-keygen -y -f "$1" > "$1.pub"
}

# pid_of DAEMON: of the daemon itself, not of what it forked; fails when it does not run
pid_of() {
  local pid
  pid=$(tr -cd 0-9 < "${PIDFILE[$1]}") && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm")" = "$1" ] && echo "$pid"
} 2>/dev/null

gone() { ! kill -0 "$1"; }

start() {
  if pid_of "$1" >/dev/null; then return; fi
  "start_$1"; wait_for 30 pid_of "$1"
}

stop() {
  local pid; pid=$(pid_of "$1") || return 0
  kill -CONT "$pid"; kill -TERM "$pid"
  wait_for 20 gone "$pid" || { kill -KILL "$pid"; wait_for 5 gone "$pid"; }
}

signal() {
  local pid; pid=$(pid_of "$2") || { echo "$2 does not run" >&2; return 1; }
  kill -"$1" "$pid"
}

# provision: the public key, then alice's password, one a line on stdin (argument vectors can be read by everyone).  Prints the
# version and the host keys once everything is up.
provision() {
  local key password kind
  IFS= read -r key; IFS= read -r password
  for kind in ed25519 ecdsa; do make_host_key /etc/ssh/ssh_host_${kind}_key $kind; done
  printf '%s\n' "$key" > /etc/ssh/authorized_keys
  printf 'alice:%s\n' "$password" | chpasswd
  mkdir -p $STATE; touch $STATE/provisioned
  wait_for 120 test -e $STATE/ready
  echo "version $(print_version)"
  cat /etc/ssh/ssh_host_*_key.pub
}

# A shape is a configuration other than the plain one: a file that changes the system's settings, or redefines what is above
apply_shape() {
  # shellcheck source=/dev/null
  if [ "${TESTBED_SHAPE:-plain}" != plain ]; then . "/usr/local/lib/testbed/shapes/$TESTBED_SHAPE.sh"; fi
}

run() {
  local daemon
  mkdir -p $STATE
  apply_shape
  for daemon in "${DAEMONS[@]}"; do start "$daemon"; done
  check_ready
  wait_for 120 test -e $STATE/provisioned
  for daemon in "${DOORS[@]}"; do start "$daemon"; done
  touch $STATE/ready
  exec sleep infinity
}

# logs [FIRST]: all of them as tail(1) shows them; FIRST is tail's count: +1 is everything, 30 the last thirty lines
logs() { find $LOGS -type f -size +0 -exec tail -v -n "${1:-+1}" {} +; }

main() {
  case $1 in
  setup) mkdir -p $LOGS; setup_users; setup_sshd; setup_system ;;
  run | provision) "$1" ;;
  start | stop) "$1" "$2" ;;
  # without a daemon's name: all processes but the first, which nobody can stop from inside, and this one
  freeze) if [ $# -gt 1 ]; then signal STOP "$2"; else kill -STOP -- -1; fi ;;
  thaw) if [ $# -gt 1 ]; then signal CONT "$2"; else kill -CONT -- -1; fi ;;
  logs) logs "${2:-+1}" ;;
  *) echo "usage: testbed-node setup|run|provision|logs|start|stop|freeze|thaw" >&2; exit 64 ;;
  esac
}
