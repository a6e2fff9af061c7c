"""The text for login shells, through a real `sh`."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercede.errors import ConfigurationError, LimitExceeded
from intercede.steps import Command
from intercede.transports.ssh_shell import LONGEST, Mark, login_line, quote, script

WORDS = st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"\1"))


def sh(line: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["sh", "-c", line], input=stdin, capture_output=True, check=False, timeout=30)


def through(commands: list[Command], stdin: bytes = b"", limit: float = 20) -> tuple[Mark, bytes, bytes, int]:
    mark = Mark()
    done = sh(login_line(script(commands, [limit] * len(commands), mark)), stdin)
    return mark, done.stdout, done.stderr, done.returncode


@given(st.lists(WORDS, min_size=1, max_size=8))
@settings(max_examples=40)
def test_any_bytes_survive_quoting(words: list[bytes]) -> None:
    text = b"printf '%s\\0' " + b" ".join(map(quote, words))
    assert sh(login_line(text)).stdout.split(b"\0")[:-1] == words


@given(st.lists(WORDS, min_size=1, max_size=4))
@settings(max_examples=15)
def test_any_bytes_survive_the_whole_script(words: list[bytes]) -> None:
    mark, stdout, _, status = through([Command(("printf", "%s\\0", *words))])
    assert status == 0
    assert stdout.partition(mark.start)[2].split(b"\0")[:-1] == words


@given(st.binary(max_size=300).map(lambda data: data.replace(b"\0", b"") + b"."))
@settings(max_examples=200)
def test_a_login_shell_sees_only_what_every_shell_takes_literally(text: bytes) -> None:
    line = login_line(text)
    line, _, probe = line.rpartition(" ")
    encoded = line[line.rindex(" '") + 2 : -1]
    assert all(" " <= char <= "~" for char in line)
    assert "'" not in encoded
    assert "!" not in line
    assert "\\\\" not in encoded
    assert "\\'" not in line
    assert probe == r"'\\\!'"  # which shells take differently, and all as one word


def test_the_encoding_costs_little() -> None:
    text = b'for f in "$@"; do\n\ttest -e "$f" || continue; printf \'%s\\n\' "$f"\ndone\n' * 100 + b":"
    assert len(login_line(text)) < 1.5 * len(text)


def test_a_nul_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="NUL"):
        quote("a\0b")


def test_what_the_kernel_would_refuse_is_refused_before() -> None:
    empty = len(login_line(b""))
    assert sh(login_line(b":" + b" " * (LONGEST - empty - 1))).returncode == 0
    with pytest.raises(LimitExceeded, match="stdin"):
        login_line(b"." * (LONGEST - empty + 1))


def test_one_command_writes_straight_and_gives_its_status() -> None:
    mark, stdout, stderr, status = through([Command(("sh", "-c", "cat; echo err >&2; exit 7"))], b"in\n")
    assert (stdout, stderr, status) == (mark.start + b"in\n", mark.start + b"err\n", 7)


def test_several_commands_are_framed_and_only_the_first_reads_stdin() -> None:
    commands = [Command(("cat",)), Command(("sh", "-c", "cat; echo two; echo e2 >&2; exit 3")), Command(("false",))]
    mark, stdout, stderr, status = through(commands, b"one")
    assert status == 0
    assert mark.end.split(stdout.partition(mark.start)[2]) == [b"one", b"0", b"two\n", b"3", b"", b"1", b""]
    assert mark.end.split(stderr.partition(mark.start)[2])[2] == b"e2\n"


def test_the_mark_cannot_be_read_off_the_command_line() -> None:
    mark = Mark()
    line = login_line(script([Command(("true",))], [5], mark))
    assert mark.start.decode() not in line
    assert "".join(mark.halves) not in line


@pytest.mark.parametrize("name", ["exit", "cd", "set", "nosuchprogram"])
def test_a_name_is_a_program_never_a_builtin(name: str) -> None:
    *_, status = through([Command((name, "0"))])
    assert status == 127


def test_a_signal_is_told_as_by_a_shell() -> None:
    *_, status = through([Command(("sh", "-c", "kill -9 $$"))])
    assert status == 137


def test_the_environment_of_the_commands() -> None:
    _, stdout, _, _ = through([Command(("sh", "-c", "echo $LC_ALL $TZ"))])
    assert stdout.endswith(b"C UTC0\n")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_watchdog_in_sh_leaves_nothing_behind_and_passes_everything_on(shell: str) -> None:
    mark = Mark()
    text = script([Command(("sh", "-c", "cat; exit 9"))], [4321], mark).replace(b"if timeout", b"if notimeout")
    done = subprocess.run([shell, "-c", text], input=b"in", capture_output=True, check=False, timeout=10)
    assert (done.stdout, done.stderr, done.returncode) == (mark.start + b"in", mark.start, 9)
