# OpenPBS on the submit host. WORDS of ic_submit: whether the job may run again (y or n), then options of qsub.
ic_ended='^[FX]'
ic_name_at=8
ic_limit() { qstat -B -f -F json | sed -n 's/^.*"max_array_size":[^0-9]*\([0-9][0-9]*\).*$/\1/p'; }
# What tells our submission from any other of that name: its directory, and when that was made.
ic_stamp() { printf '%s-%s\n' "$(printf '%s' "$1" | cksum | cut -d' ' -f1)" "$(date -r "$1/size" +%s)"; }
ic_submit() { # DIRECTORY NAME FIRST COUNT AGAIN WORDS...
  ic_d=$1 ic_n=$2 ic_f=$3 ic_c=$4 ic_r=$5
  shift 5
  # an array of one is refused (seen on 23.06), and so is one that must not run again (User's Guide, 9.1)
  if [ "$ic_c" = 1 ]; then set -- -r "$ic_r" "$@"; else set -- -J "0-$((ic_c - 1))" "$@"; fi
  ic_s=$(ic_stamp "$ic_d") || return
  # qsub puts its working directory into the job's variables, and chokes on quotes there
  cd / || return
  ic_script | qsub -N "$ic_n" -S /bin/sh -j oe -o /dev/null -m n -v "IC_SENT=$ic_s" "$@"
}
# The script takes no arguments, and a path in an option would be read as HOST:PATH: so it says itself where it is.
# Nothing in a here-document is quoted, and a path has no newline.
ic_script() {
  printf '%s\n' "IFS= read -r ic_d <<'IC_END'" "$ic_d" IC_END \
    'exec "$ic_d/runner" "$ic_d" '"$ic_f"' </dev/null >"$ic_d/log/'"$ic_f"'.${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-0}}" 2>&1'
}
# Whether an answer of qsub means for certain that nothing was queued.
ic_refused() {
  case $1 in
  *"cannot connect to server"*) return 0 ;;
  *"imed out"* | *imeout* | *rotocol* | *"End of File"* | *"o reply"* | *ommunication* | *"onnection "*) return 1 ;;
  "qsub: "* | *"
