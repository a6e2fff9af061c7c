# WORDS…: for ic_queue. On stdin: lines `TAG COPY NATIVE [known]`. The queue is asked about all; records only about those that it lacks or
# shows as ended, history about those of them that it lacks or whose records do not tell the end; neither about those
# that are known to have ended.
enter any
ic_wanted=$(cat)
say queue
ic_shown=$(ic_queue "$@" 2>&1 </dev/null)
ic_code=$?
printf '%s\n' "$ic_shown"
say queued "$ic_code"
if [ "$ic_code" != 0 ]; then say end; exit 0; fi
# what is neither waiting nor running, and of that, what the queue does not know at all
ic_rest=$(printf '%s\n\n%s\n' "$ic_shown" "$ic_wanted" | ic_ended=$ic_ended awk '
  BEGIN { FS = "|" }
  !wanted && $0 == "" { wanted = 1; FS = " "; next }
  !wanted { if ($2 ~ ENVIRON["ic_ended"]) ended[$1] = 1; else live[$1] = 1; next }
  NF == 3 && !($3 in live) { print $0, (($3 in ended) ? "ended" : "absent") }')
if [ -n "$ic_rest" ]; then
  say records
  ic_wanted=$ic_rest
  ic_told=$(records)
  printf '%s\n' "$ic_told"
  ic_absent=$(printf '%s\n' "$ic_told" "" "$ic_rest" | awk '
    !wanted && $0 == "" { wanted = 1; next }
    !wanted { if ($4 == "v1" && $7 != "-") told[$1 " " $2] = 1; next }
    $4 == "absent" || !(($1 " " $2) in told) { print $3 }')
  if [ -n "$ic_absent" ]; then
    say history
    printf '%s\n' "$ic_absent" | ic_history 2>&1
    say historied "$?"
  fi
fi
say end
