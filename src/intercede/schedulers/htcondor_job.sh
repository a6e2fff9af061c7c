# Arguments: FIRST INDEX CLUSTER, in the job's own directory on the node, where all of its files were brought.
ic_identify() {
  ic_dir=$PWD ic_first=$1 ic_index=$2 ic_native=$3.0 ic_owner=- ic_forward='HUP INT QUIT USR1 USR2 ALRM TERM' ic_sleeper=
  # the schedd is told at once when a job is started, and how often it was only later
  ic_attempt=$(awk '$1 == "NumJobStarts" { n = $3 } $1 == "JobCurrentStartExecutingDate" { began = 1 }
    END { print 1 + (n > began ? n : began) }' "${_CONDOR_JOB_AD:-/dev/null}")
  : >ic.tar # HTCondor holds a job whose output is missing
  if [ "$ic_attempt" -gt 1 ] && ! ic_again; then
    echo "HTCondor started this job again, which it was not to do" >&2
    exit 75
  fi
  ic_n=$((ic_first + ic_index))
  mkdir c chunk secrets
  # as it would be in the file that all copies share
  if [ -f "$ic_n.line" ]; then { yes '' | head -n "$ic_n"; cat "$ic_n.line"; } >copies; fi
  [ ! -e "$ic_first.began/abandoned" ] || mkdir "chunk/$ic_first.abandoned"
  # each came under the last part of its name
  if [ -d "$ic_n" ]; then chmod 700 "$ic_n" && mv "$ic_n" "secrets/$ic_n"; fi
}
ic_admit() { :; }
ic_again() { [ -f "$ic_dir/requeue" ]; }
# Walltime: HTCondor would remove a job that is late, and bring nothing back of it.
ic_before() {
  # of a job that runs, condor_tail shows the files that HTCondor has made for its output: for now they are the payload's
  for ic_name in stdout stderr; do
    : >"$ic_here/$ic_name"
    mv "_condor_$ic_name" ".own_$ic_name" && ln "$ic_here/$ic_name" "_condor_$ic_name"
  done
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
ic_after() {
  [ -z "$ic_sleeper" ] || kill "$ic_sleeper" 2>/dev/null
  cd "$ic_dir" || return 0
  for ic_name in stdout stderr; do
    if [ -f ".own_$ic_name" ]; then mv -f ".own_$ic_name" "_condor_$ic_name"; fi
  done
  [ -d c ] && [ ! -L c ] && [ ! -L "c/$ic_copy" ] && [ -d "c/$ic_copy" ] || return 0
  ic_pack "c/$ic_copy" ic.tar
  # of a job that is removed, HTCondor brings nothing back
  [ "$(cat "c/$ic_copy/.flag" 2>/dev/null)" != terminated ] ||
    "$(condor_config_val LIBEXEC)/condor_chirp" put ic.tar "back/$ic_copy" >/dev/null 2>&1 || :
}
