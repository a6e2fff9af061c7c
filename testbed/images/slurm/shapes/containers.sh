# shellcheck shell=bash
# Images are directories below /srv/images. The launcher needs no privilege and no namespace, which docker would forbid:
# proot(1) traces what it runs.
image=/srv/images/tiny
install -d $image/bin $image/etc $image/proc $image/dev $image/home $image/tmp
for name in $(busybox --list); do ln -sf busybox "$image/bin/$name"; done
rm -f $image/bin/busybox; cp "$(command -v busybox)" $image/bin/busybox
printf 'ID=tiny\nPRETTY_NAME="An image of the testbed"\n' > $image/etc/os-release
# The exit status of proot 5.1 is that of the process that ended last, and 255 for a signal: its notes know better. It
# waits for all processes that the program has started.
cat > /usr/local/bin/in-image <<'EOF'
#!/bin/sh
# in-image NAME DIRECTORY INPUTS SECRETS PROGRAM ARGUMENTS...
root=/srv/images/$1 directory=$2 inputs=$3 secrets=$4
shift 4
[ -d "$root" ] || { echo "in-image: no image ${root##*/}" >&2; exit 125; }
note=$(mktemp) || exit 125
trap : HUP INT TERM USR1 USR2
proot -v 1 -r "$root" -b /proc -b /dev -b "$directory" -b "$inputs" -b "$secrets" -w "$directory" \
  /bin/sh -c 'echo "main $$" >&2; exec "$@" 2>&3 3>&-' sh "$@" 3>&2 2>"$note"
end=$(awk '$1 == "main" { main = $2 ":" } $3 == "pid" && $4 == main && $5 ~ /^(exited|terminated)$/ { print $5, $NF }' "$note")
rm -f "$note"
case $end in
"terminated "*) trap - "${end#* }"; kill -"${end#* }" $$ ;;
"exited "*) exit "${end#* }" ;;
esac
exit 125
EOF
chmod 755 /usr/local/bin/in-image
