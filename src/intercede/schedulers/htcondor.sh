# HTCondor on the submit host. WORDS of ic_submit: lines of a submit description, which come from htcondor.py.
# No file system is shared with the node: HTCondor takes a copy's files there when it starts, and brings one archive back,
# `back/COPY`, when it has ended.
ic_ended='^4$'
ic_name_at=3
ic_limit() { condor_config_val MAX_JOBS_PER_SUBMISSION 2>/dev/null; }
# What tells our submission from any other of that name: its directory, and when that was made.
ic_stamp() { ic_made=$(date -r "$1/size" +%s) && printf '%s-%s\n' "$(printf '%s' "$1" | cksum | tr ' ' -)" "$ic_made"; }
ic_submit() { # DIRECTORY NAME FIRST COUNT WORDS...
  ic_d=$1 ic_n=$2 ic_f=$3 ic_c=$4
  shift 4
  # all paths are relative to where we are: none of them needs to be written down in the language of submit files
  cd "$ic_d" && ic_s=$(ic_stamp "$ic_d") && mkdir -p back one || return
  [ ! -f copies ] || awk -v first="$ic_f" -v count="$ic_c" '
    NR > first + count { exit } NR > first { name = "one/" (NR - 1) ".line"; print >name; close(name) }' copies || return
  ic_all=job,outputs,chunk/$ic_f.began
  for ic_name in in requeue walltime; do [ ! -e "$ic_name" ] || ic_all=$ic_all,$ic_name; done
  {
    printf '%s\n' 'universe = vanilla' 'executable = runner' "arguments = $ic_f \$(Process) \$(ClusterId)" \
      "output = log/$ic_f.\$(Process)" "error = log/$ic_f.\$(Process).err" \
      'should_transfer_files = yes' 'when_to_transfer_output = on_exit' "transfer_input_files = $ic_all\$(own)" \
      'transfer_output_files = ic.tar' 'transfer_output_remaps = "ic.tar = back/$(copy)"' 'leave_in_queue = false' \
      'notification = never' 'want_io_proxy = true' "batch_name = $ic_n" "My.IntercedeName = \"$ic_n\"" "My.IntercedeStamp = \"$ic_s\"" \
      "$@" 'queue copy, own from ('
    ic_i=0
    while [ "$ic_i" -lt "$ic_c" ]; do
      ic_own=
      [ ! -f "one/$((ic_f + ic_i)).line" ] || ic_own=,one/$((ic_f + ic_i)).line
      [ ! -d "secrets/$((ic_f + ic_i))" ] || ic_own=$ic_own,secrets/$((ic_f + ic_i))
      echo "$((ic_f + ic_i)) $ic_own"
      ic_i=$((ic_i + 1))
    done
    echo ')'
  } >"submit.$ic_f" || return
  # of what was queued the numbers alone are kept: there may be warnings besides
  condor_submit -terse "submit.$ic_f" 2>"log/$ic_f.submit" || { ic_code=$?; cat "log/$ic_f.submit"; return "$ic_code"; }
}
# Whether an answer of condor_submit means for certain that nothing was queued: all of a cluster is one transaction.
ic_refused() {
  case $1 in
  *ommit*) return 1 ;;
  *ERROR* | *"rror: "*) return 0 ;;
  esac
  return 1
}
ic_unsent() { return 1; }
# COMMAND...: lines `ID|STATUS|NAME|HOLD|SUBCODE|HOST|QUEUED|STARTED|EXECUTING|COMPLETED|ENTERED|BYSIGNAL|CODE|SIGNAL|STARTS|WHY`
# What was removed when it had ended already has ended as it did.
ic_ads() {
  ic_got=$("$@" -af ClusterId ProcId 'ifThenElse(JobStatus == 3 && LastJobStatus =?= 4, 4, JobStatus)' IntercedeName \
    HoldReasonCode HoldReasonSubCode 'RemoteHost ?: LastRemoteHost' QDate JobCurrentStartDate JobCurrentStartExecutingDate CompletionDate EnteredCurrentStatus \
    ExitBySignal ExitCode ExitSignal NumJobStarts \
    'ifThenElse(JobStatus == 5, HoldReason, ifThenElse(JobStatus == 1, LastRejMatchReason, RemoveReason))' 2>&1) ||
    { printf '%s\n' "$ic_got"; return 1; }
  [ -z "$ic_got" ] || printf '%s\n' "$ic_got" | awk '
    $1 !~ /^[0-9]+$/ || NF < 17 { print; next }
    { line = $1 "." $2; for (i = 3; i <= 16; i++) line = line "|" $i
      why = $17; for (i = 18; i <= NF; i++) why = why " " $i
      gsub(/\|/, "/", why); print line "|" why }'
}
ic_queue() { # CLUSTERS..., or `-` for all that the user has
  [ "$1" != - ] || shift
  ic_ads condor_q "$@"
}
# awk: any of some terms, as a tree that is nowhere deep. Of `a || b || c` each term is a level, and at 400 of them HTCondor
# gives up without a word: such an expression is true of no job.
ic_either='
  function either(low, high,    middle) { if (low == high) return term[low]
    middle = int((low + high) / 2); return "(" either(low, middle) " || " either(middle + 1, high) ")" }'
