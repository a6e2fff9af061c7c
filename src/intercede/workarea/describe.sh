# What there is to say about a submission in DIRECTORY.
describe() {
  case $1 in .gone/*) say submission "${1#.gone/}" gone ;; *) say submission "$1" here ;; esac
  cat "$1/meta"
  echo
  say keys
  [ ! -f "$1/keys" ] || cat "$1/keys"
  say purged
  [ ! -f "$1/purged" ] || cat "$1/purged"
  chunks "$1"
}
