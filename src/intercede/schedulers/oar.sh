# OAR on the submit host. Words that go to oarsub come from oar.py as arguments.
ic_ended='^(Terminated|Error)$'
ic_name_at=3
ic_limit() { :; }
# DIRECTORY: what tells in the database which work area a job belongs to; the runner does not read it
ic_mark() { printf '%s' "$1" | cksum | { read -r ic_sum ic_size; echo "ic-$ic_sum-$ic_size"; }; }
ic_submit() { # DIRECTORY NAME FIRST COUNT WORDS...
  ic_d=$1 ic_n=$2 ic_f=$3 ic_c=$4
  shift 4
  # a quote in it ends oarexec, and OAR takes the node out of service then (2.6.1)
  case $ic_d in *[!A-Za-z0-9/._+@-]*) ic_w=/ ;; *) ic_w=$ic_d ;; esac
  # the command is read by the user's login shell, which may be any
  ic_q=$(printf '%s' "$ic_d" | sed 's/[][ !"#$%&'\''()*,:;<=>?@\\^`{|}~]/\\&/g')
  # one that is interrupted, or cannot write, deletes what it has queued already, and may keep the database waiting: nothing
  # that ends us or the connection is to reach it
  ic_out=$ic_d/log/$ic_f.oarsub
  setsid timeout 600 oarsub --array "$ic_c" -n "$ic_n" -d "$ic_w" -O /dev/null -E /dev/null "$@" \
    "exec /bin/sh $ic_q/runner $ic_q $ic_f $(ic_mark "$ic_d")" >"$ic_out" 2>&1 &
  wait $!
  ic_code=$?
  ic_got=$(cat "$ic_out")
  ic_id=$(printf '%s\n' "$ic_got" | sed -n 's/^OAR_ARRAY_ID=\([1-9][0-9]*\)$/\1/p' | tail -n 1)
  # of an array of one, no array is told
  [ -n "$ic_id" ] || ic_id=$(printf '%s\n' "$ic_got" | sed -n 's/^OAR_JOB_ID=\([1-9][0-9]*\)$/\1/p' | tail -n 1)
  # a job that has a number is in the database: it runs when the server is back, though oarsub says "Job is killed"
  if [ -n "$ic_id" ]; then echo "$ic_id"; return 0; fi
  printf '%s\n' "$ic_got" "oarsub: exit $ic_code"
  [ "$ic_code" = 0 ] || return "$ic_code"
  return 1
}
# Whether an answer of oarsub means for certain that nothing was queued: the words of admission rules are the site's own, but
# it ends with statuses of its own when it has looked at a job and not sent it.
ic_refused() {
  case $1 in
  *DBD::*) return 1 ;;
  *"DBI connect"*) return 0 ;;
  *"oarsub: exit "[1-8] | *"oarsub: exit 24"[6-9] | *"oarsub: exit 25"[0-4]) return 0 ;;
  esac
  return 1
}
ic_unsent() { return 1; }
# OPTIONS SQL: the jobs that the condition picks, a line `ARRAY.INDEX|STATE|NAME|QUEUE|NODE|SUBMITTED|STARTED|ENDED|EXIT|
# EVENTS` each; of those that were submitted again, which keep array and index, the last. No job is no output at all,
# not `{}`.
ic_ask() {
  ic_got=$(oarstat -J "$@" 2>&1) || { printf '%s\n' "$ic_got"; return 1; }
  # of a question that the database does not take it complains, and exits with 0 (2.6.1)
  case $ic_got in
  "") return 0 ;;
  "{"*) ;;
  *) printf '%s\n' "$ic_got"; return 1 ;;
  esac
  printf '%s\n' "$ic_got" | awk '
    function value() { sub(/^[^:]*: /, ""); sub(/,$/, ""); gsub(/^"|"$/, ""); gsub(/[|\\]/, "/"); return $0 == "null" ? "" : $0 }
    /^   "[0-9]+" : / { split("", v); events = ""; next }
    /^      "/ { key = $1; gsub(/"/, "", key); if (/\[$/) list = key; else { v[key] = value(); list = "" } next }
    list == "assigned_network_address" && /^         "/ && v["node"] == "" { sub(/^ */, ": "); v["node"] = value(); next }
    list != "events" { if (!/^   }/) next }
    /^         \{/ { type = check = said = ""; next }
    /^            "type" / { type = value(); next }
    /^            "to_check" / { check = value(); next }
    /^            "description" / { said = value(); gsub(/[;,]/, " ", said); next }
    /^         }/ { events = events (events == "" ? "" : ";") type "," check "," said; next }
    /^   }/ { id = v["array_id"] "." v["array_index"]
      if (v["Job_Id"] + 0 < last[id] + 0) next
      last[id] = v["Job_Id"]
      row[id] = "|" v["state"] "|" v["name"] "|" v["queue"] "|" v["node"] "|" v["submissionTime"] "|" v["startTime"] "|" \
        v["stopTime"] "|" v["exit_code"] "|" events }
    END { for (id in row) print id row[id] }'
}
# On stdin lines `ARRAY FROM TO`: conditions for as many jobs as one command takes, a line each
ic_where() {
  awk '
    function told() { if (array != "") printf "%s(array_id = %d AND array_index BETWEEN %d AND %d)", \
      (said++ % 1000 ? " OR " : said > 1 ? "\n" : ""), array, from, to }
    $1 == array && $2 == to + 1 { to = $3; next }
    { told(); array = $1; from = $2; to = $3 }
    END { told(); print "" }'
}
# NAME TAG: the number of our job of that name that was sent from that directory, since it is there: the same tag may be in
# use in another work area, or have been in use in this one long ago. Five minutes are for clocks that differ.
ic_named() {
  ic_since=$(date -r "$2/size" +%s) || return 1
  ic_got=$(ic_ask --sql "job_name = '$1' AND job_user = '$(id -un)' AND submission_time >= $((ic_since - 300)) AND array_index = 1 \
AND command LIKE '% $(ic_mark "$ic_store/$2")'") || return 1
  [ -z "$ic_got" ] || printf '%s\n' "${ic_got%%.*}"
}
ic_queue() { # NUMBERS with commas, or `-` for all that the user has
  case $1 in -) ic_sql="job_user = '$(id -un)'" ;; *) ic_sql="array_id IN ($1)" ;; esac
  ic_ask --sql "$ic_sql AND state NOT IN ('Terminated', 'Error')"
}
ic_history() { # lines `TAG COPY NATIVE ...` on stdin
  awk '{ split($3, id, "."); n = split($2, copy, "-"); print id[1], id[2], id[2] + copy[n] - copy[1] }' | ic_where |
    while IFS= read -r ic_sql; do ic_ask -f --sql "$ic_sql" || exit; done
}
# NAME ARRAY RANGES: runs the command in ic_do on jobs that have that name, and on no others, whatever the numbers say.
ic_order() {
  ic_n=$1 ic_a=$2 ic_i=$3
  ic_got=$(ic_ask --sql "array_id = $ic_a AND array_index = ${ic_i%%[-,]*}") || { printf '%s\n' "$ic_got"; return 1; }
  [ -n "$ic_got" ] || return 0
  case $ic_got in
  *"|$ic_n|"*) ;;
  *) echo "the job of that number is not $ic_n"; return 3 ;;
  esac
  $ic_do
}
# COMMAND CONDITION: gives it the jobs
ic_give() {
  printf '%s\n' "$ic_i" | tr , '\n' | awk -F- -v array="$ic_a" '{ print array, $1, $NF }' | ic_where |
    while IFS= read -r ic_sql; do "$1" --sql "job_name = '$ic_n' AND $2 AND ($ic_sql)" 2>&1; done
}
ic_cancel() { # NAME TAG RANGES ARRAY RANGES
  ic_t=$2 ic_r=$3 ic_do=ic_end
  ic_order "$1" "$4" "$5"
}
# oardel says what came of each, and fails if one of them ended meanwhile
ic_end() {
  mark "$ic_t" "$ic_r" || return
  ic_got=$(ic_give oardel "state NOT IN ('Terminated', 'Error', 'toError', 'Finishing')" | grep -v -e '^Deleting the job = ' \
    -e ' will be deleted in the near future' -e 'This job was already killed' -e '^ *$')
  [ -z "$ic_got" ] || { printf '%s\n' "$ic_got"; return 1; }
}
ic_release() { # NAME ARRAY RANGES
  ic_do=ic_free
  ic_order "$1" "$2" "$3"
}
ic_free() { ic_give oarresume "state = 'Hold'"; }
