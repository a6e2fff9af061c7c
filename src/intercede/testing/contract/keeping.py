"""Purging, listing, sweeping, releasing, and how full a resource is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from intercede.answers import JobState, Outcome
from intercede.errors import CommandError, NotFound
from intercede.model import Copy
from intercede.testing.contract.select import needs
from intercede.testing.contract.steps import final, reached, run, script, waiting_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["TestCapacity", "TestHeld", "TestHousekeeping", "TestPurge"]


class TestPurge:
    """Removing what jobs left."""

    async def test_running_job_keeps_its_files(self, spot: Spot, ce: Element) -> None:
        text = 'echo said; [ $INTERCEDE_COPY = 1 ] || { : >"$1/ready"; sleep 300; }'
        refs = (await ce.submit(script(text, spot.home), 2)).refs
        await final(ce, refs[1:])
        # a scheduler says that a job runs before its payload has said anything
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        await reached(ce, refs[0], JobState.RUNNING)
        outcomes = await ce.purge(refs)
        assert isinstance(outcomes[refs[0]], CommandError)
        assert outcomes[refs[1]] is Outcome.DONE
        assert list(outcomes) == refs
        if not spot.place.has("blind"):
            assert (await ce.read_log(refs[0])).data == b"said\n"

    async def test_waiting_job_is_no_ended_one(self, spot: Spot, ce: Element) -> None:
        refs = await waiting_jobs(spot, ce, script(":"))
        assert isinstance((await ce.purge(refs))[refs[0]], CommandError)

    async def test_twice_and_by_copy(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        copies = [Copy(secrets={"s": "x"}) for _ in range(3)]
        refs = list(await run(ce, script("echo said; echo f >f", outputs=("f",)), copies, tag="some"))
        assert await ce.purge(refs[1:2]) == {refs[1]: Outcome.DONE}
        outputs = await ce.fetch_output(refs, tmp_path)
        assert isinstance(outputs[refs[1]], NotFound)
        assert not isinstance(outputs[refs[0]], Exception)
        assert not isinstance(outputs[refs[2]], Exception)
        again = await ce.purge(refs)
        assert all(isinstance(each, Outcome) for each in again.values())
        assert set((await ce.purge(refs)).values()) <= {Outcome.NOT_NEEDED, Outcome.DONE}
        assert [line for line in await spot.left() if not line.startswith("./.")] == []

    async def test_of_a_cancelled_one_that_never_ran(self, spot: Spot, ce: Element) -> None:
        refs = await waiting_jobs(spot, ce, script('echo ran >>"$1/ran"', spot.home), 2)
        await ce.cancel(refs)
        await final(ce, refs)
        assert set((await ce.purge(refs)).values()) == {Outcome.DONE}
        assert await spot.lines("ran") == []


class TestHousekeeping:
    """What one's own submissions are, and doing away with old ones."""

    async def test_list(self, spot: Spot, ce: Element) -> None:
        assert await ce.list() == []
        before = datetime.now(UTC) - timedelta(seconds=2)
        first = await ce.submit(script(":"), [Copy(key="k"), Copy()], tag="one")
        await final(ce, first.refs)
        second = await ce.submit(script("sleep 300"), tag="two")
        infos = {info.tag: info for info in await ce.list()}
        assert [
            (tag, list(info.refs), info.copies, info.purged, info.complete) for tag, info in sorted(infos.items())
        ] == [
            ("one", first.refs, 2, False, True),
            ("two", second.refs, 1, False, True),
        ]
        assert all(before <= info.submitted <= datetime.now(UTC) for info in infos.values())
        assert await ce.list(since=datetime.now(UTC) + timedelta(hours=1)) == []
        await ce.purge(first.refs)
        infos = {info.tag: info for info in await ce.list()}
        assert (infos["one"].purged, infos["two"].purged) == (True, False)

    async def test_sweep(self, spot: Spot, ce: Element) -> None:
        ended = await ce.submit(script(":"), 2, tag="ended")
        await final(ce, ended.refs)
        await ce.submit(script("sleep 300"), tag="runs")
        assert await ce.sweep(timedelta(hours=1)) == []
        async with spot.element() as fresh:
            assert await fresh.sweep(timedelta(0)) == ["ended"]
            assert await fresh.sweep(timedelta(0)) == []
        assert [line for line in await spot.left() if line.startswith("./ended")] == []
        assert [info.tag for info in await ce.list() if not info.purged] == ["runs"]

    async def test_other_resources_of_the_same_work_area(self, spot: Spot, ce: Element) -> None:
        await run(ce, script(":"), tag="mine")
        async with spot.element(id="somebody-else") as other:
            assert await other.list() == []
            assert await other.sweep(timedelta(0)) == []
        assert [info.tag for info in await ce.list()] == ["mine"]


