# Arguments: TAG COPY, in the job's session directory, or what the batch system has made of it on the node. All that is ours
# is in the directory TAG; only plain files beside it travel between the two where they are apart.
ic_identify() {
  ic_top=$PWD ic_tag=$1 ic_dir=$PWD/$1 ic_first=0 ic_index=$2 ic_native=- ic_owner=- ic_attempt=1 ic_sleeper=
  ic_forward='HUP INT QUIT USR1 USR2 ALRM TERM'
  # A-REX says that the session directory is everybody's home
  unset HOME OLDPWD
  for ic_file in intercede.renew.*.tar; do
    [ -f "$ic_file" ] || continue
    mkdir "$1/.new" && tar -xof "$ic_file" -C "$1/.new" && [ -f "$1/.new/whole" ] && mkdir -p "$1/secrets/$2" &&
      cp -R "$1/.new/secrets/$2/." "$1/secrets/$2/"
    rm -rf "$1/.new" "$ic_file"
  done
  cd "$ic_dir" || exit 66
  mkdir -p c chunk secrets
  # as it would be in the file that all copies share
  if [ -f line ]; then { yes '' | head -n "$2"; cat line; } >copies; fi
  [ ! -d "secrets/$2" ] || chmod -R go= secrets
  for ic_file in ../intercede.input.*; do
    [ ! -f "$ic_file" ] || { mkdir -p in && mv "$ic_file" "in/${ic_file#../intercede.input.}"; }
  done
}
ic_admit() { :; }
ic_again() { return 1; }
# Walltime: a batch system might end a job that is late before it has packed what it leaves. And A-REX's own way to run
# plain processes ends a job by killing one of the two scripts above us, and nothing below them.
ic_above() { # the parent of our parent, as long as that lives
  while read -r ic_key ic_value; do
    [ "$ic_key" != PPid: ] || { echo "$ic_value"; return; }
  done <"/proc/$PPID/status"
} 2>/dev/null
ic_before() {
  ic_late=0 ic_passed=0 ic_began=$(ic_above)
  [ ! -f walltime ] || read -r ic_late <walltime
  ( # the payload must not be waited for by this one
    trap - HUP INT QUIT USR1 USR2 ALRM TERM
    ic_grace=4
    while [ "$(ic_above)" = "$ic_began" ]; do
      if [ "$ic_late" -gt 0 ] && [ "$ic_passed" -ge "$ic_late" ]; then ic_grace=10; break; fi
      sleep 1
      ic_passed=$((ic_passed + 1))
    done
    kill -TERM $$
    sleep "$ic_grace"
    kill -KILL "$(cat "$ic_here/.pid")"
  ) >/dev/null 2>&1 &
  ic_sleeper=$!
}
ic_after() {
  [ -z "$ic_sleeper" ] || kill "$ic_sleeper" 2>/dev/null
  cd "$ic_top" || return 0
  ic_home=$ic_tag/c/$ic_copy
  [ -d "$ic_tag/c" ] && [ ! -L "$ic_tag" ] && [ ! -L "$ic_tag/c" ] && [ ! -L "$ic_home" ] && [ -d "$ic_home" ] || return 0
  ic_pack "$ic_home" intercede.out.tar
  [ ! -s intercede.out.tar ] || rm -f "$ic_home/stdout" "$ic_home/stderr"
  if [ -f "$ic_tag/sent" ] && [ ! -L "$ic_home/work" ]; then
    while read -r ic_name; do
      [ ! -f "$ic_home/work/$ic_name" ] || cp "$ic_home/work/$ic_name" "intercede.output.$ic_name"
    done <"$ic_tag/sent"
  fi
}
