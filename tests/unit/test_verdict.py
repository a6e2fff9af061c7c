"""The rules of truth, one line each: what the sources say, and what is made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from intercede.answers import JobState, JobStatus, Reason
from intercede.elements.verdict import Memory, Sighting, judge, settled
from intercede.model import JobRef
from intercede.settings import ResourceSettings
from intercede.workarea.operations import Record
from intercede.workarea.scheduler import Observation

REF = JobRef(resource="r", submission="t", copy_index=0, native="1_0")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTINGS = ResourceSettings(id="r", scheduler="slurm")
NOTHING = Sighting(None, None, None, False, False, True, "", ("squeue", "sacct"), NOW)
S, R = JobState, Reason


def said(state: JobState, word: str, reason: Reason | None = None, **more: object) -> Observation:
    return Observation(word, state, reason, **{"name": "ic-t", **more})  # ty: ignore[invalid-argument-type]


def record(code: int | None, signal: int | None = None, flag: str = "", *, ended: bool = True) -> Record:
    return Record(1, NOW - timedelta(seconds=9), NOW if ended else None, code, signal, flag, 1.5, "n1")


@pytest.mark.parametrize(
    ("seen", "state", "reason", "code", "signal"),
    [
        ({"queue": said(S.QUEUED, "PENDING")}, S.QUEUED, None, None, None),
        ({"queue": said(S.RUNNING, "RUNNING")}, S.RUNNING, None, None, None),
        # the scheduler decides whether it ended: a record alone does not end a job that it still shows
        ({"queue": said(S.RUNNING, "COMPLETING"), "record": record(0)}, S.RUNNING, None, None, None),
        ({"queue": said(S.SUCCEEDED, "COMPLETED"), "record": record(0)}, S.SUCCEEDED, None, 0, None),
        ({"queue": said(S.SUCCEEDED, "COMPLETED")}, S.SUCCEEDED, None, 0, None),
        ({"queue": said(S.FAILED, "FAILED"), "record": record(7)}, S.FAILED, R.EXIT_CODE, 7, None),
        ({"queue": said(S.FAILED, "FAILED"), "record": record(None, 9)}, S.FAILED, R.SIGNAL, None, 9),
        ({"queue": said(S.FAILED, "FAILED"), "history": None}, S.FAILED, None, None, None),
        # the scheduler's reason stays, the exit code is the record's
        ({"queue": said(S.FAILED, "TIMEOUT", R.WALLTIME), "record": record(0)}, S.FAILED, R.WALLTIME, 0, None),
        ({"queue": said(S.FAILED, "OUT_OF_MEMORY", R.MEMORY)}, S.FAILED, R.MEMORY, None, None),
        # the scheduler says that it failed though the payload did not: so it is
        ({"queue": said(S.FAILED, "FAILED"), "record": record(0)}, S.FAILED, None, 0, None),
        # unless it says only that it ended
        ({"history": said(S.FAILED, "Terminated", by_itself=True), "record": record(0)}, S.SUCCEEDED, None, 0, None),
        ({"history": said(S.FAILED, "Terminated", by_itself=True), "record": record(3)},
         S.FAILED, R.EXIT_CODE, 3, None),
        ({"history": said(S.FAILED, "Terminated", by_itself=True)}, S.FAILED, None, None, None),
        ({"history": said(S.FAILED, "FAILED", None, exit_code=3)}, S.FAILED, R.EXIT_CODE, 3, None),
        ({"history": said(S.CANCELLED, "CANCELLED by 0")}, S.CANCELLED, None, None, None),
        # no accounting: the record is all there is
        ({"record": record(0)}, S.SUCCEEDED, None, 0, None),
        ({"record": record(4)}, S.FAILED, R.EXIT_CODE, 4, None),
        ({"record": record(None, 15, "walltime")}, S.FAILED, R.WALLTIME, None, 15),
        ({"record": record(None, None, "walltime", ended=False)}, S.FAILED, R.WALLTIME, None, None),
        ({"record": record(None, 15, "terminated"), "cancelled": True}, S.CANCELLED, None, None, 15),
        # told to end, and may be started again: between two places of the queue for a moment
        ({"record": record(None, 15, "interrupted")}, S.UNKNOWN, None, None, None),
        ({"record": record(None, 15, "interrupted"), "now": NOW + timedelta(seconds=120)},
         S.FAILED, R.SIGNAL, None, 15),
        ({"record": record(None, 15, "terminated")}, S.FAILED, R.SIGNAL, None, 15),
        # by whom it was told to end, the history will say
        ({"record": record(None, 15, "terminated"), "answered": False}, S.UNKNOWN, None, None, None),
        ({"record": record(4), "answered": False}, S.FAILED, R.EXIT_CODE, 4, None),
        ({"cancelled": True}, S.CANCELLED, None, None, None),
        # processes: the order counts only for a job that has no cause of its own
        ({"queue": said(S.FAILED, "VANISHED", R.LOST), "cancelled": True, "record": record(None, ended=False)},
         S.CANCELLED, None, None, None),
        ({"queue": said(S.FAILED, "VANISHED", R.LOST), "record": record(0)}, S.SUCCEEDED, None, 0, None),
        ({"queue": said(S.FAILED, "OUT_OF_MEMORY", R.MEMORY), "cancelled": True}, S.FAILED, R.MEMORY, None, None),
        # killed by our order before it could write a record, where the scheduler tells a signal and not who sent it
        ({"history": said(S.FAILED, "failed 100", None, signal=9), "cancelled": True}, S.CANCELLED, None, None, 9),
        ({"history": said(S.FAILED, "failed 100", None, signal=9)}, S.FAILED, R.SIGNAL, None, 9),
        ({"history": said(S.FAILED, "FAILED", None, exit_code=3), "cancelled": True}, S.FAILED, R.EXIT_CODE, 3, None),
        ({"queue": said(S.FAILED, "FAILED"), "cancelled": True}, S.FAILED, None, None, None),
        # absent is not finished
        ({}, S.UNKNOWN, None, None, None),
        ({"record": record(None, ended=False)}, S.UNKNOWN, None, None, None),
        ({"purged": True}, S.UNKNOWN, None, None, None),
    ],
)  # fmt: skip
def test_table(
    seen: dict[str, object], state: JobState, reason: Reason | None, code: int | None, signal: int | None
) -> None:
    status = judge(REF, NOTHING._replace(**seen), Memory(), SETTINGS)  # ty: ignore[invalid-argument-type]
    assert (status.state, status.reason, status.exit_code, status.signal) == (state, reason, code, signal)


def test_a_number_that_is_another_job_is_not_ours() -> None:
    other = said(S.SUCCEEDED, "COMPLETED", name="somebody")
    assert judge(REF, NOTHING._replace(queue=other), Memory(), SETTINGS).state is S.UNKNOWN


def test_a_missing_job_keeps_its_state_for_the_grace_period_and_is_lost_in_the_end() -> None:
    memory = Memory()
    memory.status = judge(REF, NOTHING._replace(queue=said(S.RUNNING, "RUNNING")), memory, SETTINGS)

    def after(**span: float) -> JobStatus:
        memory.status = judge(REF, NOTHING._replace(now=NOW + timedelta(**span)), memory, SETTINGS)
        return memory.status

    assert after(seconds=80).state is S.RUNNING
    assert after(seconds=100).state is S.UNKNOWN
    assert after(hours=23).state is S.UNKNOWN
    lost = after(hours=25)
    assert (lost.state, lost.reason) == (S.FAILED, R.LOST)


def test_a_source_that_does_not_answer_stops_the_clock() -> None:
    memory = Memory()
    for hours in range(60):
        deaf = NOTHING._replace(answered=False, complaint="sacct: down", now=NOW + timedelta(hours=hours))
        memory.status = judge(REF, deaf, memory, SETTINGS)
    assert memory.status is not None
    assert (memory.status.state, memory.status.source) == (S.UNKNOWN, "")
    assert "sacct: down" in memory.status.detail


def test_final_stays_unless_the_job_is_revived() -> None:
    memory = Memory()
    memory.status = judge(REF, NOTHING._replace(queue=said(S.FAILED, "FAILED"), record=record(7)), memory, SETTINGS)
    assert settled(memory, SETTINGS, NOW)
    assert judge(REF, NOTHING, memory, SETTINGS) is memory.status
    revived = judge(REF, NOTHING._replace(queue=said(S.RUNNING, "RUNNING")), memory, SETTINGS)
    assert (revived.state, revived.attempt) == (S.RUNNING, 2)


def test_a_record_that_a_shared_file_system_hides_is_waited_for() -> None:
    memory = Memory()
    bare = NOTHING._replace(queue=said(S.FAILED, "FAILED", ended=NOW))
    memory.status = judge(REF, bare, memory, SETTINGS)
    assert (memory.status.state, memory.status.exit_code) == (S.FAILED, None)
    assert not settled(memory, SETTINGS, NOW + timedelta(seconds=30))
    shown = judge(REF, bare._replace(record=record(7)), memory, SETTINGS)
    assert (shown.exit_code, shown.reason) == (7, R.EXIT_CODE)
    assert settled(memory, SETTINGS, NOW + timedelta(seconds=120))


def test_a_history_that_did_not_answer_may_tell_how_a_job_ended_later() -> None:
    memory = Memory()
    later = NOW + timedelta(hours=1)
    deaf = NOTHING._replace(queue=said(S.FAILED, "FAILED", ended=NOW), answered=False, now=later)
    memory.status = judge(REF, deaf, memory, SETTINGS)
    assert (memory.status.state, memory.status.signal) == (S.FAILED, None)
    assert not settled(memory, SETTINGS, later)
    # it is back, and has not been told everything yet
    for lagging in (NOTHING._replace(history=said(S.RUNNING, "RUNNING"), now=later), NOTHING._replace(now=later)):
        assert judge(REF, lagging, memory, SETTINGS) is memory.status
        assert not settled(memory, SETTINGS, later)
    told = NOTHING._replace(history=said(S.FAILED, "FAILED", signal=9, ended=NOW), now=later)
    memory.status = judge(REF, told, memory, SETTINGS)
    assert (memory.status.reason, memory.status.signal) == (R.SIGNAL, 9)
    assert settled(memory, SETTINGS, later)


def test_a_history_that_lags_revives_nothing() -> None:
    memory = Memory()
    memory.status = judge(REF, NOTHING._replace(queue=said(S.FAILED, "FAILED", ended=NOW)), memory, SETTINGS)
    late = NOTHING._replace(history=said(S.RUNNING, "RUNNING"))
    assert judge(REF, late, memory, SETTINGS) is memory.status
    assert judge(REF, late, Memory(), SETTINGS).state is S.RUNNING
