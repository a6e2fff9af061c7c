"""Jobs that are processes of the submit host, looked after by nobody but us."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.model import Resources
from intercede.testing.contract.select import needs
from intercede.testing.contract.steps import by_copy, final, reached, script

if TYPE_CHECKING:
    from intercede.model import JobRef
    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["TestSupervised"]

# Processes whose command line has both words; a runner's has the submission's directory and the copy
FIND = (
    'for p in /proc/[0-9]*; do tr \'\\0\' \' \' <"$p/cmdline" 2>/dev/null | grep -F -e "$1" | grep -qF -e "$2" && '
    '[ "${p#/proc/}" != $$ ] && echo "${p#/proc/}"; done; :'
)


async def pids(spot: Spot, *words: str) -> list[int]:
    """The processes with these words, the oldest first."""
    said = await spot.shell("f() { " + FIND + '; }; x=$(f "$@" | sort -n); echo $x', *words)
    # those of the look itself have them as well, and are gone by now
    alive = await spot.shell('for p; do [ -d "/proc/$p" ] && echo "$p"; done; :', *said.decode().split())
    return [int(word) for word in alive.split()]


@needs("supervised")
@pytest.mark.slow
class TestSupervised:
    """Supervisors and runners that die, slots."""

    async def test_supervisor_killed(self, spot: Spot) -> None:
        text = 'echo "$INTERCEDE_COPY" >>"$1/runs"; while [ ! -e "$1/go" ]; do sleep 0.1; done'
        async with spot.element(slots=2) as ce:
            refs = (await ce.submit(script(text, spot.home), 6)).refs
            await reached(ce, refs[0], JobState.RUNNING)
            supervisors = await pids(spot, "/supervisor", spot.store)
            assert supervisors
            await spot.shell('kill -KILL "-$(ps -o pgid= -p "$1" | tr -d " ")"', str(supervisors[0]))
        await spot.shell(": >go")
        await asyncio.sleep(1)
        async with spot.element(slots=2) as ce:  # any verb that asks starts another one
            statuses = await final(ce, refs)
        assert [status.state for status in by_copy(statuses)] == [JobState.SUCCEEDED] * 6
        assert sorted(await spot.lines("runs")) == [str(copy) for copy in range(6)]

    async def test_runner_killed(self, spot: Spot, ce: Element) -> None:
        refs = (await ce.submit(script('echo "$INTERCEDE_COPY" >>"$1/runs"; sleep 300', spot.home), 2)).refs
        await spot.shell('while [ "$(wc -l <runs 2>/dev/null || echo 0)" -lt 2 ]; do sleep 0.1; done')
        for pid in await pids(spot, "/runner", f"{refs[0].submission} 0 0"):
            await spot.shell('kill -KILL "$1" 2>/dev/null || :', str(pid))
        # its payload may go on without it; what has no runner has no end that anybody knows
        status = (await ce.status(refs))[refs[0]]
        assert (status.state, status.exit_code) != (JobState.SUCCEEDED, 0)
        await ce.cancel(refs)
        statuses = await final(ce, refs)
        assert statuses[refs[0]].state in {JobState.CANCELLED, JobState.FAILED}
        assert statuses[refs[1]].state is JobState.CANCELLED
        assert sorted(await spot.lines("runs")) == ["0", "1"]

    async def test_whole_group_killed(self, spot: Spot, ce: Element) -> None:
        (ref,) = (await ce.submit(script('echo $$ >"$1/pid"; sleep 300', spot.home))).refs
        await spot.shell("while [ ! -s pid ]; do sleep 0.1; done")
        await spot.shell('kill -KILL "-$(ps -o pgid= -p "$(cat pid)" | tr -d " ")"')
        status = (await final(ce, [ref]))[ref]
        assert (status.state, status.reason) == (JobState.FAILED, Reason.LOST)

    async def test_stopped(self, spot: Spot, ce: Element) -> None:
        (ref,) = (await ce.submit(script('echo $$ >"$1/pid"; sleep 300', spot.home))).refs
        await spot.shell("while [ ! -s pid ]; do sleep 0.1; done")
        group = (await spot.shell('ps -o pgid= -p "$(cat pid)" | tr -d " "')).decode().strip()
        await spot.shell('kill -STOP "-$1"', group)
        assert (await ce.status([ref]))[ref].state is JobState.SUSPENDED
        await spot.shell('kill -CONT "-$1"', group)
        assert (await ce.status([ref]))[ref].state is JobState.RUNNING
        await spot.shell('kill -STOP "-$1"', group)
        await ce.cancel([ref])
        assert (await final(ce, [ref]))[ref].state is JobState.CANCELLED

    async def test_slots_bound_all_submissions(self, spot: Spot) -> None:
        text = 'mkdir "$1/in.$$" && ls -d "$1"/in.* | wc -l >>"$1/seen"; sleep 0.2; rmdir "$1/in.$$"'
        async with spot.element(slots=3) as ce:
            refs: list[JobRef] = []
            for _ in range(3):
                refs += (await ce.submit(script(text, spot.home), 4)).refs
            refs += (await ce.submit(script(text, spot.home, resources=Resources(cores=3)), 2)).refs
            await final(ce, refs)
        seen = [int(line) for line in await spot.lines("seen")]
        assert len(seen) == 14
        assert max(seen) <= 3
        assert max(seen) > 1

    async def test_cancelled_while_its_runner_waits_for_a_slot(self, spot: Spot) -> None:
        async with spot.element(slots=1) as ce:
            (first,) = (await ce.submit(script('while [ ! -e "$1/go" ]; do sleep 0.1; done', spot.home))).refs
            await reached(ce, first, JobState.RUNNING)
            (ref,) = (await ce.submit(script('echo ran >>"$1/ran"', spot.home))).refs
            while not await pids(spot, "/runner", f"{ref.submission} 0 0"):  # noqa: ASYNC110 - a process of the host
                await asyncio.sleep(0.1)
            await ce.cancel([ref])
            await spot.shell(': >go; until grep -q cancelled "$1"; do sleep 0.1; done 2>/dev/null',
                             f"{spot.store}/{ref.submission}/c/0/record")  # fmt: skip
            async with spot.element(slots=1) as fresh:
                status = (await fresh.status([ref]))[ref]
            assert (status.state, status.exit_code, status.started) == (JobState.CANCELLED, None, None)
            assert await spot.lines("ran") == []

    async def test_of_another_boot(self, spot: Spot, ce: Element) -> None:
        (ref,) = (await ce.submit(script("sleep 300"))).refs
        await reached(ce, ref, JobState.RUNNING)
        number = ref.native.split(".")[-1]
        await spot.shell('cd "$1" && sed -i "s/ [^ ]*$/ another.00000000.$3/" "$2/process"', spot.store, ref.submission,
                         number.split("_")[0])  # fmt: skip
        moved = ref._replace(native=f"another.00000000.{number}")
        async with spot.element() as fresh:
            status = (await fresh.status([moved]))[moved]
        assert status.state is JobState.UNKNOWN
        assert "host" in status.detail
