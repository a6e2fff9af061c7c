# Reads the jobs' own records; wants lines `TAG COPY …` in ic_wanted; gives `TAG COPY cancelled|purged|- RECORD`.
# A link in the place of a submission's or a job's directory, or of a record, is not followed, nor is a pipe waited for.
records() {
  [ -n "$ic_store" ] || return 0
  {
    printf '%s\n' "$ic_wanted" | awk '{ top = "./" $1; home = top "/c/" $2
      if (!($1 in seen)) { seen[$1] = 1; gone = "./.gone/" $1
        print top; print top "/c"; print top "/cancelled"; print top "/purged"; print gone; print gone "/digest" }
      print home; print home "/record" }' |
      xargs sh -c 'exec find "$@" -maxdepth 0 ! -type d ! -type f -print' sh 2>/dev/null
    printf '\n%s\n' "$ic_wanted"
  } | awk '
    !wanted && $0 == "" { wanted = 1; next }
    !wanted { linked[$0] = 1; next }
    function among(tag, copy, list,    i, n, r, m, e, key, file, line) {
      key = tag "/" list; file = "./" key
      if (!(key in orders)) { orders[key] = ""
        if (!(file in linked)) { while ((getline line < file) > 0) orders[key] = orders[key] "," line; close(file) } }
      if (orders[key] == "") return 0
      n = split(orders[key], r, ",")
      for (i = 1; i <= n; i++) { m = split(r[i], e, "-"); if (m && copy >= e[1] + 0 && copy <= e[m] + 0) return 1 }
      return 0
    }
    # a job that was ended by force has said only, in a file of its own, that it was told to
    function heed(    command, file, word, i, n, flag, line) {
      command = "find" unsure " -maxdepth 0 -type f 2>/dev/null"
      while ((command | getline file) > 0) {
        if ((getline flag < file) > 0) { i = asks[file]; n = split(said[i], word, " "); word[7] = flag; line = word[1]
          for (m = 2; m <= n; m++) line = line " " word[m]
          said[i] = line }
        close(file) }
      close(command)
      unsure = ""
    }
    { top = "./" $1; home = top "/c/" $2; file = home "/record"
      if ((top in linked) || ((top "/c") in linked) || (home in linked) || (file in linked)) next
      line = "-"
      if ((getline line < file) <= 0) line = "-"
      close(file)
      tag[++jobs] = $1; copy[jobs] = $2; said[jobs] = line
      if (split(line, word, " ") > 6 && word[4] == "-") {
        asks[home "/.flag"] = jobs; unsure = unsure " " home "/.flag"
        if (length(unsure) > 60000) heed() } }
    # orders are looked at after the records: an end that we ordered meanwhile must not look like one of its own
    END { if (unsure != "") heed()
      for (i = 1; i <= jobs; i++) { t = tag[i]
      if (!(t in stone)) { top = "./.gone/" t; file = top "/digest"
        stone[t] = !(top in linked) && !(file in linked) && (getline gone < file) > 0; close(file) }
      mark = (stone[t] || among(t, copy[i] + 0, "purged")) ? "purged" : among(t, copy[i] + 0, "cancelled") ? "cancelled" : "-"
      print t, copy[i], mark, said[i] } }'
}