class TestHeld:
    """Jobs that wait for somebody."""

    @needs("hold")
    async def test_released(self, spot: Spot, ce: Element) -> None:
        held = script("exit 3", native=dict(spot.place.native_hold))
        refs = (await ce.submit(held, 2)).refs
        for ref in refs:
            status = await reached(ce, ref, JobState.HELD)
            assert "held" in status.detail
        assert await ce.release(refs[:1]) == {refs[0]: Outcome.DONE}
        assert (await final(ce, refs[:1]))[refs[0]].exit_code == 3
        assert (await ce.status(refs))[refs[1]].state is JobState.HELD
        await ce.cancel(refs)
        assert (await final(ce, refs))[refs[1]].state is JobState.CANCELLED

    @needs("hold")
    async def test_held_from_outside(self, spot: Spot, ce: Element) -> None:
        refs = await waiting_jobs(spot, ce, script(":"), 2)
        await spot.native(spot.place.hold, refs[1])
        await reached(ce, refs[1], JobState.HELD)
        assert (await ce.status(refs))[refs[0]].state is JobState.QUEUED
        assert await ce.release(refs) == {refs[0]: Outcome.NOT_NEEDED, refs[1]: Outcome.DONE}
        for ref in refs:
            await reached(ce, ref, JobState.QUEUED)

    async def test_not_held(self, ce: Element) -> None:
        refs = (await ce.submit(script("sleep 300; exit $INTERCEDE_COPY"))).refs
        await reached(ce, refs[0], JobState.RUNNING)
        assert await ce.release(refs) == {refs[0]: Outcome.NOT_NEEDED}
        await ce.cancel(refs)
        await final(ce, refs)
        assert await ce.release(refs) == {refs[0]: Outcome.NOT_NEEDED}


class TestCapacity:
    """How full it is."""

    async def test_jobs_that_wait_and_run_are_counted(self, spot: Spot, ce: Element) -> None:
        before = await ce.capacity()
        assert before
        assert len({each.name for each in before}) == len(before)
        default = next(each for each in before if each.is_default)
        assert default.accepting
        assert default.cores or spot.place.has("uncounted")
        running = (await ce.submit(script("sleep 300"))).refs
        await reached(ce, running[0], JobState.RUNNING)
        await waiting_jobs(spot, ce, script(":"), 3)
        capacity = await ce.capacity()  # asked once: other jobs of the same user come and go
        now = next(each for each in capacity if each.name == default.name)
        assert now.running is not None
        assert now.waiting is not None
        assert now.ours_waiting >= 3
        assert now.ours_running >= 1
        assert now.waiting >= now.ours_waiting
        assert now.running >= now.ours_running
        if default.cores:
            assert now.free_cores is not None
            assert 0 <= now.free_cores <= default.cores
        assert capacity.free_for_us(2) == 0
        assert capacity.free_for_us(now.ours_waiting + 100, default.name) == 100

    @needs("queues", "limits")
    async def test_limits(self, spot: Spot, ce: Element) -> None:
        limits = {each.name: each.max_walltime for each in await ce.capacity()}
        limit = limits[spot.place.limited_queue]
        assert limit is not None
        assert limit < timedelta(hours=1)
        assert None in limits.values()
