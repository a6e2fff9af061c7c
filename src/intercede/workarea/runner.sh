# The job's own script, after the scheduler's part, which defines
#   ic_identify ARGS…  sets ic_dir ic_first ic_index ic_attempt ic_native ic_owner ic_forward
#   ic_admit           waits for the job's turn, where the scheduler has none of its own
#   ic_again           whether this copy may have been started before (a requeued job)
#   ic_before ic_after around the payload
# Nothing below is exported.
ic_mask=$(umask)
umask 077
ic_identify "$@"
ic_copy=$((ic_first + ic_index)) ic_here=$ic_dir/c/$ic_copy ic_secrets=$ic_dir/secrets/$ic_copy
ic_record() { # END CODE SIGNAL FLAG CPU
  printf 'v1 %s %s %s %s %s %s %s %s %s %s\n' "$ic_attempt" "$ic_start" "$1" "$2" "$3" "$4" "$5" "$ic_node" "$ic_owner" \
    "$ic_native" >"$ic_here/.record.$$" && mv -f "$ic_here/.record.$$" "$ic_here/record"
}
ic_among() { # COPY FILE: whether it is in one of the ranges there
  [ -f "$2" ] && awk -v c="$1" '{ n = split($1, r, ","); for (i = 1; i <= n; i++) { m = split(r[i], e, "-")
    if (c >= e[1] + 0 && c <= e[m] + 0) found = 1 } } END { exit !found }' "$2"
}
ic_finish() { # CODE SIGNAL: what the scheduler is told
  if [ "$2" != - ]; then
    ulimit -c 0
    trap - "$2" 2>/dev/null
    kill "-$2" $$ 2>/dev/null
    exit $((128 + $2))
  fi
  exit "$1"
}
cd "$ic_dir" || exit 66
[ ! -d "chunk/$ic_first.abandoned" ] || { echo "this submission was abandoned" >&2; exit 0; }
[ -f "chunk/$ic_first" ] || { echo "$ic_native" >"chunk/$ic_first.$$.$ic_copy" && mv -f "chunk/$ic_first.$$.$ic_copy" "chunk/$ic_first"; }
ic_among "$ic_copy" purged && exit 0
ic_node=$(uname -n) ic_start=-
ic_among "$ic_copy" cancelled || ic_admit
ic_start=$(date +%s)
# The copy's directory appears with the record of its start in it: of two that would start it, one does.
ic_home=$ic_here ic_here=$ic_dir/c/.$ic_copy.$$
# No absolute path: what was purged meanwhile must not be there again.
mkdir -p "c/${ic_here##*/}/work" && ic_record - - - - - || { ic_after; exit 73; }
if ic_again && { [ -e "$ic_home" ] || [ -L "$ic_home" ]; }; then rm -rf "$ic_home"; fi
mv "$ic_here" "$ic_home" 2>/dev/null
if [ -d "$ic_here" ] || [ -d "$ic_home/${ic_here##*/}" ]; then
  rm -rf "$ic_here" "$ic_home/${ic_here##*/}"
  ic_after
  exit 0
fi
ic_here=$ic_home ic_order=
# In this order, and after the copy's directory is there: purge marks, then removes it, or moves all away.
! ic_among "$ic_copy" cancelled || ic_order=cancelled
if ic_among "$ic_copy" purged || [ ! -d "$ic_dir" ]; then
  rm -rf "$ic_here" "$ic_secrets"
  ic_after
  exit 0
fi
if [ -n "$ic_order" ]; then
  rm -rf "$ic_secrets"
  ic_end=$ic_start ic_start=- # the payload never does
  ic_record "$ic_end" - - cancelled -
  ic_after
  exit 0
