#!/usr/bin/env bash
# PYTEST-WORDS…: runs pytest on the newest Python that can be had and is newer than the environment's: one of this
# machine, else one that uv can fetch, else the one inside the newest Slurm container. Says which it was.
set -euo pipefail
venv=${VENV:-.venv}
ours=$("$venv/bin/python" -c 'import sys; print(*sys.version_info[:2], sep=".")')
home=$venv-newer

works() { "$1" -c 'import ensurepip, venv, ssl, sqlite3' >/dev/null 2>&1; }
find_python() {
  local minor candidate
  for minor in 15 14 13 12; do
    [ "$minor" -gt "${ours#3.}" ] || return 0
    for candidate in "$(command -v "python3.$minor" || true)" ~/.pyenv/versions/3."$minor".*/bin/python; do
      if [ -n "$candidate" ] && works "$candidate"; then echo "$candidate"; return; fi
    done
    # uv fetches interpreters where the network lets it
    if command -v uv >/dev/null && candidate=$(timeout 120 uv python find "3.$minor" 2>/dev/null) && works "$candidate"; then
      echo "$candidate"
      return
    fi
  done
}

python=$(find_python)
if [ -z "$python" ] && command -v uv >/dev/null && timeout 300 uv python install --quiet 3.14 2>/dev/null; then
  python=$(uv python find 3.14 2>/dev/null || true)
fi
if [ -n "$python" ]; then
  version=$("$python" -c 'import platform; print(platform.python_version())')
  echo "Python $version: $python"
  if [ "$(cat "$home/.version" 2>/dev/null)" != "$version" ] || [ pyproject.toml -nt "$home/.version" ]; then
    rm -rf "$home"
    "$python" -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[testing]'
    echo "$version" >"$home/.version"
  fi
  exec "$home/bin/python" -m pytest -p no:cacheprovider "$@"
fi
stack=$("$venv/bin/python" -c 'from testbed.manifest import load_manifest; print(next(iter(load_manifest())))')
echo "no Python newer than $ours here, and uv cannot fetch one: using the one inside $stack"
testbed() { "$venv/bin/python" -m testbed "$@"; }
if ! testbed url "$stack" >/dev/null 2>&1; then
  trap 'testbed down "$stack"' EXIT
  testbed up "$stack" --keep
fi
words=(-p no:cacheprovider --rootdir=/src -c /src/pyproject.toml)
for word; do
  # paths of the repository are below /src there
  if [ -e "$word" ]; then words+=("/src/$word"); else words+=("$word"); fi
done
testbed exec "$stack" -- /opt/venv/bin/python -VV
testbed exec "$stack" -- /opt/venv/bin/python -m pytest "${words[@]}"