# Lines `TAG COPY NATIVE ...` on stdin, COPY may be a range, become a constraint. The history is read backwards until so
# many as are wanted have been found. Where there are too many ranges for one word, it is asked for whole clusters.
ic_history() {
  ic_want=$(awk "$ic_either"'
    { m = split($2, e, "-"); n = e[m] - e[1]; split($3, id, "."); all += n + 1
      if (id[1] == was && id[2] == last + 1) { last = to[terms] += n + 1; next }
      if (!(id[1] in known)) { known[id[1]]; clusters = clusters sprintf(", %d", id[1]) }
      of[++terms] = was = id[1]; from[terms] = id[2]; last = to[terms] = id[2] + n }
    END {
      if (terms > 1000) { print "1000000000 member(ClusterId, {" substr(clusters, 3) "})"; exit }
      for (i = 1; i <= terms; i++)
        term[i] = sprintf("(ClusterId == %d && ProcId >= %d && ProcId <= %d)", of[i], from[i], to[i])
      print all, either(1, terms) }')
  ic_ads condor_history -constraint "${ic_want#* }" -match "${ic_want%% *}"
}
# NAME TAG: the first job of that name that was sent from that directory.
ic_named() {
  ic_s="IntercedeName == \"$1\" && IntercedeStamp == \"$(ic_stamp "$ic_store/$2")\"" || return 1
  ic_got=$(condor_q -constraint "$ic_s" -af ClusterId) || return 1
  [ -n "$ic_got" ] || ic_got=$(condor_history -constraint "$ic_s" -match 1 -af ClusterId) || return 1
  [ -z "$ic_got" ] || printf '%s.0\n' "$(printf '%s\n' "$ic_got" | head -n 1)"
}
# NAME CLUSTER RANGES: gives in ic_which the jobs that are meant, if they have that name, whatever the ids say: a constraint
# for each thousand ranges, since a word may be no longer than 128 KiB. Empty if the queue does not have them (any more).
ic_ours() {
  ic_which=
  ic_got=$(condor_q "$2" -af IntercedeName) || return 1
  [ -n "$ic_got" ] || return 0
  if printf '%s\n' "$ic_got" | grep -qvxF -e "$1"; then
    echo "the job of that number is not $1"
    return 3
  fi
  ic_which=$(printf '%s\n' "$3" | ic_n=$1 ic_c=$2 awk -F, "$ic_either"'
    BEGIN { begin = "IntercedeName == \"" ENVIRON["ic_n"] "\" && ClusterId == " ENVIRON["ic_c"] " && " }
    { for (i = 1; i <= NF; i++) { m = split($i, e, "-"); term[i] = sprintf("(ProcId >= %d && ProcId <= %d)", e[1], e[m]) }
      for (i = 1; i <= NF; i += 1000) print begin either(i, i + 999 < NF ? i + 999 : NF) }')
}
# COMMAND MORE: orders something for those jobs; it fails if none of them is there (any more), which is no error
ic_tell() {
  printf '%s\n' "$ic_which" | while IFS= read -r ic_line; do
    ic_got=$("$1" -constraint "$ic_line$2" 2>&1 </dev/null) ||
      case $ic_got in *"ouldn't find"*) ;; *) printf '%s\n' "$ic_got"; exit 1 ;; esac
  done
}
ic_cancel() { # NAME TAG RANGES CLUSTER RANGES
  ic_ours "$1" "$4" "$5" || return
  [ -z "$ic_which" ] || { mark "$2" "$3" && ic_tell condor_rm ''; }
}
ic_release() { # NAME CLUSTER RANGES
  ic_ours "$@" || return
  [ -z "$ic_which" ] || ic_tell condor_release ' && JobStatus == 5'
}
# TAG: whether files may be put into its directories
ic_safe() { present "$1" && [ ! -L "$1/back" ] && [ ! -L "$1/one" ] && [ ! -L "$1/c" ] && [ ! -L "$1/secrets" ] && [ ! -L .new ]; }
ic_arrive() {
  ic_tmp=.new/$ic_nonce.back
  for ic_copy in $ic_jobs; do
    case $ic_copy in /*) ic_tag=${ic_copy#/dev/null/}; continue ;; esac
    ic_file=$ic_tag/back/$ic_copy
    if [ -s "$ic_file" ] && ic_safe "$ic_tag" && plain "$ic_file"; then ic_take "$ic_tag" "$ic_copy"; fi
  done >/dev/null 2>&1
  [ ! -d "$ic_tmp" ] || rm -rf "$ic_tmp"
}
# The archive is complete when its last file is there. Of two that put it in place, one comes first.
ic_take() { # TAG COPY
  (umask 077; mkdir -p "$ic_tmp/$1" && tar -xf "$1/back/$2" -C "$ic_tmp/$1")
  ic_fresh=$ic_tmp/$1/c/$2
  [ -d "$ic_fresh" ] && [ ! -L "$ic_fresh" ] && [ ! -L "$ic_tmp/$1/c" ] && [ -f "$ic_fresh/whole" ] || return
  rm -f "$ic_fresh/whole"
  # what was seen of it while it ran
  [ -f "$1/c/$2/record" ] || mv -T "$1/c/$2" "$ic_tmp/$1/seen.$2"
  mv -T "$ic_fresh" "$1/c/$2"
  [ ! -f "$1/c/$2/record" ] || rm -rf "$1/back/$2" "$1/secrets/$2" "$1/one/$2.line"
}
# Lines `ID TAG COPY STATUS` for those jobs in ic_jobs that have not come back and that the queue has.
ic_asked() {
  ic_away=$(for ic_copy in $ic_jobs; do
    case $ic_copy in /*) ic_tag=${ic_copy#/dev/null/}; continue ;; esac
    ic_safe "$ic_tag" && [ ! -f "$ic_tag/c/$ic_copy/record" ] && plain "$ic_tag/size" && read -r _ ic_size <"$ic_tag/size" || continue
    ic_first=$((ic_copy / ic_size * ic_size))
    plain "$ic_tag/chunk/$ic_first" && IFS=. read -r ic_id _ <"$ic_tag/chunk/$ic_first" || continue
    echo "$ic_id.$((ic_copy - ic_first)) $ic_tag $ic_copy"
  done)
  [ -n "$ic_away" ] || return 0
  # as in htcondor.py: so many clusters, or all that the user has
  ic_some=$(printf '%s\n' "$ic_away" | cut -d. -f1 | sort -u | awk '{ all = all " " $0 } END { if (NR <= 300) print all }')
  # shellcheck disable=SC2086 # numbers
  { condor_q $ic_some -af ClusterId ProcId JobStatus 2>/dev/null; printf '\n%s\n' "$ic_away"; } |
    awk '$0 == "" { told = 1; next } !told { status[$1 "." $2] = $3; next } $1 in status { print $0, status[$1] }'
}
# A job that is there already has the files that it started with.
ic_renewed() { ic_jobs=$(awk '{ print "/dev/null/" $1, $2 }'); ic_asked | awk '$4 == 1 || $4 == 5 { print $2, $3 }'; }
# NAME: what running jobs have written to stdout or stderr, or to both of them; of other files HTCondor shows nothing. It
# gives the end of a file: of one that is larger than this nobody could say where that begins, so it is not shown.
ic_most=67108864
ic_live() {
  case ${1-stdout} in stdout | stderr) ;; *) return 0 ;; esac
  ic_asked | while read -r ic_id ic_tag ic_copy ic_status; do
    [ "$ic_status" = 2 ] || continue
    # shellcheck disable=SC2086 # one word, or two
    for ic_name in ${1-stdout stderr}; do ic_glimpse "$ic_id" "$ic_tag/c/$ic_copy" "$ic_name"; done
  done >/dev/null 2>&1
}
ic_glimpse() { # ID HOME NAME
  ic_id=$1 ic_home=$2 ic_name=$3 ic_file=.new/$ic_nonce.$3
  if [ "$3" = stderr ]; then set -- -no-stdout -stderr; else set --; fi
  condor_tail -maxbytes "$ic_most" "$@" "$ic_id" >"$ic_file" </dev/null && [ "$(wc -c <"$ic_file")" -lt "$ic_most" ] &&
    [ ! -L "$ic_home" ] && mkdir -p "$ic_home" &&
    # whoever puts the whole of it in place meanwhile moves this directory away, and us with it
    (cd "$ic_home" && [ ! -f record ] && mv -f "$ic_store/$ic_file" "$ic_name") || rm -f "$ic_file"
}
