r"""The text that a remote login shell is given, and what comes back from it.

This is the only place where a command becomes text for a shell. There are two layers:

- `script` writes POSIX `sh`: a watchdog, marks around what is ours, and the commands with every word quoted.
- `login_line` wraps that text for the *login* shell of the account, whichever it is. That shell only ever sees
  characters which bash, dash, zsh, fish and tcsh all take literally between single quotes: fish treats ``\\`` and
  ``\'`` there, tcsh (and csh) `!` and newlines. The POSIX `sh` that it starts turns the text back with `printf %b`.
  Where the first execution on a connection saw that the login shell is a POSIX one, `plain_line` spares that.
"""

from __future__ import annotations

import math
import re
import secrets
from typing import TYPE_CHECKING

from intercede.errors import ConfigurationError, LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercede.steps import Command

__all__ = ["KILL_AFTER", "LONGEST", "Mark", "login_line", "plain_line", "quick_script", "quote", "script"]

KILL_AFTER = 5
"""Seconds between TERM and KILL for a command whose time is over."""

LONGEST = 128 * 1024 - 1
"""Bytes of one argument that Linux accepts (execve(2), MAX_ARG_STRLEN), without the closing NUL."""

_PLAIN = re.compile(rb"[A-Za-z0-9_@%+=:,./-]+\Z")
_UNSAFE = re.compile(rb"[^ -~]|['\\!]")
_SHORT = {b"\n": b"\\n", b"\t": b"\\t"}

_CLEAN = b"LC_ALL=C TZ=UTC0; export LC_ALL TZ; unset ENV BASH_ENV"
_WORD = rb"'\\\!'"

# A login shell has read its startup files: what they set is undone, or does nothing to quoted words (zsh has aliases of
# arguments, too). A DEBUG trap would print into our stdout, `set -x` into stderr; dash has no such trap.
_START = (
    rb"\set +euvx; case ${BASH_VERSION-}${ZSH_VERSION-} in ?*) \trap - DEBUG ;; esac"
    b"\n"
    rb"LC_ALL=C TZ=UTC0; \export LC_ALL TZ; \unset ENV BASH_ENV"
)
_LOGIN = b"exec sh -c '%s; eval \"$(printf %%%%b \"$1\")\"' sh '%%s' " % _CLEAN + _WORD

# The second word of that line comes through as it is in a POSIX shell only, and sshd(8) names the login shell.
_TELL = (
    b"""if test "$l"; then
  printf %%sL "$a$b" >&2
  case ${SHELL##*/} in bash | dash | sh | ksh | mksh | zsh) if test "$2" = %s; then printf %%sP "$a$b" >&2; fi ;; esac
fi"""
    % _WORD
)

# The inner shell shares the process group that timeout(1) ends, and says so at once when the TERM comes: its own exit
# status (124, 137) could as well be the command's. `(exec …)` never runs a builtin, so a name means the same here as
# locally. Stdin is passed as descriptor 3 because a shell without job control gives background commands /dev/null.
_INNER = (
    "m=$1$2; shift 2; t=; trap 't=1; printf %sT \"$m\" >&2; kill $!' TERM; "
    '(exec "$@") <&3 3<&- & wait $!; r=$?; while test "$t"; do t=; wait $!; r=$?; done; exit "$r"'
)

# The long option tells the timeout of GNU, uutils and FreeBSD, which end the process group, from BusyBox's, which ends
# one process. Without it, `set -m` gives the command a group of its own, in shells that can do so without a terminal
# (bash, mksh; not dash and ash, which then end the command's own process only).
_LIMITED = r"""
if timeout --kill-after=KILL_AFTER 5 true 2>/dev/null; then
  l=1
  limited() { n=$1; shift; timeout --kill-after=KILL_AFTER "$n" sh -c "$i" sh "$a" "$b" "$@" & w=; }
else
  limited() {
    n=$1; shift
    trap - TERM  # a shell that is forked with a trap loses signals until it has dropped it
    { set -m; } 2>/dev/null
    (exec "$@") <&3 3<&- & c=$!
    { set +m; } 2>/dev/null
    (
      exec 4>&2 3<&- </dev/null >/dev/null 2>&1
      finish() { kill -$1 -$c || kill -$1 $c; }
      while test "$n" -gt 0; do sleep 1 4>&-; n=$((n - 1)); done
      printf %sT "$a$b" >&4
      exec 4>&-
      finish TERM; sleep KILL_AFTER; finish KILL
    ) & w=$!
  }
fi
heed() { trap 't=1; x=1; kill "${c:-$!}"' TERM; }
run() {
  t= c=
  heed; limited "$@"; heed
  c=${c:-$!}
  wait $c; r=$?
  while test "$t"; do t=; wait $c; r=$?; done
  if test "$w"; then { kill -KILL $w; wait $w; } 2>/dev/null; fi
  if test "$x"; then exit 143; fi
}
"""


