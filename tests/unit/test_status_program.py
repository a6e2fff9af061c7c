"""The program of a status, in real shells, with a scheduler that answers from a file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercede.answers import JobState
from intercede.schedulers.slurm import Slurm
from intercede.steps import Completed
from intercede.workarea.operations import Area

SHELLS = [words for words in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(words[0])]
# The history says what it was asked for
SHELL = r"""
ic_ended='^(FAILED|COMPLETED)'
ic_queue() { cat "$ic_area/queue"; }
ic_history() { spread | cut -d' ' -f3 | sed 's/$/|COMPLETED|0:0|ic-t|q|n|2026-01-01T00:00:00|||1:00/'; }
"""


class Fake(Slurm):
    """Slurm's words, answered from a file."""

    shell: ClassVar[str] = SHELL


def ask(area: Path, words: list[str], jobs: list[tuple[str, int, str, bool]], shell: list[str]) -> tuple[set[str], ...]:
    """Ask for jobs; gives the ids that the queue shows, and those that the history was asked for."""
    steps = Area(str(area), Fake(), "nonce").status(jobs, 60)
    (command,) = next(steps)
    (area / "queue").write_text("".join(f"{word}|None|ic-t|q|n|2026-01-01T00:00:00|||1:00\n" for word in words))
    argv = [*shell, *command.argv[1:]]
    assert isinstance(command.stdin, bytes)
    done = subprocess.run(argv, input=command.stdin, capture_output=True, check=False, timeout=60)
    with pytest.raises(StopIteration) as ended:
        steps.send((Completed(done.returncode, done.stdout, done.stderr),))
    answer = ended.value.value
    return set(answer.queue), {native for native, seen in answer.history.items() if seen.state is JobState.SUCCEEDED}


NATIVES = st.one_of(
    st.integers(0, 60).map(lambda i: f"7_{i}"),
    st.integers(90, 110).map(str),
    st.sampled_from(["007", "8_00", "9_9x"]),
)
WORDS = st.sampled_from(["RUNNING", "FAILED", "PENDING", "PENDING", None])
JOBS = st.lists(st.tuples(NATIVES, WORDS, st.booleans()), min_size=1, max_size=80, unique_by=lambda each: each[0])


def rows_of(jobs: list[tuple[str, str | None, bool]]) -> list[str]:
    """What the queue shows: tasks that wait as one line, all others by themselves."""
    waiting = sorted(int(native[2:]) for native, word, _ in jobs if word == "PENDING" and native.startswith("7_"))
    rows = [f"{native}|{word}" for native, word, _ in jobs if word and not (word == "PENDING" and native[:2] == "7_")]
    spans: list[list[int]] = []
    for index in waiting:
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    parts = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
    bracketed = f"7_[{parts}%4]|PENDING" if "," in parts or "-" in parts else f"7_{parts}|PENDING"
    return [*rows, bracketed] if parts else rows


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@given(JOBS, st.booleans())
@settings(max_examples=15)
def test_history_is_asked_for_what_neither_waits_nor_runs(
    shell: list[str], found: list[tuple[str, str | None, bool]], in_order: bool
) -> None:
    if in_order:  # so that there are ranges among what is asked for
        found.sort(key=lambda each: (each[0][:2], len(each[0]), each[0]))
    jobs = [("t", copy, native, known) for copy, (native, _, known) in enumerate(found)]
    with TemporaryDirectory() as name:
        area = Path(name)
        for each in (".new", ".gone"):
            (area / "slurm" / each).mkdir(parents=True)
        shown, asked = ask(area, rows_of(found), jobs, shell)
    assert shown == {native for native, word, _ in found if word}
    assert asked == {native for native, word, known in found if not known and word in {None, "FAILED"}}
