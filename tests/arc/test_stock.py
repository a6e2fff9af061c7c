"""A-REX at its own pace: it notices an ended job after up to 20 s, and `action=status` is up to a minute old."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.testing.contract.steps import script

if TYPE_CHECKING:
    from intercede.answers import JobStatus
    from intercede.elements.arc import ArcElement
    from intercede.model import JobRef
    from testbed.stack import Stack
    from tests.arc.conftest import Opener

pytestmark = pytest.mark.parametrize("arc", ["arc-7.2-stock"], indirect=True)

TURN = {JobState.QUEUED: 0, JobState.RUNNING: 1, JobState.SUCCEEDED: 2, JobState.FAILED: 2, JobState.CANCELLED: 2}


async def sampled(ce: ArcElement, refs: list[JobRef]) -> dict[JobRef, list[tuple[float, JobStatus]]]:
    """What is said of the jobs, some times a second until all have ended, and for some seconds after that."""
    seen: dict[JobRef, list[tuple[float, JobStatus]]] = {ref: [] for ref in refs}
    left = 20
    while left:
        for ref, status in (await ce.status(refs)).items():
            seen[ref].append((time.time(), status))
        left -= all(said[-1][1].state.is_final for said in seen.values())
        await asyncio.sleep(0.3)
    return seen


async def test_what_is_said_is_never_wrong_and_never_taken_back(opened: Opener, arc: Stack) -> None:
    ce = opened()
    text = 'date +%s.%N >"/tmp/$1-began"; sleep 6; date +%s.%N >"/tmp/$1-ended"; exit $2'
    refs = []
    for code in (0, 7):
        refs += (await ce.submit(script(text, f"stock-{code}", str(code)))).refs
    (unwanted,) = (await ce.submit(script("sleep 300"))).refs
    watching = asyncio.create_task(sampled(ce, [*refs, unwanted]))
    await asyncio.sleep(8)
    await ce.cancel([unwanted])
    seen = await watching
    for ref, said in seen.items():
        turns = [TURN.get(status.state, -1) for _, status in said]
        assert turns == sorted(turns), [(status.state, status.native_state) for _, status in said]
        assert -1 not in turns, ref
        assert len({(status.state, status.exit_code) for _, status in said if status.state.is_final}) == 1
    ends = [said[-1][1] for said in seen.values()]
    assert [(each.state, each.reason, each.exit_code) for each in ends] == [
        (JobState.SUCCEEDED, None, 0), (JobState.FAILED, Reason.EXIT_CODE, 7), (JobState.CANCELLED, None, None),
    ]  # fmt: skip
    for ref, name in zip(refs, ("stock-0", "stock-7"), strict=True):
        began, ended = (float(arc.exec(["cat", f"/tmp/{name}-{what}"]).stdout) for what in ("began", "ended"))
        # a host and its containers have one clock
        assert min(at for at, status in seen[ref] if status.state is JobState.RUNNING) < ended
        assert min(at for at, status in seen[ref] if status.state.is_final) > ended
        last = seen[ref][-1][1]
        assert last.started is not None
        assert last.ended is not None
        assert abs(last.started.timestamp() - began) < 2
        assert abs(last.ended.timestamp() - ended) < 2


async def test_capacity_counts_jobs_that_the_document_does_not_know_yet(opened: Opener) -> None:
    ce = opened()
    refs = (await ce.submit(script("sleep 30"), 5)).refs
    (queue,) = await ce.capacity()
    assert queue.ours_waiting + queue.ours_running >= 5
    await ce.cancel(refs)
