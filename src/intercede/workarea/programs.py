"""The shell programs that handle a submission on the submit host, as commands.

Each is constant text from this package: what varies comes in as arguments or on stdin, never into the text.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from intercede.steps import Command

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["fragment", "program", "runner_text"]

_PARTS = {
    "submit": ("submit",),
    "status": ("records", "status"),
    "find": ("describe", "find"),
    "list": ("describe", "list"),
    "cancel": ("records", "cancel"),
    "release": ("release",),
    "purge": ("purge",),
    "renew": ("renew",),
    "log": ("outputs", "log"),
    "collect": ("outputs", "bounded", "collect"),
}


def _lean(text: str) -> str:
    """The text without the lines that only a reader needs: it travels with every command."""
    return re.sub(r"^[ \t]*(#(?!!)[^\n]*)?\n", "", text, flags=re.MULTILINE)


@cache
def fragment(package: str, name: str) -> str:
    """The text of a shell file of one of our packages."""
    return (files(package) / f"{name}.sh").read_text(encoding="utf-8")


@cache
def _text(name: str, shell: str) -> str:
    parts = [fragment("intercede.workarea", part) for part in _PARTS[name]]
    # a question writes nothing (what HTCondor brought back comes under a mask of its own), and one that is asked all
    # the time does without the fork
    first = ("prelude",) if name == "status" else ("prelude", "private")
    begin = [fragment("intercede.workarea", part) for part in first]
    return _lean("\n".join([*begin, shell, *parts]))


@cache
def runner_text(shell: str) -> bytes:
    """The script of the jobs of one scheduler.

    Args:
        shell: The scheduler's part of it.
    """
    return b"#!/bin/sh\n" + _lean(shell + "\n" + fragment("intercede.workarea", "runner")).encode()


def program(
    name: str,
    shell: str,
    place: tuple[str, str, str],
    *arguments: str,
    stdin: bytes | Iterable[bytes] = b"",
    repeatable: bool = True,
    time_limit: float | None = None,
) -> Command:
    """One of the programs as a command.

    Args:
        name: Which.
        shell: The scheduler's functions.
        place: The nonce that frames the answer, the work area, the scheduler's name.
        arguments: The program's own.
        stdin: What it reads.
        repeatable: Whether running it twice does no harm.
        time_limit: Seconds.
    """
    argv = ("sh", "-c", _text(name, shell), f"intercede {name}", *place, *arguments)
    return Command(argv, stdin=stdin, repeatable=repeatable, time_limit=time_limit, output_limit=64 * 1024 * 1024)
