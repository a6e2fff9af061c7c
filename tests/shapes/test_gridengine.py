"""What Grid Engine does that others do not: deleted jobs, error states, limits of its own, an array of 1000."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Outcome, Reason
from intercede.errors import CommandError, UnsupportedError
from intercede.model import Resources
from intercede.testing.contract.steps import final, reached, script
from tests.shapes.orders import ask_and_order_with_unknown_identifiers, cancel_by_halves

if TYPE_CHECKING:
    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "gridengine-8.1"
HELD = {"gridengine": ("-h",)}
BROKEN = {"gridengine": ("-wd", "/nonexistent")}


async def test_deleted_by_hand_while_waiting_and_while_running(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        waiting, running = [(await ce.submit(script("sleep 300", native=each))).refs[0] for each in (HELD, {})]
        await reached(ce, running, JobState.RUNNING)
        await reached(ce, waiting, JobState.HELD)
        await spot.shell('qdel "$@"', waiting.native, running.native)
        killed = (await final(ce, [running]))[running]
        # the accounting does not tell an order from any other SIGKILL
        assert (killed.state, killed.reason, killed.signal) == (JobState.FAILED, Reason.SIGNAL, 9)
        gone = await reached(ce, waiting, JobState.UNKNOWN)
        assert gone.native_state == "hqw"
        assert "it was HELD" in gone.detail
    async with spot.element(lost_after="1s") as strict:
        lost = (await final(strict, [waiting]))[waiting]
        assert (lost.state, lost.reason) == (JobState.FAILED, Reason.LOST)


async def test_deleted_by_us_while_waiting_and_while_running(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        waiting, running = [(await ce.submit(script("sleep 300", native=each))).refs[0] for each in (HELD, {})]
        await reached(ce, running, JobState.RUNNING)
        assert await ce.cancel([waiting, running]) == dict.fromkeys([waiting, running], Outcome.DONE)
        await final(ce, [waiting, running])
    async with spot.element() as fresh:
        told = (await fresh.status([waiting, running])).values()
        assert [(each.state, each.detail) for each in told] == [(JobState.CANCELLED, "cancelled by us")] * 2


async def test_error_state_with_its_reason_and_released(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        # the directory appears before the release, on a path that the node can make
        broken = script("exit 4", native={"gridengine": ("-wd", f"{spot.home}/later")})
        refs = (await ce.submit(broken, 2)).refs
        for ref in refs:
            status = await reached(ce, ref, JobState.HELD)
            assert status.native_state == "Eqw"
            assert f"can't chdir to {spot.home}/later: No such file or directory" in status.detail
        await spot.shell("mkdir later")
        assert await ce.release(refs[:1]) == {refs[0]: Outcome.DONE}
        assert (await final(ce, refs[:1]))[refs[0]].exit_code == 4
        assert (await ce.status(refs))[refs[1]].state is JobState.HELD
        assert await ce.cancel(refs[1:]) == {refs[1]: Outcome.DONE}
        assert (await final(ce, refs[1:]))[refs[1]].state is JobState.CANCELLED


async def test_walltime_in_seconds(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        refs = (await ce.submit(script("sleep 300", resources=Resources(walltime="3s")), 2)).refs
        statuses = await final(ce, refs)
    assert [(each.state, each.reason) for each in statuses.values()] == [(JobState.FAILED, Reason.WALLTIME)] * 2


async def test_codes_that_mean_something_to_it_end_the_job(spot_on: SpotAt) -> None:
    """Left to itself it would start the one again, for ever, and keep the other one in an error state."""
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        refs = (await ce.submit(script('echo run >>"$1/runs"; exit $((99 + INTERCEDE_COPY))', spot.home), 2)).refs
        statuses = await final(ce, refs)
        assert [statuses[ref].exit_code for ref in refs] == [99, 100]
    assert await spot.lines("runs") == ["run", "run"]


async def test_unknown_and_mixed_identifiers(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        await ask_and_order_with_unknown_identifiers(ce)


async def test_an_array_of_a_thousand(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        before = ce.counters.commands
        refs = (await ce.submit(script("sleep 300"), 1000)).refs
        assert ce.counters.commands - before == 1
        assert {ref.native.partition(".")[0] for ref in refs} == {refs[0].native.partition(".")[0]}
        await reached(ce, refs[0], JobState.RUNNING)
        before = ce.counters.commands
        told = await ce.status(refs)
        assert ce.counters.commands - before == 1
        assert {each.state for each in told.values()} == {JobState.RUNNING, JobState.QUEUED}
        await cancel_by_halves(ce, refs)


async def test_what_it_cannot_reserve_is_refused(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        for resources in (Resources(nodes=2), Resources(gpus=1)):
            with pytest.raises(UnsupportedError):
                await ce.submit(script(":", resources=resources))
    async with spot.element(parallel_environment="no-such-pe") as ce:
        with pytest.raises(CommandError, match="parallel_environment"):
            await ce.submit(script(":", resources=Resources(cores=2)))
