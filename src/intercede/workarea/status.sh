# JOBS WORDS…: lines `TAG COPY NATIVE [known]`, or `-` where they are on stdin; the words are for ic_queue. COPY may be a
# range, and then NATIVE is that of its first and ends in a number that counts up with it. The queue is asked about all;
# records only about those that it lacks or shows as ended, history about those of them that it lacks or whose records
# do not tell the end; neither about those that are known to have ended. What is shown goes to the answer as it comes,
# beside what is decided.
exec 4>&1
# Lines `ID|...` that are alike but for ID become one, `ID ID ...|...`; other lines stay as they are.
ic_alike='
  function told(    i) { for (i = 1; i <= kinds; i++) print who[kind[i]] kind[i]
    split("", who); kinds = 0 }
  function alike(    i, rest) {
    i = index($0, "|")
    if (!i) { told(); print; return }
    rest = substr($0, i)
    if (rest in who) who[rest] = who[rest] " " substr($0, 1, i - 1)
    else { kind[++kinds] = rest; who[rest] = substr($0, 1, i - 1) } }'
# What is decided goes to descriptor 2, many lines at a time: awk writes that without a buffer, and a pipe to `cat` would
# cost two programs more.
ic_decide='
  function decide(line) { held = held line "\n"; if (++holding == 100) decided() }
  function decided() { if (holding) printf "%s", held > "/dev/stderr"; held = ""; holding = 0 }'
past() { # LINES, as above
  say history
  { ic_history 2>&1; say historied "$?"; } <<END | awk "$ic_alike"' { alike() } END { told() }'
$1
END
}
enter any
ic_wanted=$1
shift
[ "$ic_wanted" != - ] || ic_wanted=$(cat)
say queue
# what is neither waiting nor running: `TAG COPY NATIVE ended|absent`, the latter where the queue does not know it at all, or shows
# another job under its number (`ic_name_at`: the column of the name)
ic_rest=$(
  exec 5>&1 >&4
  { printf '%s\n\n' "$ic_wanted"; ic_queue "$@" 2>&1 4>&- 5>&-; printf '%s queued %s\n' "$ic_nonce" "$?"; } |
    ic_ended=$ic_ended ic_name_at=${ic_name_at-} ic_nonce=$ic_nonce awk "$ic_alike$ic_decide"'
      BEGIN { FS = " "; ended = ENVIRON["ic_ended"]; at = ENVIRON["ic_name_at"] + 0; mark = ENVIRON["ic_nonce"] }
      !shown && $0 == "" { shown = 1; FS = "|"; next }
      !shown { tag[++n] = $1; copy[n] = $2; native[n] = $3; known[n] = NF > 3; count[n] = split($2, e, "-"); first[n] = e[1] + 0
        last[n] = e[count[n]] + 0; next }
      { alike() }
      { rows++ }
      $1 ~ / / { if (index($0, mark " queued ") == 1) code = substr($0, length(mark) + 9); next }
      # jobs that follow one another are often in the same case
      $2 != its || (at && $at != called) { word[++cases] = its = $2; if (at) name[cases] = called = $at }
      # an identifier may stand for several: 7_[0-3,8], 7_[0-58:2]
      substr($1, length($1)) == "]" && match($1, /\[[0-9]+[-,][0-9,:%-]*\]$/) { m = split(substr($1, RSTART + 1, RLENGTH - 2), part, ",")
        for (i = 1; i <= m; i++) { sub(/%.*/, "", part[i]); by = 0
          if (match(part[i], /:/)) { by = substr(part[i], RSTART + 1) + 0; part[i] = substr(part[i], 1, RSTART - 1) }
          k = split(part[i], e, "-")
          stem[++spans] = substr($1, 1, index($1, "[") - 1); from[spans] = e[1] + 0; to[spans] = e[k] + 0; in_case[spans] = cases
          step[spans] = by > 1 ? by : 1 }
        next }
      { case_of[$1] = cases }
      function spread(    i, k) { for (i = 1; i <= spans; i++) for (k = from[i]; k <= to[i]; k += step[i]) case_of[stem[i] k] = in_case[i]
        spans = 0 }
      # a number may be that of another job by now: the queue lacks ours then (LSF shows a stamp behind the name)
      function fate(c,    mine) {
        mine = "ic-" tag[i]
        if (at && name[c] != mine && index(name[c], mine "+") != 1 && index(name[c], mine "/") != 1) return "absent"
        return word[c] ~ ended ? "ended" : "" }
      function want(copy, id) {
        if (!(id in case_of)) { decide(tag[i] " " copy " " id " absent"); return }
        if (case_of[id] != last_case) ends = fate(last_case = case_of[id])
        if (ends != "") decide(tag[i] " " copy " " id " " ends) }
      # many that wait together need no look at each
      function waits(    s) {
        for (s = 1; s <= spans && s <= 20; s++)
          if (step[s] == 1 && stem[s] == start && from[s] <= number && to[s] >= number + last[i] - first[i])
            if (fate(in_case[s]) == "") return 1
        return 0 }
      END { if (code != "0") n = 0
        for (i = 1; i <= n; i++) {
          if (known[i]) continue
          last_case = -1
          if (rows == 1) { decide(tag[i] " " copy[i] " " native[i] " absent"); continue }
          if (count[i] == 1 && (native[i] in case_of)) { want(first[i], native[i]); continue }
          match(native[i], /[0-9]*$/); start = substr(native[i], 1, RSTART - 1); number = substr(native[i], RSTART) + 0
          if (waits()) continue
          spread()
          if (count[i] == 1) want(first[i], native[i])
          else for (c = first[i]; c <= last[i]; c++) want(c, start (number + c - first[i])) }
        decided() }' 2>&5
)
if [ -n "$ic_rest" ]; then
  case $ic_rest in *" absent"*) ic_absent=$ic_rest ;; *) ic_absent= ;; esac
  case $ic_rest in *" ended"*) ic_absent=$(printf '%s\n' "$ic_rest" | grep ' absent$') ;; esac
  # the history is asked while the records are read
  ic_untold=$(
    exec 5>&1 >&4
    { [ -z "$ic_absent" ] || past "$ic_absent"; } | {
      say records
      ic_wanted=$ic_rest
      case $ic_rest in
      *" ended"*)
        { printf '%s\n\n' "$ic_rest"; records together 5>&-; } | awk "$ic_decide"'
          !shown && $0 == "" { shown = 1; next }
          !shown { if ($4 == "ended") untold[$1 " " $2] = $0; next }
          { print }
          $4 == "v1" && $7 != "-" { for (i = split($2, copy, ","); i; i--) delete untold[$1 " " copy[i]] }
          END { for (job in untold) decide(untold[job]); decided() }' 2>&5
        ;;
      *) records together ;;
      esac
      cat
    }
  )
  [ -z "$ic_untold" ] || past "$ic_untold"
fi
say end
