"""The program of a status, in real shells, with a scheduler that answers from a file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercede.answers import JobState
from intercede.schedulers.gridengine import GridEngine
from intercede.schedulers.htcondor import HTCondor
from intercede.schedulers.lsf import LSF
from intercede.schedulers.oar import OAR
from intercede.schedulers.pbs import PBS
from intercede.schedulers.slurm import Slurm
from intercede.schedulers.torque import Torque
from intercede.steps import Completed
from intercede.workarea.operations import Area

if TYPE_CHECKING:
    from intercede.workarea.scheduler import Scheduler

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


class Named(Fake):
    """With the names of jobs."""

    shell: ClassVar[str] = SHELL + "ic_name_at=4\n"


PLAIN, NAMED = Fake(), Named()


def ask(
    area: Path,
    words: list[str],
    jobs: list[tuple[str, int, str, bool]],
    shell: list[str],
    scheduler: Fake = PLAIN,
    name: str = "ic-t",
) -> tuple[set[str], ...]:
    """Ask for jobs; gives the ids that the queue shows, and those that the history was asked for."""
    steps = Area(str(area), scheduler, "nonce").status(jobs, 60)
    (command,) = next(steps)
    (area / "queue").write_text("".join(f"{word}|None|{name}|q|n|2026-01-01T00:00:00|||1:00\n" for word in words))
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
@given(JOBS, st.booleans(), st.sampled_from([PLAIN, NAMED]))
@settings(max_examples=15)
def test_history_is_asked_for_what_neither_waits_nor_runs(
    shell: list[str], found: list[tuple[str, str | None, bool]], in_order: bool, scheduler: Fake
) -> None:
    if in_order:  # so that there are ranges among what is asked for
        found.sort(key=lambda each: (each[0][:2], len(each[0]), each[0]))
    jobs = [("t", copy, native, known) for copy, (native, _, known) in enumerate(found)]
    with TemporaryDirectory() as name:
        area = Path(name)
        for each in (".new", ".gone"):
            (area / "slurm" / each).mkdir(parents=True)
        shown, asked = ask(area, rows_of(found), jobs, shell, scheduler)
    assert shown == {native for native, word, _ in found if word}
    assert asked == {native for native, word, known in found if not known and word in {None, "FAILED"}}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize("name", ["ic-t", "ic-t+500", "ic-t/stamp", "ic-t2", "ic-", "", "somebodys"])
@pytest.mark.parametrize(
    "rows", [["7_0|RUNNING", "7_1|RUNNING"], ["7_[0-1]|PENDING"], ["7_[0,1%1]|PENDING"], ["7_0|FAILED", "7_1|RUNNING"]]
)
def test_a_number_that_is_another_job_by_now_is_asked_about_elsewhere(
    tmp_path: Path, shell: list[str], name: str, rows: list[str]
) -> None:
    for each in (".new", ".gone"):
        (tmp_path / "slurm" / each).mkdir(parents=True)
    jobs = [("t", 0, "7_0", False), ("t", 1, "7_1", False), ("u", 0, "7_0", False)]
    _, asked = ask(tmp_path, rows, jobs, shell, NAMED, name)
    ours = name in {"ic-t", "ic-t+500", "ic-t/stamp"}
    ended = {"7_0"} if "7_0|FAILED" in rows else set()
    # of u, whoever it is now, the queue says nothing
    assert asked == ({"7_0"} | ended if ours else {"7_0", "7_1"})
    _, asked = ask(tmp_path, rows, jobs[:2], shell, NAMED, name)
    assert asked == (ended if ours else {"7_0", "7_1"})
    _, asked = ask(tmp_path, rows, jobs, shell, PLAIN, name)
    assert asked == ended


@pytest.mark.parametrize(
    ("scheduler", "row"),
    [
        (Slurm(), "7_0|RUNNING|None|ic-t|q|n1|2026-01-01T00:00:00|2026-01-01T00:00:00|N/A|1:00"),
        (GridEngine(), "7.1|r|ic-t|2026-01-01T00:00:00|2026-01-01T00:00:00|q@n1|"),
        (OAR(), "7.1|Running|ic-t|q|n1|1|1|0||"),
        (PBS(), "7[0].srv|R|42||n||1|ic-t|q|n1/0|||||"),
        (Torque(), "7[0]|R|||||||q||||||"),
        (HTCondor(), "7.0|2|ic-t|undefined|undefined|slot1@n1|1|1|1|0|1|undefined|undefined|undefined|1|"),
        (LSF(), "7[1]|RUN|-|q|n1|ic-t/1-2|-"),
    ],
    ids=lambda each: each.name if not isinstance(each, str) else "",
)
def test_the_column_of_the_name_is_where_the_name_is(scheduler: Scheduler, row: str) -> None:
    said = subprocess.run(
        ["sh", "-c", f"{scheduler.shell}\necho $ic_name_at"], capture_output=True, text=True, check=True
    )
    (seen,) = scheduler.read_queue(row).values()
    assert (row.split("|")[int(said.stdout) - 1].split("/")[0] if int(said.stdout) else "") == seen.name
    assert bool(seen.name) == (int(said.stdout) > 0)
