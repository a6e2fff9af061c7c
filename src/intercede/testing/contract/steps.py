"""What most tests of the suite do first: describe a job, send it, wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from intercede.answers import JobOutput, JobState, JobStatus, Reason
from intercede.model import Copy, JobDescription, JobRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = [
    "ENDS",
    "PATIENCE", "elsewhere", "fetch_one", "final", "reached", "run", "script", "waiting_jobs",
]  # fmt: skip

PATIENCE = 120.0
"""Seconds for what takes at most a few, unless it waits for two hundred jobs of another test."""


ENDS: list[tuple[str, JobState, Reason | None, int | None, int | None]] = [
    ("exit 0", JobState.SUCCEEDED, None, 0, None),
    ("exit 7", JobState.FAILED, Reason.EXIT_CODE, 7, None),
    # 99 and 100 mean something to Grid Engine, 124 to timeout(1), 255 to ssh
    ("exit 99", JobState.FAILED, Reason.EXIT_CODE, 99, None),
    ("exit 100", JobState.FAILED, Reason.EXIT_CODE, 100, None),
    ("exit 124", JobState.FAILED, Reason.EXIT_CODE, 124, None),
    ("exit 128", JobState.FAILED, Reason.EXIT_CODE, 128, None),
    ("exit 137", JobState.FAILED, Reason.EXIT_CODE, 137, None),
    ("exit 255", JobState.FAILED, Reason.EXIT_CODE, 255, None),
    ("kill -KILL $$", JobState.FAILED, Reason.SIGNAL, None, signal.SIGKILL),
    ("kill -TERM $$", JobState.FAILED, Reason.SIGNAL, None, signal.SIGTERM),
    ("kill -ABRT $$", JobState.FAILED, Reason.SIGNAL, None, signal.SIGABRT),
    ("kill -USR1 $$", JobState.FAILED, Reason.SIGNAL, None, signal.SIGUSR1),
    # a child's end is not the payload's
    ("sh -c 'kill -KILL $$'; exit 0", JobState.SUCCEEDED, None, 0, None),
    ("(sleep 300 & ) >/dev/null 2>&1; exit 4", JobState.FAILED, Reason.EXIT_CODE, 4, None),
]
"""What a shell does, and what is to be said of it: state, reason, exit code, signal."""


def script(text: str, *arguments: str, **fields: Any) -> JobDescription:
    """A job that is a few lines of shell; its own arguments come after the description's."""
    return JobDescription(executable="/bin/sh", arguments=("-c", text, "sh", *arguments), **fields)


async def final(ce: Element, refs: Iterable[JobRef], patience: float = PATIENCE) -> dict[JobRef, JobStatus]:
    """Wait for the end of all jobs and give their last statuses, in the order of `refs`."""
    wanted = list(refs)
    latest: dict[JobRef, JobStatus] = {}
    try:
        async with asyncio.timeout(patience), contextlib.aclosing(ce.watch(wanted)) as changes:  # ty: ignore[invalid-argument-type]
            async for news in changes:
                latest.update(news)
    except TimeoutError:
        open_ones = [f"{ref}: {latest.get(ref)}" for ref in wanted if ref not in latest or not _ended(latest[ref])]
        raise AssertionError(f"not ended after {patience} s: {open_ones[:5]}") from None
    return {ref: latest[ref] for ref in wanted}


def _ended(status: JobStatus) -> bool:
    return status.state.is_final


async def reached(ce: Element, ref: JobRef, *states: JobState, patience: float = PATIENCE) -> JobStatus:
    """Wait until a job is in one of the states."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        status = (await ce.status([ref]))[ref]
        if status.state in states:
            return status
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not {' or '.join(states)} after {patience} s: {status}")
        await asyncio.sleep(0.1)


async def run(
    ce: Element, description: JobDescription, copies: int | Iterable[Copy] = 1, **options: Any
) -> dict[JobRef, JobStatus]:
    """Submit, wait for the end of all copies, give their statuses in order."""
    submission = await ce.submit(description, copies, **options)
    assert not submission.errors
    return await final(ce, submission.refs)


async def fetch_one(ce: Element, ref: JobRef, into: Path) -> JobOutput:
    """The output of one job; fails if it is an error."""
    found = (await ce.fetch_output([ref], into))[ref]
    assert isinstance(found, JobOutput), found
    return found


async def waiting_jobs(spot: Spot, ce: Element, description: JobDescription, copies: int = 1) -> list[JobRef]:
    """Submit jobs that will wait for longer than the test takes."""
    if spot.place.native_wait:
        held = description.model_copy(update={"native": dict(spot.place.native_wait)})
        return (await ce.submit(held, copies)).refs
    # all the slots are taken by somebody else, and somebody else is the first to have the next one
    await ce.submit(script("sleep 300"), 2 * (ce.settings.slots or 1))
    for _ in range(int(10 * PATIENCE)):
        if not (await ce.capacity())[0].free_cores:
            return (await ce.submit(description, copies)).refs
        await asyncio.sleep(0.1)
    raise AssertionError("the slots were never all taken")


async def elsewhere(spot: Spot, operation: str, *, wait: bool = True, **words: Any) -> Any:
    """Do something in another process, on another day: `python -m intercede.testing.contract.client`.

    Args:
        spot: Where.
        operation: `submit`, `status`, `find`, `fetch`, ...
        wait: Whether to wait for the answer; if not, the process is given back when it is about to begin.
        words: The operation's own.
    """
    order = {
        "settings": spot.settings().model_dump(mode="json"), "files": dict(spot.place.files),
        "operation": operation, **words,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "intercede.testing.contract.client",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    await process.stdin.drain()
    assert await process.stdout.readline() == b"ready\n"
    if not wait:
        return process
    out, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    return json.loads(out)


def by_copy(statuses: Mapping[JobRef, JobStatus]) -> list[JobStatus]:
    """The statuses, by index of the copy."""
    return [statuses[ref] for ref in sorted(statuses, key=lambda ref: ref.copy_index)]
