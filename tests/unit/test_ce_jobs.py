"""What a remote schedd says of a job, in our words; the values are those of live daemons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.answers import JobState, Reason
from intercede.htcondor_ce.jobs import ATTRIBUTES, observe, observe_past

if TYPE_CHECKING:
    from intercede.htcondor_ce.protocol import Ad

QUEUED = 1795617349
VALUES = (
    st.none()
    | st.integers(-1, 2**33)
    | st.sampled_from([-(2**62), 10**11, 10**15, 2**62])
    | st.text()
    | st.booleans()
    | st.floats()
)


def ad(status: int, **more: str | int | bool) -> Ad:
    return dict.fromkeys(ATTRIBUTES) | {"JobStatus": status, "QDate": QUEUED} | more


def test_a_job_that_waits_has_not_started() -> None:
    seen = observe(ad(1, LastRemoteHost="slot1_1@n1", JobCurrentStartDate=QUEUED + 5))
    assert (seen.state, seen.node, seen.started) == (JobState.QUEUED, None, None)
    assert seen.submitted == datetime.fromtimestamp(QUEUED, UTC)


@pytest.mark.parametrize("seconds", [0, -1, 10**11, 10**15, 2**62])
def test_a_time_that_is_none(seconds: int) -> None:
    assert observe(ad(1, QDate=seconds)).submitted is None


def test_a_job_that_runs_is_somewhere() -> None:
    seen = observe(ad(2, RemoteHost="slot1_1@n1", JobCurrentStartDate=QUEUED + 5))
    assert (seen.state, seen.node, seen.started) == (JobState.RUNNING, "n1", datetime.fromtimestamp(QUEUED + 5, UTC))
    assert observe(ad(2)).node is None


@pytest.mark.parametrize(
    ("end", "state", "exit_code", "signal"),
    [
        ({"ExitBySignal": False, "ExitCode": 0}, JobState.SUCCEEDED, 0, None),
        ({"ExitBySignal": False, "ExitCode": 3}, JobState.FAILED, 3, None),
        ({"ExitBySignal": True, "ExitSignal": 9}, JobState.FAILED, None, 9),
        ({}, JobState.FAILED, None, None),
    ],
)
def test_an_end(end: dict[str, int], state: JobState, exit_code: int | None, signal: int | None) -> None:
    for read in (observe, observe_past):
        seen = read(ad(4, CompletionDate=QUEUED + 9, **end))
        assert (seen.state, seen.exit_code, seen.signal) == (state, exit_code, signal)
        assert seen.ended == datetime.fromtimestamp(QUEUED + 9, UTC)


@pytest.mark.parametrize(
    ("code", "subcode", "reason", "detail"),
    [
        (1, 0, None, "held (1): why"),
        (16, 0, Reason.STAGING, "held (16): why"),
        (12, 2, Reason.STAGING, "held (12.2): why"),
        (46, 0, Reason.WALLTIME, "held (46): why"),
        (21, 102, Reason.MEMORY, "held (21.102): why"),
        (21, 0, None, "held (21): why"),
    ],
)
def test_a_held_job_says_why(code: int, subcode: int, reason: Reason | None, detail: str) -> None:
    seen = observe(ad(5, HoldReasonCode=code, HoldReasonSubCode=subcode, HoldReason="why", ExitCode=3))
    assert (seen.state, seen.reason, seen.detail, seen.exit_code) == (JobState.HELD, reason, detail, 3)


@pytest.mark.parametrize(
    ("began", "now", "state"),
    [(None, 5, JobState.QUEUED), (None, 30, JobState.HELD), (20, 30, JobState.QUEUED), (20, 41, JobState.HELD)],
)
def test_a_job_whose_files_may_be_on_their_way_waits(began: int | None, now: int, state: JobState) -> None:
    more = {"HoldReasonCode": 16, "HoldReason": "Spooling input data files", "ServerTime": QUEUED + now}
    seen = observe(ad(5, **more) | {"StageInStart": began and QUEUED + began})
    assert (seen.state, seen.reason) == (state, Reason.STAGING if state is JobState.HELD else None)
    assert observe(ad(5, ServerTime=QUEUED + now, HoldReasonCode=1)).state is JobState.HELD


@pytest.mark.parametrize(
    ("number", "limit", "took", "reason", "signal"),
    [
        (24, 60, 60, Reason.WALLTIME, None),
        (24, 60, 59, None, 24),
        (24, None, 61, None, 24),
        (15, 60, 61, None, 15),
    ],
)
def test_a_script_that_says_that_the_time_was_over(
    number: int, limit: int | None, took: int, reason: Reason | None, signal: int | None
) -> None:
    end = {"ExitBySignal": True, "ExitSignal": number, "CompletionDate": QUEUED + took}
    seen = observe(ad(4, **end) | {"IntercedeWalltime": limit})
    assert (seen.state, seen.reason, seen.signal) == (JobState.FAILED, reason, signal)


@pytest.mark.parametrize(("began", "reason"), [(50, None), (1, Reason.WALLTIME)])
def test_the_time_that_a_job_waited_does_not_count(began: int, reason: Reason | None) -> None:
    end = {"ExitBySignal": True, "ExitSignal": 24, "CompletionDate": QUEUED + 61, "IntercedeWalltime": 60}
    seen = observe(ad(4, JobCurrentStartDate=QUEUED + began, **end))
    assert (seen.reason, seen.signal) == (reason, None if reason else 24)


@pytest.mark.parametrize(
    "said",
    [
        "via condor_rm (by user root)",
        "The system macro SYSTEM_PERIODIC_REMOVE expression '(JobStatus == 4 && time() > 1)' evaluated to TRUE",
    ],
)
@pytest.mark.parametrize(("code", "state"), [(0, JobState.SUCCEEDED), (3, JobState.FAILED)])
def test_an_ended_job_that_was_cleared_away_ended_as_it_did(said: str, code: int, state: JobState) -> None:
    """25.14.1 and 23.9.6 keep all but JobStatus of such a job."""
    end = {"ExitBySignal": False, "ExitCode": code, "CompletionDate": QUEUED + 9, "EnteredCurrentStatus": QUEUED + 99}
    for read in (observe, observe_past):
        seen = read(ad(3, LastJobStatus=4, RemoveReason=said, **end))
        assert (seen.state, seen.exit_code, seen.ended) == (state, code, datetime.fromtimestamp(QUEUED + 9, UTC))


@pytest.mark.parametrize(
    ("said", "state", "reason"),
    [
        ("via condor_rm (by user alice)", JobState.CANCELLED, None),
        ("job exceeded allowed walltime: 1 minutes.", JobState.FAILED, Reason.WALLTIME),
        ("The job attribute PeriodicRemove expression 'true' evaluated to TRUE", JobState.FAILED, None),
    ],
)
def test_a_removed_job(said: str, state: JobState, reason: Reason | None) -> None:
    assert observe(ad(3, RemoveReason=said)).state is JobState.RUNNING
    seen = observe_past(ad(3, RemoveReason=said, EnteredCurrentStatus=QUEUED + 9))
    assert (seen.state, seen.reason, seen.detail) == (state, reason, said)


def test_a_state_that_nobody_knows() -> None:
    assert observe(ad(8)).state is JobState.UNKNOWN


@given(st.fixed_dictionaries(dict.fromkeys(ATTRIBUTES, VALUES)))
def test_anything_can_be_read(anything: Ad) -> None:
    assert observe_past(anything).state in JobState


def test_a_job_that_was_started_again_lost_its_place() -> None:
    for read in (observe, observe_past):
        seen = read(ad(4, CompletionDate=QUEUED + 9, ExitBySignal=True, ExitSignal=26))
        assert (seen.state, seen.reason, seen.signal) == (JobState.FAILED, Reason.NODE, None)
        assert "lost its place" in seen.detail
