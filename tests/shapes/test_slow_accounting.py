"""The accounting is away while jobs end: nothing flaps, nothing is guessed, and in the end all of it is exact."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.model import Copy
from intercede.testing.contract.steps import reached, script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from intercede.answers import JobStatus
    from intercede.model import JobRef
    from intercede.protocols import Element
    from testbed.stack import Stack
    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "slurm-24.11-slow-accounting"
# slurmctld looks once a minute for what is older than MinJobAge
FORGOTTEN = 'while squeue -h -t all -j "$1" 2>/dev/null | grep -q .; do sleep 1; done'
WAIT = 'until [ -e "$1/go" ]; do sleep 0.1; done; eval "$2"'
Said = tuple[JobState, Reason | None, int | None, int | None]
ENDS: list[tuple[str, Said]] = [
    ("exit 0", (JobState.SUCCEEDED, None, 0, None)),
    ("exit 7", (JobState.FAILED, Reason.EXIT_CODE, 7, None)),
    ("kill -KILL $$", (JobState.FAILED, Reason.SIGNAL, None, 9)),
    # its own record is hidden below, as a shared file system may do for a while
    ("exit 5", (JobState.FAILED, Reason.EXIT_CODE, 5, None)),
    # ended by force together with its runner, below: only Slurm can tell
    ("sleep 300", (JobState.FAILED, Reason.SIGNAL, None, 9)),
    # told to end by its owner, but not through us
    ("exec sleep 300", (JobState.CANCELLED, None, None, 15)),
    # the runner is told as well, when the payload is gone already: why, only Slurm knows
    (
        "(while kill -0 $$; do :; done; sleep 0.3; kill -TERM $PPID) >/dev/null 2>&1 & exit 143",
        (JobState.FAILED, Reason.EXIT_CODE, 143, None),
    ),
]
HIDDEN, FORCED, ORDERED, TOLD = UNTOLD = (3, 4, 5, 6)
END_BY_FORCE = 'until [ -s "$1" ]; do sleep 0.1; done; kill -KILL "-$(ps -o pgid= -p "$(cat "$1")" | tr -d " ")"'


def said(status: JobStatus) -> Said:
    return status.state, status.reason, status.exit_code, status.signal


@contextlib.asynccontextmanager
async def recorded(ce: Element, refs: list[JobRef]) -> AsyncGenerator[dict[JobRef, list[Said]]]:
    """Note everything that a watch tells."""
    told: dict[JobRef, list[Said]] = {ref: [] for ref in refs}

    async def note() -> None:
        async with contextlib.aclosing(ce.watch(refs)) as changes:  # ty: ignore[invalid-argument-type]
            async for news in changes:
                for ref, status in news.items():
                    if told[ref][-1:] != [said(status)]:
                        told[ref].append(said(status))

    watching = asyncio.create_task(note())
    try:
        yield told
        async with asyncio.timeout(60):
            await watching
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def nobody_guesses(fresh: Element, refs: list[JobRef]) -> None:
    """Who has not seen the jobs end is told what they wrote themselves, or that nobody knows."""
    for _ in range(3):
        now = await fresh.status(refs)
        for index, ref in enumerate(refs):
            if index in UNTOLD:
                assert said(now[ref]) == (JobState.UNKNOWN, None, None, None)
                assert "sacct" in now[ref].detail
            else:
                assert said(now[ref]) == ENDS[index][1]
        await asyncio.sleep(1)


async def all_is_told(fresh: Element, witness: Element, refs: list[JobRef]) -> None:
    """The accounting is back: both get to know the rest, and to whom they had ended they stay ended."""
    for index in UNTOLD:
        while not (status := (await fresh.status(refs))[refs[index]]).state.is_final:
            assert {each.state.is_final for each in (await witness.status(refs)).values()} == {True}
            await asyncio.sleep(0.1)
        assert said(status) == ENDS[index][1]
        assert status.source.startswith("sacct")
    assert [said(each) for each in (await witness.status(refs)).values()] == [end for _, end in ENDS]


@pytest.mark.timeout(400)
async def test_nothing_flaps_and_nothing_is_guessed(spot_on: SpotAt, stack_factory: Callable[[str], Stack]) -> None:
    stack = stack_factory(STACK)
    accounting = stack.daemon("slurmdbd")
    spot = await spot_on(STACK)
    async with spot.element() as ce, contextlib.AsyncExitStack() as mending:
        refs = (
            await ce.submit(script(WAIT, spot.home), [Copy(arguments=(text,)) for text, _ in ENDS], tag="slow")
        ).refs
        for ref in refs:
            await reached(ce, ref, JobState.RUNNING)
        told = await mending.enter_async_context(recorded(ce, refs))
        mending.callback(accounting.start)
        accounting.stop()
        await spot.shell(": >go")
        home = f"{spot.store}/slow/c"
        await spot.shell(END_BY_FORCE, f"{home}/{FORCED}/.pid")
        await spot.shell('scancel "$1"', refs[ORDERED].native)
        for ref in refs:
            await spot.native(("sh", "-c", FORGOTTEN, "sh", "{native}"), ref)
        record = f"{home}/{HIDDEN}/record"
        await spot.shell('mv "$1" "$1.hidden"', record)
        async with spot.element() as fresh:
            await nobody_guesses(fresh, refs)
            accounting.start()
            await all_is_told(fresh, ce, refs)
    for index, ref in enumerate(refs):
        first, *rest = told[ref]
        assert first == (JobState.RUNNING, None, None, None)
        # the queue shows for a moment that one has ended by force, and not how
        assert rest == [ENDS[index][1]] or (index == FORCED and rest == [(JobState.FAILED, None, None, None)])
    async with spot.element() as last:
        await spot.shell('mv "$1.hidden" "$1"', record)
        assert [said(each) for each in (await last.status(refs)).values()] == [end for _, end in ENDS]
