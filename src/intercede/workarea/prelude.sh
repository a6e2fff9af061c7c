# Every program starts here: ARGS are NONCE AREA SCHEDULER and then its own.
# What a program says is framed by lines that start with the nonce, which nothing on this host can know beforehand.
ic_nonce=$1 ic_area=$2 ic_scheduler=$3
shift 3
say() { printf '%s %s\n' "$ic_nonce" "$*"; }
give_up() { say cannot; printf '%s\n' "$1"; say end; exit 0; }
# Where the scheduler moves a job's files, and no file system is shared with the node (docs/adr/0005), it defines these anew:
#   ic_arrive  takes what came back into the places where the job would have written it itself
#   ic_live    brings what running jobs have written so far
# Both are for the jobs in ic_jobs, within the store: words `/dev/null/TAG COPY COPY ...`.
#   ic_renewed of lines `TAG COPY` on stdin, whose secrets were replaced just now, those of jobs that will see the new ones
ic_arrive() { :; }
ic_live() { :; }
ic_renewed() { cat; }
# Enters the store of this scheduler in the work area; `create` makes it, `any` goes on without it.
enter() {
  case $ic_area in
  /*) ;;
  "~/"*) ic_area=$HOME/${ic_area#"~/"} ;;
  *) ic_area=$HOME/$ic_area ;;
  esac
  if [ "${1-}" = create ] && [ ! -d "$ic_area/$ic_scheduler/.new" ]; then
    ic_said=$( { mkdir -p "$ic_area" && mkdir -p "$ic_area/$ic_scheduler/.new" "$ic_area/$ic_scheduler/.gone" &&
      [ -e "$ic_area/$ic_scheduler/.layout" ] || echo 1 >"$ic_area/$ic_scheduler/.layout"; } 2>&1) || give_up "$ic_said"
  fi
  ic_store=
  if ! cd -P "$ic_area/$ic_scheduler" 2>/dev/null; then
    [ "${1-}" != any ] || return 0
    say nothing
    say end
    exit 0
  fi
  ic_store=$PWD
  for ic_own in .new .gone .slots; do
    [ ! -L "$ic_own" ] || give_up "$ic_store/$ic_own is a link, which is not followed: remove it"
  done
  read -r ic_layout 2>/dev/null <.layout || ic_layout=1
  [ "$ic_layout" = 1 ] || { say layout "$ic_layout"; say end; exit 0; }
}
# Of lines `TAG COPY NATIVE ...` on stdin, those with a range of copies become one for each: NATIVE is that of the first,
# and ends in a number that counts up with them.
spread() {
  awk '{ i = index($2, "-"); if (!i) { print; next }
    match($3, /[0-9]+$/); id = substr($3, 1, RSTART - 1); k = substr($3, RSTART) + 0; last = substr($2, i + 1) + 0
    more = substr($0, length($1) + length($2) + length($3) + 3)
    for (c = substr($2, 1, i - 1) + 0; c <= last; c++) print $1 " " c " " id k++ more }'
}
# A submission's directory must be one, not a link to one.
present() { [ -n "$ic_store" ] && [ -d "$1" ] && [ ! -L "$1" ]; }
# A file of ours must be one: a link leads elsewhere, and opening a pipe would hang.
plain() { [ -f "$1" ] && [ ! -L "$1" ]; }
# The parts of a submission and what came of each: `chunk FIRST COUNT known|unknown|abandoned|never`, then the
# scheduler's own words where they are known.
chunks() {
  ic_first=0
  plain "$1/size" && read -r ic_total ic_size <"$1/size" && [ "$ic_size" -gt 0 ] 2>/dev/null || return 1
  while [ "$ic_first" -lt "$ic_total" ]; do
    ic_count=$((ic_total - ic_first))
    [ "$ic_count" -le "$ic_size" ] || ic_count=$ic_size
    chunk "$1" "$ic_first" "$ic_count"
    ic_first=$((ic_first + ic_count))
  done
}
chunk() {
  if plain "$1/chunk/$2"; then
    say chunk "$2" "$3" known
    cat "$1/chunk/$2"
  elif [ -d "$1/chunk/$2.abandoned" ]; then say chunk "$2" "$3" abandoned
  elif [ -d "$1/chunk/$2.began" ]; then say chunk "$2" "$3" unknown
  else say chunk "$2" "$3" never; fi
}
# Writes a file whole or not at all.
write() { printf '%s\n' "$2" >"$1.$$" && mv -f "$1.$$" "$1"; }
# The native name of a part's job.
named() { if [ "$2" = 0 ]; then echo "ic-$1"; else echo "ic-$1+$2"; fi; }
# A part that began without a recorded outcome may be known to the scheduler by its name.
recover() {
  ic_said=$(ic_named "$(named "$1" "$2")" "$1") || return 1
  [ -n "$ic_said" ] || return 1
  write "$1/chunk/$2" "$ic_said"
}
