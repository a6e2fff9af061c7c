"""Excerpts of the recordings for the documentation: what the versions of Slurm say, in their own words."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EXCERPTS", "excerpt"]

TRANSCRIPTS = Path(__file__).parent.parent / "tests" / "transcripts"
# NAME: the file, a pattern of the commands whose answers are shown (all by default), and one of the lines
_WANTED = {
    "versions": ("versions", "", ""),
    "never-started": ("cancelled", "status", r"\|CANCELLED\|.*rec-held"),
    "never-started-sacct": ("sacct", "", r"rec-held"),
    "ended": ("ended", "status", r"\|FAILED\|"),
    "ended-sacct": ("sacct", "", r"rec-ended"),
    "one-of-two": ("one-of-two", "squeue", ""),
    "ranges": ("ranges", "squeue", ""),
    "ranges-told": ("ranges", "status", r"\|JobHeldUser\|"),
    "json-state": ("commands", "squeue --json", ""),
    "json-exit": ("commands", "sacct -X --json", ""),
    "environment": ("commands", "--export=NIL", ""),
    "refused": ("refused", "", "sbatch: "),
    "too-large": ("too-large", "", r"sbatch: |\|PENDING\|"),
    "unknown": ("commands", "squeue -h", ""),
}


def excerpt(name: str) -> str:
    """What each version said, those together that said the same.

    Args:
        name: One of `EXCERPTS`, without its prefix.
    """
    file, command, line = _WANTED[name]
    said: dict[str, list[str]] = {}
    for folder in sorted(TRANSCRIPTS.glob("slurm-*")):
        text = (folder / f"{file}.txt").read_text(encoding="utf-8")
        lines = [each for each in _answers(text, command) if re.search(line, each)]
        said.setdefault("\n".join(lines) or "(nothing)", []).append(f"{folder.name}/{file}.txt")
    parts = [f"# {', '.join(where)}\n{lines}" for lines, where in said.items()]
    return "```text\n" + "\n".join(parts) + "\n```"


def _answers(text: str, command: str) -> Iterator[str]:
    """The lines, without their marks, that the commands of a recording printed which match a pattern."""
    shown = False
    for line in text.splitlines():
        if line.startswith("# "):
            shown = bool(re.search(command, line))
        elif shown and line[:2] in {"| ", "! "}:
            yield line[2:]


EXCERPTS: dict[str, Callable[[], str]] = {f"said-{name}": partial(excerpt, name) for name in _WANTED}
