"""How jobs end, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, JobStatus, Outcome, Reason
from intercede.model import Copy, JobDescription, Resources
from intercede.testing.contract.select import needs
from intercede.testing.contract.steps import ENDS, by_copy, fetch_one, final, reached, run, script, waiting_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.protocols import Element
    from intercede.testing.contract.fixtures import Early
    from intercede.testing.contract.place import Spot

__all__ = ["TestCancel", "TestEnds", "TestLimits"]


def _said(status: JobStatus) -> tuple[JobState, Reason | None, int | None, int | None]:
    return status.state, status.reason, status.exit_code, status.signal


class TestEnds:
    """Exit codes and signals."""

    @needs("reason:EXIT_CODE", "reason:SIGNAL")
    async def test_exit_codes_and_signals(self, spot: Spot, ce: Element) -> None:
        statuses = await run(ce, script('eval "$1"'), [Copy(arguments=(row[0],)) for row in ENDS])
        told = {row[0]: _said(status) for row, status in zip(ENDS, by_copy(statuses), strict=True)}
        assert told == {row[0]: row[1:] for row in ENDS}
        async with spot.element() as fresh:
            again = by_copy(await fresh.status(statuses))
        assert {row[0]: _said(status) for row, status in zip(ENDS, again, strict=True)} == told

    async def test_program_that_is_not_there(self, ce: Element) -> None:
        (status,) = (await run(ce, JobDescription(executable="no-such-program-at-all"))).values()
        assert _said(status) == (JobState.FAILED, Reason.EXIT_CODE, 127, None)
        assert "not found" in status.detail

    async def test_program_that_cannot_be_executed(self, ce: Element, tmp_path: Path) -> None:
        path = tmp_path / "plain"
        path.write_text("no program\n")
        (status,) = (await run(ce, JobDescription(executable="./plain", inputs={"plain": path}))).values()
        assert _said(status) == (JobState.FAILED, Reason.EXIT_CODE, 126, None)

    @needs("forgets")
    async def test_when_the_scheduler_has_forgotten(self, early: Early, tmp_path: Path) -> None:
        spot = early.spot
        for ref in (early.ended[-1], early.cancelled[0], early.timed[0]):
            await spot.native(spot.place.forgotten, ref)
        async with early.element() as fresh:
            statuses = await fresh.status([*early.ended, *early.cancelled])
            assert {each.source.split("+")[0] for each in statuses.values()} == {"record"}
            told = {row[0]: _said(statuses[ref]) for row, ref in zip(ENDS, early.ended, strict=True)}
            assert told == {row[0]: row[1:] for row in ENDS}
            assert statuses[early.cancelled[0]].state is JobState.CANCELLED
            (timed,) = (await fresh.status(early.timed)).values()
            output = await fetch_one(fresh, timed.ref, tmp_path)
        assert output.stdout is not None
        began, ended = map(int, output.stdout.read_text().split())
        assert timed.started is not None
        assert timed.ended is not None
        assert timed.started.timestamp() <= began < ended <= timed.ended.timestamp()
        await spot.aclose()

    @needs("requeue")
    async def test_started_again_from_outside(self, spot: Spot, ce: Element) -> None:
        text = 'echo run >>"$1/runs"; [ "$(wc -l <"$1/runs")" -gt 1 ] && exit 5; sleep 300'
        (ref,) = (await ce.submit(script(text, spot.home, requeue=True))).refs
        await reached(ce, ref, JobState.RUNNING)
        await spot.shell("while [ ! -s runs ]; do sleep 0.1; done")
        await spot.native(spot.place.requeue, ref)
        status = (await final(ce, [ref]))[ref]
        assert _said(status) == (JobState.FAILED, Reason.EXIT_CODE, 5, None)
        assert status.attempt == 2
        assert await spot.lines("runs") == ["run", "run"]


class TestCancel:
    """Ending jobs before their time."""

    async def test_running(self, spot: Spot, ce: Element) -> None:
        refs = (await ce.submit(script("sleep 300"), 3)).refs
        for ref in refs:
            await reached(ce, ref, JobState.RUNNING)
        assert await ce.cancel(refs[:2]) == dict.fromkeys(refs[:2], Outcome.DONE)
        ended = await final(ce, refs[:2])
        assert [each for each in ended.values() if each.state is not JobState.CANCELLED] == []
        assert (await ce.status([refs[2]]))[refs[2]].state is JobState.RUNNING
        async with spot.element() as fresh:
            assert (await fresh.status(refs[:1]))[refs[0]].state is JobState.CANCELLED

    async def test_queued(self, spot: Spot) -> None:
        async with spot.element() as ce:
            refs = await waiting_jobs(spot, ce, script('echo ran >>"$1/ran"', spot.home), 2)
            assert {each.state for each in (await ce.status(refs)).values()} == {JobState.QUEUED}
            assert await ce.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
            statuses = await final(ce, refs)
            assert {each.state for each in statuses.values()} == {JobState.CANCELLED}
            assert {(each.exit_code, each.started) for each in statuses.values()} == {(None, None)}
            assert await spot.lines("ran") == []

    async def test_every_other_of_many(self, spot: Spot) -> None:
        async with spot.element() as ce:
            refs = await waiting_jobs(spot, ce, script(":"), 60)
            assert await ce.cancel(refs[::2]) == dict.fromkeys(refs[::2], Outcome.DONE)
            await final(ce, refs[::2])
            async with spot.element() as fresh:
                told = await fresh.status(refs)
            assert [told[ref].state for ref in refs] == 30 * [JobState.CANCELLED, JobState.QUEUED]
            await ce.cancel(refs)

    async def test_twice(self, ce: Element) -> None:
        refs = (await ce.submit(script("sleep 300"))).refs
        await reached(ce, refs[0], JobState.RUNNING)
        await ce.cancel(refs)
        assert all(isinstance(each, Outcome) for each in (await ce.cancel(refs)).values())
        await final(ce, refs)
        assert await ce.cancel(refs) == {refs[0]: Outcome.NOT_NEEDED}
        assert (await ce.status(refs))[refs[0]].state is JobState.CANCELLED

    async def test_after_the_end_changes_nothing(self, spot: Spot, ce: Element) -> None:
        statuses = await run(ce, script("exit $((3 * INTERCEDE_COPY))"), 2)
        async with spot.element() as other:  # it has never seen them end
            assert all(isinstance(each, Outcome) for each in (await other.cancel(statuses)).values())
        async with spot.element() as fresh:
            told = [_said(each) for each in by_copy(await fresh.status(statuses))]
        assert told == [
            (JobState.SUCCEEDED, None, 0, None),
            (JobState.FAILED, Reason.EXIT_CODE, 3, None),
        ]

    @needs("told")
    @pytest.mark.slow
    async def test_payload_is_told_once_and_does_not_live_on(self, spot: Spot, ce: Element) -> None:
        text = (
            """trap 'echo told >>"$1/told"' TERM; echo $$ >"$1/pid"; : >"$1/ready";"""
            """while [ ! -e "$1/no" ]; do sleep 0.1; done"""
        )
        refs = (await ce.submit(script(text, spot.home))).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        await ce.cancel(refs)
        assert (await final(ce, refs))[refs[0]].state is JobState.CANCELLED
        # where a system knows nothing of a job's processes, they may be told after it was said to have ended
        await spot.shell("for i in 1 2 3 4 5 6 7 8 9 10; do [ ! -s told ] || exit 0; sleep 1; done; exit 1")
        assert await spot.lines("told") == ["told"]
        if spot.place.has("one-host"):
            gone = 'grep "^State:" "/proc/$(cat pid)/status" 2>/dev/null | grep -v Z >/dev/null || exit 0; sleep 0.2'
            await spot.shell(f"for i in 1 2 3 4 5; do {gone}; done; exit 1")

    @needs("told")
    @pytest.mark.parametrize("code", [0, 9])
    async def test_payload_that_ends_well_when_told(self, spot: Spot, ce: Element, code: int) -> None:
        text = f'trap "exit {code}" TERM; : >"$1/ready"; while :; do sleep 0.1; done'
        refs = (await ce.submit(script(text, spot.home))).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        await ce.cancel(refs)
        assert (await final(ce, refs))[refs[0]].state is JobState.CANCELLED


class TestLimits:
    """Limits that the job asked for itself."""

    @needs("reason:WALLTIME", "reserves:walltime")
    async def test_walltime(self, early: Early) -> None:
        async with early.element() as ce:
            obedient, stubborn = (await final(ce, early.walltime, 170)).values()
        assert (obedient.state, obedient.reason) == (JobState.FAILED, Reason.WALLTIME)
        assert (stubborn.state, stubborn.reason) == (JobState.FAILED, Reason.WALLTIME)

    @needs("reason:MEMORY", "memory-kill")
    async def test_memory(self, ce: Element) -> None:
        # it keeps what it has taken: some systems look once a second
        text = "{ head -c 400000000 /dev/zero; exec sleep 60; } | tail -c 400000000 >/dev/null"
        hungry = script(text, resources=Resources(memory="50M"))
        (status,) = (await run(ce, hungry)).values()
        assert (status.state, status.reason) == (JobState.FAILED, Reason.MEMORY)