class Mark:
    """What separates our bytes from a login banner's, and one command's from the next one's.

    It is printed in two halves, so that a shell which echoes its command line does not print it.
    """

    def __init__(self) -> None:
        self.halves = (secrets.token_hex(8), secrets.token_hex(8))
        mark = "".join(self.halves).encode()
        self.start = mark + b"S"
        self.timed_out = mark + b"T"
        self.has_timeout = mark + b"L"
        self.is_plain = mark + b"P"
        self._mark = mark

    @property
    def end(self) -> re.Pattern[bytes]:
        """What follows the output of each of several commands, with its status."""
        return re.compile(re.escape(self._mark) + rb"E(\d+);")


def quote(word: str | bytes) -> bytes:
    """Quote one word for POSIX `sh`; any bytes but NUL survive.

    Raises:
        ConfigurationError: It holds a NUL, which no process can be given.
    """
    data = word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word
    if b"\0" in data:
        raise ConfigurationError("an argument of a command", "it holds a NUL byte", "No process can be given one.")
    return data if _PLAIN.match(data) else _literal(data)


def _literal(data: bytes) -> bytes:
    return b"'" + data.replace(b"'", b"'\"'\"'") + b"'"


def quick_script(command: Command, limit: float, mark: Mark) -> bytes:
    """Write the text that runs one command on a host whose timeout(1) is known to be a good one.

    The shell becomes that timeout: three programs fewer to start. Its status says that the time was over. Every word is
    quoted, since the shell may be a login shell: zsh takes a bare `=x` for the path of x.

    Args:
        command: What to run.
        limit: Seconds, rounded up.
        mark: The marks of this execution.
    """
    first, second = (half.encode() for half in mark.halves)
    words = b" ".join(word if word[:1] == b"'" else _literal(word) for word in map(quote, command.argv))
    return b"a='%s' b='%s'; \\printf '%%sS' \"$a$b\"; \\printf '%%sS' \"$a$b\" >&2\n" % (
        first,
        second,
    ) + b"\\exec 'timeout' '--kill-after=%d' '%d' %s" % (KILL_AFTER, max(1, math.ceil(limit)), words)


def script(commands: Sequence[Command], limits: Sequence[float], mark: Mark, *, tell: bool = False) -> bytes:
    """Write the POSIX `sh` text that runs commands in turn, each with its time limit.

    One command writes straight to stdout and stderr, after a start mark on each, and its status is the script's. Of
    several, each one's output is followed by an end mark, with the status on stdout's. Only the first reads stdin.

    Args:
        commands: What to run.
        limits: Seconds for each of them; rounded up to whole seconds, as not every `timeout` knows fractions.
        mark: The marks of this execution.
        tell: Whether it shall say on stderr that the host has a good timeout(1), and a login shell like `sh`.
    """
    first, second = (half.encode() for half in mark.halves)
    text = [
        b"a=%s b=%s x= l=" % (first, second),
        b'printf %sS "$a$b"; printf %sS "$a$b" >&2',
        b"exec 3<&0",
        b"i=" + quote(_INNER),
        _LIMITED.replace("KILL_AFTER", str(KILL_AFTER)).encode(),
        *([_TELL] if tell else []),
    ]
    for number, (command, limit) in enumerate(zip(commands, limits, strict=True)):
        words = b" ".join(quote(word) for word in command.argv)
        if number:
            text.append(b"exec 3</dev/null")
        text.append(b"run %d %s" % (max(1, math.ceil(limit)), words))
        if len(commands) > 1:
            text.append(b'printf "%sE%s;" "$a$b" "$r"; printf "%sE%s;" "$a$b" "$r" >&2')
    text.append(b'exit "$r"' if len(commands) == 1 else b"exit 0")
    return b"\n".join(text)


def login_line(text: bytes) -> str:
    """Wrap POSIX `sh` text for a login shell of any kind.

    Args:
        text: The text; it must not end in a newline, which a command substitution would swallow.

    Raises:
        LimitExceeded: It would be longer than the kernel takes as one argument.
    """
    return _checked(_LOGIN % _UNSAFE.sub(lambda found: _SHORT.get(found[0], b"\\0%03o" % found[0][0]), text))


def plain_line(text: bytes) -> str:
    """Wrap POSIX `sh` text for a login shell that is one, whatever its profile has set: no further shell is started.

    Args:
        text: The text, in ASCII.

    Raises:
        LimitExceeded: It would be longer than the kernel takes as one argument.
    """
    return _checked(b"%s\n%s" % (_START, text))


def _checked(line: bytes) -> str:
    if len(line) > LONGEST:
        raise LimitExceeded(
            "a remote command", f"{len(line)} bytes, where {LONGEST} are the most", "Send what is long on stdin."
        )
    return line.decode("ascii")
