#!/usr/bin/env bash
# [--last] NAME COMMAND…: runs a step and says how long it took; after the last one nothing is said, so that the
# command's own summary closes the output.
set -u
last=
if [ "$1" = --last ]; then last=1; shift; fi
name=$1
shift
printf '\n== %s\n' "$name"
[ -z "$last" ] || exec "$@"
SECONDS=0
"$@"
code=$?
if [ "$code" = 0 ]; then
  printf '== %s: %d s\n' "$name" "$SECONDS"
else
  printf '== %s: FAILED with exit status %d after %d s\n' "$name" "$code" "$SECONDS" >&2
fi
exit "$code"
