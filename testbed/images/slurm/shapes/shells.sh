# shellcheck shell=bash
# Login shells of more kinds than the plain users have, and startup files that get in the way.
add_user() { # NAME SHELL STARTUP-FILE, which is read from stdin
  useradd -m -s "$(command -v "$2")" "$1"; sed -i "s/^$1:[^:]*:/$1:*:/" /etc/shadow
  install -d -o "$1" -g "$1" "$(dirname "/home/$1/$3")"; cat > "/home/$1/$3"; chown -R "$1": "/home/$1"
}
add_user erin zsh .zshenv <<'EOF'
echo "Welcome to the cluster, erin"; echo "quota: 93% used" >&2
setopt RC_QUOTES MAGIC_EQUAL_SUBST EXTENDED_GLOB XTRACE
alias -g L='| cat'; alias printf='echo alias'
EOF
add_user frank dash .profile </dev/null
add_user grace bash .bashrc <<'EOF'
echo "Welcome to the cluster, grace"; echo "quota: 93% used" >&2
set -eux; set -fk; shopt -s expand_aliases extglob; IFS=:
alias printf='echo alias' export='echo alias' timeout='echo alias'
trap 'echo debug' DEBUG; trap 'echo exit' EXIT
EOF
# Profiles that change $SHELL, which then names another shell than the one that reads what sshd is given
add_user heidi bash .bashrc <<<'echo "Welcome to the cluster, heidi"; export SHELL=/usr/bin/fish'
add_user ivan fish .config/fish/config.fish <<<'echo "Welcome to the cluster, ivan"; set -gx SHELL /bin/bash'
add_user judy tcsh .cshrc <<<'echo "Welcome to the cluster, judy"; setenv SHELL /bin/bash'
