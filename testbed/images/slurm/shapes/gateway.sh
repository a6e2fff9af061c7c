# shellcheck shell=bash
# shellcheck disable=SC2034  # DAEMONS is read by common.sh
# The cluster publishes nothing: the way there leads through a bastion, and both are stingy.
sed -i 's/^MaxSessions .*/MaxSessions 2/' /etc/ssh/sshd_config
echo 'MaxStartups 3' >> /etc/ssh/sshd_config
if [ "$TESTBED_ROLE" = bastion ]; then
  DAEMONS=()
  check_ready() { :; }
fi
