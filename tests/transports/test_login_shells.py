"""The line for a login shell, through real ones."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from intercede.steps import Command
from intercede.transports.ssh_shell import LONGEST, Mark, login_line, script

SHELLS = ["bash", "dash", "fish", "tcsh", "zsh"]
EVERY_BYTE = bytes(range(1, 256))
HOSTILE = [
    EVERY_BYTE, b"", b"!", b"!!", b"a!b'c", b"\\", b"\\\\", b"\\'", b"'", b'"', b"$HOME `id` $(id)", b"-n", b"--",
    b"%s%%", b"\\0047\\n\\c", b"line\nline\n", b"\n", b"\t", b"~", b"*", b"{a,b}", b"\xff\xc3\x28", "ü☃".encode(),
    b"#c", b"^a^b^",
]  # fmt: skip


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    found = shutil.which(request.param)
    assert found, f"this test needs {request.param}: apt install {' '.join(SHELLS)}"
    return found


def test_hostile_arguments_arrive_unchanged(shell: str) -> None:
    mark = Mark()
    line = login_line(script([Command(("printf", "%s\\0", *HOSTILE))], [20], mark))
    done = subprocess.run([shell, "-c", line], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition(mark.start)[2].split(b"\0")[:-1] == HOSTILE


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
