# Arguments: TAG COPY, in the job's own directory on the node. What all copies have in common is an archive behind the end of
# this very file; what is a copy's own came beside it as COPY.own. All that is ours is in the directory TAG.
ic_identify() {
  ic_top=$PWD ic_tag=$1 ic_dir=$PWD/$1 ic_first=0 ic_index=$2 ic_native=- ic_owner=- ic_sleeper=
  ic_forward='HUP INT QUIT USR1 USR2 ALRM TERM'
  : >"$2.out" # HTCondor holds a job whose output is missing
  mkdir -m 700 "$1" && tail -c "+$ic_skip" "$0" | tar -xof - -C "$1" && [ -f "$1/whole" ] || exit 66
  if [ -f "$2.own" ]; then
    rm "$1/whole" && tar -xof "$2.own" -C "$1" && [ -f "$1/whole" ] || exit 66
    # it travels back, and takes the place of the one with the secrets that the CE keeps
    : >"$2.own"
  fi
  # the schedd of the pool is told at once when a job is started, and how often it was only later
  ic_attempt=$(awk '$1 == "NumJobStarts" { n = $3 } $1 == "JobCurrentStartExecutingDate" { began = 1 }
    END { print 1 + (n > began ? n : began) }' "${_CONDOR_JOB_AD:-/dev/null}")
  if [ "$ic_attempt" -gt 1 ] && ! ic_again; then
    echo "HTCondor started this job again, which it was not to do" >&2
    # of its script's end HTCondor tells exit code or signal: of a signal that payloads hardly end by, we know why
    ulimit -c 0
    kill -VTALRM $$
    exit 75
  fi
  cd "$ic_dir" || exit 66
  mkdir -p c chunk secrets
  # as it would be in the file that all copies share
  if [ -f line ]; then { yes '' | head -n "$2"; cat line; } >copies; fi
}
ic_admit() { :; }
ic_again() { [ -f "$ic_dir/requeue" ]; }
# Walltime: the CE would remove a job that is late, and keep nothing of it.
ic_before() {
  [ -f walltime ] || return 0
  read -r ic_late <walltime
  ( # the payload must not be waited for by this one
    trap - HUP INT QUIT USR1 USR2 ALRM
    trap 'kill "$ic_nap"; exit' TERM
    sleep "$ic_late" &
    ic_nap=$!
    wait "$ic_nap"
    trap - TERM
    kill -TERM $$
    sleep 10
    kill -KILL "$(cat "$ic_here/.pid")"
  ) >/dev/null 2>&1 &
  ic_sleeper=$!
}
ic_candidates() {
  printf './%s\0' "$home/stdout" "$home/stderr"
  if [ ! -L "$home/work" ]; then
    . "$ic_dir/outputs"
    ic_outputs
  fi
}
# What goes back is one file: the length of a list, the list of what there is, and one archive of what of it is within bounds.
ic_after() {
  [ -z "$ic_sleeper" ] || kill "$ic_sleeper" 2>/dev/null
  cd "$ic_top" || return 0
  home=$ic_tag/c/$ic_copy
  [ -d "$ic_tag/c" ] && [ ! -L "$ic_tag" ] && [ ! -L "$ic_tag/c" ] && [ ! -L "$home" ] && [ -d "$home" ] || return 0
  read -r ic_bytes ic_files <"$ic_dir/bounds"
  ic_candidates | ic_bounded "$ic_bytes" "$ic_files" >.list
  { echo $(($(wc -c <.list))); cat .list; ic_streamed <.list; } >.out
  mv -f .out "$ic_copy.out"
  # HTCondor tells exit code or signal alone: this one says that the time was over, and its payload did not end well
  if [ "$(cat "$home/.flag" 2>/dev/null)" = walltime ]; then
    read -r _ _ _ _ ic_code _ <"$home/record"
    [ "$ic_code" = 0 ] || ic_finish - XCPU
  fi
}
