# shellcheck shell=bash
# Images are directories below /srv/images. The launcher needs no privilege and no namespace: proot(1) traces what it runs.
image=/srv/images/tiny
install -d $image/bin $image/etc $image/proc $image/dev $image/home $image/tmp
cp "$(command -v busybox)" $image/bin/busybox
for name in $(busybox --list); do ln -sf busybox "$image/bin/$name"; done
printf 'ID=tiny\nPRETTY_NAME="An image of the testbed"\n' > $image/etc/os-release
# A signal that ends the program is told apart from an exit status by what proot says of it, and ends the launcher as well
cat > /usr/local/bin/in-image <<'EOF'
#!/bin/sh
# in-image NAME DIRECTORY INPUTS SECRETS PROGRAM ARGUMENTS...
root=/srv/images/$1 directory=$2 inputs=$3 secrets=$4
shift 4
[ -d "$root" ] || { echo "in-image: no image ${root##*/}" >&2; exit 125; }
note=$(mktemp) || exit 125
trap : HUP INT TERM USR1 USR2
PROOT_NO_SECCOMP=1 proot -v 1 -r "$root" -b /proc -b /dev -b "$directory" -b "$inputs" -b "$secrets" -w "$directory" \
  /bin/sh -c 'unset PROOT_NO_SECCOMP; exec "$@" 2>&3 3>&-' sh "$@" 3>&2 2>"$note"
code=$?
signal=$(sed -n 's/.*vpid 1: terminated with signal \([0-9]*\).*/\1/p' "$note")
rm -f "$note"
[ -z "$signal" ] || { trap - "$signal"; kill -"$signal" $$; }
exit $code
EOF
chmod 755 /usr/local/bin/in-image
