"""The line for a login shell, through real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from intercede.steps import Command
from intercede.transports.ssh_shell import LONGEST, Mark, login_line, plain_line, quick_script, script
from tools.run_cells import LOGIN_SHELLS

if TYPE_CHECKING:
    from pathlib import Path

EVERY_BYTE = bytes(range(1, 256))
HOSTILE = [
    EVERY_BYTE, b"", b"!", b"!!", b"a!b'c", b"\\", b"\\\\", b"\\'", b"'", b'"', b"$HOME `id` $(id)", b"-n", b"--",
    b"%s%%", b"\\0047\\n\\c", b"line\nline\n", b"\n", b"\t", b"~", b"*", b"{a,b}", b"\xff\xc3\x28", "ü☃".encode(),
    b"#c", b"^a^b^", b"=", b"=x", b"==", b"a=b", b"a==b", b"L",
]  # fmt: skip
# Startup files that change how a shell reads what comes after them
SETTINGS = {
    ".bashenv": """
        set -euxv; set -fkH; shopt -s expand_aliases extglob nullglob; IFS=:
        alias printf='echo alias' exec='echo alias' export='echo alias' unset='echo alias' timeout='echo alias'
        trap 'echo debug' DEBUG; trap 'echo exit' EXIT; trap 'echo err' ERR
        """,
    ".zshenv": """
        setopt RC_QUOTES MAGIC_EQUAL_SUBST EXTENDED_GLOB SH_WORD_SPLIT XTRACE NO_UNSET ERR_EXIT; IFS=:
        alias -g L='| cat'; alias printf='echo alias' exec='echo alias' export='echo alias'
        trap 'echo debug' DEBUG; SHELL=/bin/bash
        """,
}


@pytest.fixture(params=LOGIN_SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    found = shutil.which(request.param)
    assert found, f"this test needs {request.param}: apt install {' '.join(LOGIN_SHELLS)}"
    return found


def test_hostile_arguments_arrive_unchanged(shell: str) -> None:
    mark = Mark()
    line = login_line(script([Command(("printf", "%s\\0", *HOSTILE))], [20], mark))
    done = subprocess.run([shell, "-c", line], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition(mark.start)[2].split(b"\0")[:-1] == HOSTILE


# zsh and dash are login shells in the testbed as well
POSIX = ["bash", "dash", *filter(shutil.which, ("zsh", "ksh", "mksh"))]


@pytest.mark.parametrize("posix", POSIX)
@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["plain", "settings"])
def test_a_login_shell_that_is_posix_takes_the_text_as_it_is(
    posix: str, settings: dict[str, str], tmp_path: Path
) -> None:
    for name, text in settings.items():
        (tmp_path / name).write_text(text)
    environ = {**os.environ, "BASH_ENV": str(tmp_path / ".bashenv"), "ZDOTDIR": str(tmp_path)} if settings else None
    words = [word for word in HOSTILE if word.isascii()]
    mark = Mark()
    line = plain_line(quick_script(Command(("printf", "%s\\0", *words)), 20, mark))
    done = subprocess.run([posix, "-c", line], capture_output=True, check=False, timeout=30, env=environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition(mark.start)[2].split(b"\0")[:-1] == words
    assert done.stderr.partition(mark.start)[1:] == (mark.start, b"")


def test_stdin_status_and_several_commands(shell: str) -> None:
    mark = Mark()
    commands = [Command(("cat",)), Command(("sh", "-c", "echo e >&2; exit 7"))]
    line = login_line(script(commands, [20, 20], mark))
    done = subprocess.run([shell, "-c", line], input=EVERY_BYTE, capture_output=True, check=False, timeout=30)
    assert mark.end.split(done.stdout.partition(mark.start)[2]) == [EVERY_BYTE, b"0", b"", b"7", b""]


def test_the_longest_line(shell: str) -> None:
    word = b"x" * (LONGEST - len(login_line(script([Command(("echo", b""))], [20], Mark()))))
    done = subprocess.run(
        [shell, "-c", login_line(script([Command(("echo", word))], [20], Mark()))],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.endswith(word + b"\n")


@pytest.mark.parametrize("posix", ["sh", "bash"])
@pytest.mark.parametrize("watchdog", ["timeout", "sh"])
def test_a_command_that_takes_too_long_is_ended(posix: str, watchdog: str) -> None:
    mark = Mark()
    text = script([Command(("sleep", "30")), Command(("echo", "next"))], [1, 1], mark)
    if watchdog == "sh":  # a host without timeout(1)
        text = text.replace(b"if timeout", b"if notimeout")
    done = subprocess.run([posix, "-c", text], capture_output=True, check=False, timeout=10, stdin=subprocess.DEVNULL)
    parts = mark.end.split(done.stdout.partition(mark.start)[2])
    errors = mark.end.split(done.stderr)[::2]
    assert parts[1] in {b"124", b"143"}
    assert [*parts[:1], *parts[2:]] == [b"", b"next\n", b"0", b""]
    assert [mark.timed_out in part for part in errors] == [True, False, False]
