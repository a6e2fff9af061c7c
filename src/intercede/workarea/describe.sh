# What there is to say about a submission in DIRECTORY.
describe() {
  case $1 in .gone/*) say submission "${1#.gone/}" gone ;; *) say submission "$1" here ;; esac
  ! plain "$1/meta" || cat "$1/meta"
  echo
  say keys
  ! plain "$1/keys" || cat "$1/keys"
  say purged
  ! plain "$1/purged" || cat "$1/purged"
  chunks "$1"
}
