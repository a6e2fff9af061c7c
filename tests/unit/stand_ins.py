"""A scheduler's shell functions in a real shell, where stand-ins for its commands print recordings of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
SHELL = shutil.which("dash") or "sh"
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


def part(where: Path, name: str, which: str) -> str:
    """One section of a recording."""
    found = re.search(rf"^### {which}\n(.*?)^### ", (where / f"{name}.txt").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def said(where: Path, name: str) -> str:
    """All that a command said."""
    return part(where, name, "stdout") + part(where, name, "stderr")


def shell_with(where: Path, folder: Path, functions: str, **environment: str) -> Shell:
    """Give what runs a line of shell after the functions.

    `command="NAME"` makes that command answer by a recording, `command="-u=NAME -j=OTHER"` by one or another, by what
    its words begin with. What was called lies in the folder, see `calls`.

    Args:
        where: The recordings.
        folder: Of this test alone.
        functions: Text of shell.
        environment: Besides PATH and LC_ALL, all that there is.
    """

    def run(line: str, stdin: str = "", **commands: str) -> subprocess.CompletedProcess[str]:
        (folder / "bin").mkdir(exist_ok=True)
        for command, names in commands.items():
            stand_in = ["#!/bin/sh", f'{{ printf "<%s>" {command} "$@"; echo; }} >>"{folder}/calls"', 'case "$*" in']
            for each in names.split():
                beginning, _, name = each.rpartition("=")
                for stream in ("stdout", "stderr"):
                    (folder / f"{name}.{stream}").write_text(part(where, name, stream))
                play = f'cat "{folder}/{name}.stdout"; cat "{folder}/{name}.stderr" >&2'
                stand_in.append(f"{beginning}*) {play}; exit {part(where, name, 'exit').strip()} ;;")
            (folder / "bin" / command).write_text("\n".join([*stand_in, "esac", ""]))
            (folder / "bin" / command).chmod(0o755)
        given = {"PATH": f"{folder}/bin:/usr/bin:/bin", "LC_ALL": "C", **environment}
        argv = [SHELL, "-c", f"{functions}\n{line}\n"]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, env=given, check=False)

    return run


def levels(expression: str) -> int:
    """How deep HTCondor sees an expression, at most: it evaluates none of 400 levels."""
    above = [[0, 0]]  # operators, and what is deepest in parentheses among them
    for sign in re.findall(r"[(){}?]|[|][|]|&&", expression):
        if sign in "({":
            above.append([0, 0])
        elif sign in ")}":
            inside = above.pop()
            above[-1][1] = max(above[-1][1], 1 + sum(inside))
        else:
            above[-1][0] += 1
    (whole,) = above
    return sum(whole)


def calls(folder: Path) -> list[str]:
    """What was called so far, in order: `<command><word><word>`."""
    return (folder / "calls").read_text().splitlines()
