"""Slurm's parsers on what a real Slurm said; the expected values are written by hand from the recordings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from intercede.answers import JobState, Reason
from intercede.elements.verdict import Memory, Sighting, judge
from intercede.errors import SubmissionRejected
from intercede.model import JobRef
from intercede.schedulers.slurm import Slurm
from intercede.settings import ResourceSettings
from intercede.steps import replay
from intercede.testing.recording import Recorded, read_recording
from intercede.workarea.operations import Area, StatusAnswer
from testbed.manifest import load_manifest

WHERE = Path(__file__).parent.parent / "transcripts"
SLURM = Slurm()


@pytest.fixture(params=sorted(each.name for each in WHERE.glob("slurm-*")))
def version(request: pytest.FixtureRequest) -> Path:
    return WHERE / request.param


def status(recorded: Recorded) -> StatusAnswer:
    area = Area("~/.intercede", SLURM, recorded.nonce)
    return replay(area.status([], 5), [(recorded.answer,)])


def programs(path: Path, name: str) -> list[Recorded]:
    return [each for each in read_recording(path) if each.words[0] == f"intercede {name}"]


def judged(path: Path) -> dict[tuple[str, int], tuple[JobState, Reason | None, int | None, int | None]]:
    """What an element that knows nothing makes of the last status of a recording."""
    answer = status(programs(path, "status")[-1])
    bases = {each.name.removeprefix("ic-"): native.split("_")[0] for native, each in answer.queue.items()}
    copies = {(tag, i) for tag in bases if tag == "rec-held" for i in range(3)}
    copies |= {(tag, int(native.split("_")[1])) for native, each in answer.queue.items() if "_" in native
               for tag in [each.name.removeprefix("ic-")]}  # fmt: skip
    found = {}
    settings = ResourceSettings(id="r", scheduler="slurm")
    for tag, copy in sorted(copies):
        ref = JobRef(resource="r", submission=tag, copy_index=copy, native=f"{bases[tag]}_{copy}")
        seen = Sighting(
            answer.queue.get(ref.native) or answer.queue.get(bases[tag]), answer.history.get(ref.native),
            answer.records.get((tag, copy)),
            (tag, copy) in answer.cancelled, (tag, copy) in answer.purged, answer.history_answers, "", SLURM.sources,
            datetime.now(UTC),
        )  # fmt: skip
        status_ = judge(ref, seen, Memory(), settings)
        found[tag, copy] = (status_.state, status_.reason, status_.exit_code, status_.signal)
    return found


def test_every_slurm_of_the_testbed_is_recorded() -> None:
    stacks = [stack for stack in load_manifest().values() if (stack.system, stack.shape) == ("slurm", "plain")]
    assert {each.name for each in WHERE.glob("slurm-*")} == {stack.name for stack in stacks}
    for stack in stacks:
        files = {each.name for each in (WHERE / stack.name).iterdir()}
        assert files == {each.name for each in (WHERE / "slurm-24.11").iterdir()}
        (said, _) = read_recording(WHERE / stack.name / "versions.txt")
        assert stack.moves or said.answer.text.split()[-1] == stack.version


def test_ended(version: Path) -> None:
    assert judged(version / "ended.txt") == {
        ("rec-ended", 0): (JobState.SUCCEEDED, None, 0, None),
        ("rec-ended", 1): (JobState.FAILED, Reason.EXIT_CODE, 7, None),
        ("rec-ended", 2): (JobState.FAILED, Reason.SIGNAL, None, 9),
        ("rec-ended", 3): (JobState.FAILED, Reason.EXIT_CODE, 137, None),
    }


def test_signal_while_the_queue_still_has_the_job(version: Path) -> None:
    """While squeue shows a job, sacct is not asked; one killed with all its processes wrote nothing of it."""
    job = status(programs(version / "ended.txt", "status")[-1]).queue["101_2"]
    assert (job.state, job.signal) == (JobState.FAILED, 9 if version.name >= "slurm-24" else None)


def test_held_and_running(version: Path) -> None:
    held = judged(version / "held.txt")
    assert held == {("rec-held", i): (JobState.HELD, None, None, None) for i in range(3)}
    assert judged(version / "running.txt") == {("rec-running", 0): (JobState.RUNNING, None, None, None)}


def test_cancelled_before_and_after_the_start(version: Path) -> None:
    found = judged(version / "cancelled.txt")
    assert {key: value[0] for key, value in found.items()} == dict.fromkeys(
        [("rec-held", 0), ("rec-held", 1), ("rec-held", 2), ("rec-running", 0)], JobState.CANCELLED
    )
    assert found["rec-running", 0][3] == 15


def test_a_job_that_was_cancelled_before_it_started_has_no_start(version: Path) -> None:
    queue = status(programs(version / "cancelled.txt", "status")[-1]).queue
    past = SLURM.read_history(read_recording(version / "sacct.txt")[0].answer.text)
    for found in (queue, past):
        jobs = {each.name: each for each in found.values()}
        assert jobs["ic-rec-held"].started is None
        assert jobs["ic-rec-held"].ended is not None
        assert jobs["ic-rec-running"].started is not None


def test_a_running_job_has_no_end(version: Path) -> None:
    (running,) = status(programs(version / "running.txt", "status")[-1]).queue.values()
    assert (running.ended, running.node) == (None, "localhost")
    assert running.submitted is not None
    assert running.started is not None


def test_more_cores_than_a_node_has_are_refused_or_waited_for(version: Path) -> None:
    recorded = read_recording(version / "too-large.txt")
    answer = replay(
        Area("~/.intercede", SLURM, recorded[0].nonce).submit("t", "d", 1, (), b"", 5), [(recorded[0].answer,)]
    )
    (chunk,) = answer.chunks
    if len(recorded) == 1:
        assert chunk.fate == "refused"
        assert "resources.cores" in str(SLURM.refusal(chunk.answer, chunk.returncode))
    else:
        (waits,) = status(recorded[1]).queue.values()
        assert waits.state is JobState.QUEUED
        assert waits.detail


def test_tasks_that_wait_are_told_in_full_however_long_their_list(version: Path) -> None:
    queue = status(programs(version / "ranges.txt", "status")[-1]).queue
    held = {int(native.split("_")[1]) for native, each in queue.items() if each.state is JobState.HELD}
    assert held == set(range(60)) - set(range(1, 60, 3))
    # what squeue says unless it is told to go on
    assert ",59]" not in read_recording(version / "ranges.txt")[-1].answer.text


def test_tasks_that_wait_for_different_reasons_are_told_apart(version: Path) -> None:
    queue = status(programs(version / "one-of-two.txt", "status")[-1]).queue
    found = {native.split("_")[1]: (each.state, each.detail) for native, each in queue.items()}
    assert found == {"0": (JobState.QUEUED, "BeginTime"), "1": (JobState.HELD, "held by its owner")}


def test_tasks_that_wait_in_steps_are_looked_at_no_further(version: Path) -> None:
    answer = status(programs(version / "stepped.txt", "status")[-1])
    held = {int(native.split("_")[1]) for native, each in answer.queue.items() if each.state is JobState.HELD}
    assert held == set(range(0, 60, 2))
    assert {copy for _, copy in answer.records.keys() | answer.cancelled} <= set(range(1, 60, 2))


def test_walltime(version: Path) -> None:
    assert judged(version / "walltime.txt") == {("rec-walltime", 0): (JobState.FAILED, Reason.WALLTIME, None, 15)}


def test_unknown_id_is_no_error(version: Path) -> None:
    answer = status(programs(version / "unknown.txt", "status")[-1])
    assert answer.queue == {}
    assert answer.history == {}
    assert answer.history_answers


def test_submit_twice_is_one_job(version: Path) -> None:
    first, again, _ = programs(version / "submit.txt", "submit")
    answers = [
        replay(Area("~/.intercede", SLURM, each.nonce).submit("t", "d", 4, (), b"", 5), [(each.answer,)])
        for each in (first, again)
    ]
    assert answers[0] == answers[1]
    (chunk,) = answers[0].chunks
    assert (chunk.first, chunk.count, chunk.fate) == (0, 4, "known")
    assert SLURM.native(chunk.answer, 3) == f"{chunk.answer.strip()}_3"


@pytest.mark.parametrize(("nth", "field"), [(0, "resources.queue"), (1, "resources.walltime"), (2, "resources.memory")])
def test_refusals_name_the_field(version: Path, nth: int, field: str) -> None:
    recorded = programs(version / "refused.txt", "submit")[nth]
    answer = replay(Area("~/.intercede", SLURM, recorded.nonce).submit("t", "d", 1, (), b"", 5), [(recorded.answer,)])
    (chunk,) = answer.chunks
    assert chunk.fate == "refused"
    error = SLURM.refusal(chunk.answer, chunk.returncode)
    assert isinstance(error, SubmissionRejected)
    assert field in str(error)


def test_sacct(version: Path) -> None:
    known, unknown = read_recording(version / "sacct.txt")
    found = SLURM.read_history(known.answer.text)
    states = {
        (each.name, native.split("_")[1]): (each.state, each.exit_code, each.signal) for native, each in found.items()
    }
    assert states["ic-rec-ended", "0"] == (JobState.SUCCEEDED, 0, None)
    assert states["ic-rec-ended", "1"] == (JobState.FAILED, 7, None)
    assert states["ic-rec-ended", "2"] == (JobState.FAILED, None, 9)
    # an array of which nothing started is one line; its tasks are told apart all the same
    assert [states["ic-rec-held", str(i)][0] for i in range(3)] == [JobState.CANCELLED] * 3
    assert states["ic-rec-walltime", "0"][0] is JobState.FAILED
    limited = next(each for each in found.values() if each.name == "ic-rec-walltime")
    assert (limited.reason, limited.walltime) == (Reason.WALLTIME, timedelta(minutes=1))
    assert SLURM.read_history(unknown.answer.text) == {}


def test_capacity(version: Path) -> None:
    answers = tuple(each.answer for each in read_recording(version / "capacity.txt"))
    capacity = replay(SLURM.capacity(ResourceSettings(id="r", scheduler="slurm")), [answers])
    assert [queue.name for queue in capacity] == ["debug", "long", "short"]
    debug, _, short = capacity
    assert debug.is_default
    assert (debug.max_walltime, short.max_walltime) == (None, timedelta(minutes=10))
    assert debug.ours_waiting == 3
    assert debug.ours_running >= 1
    assert capacity.free_for_us(10) == 7


def test_list_and_find(version: Path) -> None:
    listed = programs(version / "list.txt", "list")[0]
    known = replay(Area("~/.intercede", SLURM, listed.nonce).listing(7, 5), [(listed.answer,)])
    ended = next(each for each in known if each.tag == "rec-ended")
    assert (ended.copies, ended.purged, ended.resource) == (4, False, "recorded")
    found = programs(version / "find.txt", "find")[0]
    assert replay(Area("~/.intercede", SLURM, found.nonce).find(ended.tag, 5), [(found.answer,)]) == ended


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("c1", "c1"),
        ("c[1-4,7]", "c1"),
        ("c1,d1", "c1"),
        ("r[01-02]n[3,5],x1", "r01n3"),
        ("a-[01,03]-ib", "a-01-ib"),
        ("", None),
    ],
)
def test_of_several_nodes_the_first_is_told(nodes: str, first: str | None) -> None:
    line = f"7_0|COMPLETED|0:0|ic-t|debug|{nodes}|2026-01-01T12:00:00|2026-01-01T12:00:00|2026-01-01T12:00:01|01:00:00"
    assert SLURM.read_history(line)["7_0"].node == first
