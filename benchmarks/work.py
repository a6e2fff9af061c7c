"""The jobs that are measured, and the library's own tar stream of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from intercede import Copy, Counters, JobDescription
from intercede.elements.batch import BatchElement
from intercede.registry import batch_element

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from intercede.model import SchedulerName
    from intercede.settings import ResourceSettings
    from intercede.steps import Command, Completed

OUTPUT = "result.txt"
SIZES = {"stdout": 1000, "stderr": 100, OUTPUT: 4096}
PAYLOAD = f"printf %0{SIZES['stdout']}d 0; printf %0{SIZES['stderr']}d 0 >&2; printf %0{SIZES[OUTPUT]}d 0 >{OUTPUT}"
RUN = JobDescription(executable="sh", arguments=("-c", PAYLOAD), outputs=(OUTPUT,))


def waiting(scheduler: SchedulerName, hold: tuple[str, ...]) -> JobDescription:
    """Jobs that wait for their release do not disturb what is measured."""
    return JobDescription(executable="true", outputs=(OUTPUT,), native={scheduler: hold})


def copies(n: int) -> list[Copy]:
    """N copies, each with an environment and a secret of 100 bytes of its own."""
    return [Copy(environment={"BENCH_COPY": str(i)}, secrets={"token": b"%0100d" % i}) for i in range(n)]


class Sent(Exception):
    """Carries what the library would have sent."""

    def __init__(self, command: Command) -> None:
        self.command = command


class Catcher:
    """A transport that sends nothing and raises what it was to send."""

    host = "nowhere"
    counters = Counters()

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        raise Sent(commands[0])

    def stream(self, command: Command) -> AbstractAsyncContextManager:
        raise Sent(command)

    async def aclose(self) -> None:
        """There is nothing to close."""


async def tar_of(settings: ResourceSettings, description: JobDescription, each: list[Copy]) -> bytes:
    """The very bytes that a submission sends."""
    element = BatchElement(settings, Catcher(), batch_element(settings).scheduler)
    try:
        await element.submit(description, each)
    except Sent as sent:
        stdin = sent.command.stdin
        return stdin if isinstance(stdin, bytes) else b"".join(stdin)
    raise AssertionError("nothing was sent")


class Fresh:
    """Elements that remember nothing of the jobs, on a connection that is warm.

    Args:
        settings: Of the resource.
    """

    def __init__(self, settings: ResourceSettings) -> None:
        self._settings = settings
        self.executions = 0

    async def __call__(self, work: Callable[[BatchElement], Awaitable[object]]) -> float:
        """Do the work once on a new element, count its executions and give its seconds."""
        async with batch_element(self._settings) as element:
            await element.capacity()
            before = element.counters.commands
            began = time.perf_counter()
            await work(element)
            took = time.perf_counter() - began
            self.executions = element.counters.commands - before
        return took
