# Reads the jobs' own records; wants lines `TAG COPY ...` in ic_wanted, COPY may be a range; gives a line for each, `TAG
# COPY cancelled|purged|- RECORD`, or (`records together`) one for jobs of a submission that say the same, COPY as `0,3,4`.
# A link in the place of a submission's or a job's directory, or of a record, is not followed, nor is a pipe waited for.
records() {
  [ -n "$ic_store" ] || return 0
  # words `/dev/null/TAG COPY COPY ...`: a tag is told from a copy by a path that nothing can have
  ic_jobs=$(printf '%s\n' "$ic_wanted" | awk '{ if ($1 != tag) print "/dev/null/" (tag = $1)
    last = substr($2, index($2, "-") + 1) + 0; for (c = $2 + 0; c <= last; c++) print c }')
  ic_arrive
  { doubtful; printf '\n%s\n' "$ic_jobs"; } | awk -v together="${1-}" '
    !wanted && $0 == "" { wanted = 1; next }
    !wanted { doubtful[$0] = 1; next }
    # the ranges of a list become marks of copies, once, and none beyond the last that is asked for
    function among(tag, copy, list,    i, n, r, key, file, line) {
      key = tag "/" list; file = "./" key
      if (!(key in orders)) { orders[key] = 1
        if (!(file in doubtful)) { while ((getline line < file) > 0) { n = split(line, r, ","); for (i = 1; i <= n; i++) expand(key, r[i]) }
          close(file) } }
      return (key, copy) in marked
    }
    function expand(key, range,    m, e, c, end) {
      m = split(range, e, "-")
      if (!m || (key, range) in marked) return
      marked[key, range] = 1; end = e[m] + 0 > most ? most : e[m] + 0
      for (c = e[1] + 0; c <= end; c++) marked[key, c] = 1
    }
    # a job that was ended by force has said only, in a file of its own, that it was told to
    function heed(    command, file, word, i, m, n, flag, line) {
      command = "find" unsure " -maxdepth 0 -type f 2>/dev/null"
      while ((command | getline file) > 0) {
        if ((getline flag < file) > 0) { i = asks[file]; n = split(said[i], word, " "); word[7] = flag; line = word[1]
          for (m = 2; m <= n; m++) line = line " " word[m]
          said[i] = line }
        close(file) }
      close(command)
      unsure = ""
    }
    index($0, "/dev/null/") == 1 { this = substr($0, 11); top = "./" this; next }
    { home = top "/c/" $0; file = home "/record"
      if ((top in doubtful) || (home in doubtful)) next
      line = "-"
      if (!(file in doubtful)) { if ((getline line < file) <= 0) line = "-"; close(file) }
      tag[++jobs] = this; copy[jobs] = $0; said[jobs] = line
      if ($0 + 0 > most) most = $0 + 0
      if (line ~ /^[^ ]+ [^ ]+ [^ ]+ - /) {
        asks[home "/.flag"] = jobs; unsure = unsure " " home "/.flag"
        if (length(unsure) > 60000) heed() } }
    # orders are looked at after the records: an end that we ordered meanwhile must not look like one of its own
    END { if (unsure != "") heed()
      for (i = 1; i <= jobs; i++) { t = tag[i]
      if (!(t in stone)) { file = "./.gone/" t "/digest"
        stone[t] = !(file in doubtful) && (getline gone < file) > 0; close(file) }
      mark = (stone[t] || among(t, copy[i] + 0, "purged")) ? "purged" : among(t, copy[i] + 0, "cancelled") ? "cancelled" : "-"
      if (together == "") { print t, copy[i], mark, said[i]; continue }
      key = t " " mark " " said[i]
      if (key in copies) copies[key] = copies[key] "," copy[i]
      else { kind[++kinds] = key; copies[key] = copy[i] } }
      for (i = 1; i <= kinds; i++) { k = index(kind[i], " ")
        print substr(kind[i], 1, k - 1), copies[kind[i]], substr(kind[i], k + 1) } }'
}
# Of the files and directories that records() reads, those that are not what they should be. (A loop over words and
# tests of the shell itself, the usual answer first: find takes three times as long, and `read` asks for every byte by
# itself.)
doubtful() {
  ic_tag=""
  for ic_word in $ic_jobs; do
    [ ! -L "$ic_word" ] && [ ! -L "$ic_word/record" ] && [ -f "$ic_word/record" ] && continue
    case $ic_word in
    /dev/null/*)
      ic_tag=${ic_word#/dev/null/}
      cd "$ic_store" || return
      plain "$ic_tag/cancelled" || echo "./$ic_tag/cancelled"
      plain "$ic_tag/purged" || echo "./$ic_tag/purged"
      { [ ! -L ".gone/$ic_tag" ] && plain ".gone/$ic_tag/digest"; } || echo "./.gone/$ic_tag/digest"
      # a short way to each of many
      if [ -L "$ic_tag" ] || [ -L "$ic_tag/c" ]; then echo "./$ic_tag"; else cd "$ic_tag/c" 2>/dev/null || :; fi ;;
    *) if [ -L "$ic_word" ]; then echo "./$ic_tag/c/$ic_word"; else echo "./$ic_tag/c/$ic_word/record"; fi ;;
    esac
  done
}
