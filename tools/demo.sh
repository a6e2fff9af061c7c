#!/usr/bin/env bash
# A job's life on this machine, by the real command line, in a home directory of its own that is removed at the end.
set -euo pipefail
[ ! -d .venv/bin ] || PATH=$PWD/.venv/bin:$PATH
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# Nothing of yours is read or written: no configuration, no memory of earlier submissions, no work area.
export HOME=$place XDG_CONFIG_HOME=$place/config XDG_STATE_HOME=$place/state
cd "$place"

say() { printf '\n# %s\n' "$@"; }
type_it() {
  printf '$'
  for word in "$@"; do
    case $word in *[!A-Za-z0-9_./:=@-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  printf '\n'
}
run() { type_it "$@"; "$@"; }

say "The shortest way: one job here and now. Its output and exit status are the program's own."
run intercede run -- echo hello

cat >count.sh <<'SCRIPT'
#!/bin/sh
# Counts a letter in a text. Each copy takes another letter.
letter=$(printf 'a e i' | cut -d' ' -f$((INTERCEDE_COPY + 1)))
for step in 1 2 3; do echo "copy $INTERCEDE_COPY on $(uname -n): step $step"; sleep 1; done
tr -cd "$letter" <"$1" | wc -c >"found-$letter.txt"
SCRIPT
chmod +x count.sh
echo "absent is not finished" >text

say "The long way. Here is a program, and what it reads:"
run cat count.sh text

say "Three copies of it. The program and its input are sent along; what matches found-* is to come back."
run intercede submit --tag demo -n 3 -i text -o 'found-*.txt' -- ./count.sh text

say "The same tag again queues nothing twice: after a lost connection it is always safe to repeat."
run intercede submit --tag demo -n 3 -i text -o 'found-*.txt' -- ./count.sh text

say "So these are all the jobs there are. Each has a name that is valid in another process on another day."
run intercede find demo

say "Where are they?"
run intercede status demo

say "What does copy 1 write, while it runs?"
run intercede logs -f demo:1

say "Wait for all of them, then ask again."
run intercede watch demo

say "Bring back what they made."
run intercede output demo --to results
run ls results/0 results/1 results/2
run grep -H . results/0/found-a.txt results/1/found-e.txt results/2/found-i.txt

say "Leave nothing behind on the resource."
run intercede purge demo
run intercede list