fi
for ic_name in in/* in/.[!.]* in/..?*; do
  if [ -e "$ic_name" ] || [ -L "$ic_name" ]; then ln -s "$ic_dir/$ic_name" "$ic_here/work/"; fi
done
: "${HOME:=$(eval "echo ~$(id -un)")}" "${USER:=$(id -un)}" "${PATH:=/usr/local/bin:/usr/bin:/bin}"
: "${LOGNAME:=$USER}" "${SHELL:=$(getent passwd "$USER" 2>/dev/null | cut -d: -f7)}"
: "${SHELL:=/bin/sh}"
export HOME USER PATH LOGNAME SHELL
ic_nl='
'
# One shell waits for the payload in the foreground and has its stderr in a file of its own: a shell reports there a
# child that a signal ended, which is how 137 as an exit code and SIGKILL are told apart (dash, bash, busybox). Of some
# signals it says nothing (INT, PIPE, in bash also TERM): tried out on a child of ours, 128 + n is that signal then.
ic_is_silent() { # N, with the shell's stderr in .verdict, which is empty
  $ic_env sh -c 'ulimit -c 0; kill -"$1" $$; exit 0' sh "$1"
  [ $? -gt 128 ] && [ ! -s "$ic_here/.verdict" ]
}
ic_run() { # in a shell of its own
  # caught, not ignored: the payload gets the default actions
  trap : QUIT USR1 USR2 ALRM
  # whoever of us is told first notes it: the payload's end may be recorded before the other one comes to it
  trap 'ic_noted run' HUP INT TERM
  cd "$ic_here/work" || exit 1
  exec 3>"$ic_here/stderr" >"$ic_here/stdout" 2>"$ic_here/.verdict" </dev/null
  (
    exec 2>&3 3>&-
    umask "$ic_mask"
    unset OLDPWD
    # the pid of this subshell, which becomes the payload
    sh -c 'echo "$PPID" >"$1"' sh "$ic_here/.pid"
    set --
    . "$ic_dir/job"
    [ ! -f "$ic_dir/copies" ] || eval "$(sed -n "$((ic_copy + 1))p" "$ic_dir/copies")"
    ic_payload "$@"
  )
  ic_code=$? ic_signal=- ic_flag=- ic_cpu=-
  ic_latest || exit 70
  times >"$ic_here/.times"
  { read -r _ && read -r ic_cpu; } <"$ic_here/.times" && ic_cpu=${ic_cpu% *},${ic_cpu#* }
  if [ "$ic_code" -gt 256 ]; then # ksh93
    ic_signal=$((ic_code - 256))
  elif [ "$ic_code" -gt 128 ] && { [ -s "$ic_here/.verdict" ] || [ -f "$ic_here/.flag" ] ||
    ic_is_silent $((ic_code - 128)); }; then # dash says nothing of a child either when it was signalled itself meanwhile
    ic_signal=$((ic_code - 128))
  fi
  [ "$ic_signal" = - ] || ic_code=-
  # the payload may be told before we are, and be dead before we are
  case $ic_signal in 1 | 2 | 15) ic_noted run ;; esac
  # and a shell whose child was told says so with its exit status
  case $ic_code in 129 | 130 | 143) [ -f "$ic_here/.flag" ] || sleep 1 ;; esac
  [ ! -f "$ic_here/.flag" ] || read -r ic_flag <"$ic_here/.flag"
  ic_record "$(date +%s)" "$ic_code" "$ic_signal" "$ic_flag" "${ic_cpu:--}"
  rm -f "$ic_here/.verdict" "$ic_here/.pid" "$ic_here/.times"
  [ "$ic_flag" = interrupted ] || rm -rf "$ic_secrets"
}
# Whether the copy was not started again: a node that was given up as dead may wake up when the job runs elsewhere.
ic_latest() {
  [ ! -f "$ic_here/record" ] || ! { read -r _ ic_seen _ <"$ic_here/record" && [ "$ic_seen" -gt "$ic_attempt" ]; } 2>/dev/null
}
ic_noted() { # WHO: was told to end; is it because the time is over?
  ic_latest || return 0
  ic_limit=0 ic_word=terminated
  [ ! -f "$ic_dir/requeue" ] || ic_word=interrupted # it may be started again
  [ ! -f "$ic_dir/walltime" ] || read -r ic_limit <"$ic_dir/walltime"
  if [ "$ic_limit" -gt 0 ] && [ $(($(date +%s) - ic_start)) -ge $((ic_limit - 1)) ]; then ic_word=walltime; fi
  [ -f "$ic_here/.flag" ] || { echo "$ic_word" >"$ic_here/.flag.$1" && mv -f "$ic_here/.flag.$1" "$ic_here/.flag"; }
}
ic_told=
ic_caught() { # NAME
  ic_told=$1
  case $1 in
  TERM | INT | HUP) ic_noted wait ;;
  esac
  case " $ic_forward " in *" $1 "*) kill "-$1" "$(cat "$ic_here/.pid")" 2>/dev/null ;; esac
}
for ic_name in HUP INT QUIT USR1 USR2 ALRM TERM; do
  # shellcheck disable=SC2064 # now is when the name is known
  trap "ic_caught $ic_name" "$ic_name"
done
ic_before
# What runs behind `&` has INT and QUIT ignored (POSIX, 2.11), and no shell can undo that; env of coreutils 8.31 can.
# Where it cannot, the payload runs in the foreground, and signals are passed on only when it has ended.
# HTCondor starts jobs with PIPE ignored.
ic_env='env --default-signal=INT,QUIT,PIPE'
if $ic_env true 2>/dev/null; then
  # no `( )` around it: the shell that we wait for must be the one that catches signals
  ic_run &
  ic_child=$!
  while :; do
    ic_told=
    wait "$ic_child"
    [ -n "$ic_told" ] || break
  done
else
  ic_env=env
  (ic_run)
fi
ic_after
read -r _ _ _ ic_end ic_code ic_signal _ <"$ic_here/record"
if [ "$ic_end" = - ]; then exit 70; fi
ic_finish "$ic_code" "$ic_signal"
