"""Recordings of what a real submit host answered, as text that a person can read and a test can play back.

# 'intercede submit' 3f2a… ~/.intercede slurm tag-1 …   the program (or command) and its arguments
< 12                                                    bytes of stdin; -1 for a stream
= 0                                                     the exit status
| a line of stdout
! a line of stderr
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from intercede.steps import Command, Completed

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence
    from pathlib import Path

    from intercede.answers import Counters
    from intercede.protocols import Stream, Transport

__all__ = ["Recorded", "RecordingTransport", "read_recording"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One command of a recording.

    Attributes:
        words: The command; of one of our programs `intercede NAME`, nonce, work area, scheduler, and its arguments.
        answer: What it gave.
    """

    words: tuple[str, ...]
    answer: Completed

    @property
    def nonce(self) -> str:
        """What framed the answer of one of our programs."""
        return self.words[1]


class RecordingTransport:
    """A transport that writes down what another one's commands gave.

    Args:
        inner: What runs the commands.
        path: The file; it grows with each command.
    """

    def __init__(self, inner: Transport, path: Path) -> None:
        self._inner = inner
        self.path = path

    @property
    def host(self) -> str:
        """The inner one's."""
        return self._inner.host

    @property
    def counters(self) -> Counters:
        """The inner one's."""
        return self._inner.counters

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        """Run and write down."""
        answers = await self._inner.run(commands)
        text = "".join(_written(command, answer) for command, answer in zip(commands, answers, strict=True))
        with self.path.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        return answers

    def stream(self, command: Command) -> contextlib.AbstractAsyncContextManager[Stream]:
        """Run; files are not written down."""
        return self._inner.stream(command)

    async def aclose(self) -> None:
        """Close the inner one."""
        await self._inner.aclose()


def _words(command: Command) -> list[str]:
    words = [each.decode("utf-8", "surrogateescape") if isinstance(each, bytes) else each for each in command.argv]
    # the text of a program is in the package already
    return words[3:] if words[:2] == ["sh", "-c"] and words[3].startswith("intercede") else words


def _lines(mark: str, data: bytes) -> str:
    text = data.decode("utf-8", "surrogateescape")
    if not text:
        return ""
    lines = text.split("\n")
    end = "" if lines[-1] == "" else "\\"  # no newline at the end
    kept = lines[:-1] if lines[-1] == "" else lines
    return "\n".join(f"{mark} {line}" for line in kept) + f"{end}\n"


def _written(command: Command, answer: Completed) -> str:
    size = len(command.stdin) if isinstance(command.stdin, bytes) else -1
    return (
        f"# {shlex.join(_words(command))}\n< {size}\n= {answer.returncode}{' timed out' if answer.timed_out else ''}\n"
        f"{_lines('|', answer.stdout)}{_lines('!', answer.stderr)}\n"
    )


def read_recording(path: Path) -> list[Recorded]:
    """Read a recording.

    Args:
        path: The file.

    Returns:
        Its commands, in order.
    """
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    found = []
    for block in re.split(r"^# ", text, flags=re.MULTILINE)[1:]:
        head, _, rest = block.partition("\n< ")
        lines = rest.split("\n")[1:]
        status = lines[0].removeprefix("= ").split()
        answer = Completed(int(status[0]), _read("| ", lines), _read("! ", lines), timed_out=len(status) > 1)
        found.append(Recorded(tuple(shlex.split(head)), answer))
    return found


def _read(mark: str, lines: list[str]) -> bytes:
    mine = [line[2:] for line in lines if line.startswith(mark)]
    if not mine:
        return b""
    text = "\n".join(mine)
    text = text[:-1] if text.endswith("\\") else text + "\n"
    return text.encode("utf-8", "surrogateescape")
