"""The capabilities that a consumer narrows on.

A task depends on what it uses: a function that only watches takes a `StatusReporter`, and a fake of it needs none of
our classes. An absent capability is absent, not a method that fails: `isinstance(ce, OutputRetriever)` tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from intercede.answers import (
        Capacity,
        Counters,
        JobOutput,
        JobStatus,
        LogChunk,
        Outcome,
        Submission,
        SubmissionInfo,
    )
    from intercede.errors import IntercedeError
    from intercede.model import Copy, JobDescription, JobRef
    from intercede.settings import ResourceSettings
    from intercede.steps import Command, Completed

__all__ = [
    "Canceller",
    "CapacityReporter",
    "ComputingElement",
    "Element",
    "Finder",
    "Housekeeper",
    "LogReader",
    "OutputRetriever",
    "Purger",
    "Releaser",
    "SecretRenewer",
    "StatusReporter",
    "Stream",
    "Submitter",
    "Transport",
]


@runtime_checkable
class Submitter(Protocol):
    """Queues jobs."""

    async def submit(
        self, description: JobDescription, copies: int | Iterable[Copy] = 1, *, tag: str | None = None
    ) -> Submission:
        """Queue copies of a description, at most once for a tag."""
        ...


@runtime_checkable
class StatusReporter(Protocol):
    """Says where jobs are in their lives."""

    async def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        """Give the status of every job asked for, in the order asked."""
        ...

    def watch(self, refs: Iterable[JobRef]) -> AsyncIterator[dict[JobRef, JobStatus]]:
        """Give what changes, until all jobs are final."""
        ...


@runtime_checkable
class ComputingElement(Submitter, StatusReporter, Protocol):
    """Anything that one submits jobs to."""

    @property
    def id(self) -> str:
        """The resource's stable name, as in its references."""
        ...

    @property
    def counters(self) -> Counters:
        """What the resource has cost so far."""
        ...

    async def __aenter__(self) -> Self:
        """Enter; does no input or output."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and tasks; idempotent. Jobs go on."""
        ...


@runtime_checkable
class OutputRetriever(Protocol):
    """Brings output back."""

    async def fetch_output(
        self, refs: Iterable[JobRef], into: Path | str, *, flat: bool = False
    ) -> dict[JobRef, JobOutput | IntercedeError]:
        """Bring stdout, stderr and declared files into `into/<submission>/<copy>/` (`flat`: `into/<copy>/`)."""
        ...


@runtime_checkable
class LogReader(Protocol):
    """Reads the output of jobs that may still run."""

    async def read_log(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> LogChunk:
        """Read a piece; a negative offset counts from the end."""
        ...

    def follow(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> AsyncIterator[LogChunk]:
        """Read on until the job has ended."""
        ...


@runtime_checkable
class Canceller(Protocol):
    """Ends jobs."""

    async def cancel(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Order the jobs' end."""
        ...


@runtime_checkable
class Releaser(Protocol):
    """Lets held jobs go on."""

    async def release(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Let held jobs be scheduled."""
        ...


@runtime_checkable
class SecretRenewer(Protocol):
    """Replaces secrets of queued and running jobs."""

    async def renew(
        self, refs: Iterable[JobRef], secrets: Mapping[str, bytes | str]
    ) -> dict[JobRef, Outcome | IntercedeError]:
        """Replace secret files by name, atomically."""
        ...


@runtime_checkable
class Purger(Protocol):
    """Removes what jobs left on the resource."""

    async def purge(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Remove the files of ended jobs."""
        ...


@runtime_checkable
class CapacityReporter(Protocol):
    """Says what queues there are and how full they are."""

    async def capacity(self) -> Capacity:
        """Give the queues, their limits, and who waits and runs there."""
        ...


@runtime_checkable
class Finder(Protocol):
    """Finds submissions again."""

    async def find(self, tag: str) -> Submission:
        """Give what got through under a tag."""
        ...

    async def abandon(self, tag: str) -> Submission:
        """Give up on the parts of a submission that began without an outcome."""
        ...


@runtime_checkable
class Housekeeper(Protocol):
    """Knows all own submissions on the resource."""

    async def list(self, since: datetime | None = None) -> Sequence[SubmissionInfo]:
        """Give own submissions, the oldest first."""
        ...

    async def sweep(self, older_than: timedelta) -> Sequence[str]:
        """Purge old submissions whose jobs have all ended; gives their tags."""
        ...


class Element(
    ComputingElement, OutputRetriever, LogReader, Canceller, Releaser, SecretRenewer, Purger, CapacityReporter, Finder,
    Housekeeper, Protocol,
):  # fmt: skip
    """Everything that the elements of this library can do; what `open_element` gives."""

    @property
    def settings(self) -> ResourceSettings:
        """What the site needs said."""
        ...

    async def __aenter__(self) -> Element:
        """Enter; does no input or output."""
        ...


class Stream(Protocol):
    """Stdout of a running command, in pieces."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give pieces of stdout until it ends."""
        ...

    async def completed(self) -> Completed:
        """Wait for the end; `stdout` of the answer is empty."""
        ...


class Transport(Protocol):
    """Runs commands on the submit host. Construction does no input or output; opening is implied by use."""

    @property
    def host(self) -> str:
        """The host's name, the key of the budget that all elements of the process share for it."""
        ...

    @property
    def counters(self) -> Counters:
        """What it has cost so far."""
        ...

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        """Run commands in one round trip.

        Raises:
            ConnectFailed: Nothing was sent.
            AuthenticationFailed: Nothing ran.
            ConnectionLost: A command may have run.
            LimitExceeded: A command said more than its `output_limit`.
        """
        ...

    def stream(self, command: Command) -> contextlib.AbstractAsyncContextManager[Stream]:
        """Run one command and hand out its stdout as it comes. Leaving early ends the command."""
        ...

    async def aclose(self) -> None:
        """Let go of the connection; idempotent."""
        ...


def capabilities(element: Any) -> tuple[str, ...]:
    """The names of the capabilities that an element has."""
    known = (
        Submitter, StatusReporter, OutputRetriever, LogReader, Canceller, Releaser,
        SecretRenewer, Purger, CapacityReporter, Finder, Housekeeper,
    )  # fmt: skip
    return tuple(each.__name__ for each in known if isinstance(element, each))