qsub: "*) return 0 ;;
  esac
  return 1
}
ic_unsent() { return 1; }
ic_named() { # NAME TAG; ended jobs are there as long as the server keeps a history
  ic_s=$(ic_stamp "$ic_store/$2") || return 1
  ic_x=-x
  ic_got=$(qselect -x -u "$(id -un)" -N "$1" 2>&1) ||
    { ic_x=-w && ic_got=$(qselect -u "$(id -un)" -N "$1" 2>&1); } || return 1
  ic_got=$(printf '%s\n' "$ic_got" | grep '^[0-9]' | tail -n 50)
  # shellcheck disable=SC2086 # identifiers, with no blanks in them
  [ -z "$ic_got" ] || (set -f; qstat $ic_x -f -w $ic_got 2>/dev/null) | ic_s=$ic_s awk '
    /^Job Id: / { id = substr($0, 9) }
    /^    Variable_List = / && index($0 ",", "IC_SENT=" ENVIRON["ic_s"] ",") { print id }' | tail -n 1
}
ic_keep=34 # letters that a server's name may have to stay in an identifier
ic_columns='job_state substate Exit_status Hold_Types Stageout_status run_count Job_Name queue exec_host ctime stime obittime Resource_List.walltime comment'
# OPTIONS [IDS]: a line `ID|STATE|...` for each job that qstat -f shows; none for what it does not know, or has put away.
# Reads the text, in which a line may be folded, and JSON line by line. JSON of several ids shows only the first of them
# (23.06), and in the text of other people's jobs a value could pass for a job: text for ids, JSON for all.
ic_qstat() {
  {
    ic_complaint=$(qstat "$@" 2>&1 >&3 3>&-)
    printf '\nended %s\n%s\n' "$?" "$ic_complaint"
  } 3>&1 | ic_me=$(id -un) awk -v asked="$*" -v columns="$ic_columns" -v keep="$ic_keep" '
    BEGIN { n = split(columns, want, " "); all = asked ~ /json$/ }
    function put(    i, line, whole) {
      if (id == "") return
      i = index(id, "."); if (i && length(id) - i > keep) id = substr(id, 1, i - 1)
      # jobs of an array that is held are shown as queued
      whole = id; sub(/\[[0-9]*\]/, "[]", whole)
      if (whole == id) { state[id] = a["job_state"]; held[id] = a["Hold_Types"] }
      else if (a["job_state"] == "Q" && state[whole] == "H") { a["job_state"] = "H"; a["Hold_Types"] = held[whole] }
      sub(/@.*/, "", a["Job_Owner"])
      if (match("," a["Variable_List"], /,IC_NAME=[A-Za-z0-9._+-]+/)) a["IC_NAME"] = substr(a["Variable_List"], RSTART + 8, RLENGTH - 9)
      if (!all || (a["Job_Owner"] == ENVIRON["ic_me"] && a["Job_Name"] ~ /^ic-/)) {
        line = id
        for (i = 1; i <= n; i++) { if (i < n) gsub(/\|/, "?", a[want[i]]); line = line "|" a[want[i]] }
        print line }
      id = "" }
    function start(name) { put(); split("", a); id = name; inner = key = "" }
    over { if ($0 !~ /^qstat: Unknown Job Id( Error)? / && $0 !~ /^qstat: .* Job has finished, use -x/ && $0 != "") bad = bad $0 "\n"; next }
    /^ended [0-9]+$/ { over = 1; code = $2; put(); next }
    all && /^\t\t"[^"]*":\t\{$/ { split($0, word, "\""); start(word[2]); next }
    all && /^\t\t\t"[^"]*":\t\{$/ { split($0, word, "\""); inner = word[2] "."; next }
    all && /^\t\t\t\},?$/ { inner = ""; next }
    all && /^\t\t\t\t?"/ { i = index($0, "\":\t"); key = substr($0, 1, i - 1); sub(/^\t*"/, "", key)
      value = substr($0, i + 3); sub(/,$/, "", value); if (value ~ /^".*"$/) value = substr(value, 2, length(value) - 2)
      gsub(/\\"/, "\"", value); a[inner key] = value; next }
    all { next }
    /^Job Id: / { start(substr($0, 9)); next }
    /^    [A-Za-z_.]+ = / { i = index($0, " = "); key = substr($0, 5, i - 5); a[key] = substr($0, i + 3); next }
    /^\t/ { a[key] = a[key] substr($0, 2) }
    END { if (bad == "" && (code == 0 || code == 35 || code == 153)) exit 0
      printf "%s", bad == "" ? "qstat ended with status " code "\n" : bad
      exit 1 }'
}
ic_queue() { if [ "$1" = all ]; then ic_qstat -t -f -F json; else ic_qstat -t -f -w "$@"; fi; } # all, or ids
# Each id costs the server a connection from a privileged port: of 600 in one call, 510 were answered, and every command
# of the host hung for a minute (23.06).
ic_history() { # lines `TAG COPY NATIVE ...` on stdin
  ic_ids=$(awk '{ sub(/\[[0-9]*\]/, "[]", $3); if (!($3 in seen)) { seen[$3]; print $3 } }')
  case $(printf '%s\n' "$ic_ids" | wc -l) in
  [1-9] | [1-4][0-9] | 50)
    # shellcheck disable=SC2086 # identifiers, with no blanks in them
    (set -f; ic_qstat -x -t -f -w $ic_ids) ;;
  *) ic_qstat -x -t -f -F json ;;
  esac
}
# NAME WORDS...: gives in ic_got what PBS still has of these; fails if it is called something else.
ic_ours() {
  ic_n=$1
  shift
  ic_ids=$(printf '%s\n' "$@" | sed 's/\[.*\]/[]/' | sort -u)
  # shellcheck disable=SC2086 # as above
  ic_got=$(set -f; ic_qstat -f -w $ic_ids) || { printf '%s\n' "$ic_got"; return 1; }
  if [ -n "$ic_got" ] && printf '%s\n' "$ic_got" | cut -d'|' -f8 | grep -qvxF -e "$ic_n"; then
    echo "the job of that number is not $ic_n"
    return 3
  fi
}
ic_whole() { # NAME WORDS...: the array itself, if that is what is asked for
  ic_t=${1#ic-} ic_f=0
  case $ic_t in *+*) ic_f=${ic_t##*+} ic_t=${ic_t%+*} ;; esac
  [ "$#" = 2 ] && plain "$ic_t/size" && read -r ic_c ic_size <"$ic_t/size" || return 1
  ic_c=$((ic_c - ic_f))
  [ "$ic_c" -le "$ic_size" ] || ic_c=$ic_size
  case $2 in *"[0-$((ic_c - 1))]"*) printf '%s[]%s\n' "${2%%\[*}" "${2#*\]}" ;; *) return 1 ;; esac
}
ic_tell() { # COMMAND IDS...: gives what it complains of, but for jobs that have ended. (No -W: qdel hangs with it, 23.06.)
  ic_do=$1
  shift
  ic_said=$(printf '%s\n' "$@" | xargs -n 50 "$ic_do" 2>&1 |
    grep -vE "^$ic_do: (Unknown Job Id|Unknown Job Id Error|Job has finished|Request invalid for finished array subjob)")
  [ -z "$ic_said" ] || { printf '%s\n' "$ic_said"; return 1; }
}
ic_cancel() { # NAME TAG RANGES WORDS...
  ic_n=$1 ic_tag=$2 ic_r=$3
  shift 3
  ic_ours "$ic_n" "$@" || return
  [ -n "$ic_got" ] || return 0
  mark "$ic_tag" "$ic_r" || return
  ic_one=$(ic_whole "$ic_n" "$@") && set -- "$ic_one"
  ic_tell qdel "$@"
}
ic_release() { # NAME WORDS...
  ic_ours "$@" || return
  [ -n "$ic_got" ] || return 0
  # qrls(1B) takes arrays, and no jobs of them
  if ic_one=$(ic_whole "$@"); then ic_tell qrls "$ic_one"; return; fi
  case $2 in *\[*) echo "PBS holds and releases an array as a whole: release all of ${2%%\[*}[]"; return 1 ;; esac
  shift
  ic_tell qrls "$@"
}
