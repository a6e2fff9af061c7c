"""Grid Engine at the pace that it is installed with: its accounting is 15 s late; and with its daemon down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.errors import CommandError, SchedulerUnavailable
from intercede.model import Resources
from intercede.testing.contract.steps import final, script

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.stack import Stack
    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "gridengine-8.1-stock"


async def test_nothing_is_said_of_a_job_that_neither_source_knows_yet(spot_on: SpotAt) -> None:
    """One ended by itself, and has a record; one was killed for its walltime, and has none."""
    spot = await spot_on(STACK)
    async with spot.element(grace=60) as ce:
        (ended,) = (await ce.submit(script("exit 7"))).refs
        (killed,) = (await ce.submit(script("sleep 300", resources=Resources(walltime="2s")))).refs
        seen = []
        for _ in range(600):
            statuses = await ce.status([ended, killed])
            seen.append([each.state for each in statuses.values()])
            if all(each.state.is_final for each in statuses.values()):
                break
            await asyncio.sleep(0.1)
    assert [(each.state, each.reason) for each in statuses.values()] == [
        (JobState.FAILED, Reason.EXIT_CODE),
        (JobState.FAILED, Reason.WALLTIME),
    ]
    assert {state for states in seen for state in states} <= {JobState.QUEUED, JobState.RUNNING, JobState.FAILED}


@pytest.mark.alone
async def test_a_daemon_that_is_down(spot_on: SpotAt, stack_factory: Callable[[str], Stack]) -> None:
    spot = await spot_on(STACK)
    qmaster = stack_factory(STACK).daemon("sge_qmaster")
    async with spot.element() as ce:
        (ref,) = (await ce.submit(script(': >"$1/ready"; sleep 3; exit 3', spot.home))).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        qmaster.stop()
        try:
            for doing in (ce.status([ref]), ce.capacity(), ce.submit(script(":"), tag="down")):
                with pytest.raises(SchedulerUnavailable, match="Connection refused"):
                    await doing
            (outcome,) = (await ce.cancel([ref])).values()
            assert isinstance(outcome, CommandError)
        finally:
            qmaster.start()
        assert (await final(ce, [ref]))[ref].exit_code == 3
        again = await ce.submit(script("exit 5"), tag="down")
        assert (await final(ce, again.refs))[again.refs[0]].exit_code == 5
