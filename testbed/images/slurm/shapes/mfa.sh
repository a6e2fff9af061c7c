# shellcheck shell=bash
# A key, and then a one-time code, which PAM asks for. The codes count up (HOTP): nobody has to wait for the next one.
for user in "${USERS[@]}"; do
  printf 'HOTP %s - %s\n' "$user" "$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')"
done > /etc/users.oath
chmod 600 /etc/users.oath
printf '%s\n' 'auth required pam_oath.so usersfile=/etc/users.oath window=20 digits=6' \
  'account required pam_permit.so' 'session required pam_permit.so' > /etc/pam.d/sshd
sed -i 's/^UsePAM no/UsePAM yes/; s/^KbdInteractiveAuthentication no/KbdInteractiveAuthentication yes/
  $ a AuthenticationMethods publickey,keyboard-interactive' /etc/ssh/sshd_config
