# Whether a relative path has no link among its parts ($2: how many leading parts to trust is none).
linkless() {
  ic_rest=$1 ic_seen=.
  while [ -n "$ic_rest" ]; do
    ic_seen=$ic_seen/${ic_rest%%/*}
    [ ! -L "$ic_seen" ] || return 1
    case $ic_rest in */*) ic_rest=${ic_rest#*/} ;; *) ic_rest= ;; esac
  done
}
# PATTERN: called by the file `outputs`; names what it stands for in the copy's directory $home, each ended by NUL.
output() {
  case $1 in *[][*?/\\]*) ;; *) printf './%s\0' "$home/work/$1"; return 0 ;; esac
  IFS=
  # shellcheck disable=SC2086 # the pattern is to be expanded, and with no IFS it is not split
  set -- "$home/work/"$1
  unset IFS
  for name in "$@"; do
    # a name that leads through a link leads out: it is left behind, but for a link that is itself the last part
    if [ -e "$name" ] || [ -L "$name" ]; then
      rest=${name#"$home/work/"}
      case $rest in */*) linkless "$home/work/${rest%/*}" || continue ;; esac
      printf './%s\0' "$name"
    fi
  done
}
