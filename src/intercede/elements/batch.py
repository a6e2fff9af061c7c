"""A scheduler reached through a transport: what users hold for Slurm and plain processes, here or over SSH."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from intercede.answers import Capacity, Counters, JobState, JobStatus, LogChunk, Outcome, Submission, SubmissionInfo
from intercede.elements.fetching import fetch
from intercede.elements.following import Desk, Watchers
from intercede.elements.logs import Logs
from intercede.elements.orders import Orders
from intercede.elements.reading import Reading
from intercede.elements.shared import check_flat, own, sweep, twice
from intercede.elements.submitting import Submitting
from intercede.elements.verdict import Memory, settled
from intercede.errors import IntercedeError, InvalidReference, NotFound
from intercede.steps import drive
from intercede.workarea.operations import Area

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from intercede.answers import JobOutput
    from intercede.model import Copy, JobDescription, JobRef
    from intercede.protocols import Transport
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps
    from intercede.workarea.scheduler import Scheduler

__all__ = ["BatchElement"]

T = TypeVar("T")
_REMEMBERED = 200_000


class BatchElement:
    """Jobs of one scheduler on one submit host.

    Construction does no input or output. Use it as an async context manager, or call `aclose`.

    Args:
        settings: What the site needs said.
        transport: The way to the submit host; closed with the element.
        scheduler: The command language there.
    """

    def __init__(self, settings: ResourceSettings, transport: Transport, scheduler: Scheduler) -> None:
        self.settings = settings
        self.transport = transport
        self.scheduler = scheduler
        self._memory: dict[JobRef, Memory] = {}
        self._desk = Desk(self._ask)
        self._watchers = Watchers(self._desk.status, settings)
        self._submitting = Submitting(settings, scheduler, self._run)
        self._orders = Orders(settings, scheduler, self._run)
        self._logs = Logs(settings, scheduler, transport)

    def __repr__(self) -> str:
        return f"BatchElement({self.settings.id!r})"

    @property
    def id(self) -> str:
        """The resource's stable name, as in its references."""
        return self.settings.id

    @property
    def counters(self) -> Counters:
        """What the resource has cost so far, in this process."""
        return self.transport.counters

    async def __aenter__(self) -> Self:
        """Enter; does no input or output."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of connections and tasks; idempotent. Jobs go on."""
        await self._watchers.aclose()
        await self._desk.aclose()
        await self.transport.aclose()

    async def submit(
        self, description: JobDescription, copies: int | Iterable[Copy] = 1, *, tag: str | None = None
    ) -> Submission:
        """Queue copies of a description, at most once for a tag, in one remote execution.

        Args:
            description: What is to run.
            copies: How many, or what differs between them.
            tag: The caller's own key of this call. The same tag again gives the first one's jobs; write it down before
                the call to be able to `find` them after a crash. None makes one.

        Returns:
            One reference or error a copy.

        Raises:
            ConfigurationError: The description cannot work (a missing input, 0 copies, a bad tag); nothing was sent.
            UnsupportedError: The resource cannot honour a field; nothing was queued.
            SubmissionRejected: The scheduler refused; nothing was queued.
            QueueFull: A limit of the site; nothing got in. If some did, the others' results are this error.
            StorageError: The work area cannot be written; nothing was queued and nothing is left there.
            TagConflict: The tag is in use for another content.
            SubmissionUnknown: It began and its outcome is not known.
            ConnectFailed: Nothing was sent.
        """
        return await self._submitting.submit(description, copies, tag)

    async def find(self, tag: str) -> Submission:
        """Give what got through under a tag, from any process, after any crash.

        Copies that were never queued, since a limit was met, have `NotFound` as their result.

        Raises:
            NotFound: Nothing of that tag is kept: it never began, or its tombstone is gone.
        """
        return await self._submitting.find(tag)

    async def abandon(self, tag: str) -> Submission:
        """Give up on the parts of a submission that began without an outcome.

        Should their jobs be started after all, they end at once without running the payload.

        Raises:
            NotFound: Nothing of that tag is kept.
        """
        return await self._submitting.find(tag, abandon=True)

    async def list(self, since: datetime | None = None) -> Sequence[SubmissionInfo]:
        """Give own submissions on the resource, purged ones as long as their tombstones stay, the oldest first."""
        return await self._submitting.listing(since)

    async def sweep(self, older_than: timedelta) -> Sequence[str]:
        """Purge submissions older than that whose jobs have all ended; gives their tags.

        A job that no source knows counts as ended if its submission is older than `lost_after` as well. Copies that
        were never queued go too: the same tag queues them no more.
        """
        return await sweep(self, older_than, self._orders.purge_rest)

    async def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        """Give the status of every job asked for, in the order asked, in one remote execution.

        Concurrent calls are merged. A job that no source knows is `UNKNOWN` after the grace period, and final only
        after `lost_after`.

        Raises:
            InvalidReference: A reference was made for another resource or is damaged; nothing was sent.
            SchedulerUnavailable: The queue did not answer.
            TransportError: The submit host cannot be reached.
        """
        return await self._desk.status(self._own(refs))

    def forget(self, refs: Iterable[JobRef]) -> None:
        """Drop what was learnt of jobs, so that the next question is asked as by a new element."""
        for ref in refs:
            self._memory.pop(ref, None)

    def watch(self, refs: Iterable[JobRef]) -> AsyncIterator[dict[JobRef, JobStatus]]:
        """Give the state of all jobs, then what changes, until all are final.

        All watchers of the element share one query, which slows down while nothing changes. An outage is borne for
        `patience` seconds.
        """
        return self._watchers.watch(self._own(refs))

    async def fetch_output(
        self, refs: Iterable[JobRef], into: Path | str, *, flat: bool = False
    ) -> dict[JobRef, JobOutput | IntercedeError]:
        """Bring stdout, stderr and declared files back, as often as wanted, in one remote execution.

        Args:
            refs: Jobs, ended or not.
            into: A directory; files go to `into/<submission>/<copy>/` and replace older ones.
            flat: Leave out `<submission>`; for jobs of one submission.

        Returns:
            For each job its output or error: `LimitExceeded` holds in `kept` what did fit, `NotFound` means that the
            resource keeps nothing of it.

        Raises:
            StorageError: The local disk cannot be written.
        """
        wanted = list(self._own(refs))
        if flat:
            check_flat(wanted)
        if not wanted:
            return {}
        return await self._twice(lambda: fetch(wanted, Path(into), flat, self.settings, self.scheduler, self.transport))

    async def read_log(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> LogChunk:
        """Read a piece of the output of a job that may still run.

        Args:
            ref: The job.
            name: `stdout`, `stderr`, or a file of its working directory.
            offset: Where to begin; negative counts from the end.

        Raises:
            NotFound: There is no such file, or nothing is kept of the job.
        """
        (own,) = self._own([ref])
        return await self._twice(lambda: self._logs.read(own, name, offset))

    async def follow(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> AsyncIterator[LogChunk]:
        """Read on until the job has ended and all was read; each piece's `next_offset` is where to resume."""
        (own,) = self._own([ref])
        async for chunk in self._logs.follow(own, name, offset, self._watchers.watch([own])):
            yield chunk

    async def cancel(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Order the jobs' end, in one remote execution; idempotent.

        A running payload gets SIGTERM, and SIGKILL after the system's own delay.
        """
        return await self._orders.cancel(list(self._own(refs)), self._ended())

    async def release(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Let held jobs be scheduled; jobs that are not held are left as they are."""
        statuses = await self.status(refs)
        held = [ref for ref, status in statuses.items() if status.state is JobState.HELD]
        answers = await self._orders.release(held)
        return {ref: answers.get(ref, Outcome.NOT_NEEDED) for ref in statuses}

    async def renew(
        self, refs: Iterable[JobRef], secrets: Mapping[str, bytes | str]
    ) -> dict[JobRef, Outcome | IntercedeError]:
        """Replace secret files of queued and running jobs, each atomically; ended jobs need none."""
        return await self._orders.renew(list(self._own(refs)), secrets)

    async def purge(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Remove the files of ended jobs; idempotent. A job that has not ended keeps its files: that is its error."""
        statuses = await self.status(refs)
        strangers = await self._strangers([ref for ref, each in statuses.items() if each.state is JobState.UNKNOWN])
        known = {ref: status for ref, status in statuses.items() if ref not in strangers}
        answers = {**await self._orders.purge(known), **strangers}
        for ref, answer in answers.items():
            if not isinstance(answer, Exception):
                self._memory.pop(ref, None)
        return {ref: answers[ref] for ref in statuses}

    async def capacity(self) -> Capacity:
        """Give the queues, their limits, and how many jobs wait and run there: all users' and ours."""
        return await self._run(lambda _area: self.scheduler.capacity(self.settings))

    def _own(self, refs: Iterable[JobRef]) -> dict[JobRef, None]:
        """Refuse references that are not of this resource and scheduler, before anything is sent."""
        wanted = own(refs, self.id)
        for ref in wanted:
            self.scheduler.first_of(ref)
        return wanted

    async def _strangers(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """References whose job is not the one that the work area names: that one may well be running."""
        found: dict[JobRef, Outcome | IntercedeError] = {}
        tags: dict[str, list[JobRef]] = {}
        for ref in refs:
            tags.setdefault(ref.submission, []).append(ref)
        for tag, group in tags.items():
            try:
                ours = set((await self.find(tag)).refs)
            except NotFound:
                continue
            for ref in group:
                if ref not in ours:
                    asked = f"job reference {ref}"
                    found[ref] = InvalidReference(asked, "the submission has no such job", "Was it changed?")
        return found

    def _ended(self) -> set[JobRef]:
        return {ref for ref, known in self._memory.items() if known.status and known.status.state.is_final}

    async def _run(self, steps: Callable[[Area], Steps[T]], *, retry: bool = True) -> T:
        """Drive steps to their end."""

        async def once() -> T:
            return await drive(steps(self._area()), self.transport)

        return await self._twice(once) if retry else await once()

    async def _twice(self, work: Callable[[], Awaitable[T]]) -> T:
        return await twice(work, self.id, self.transport.counters)

    def _area(self) -> Area:
        return Area(self.settings.work_area, self.scheduler, secrets.token_hex(12))

    async def _ask(self, refs: Sequence[JobRef]) -> dict[JobRef, JobStatus]:
        now = datetime.now(UTC).replace(microsecond=0)
        known = self._memory.get
        jobs = [(*ref[1:], (was := known(ref)) is not None and settled(was, self.settings, now)) for ref in refs]
        answer = await self._run(lambda area: area.status(jobs, self.settings.limits.command_time))
        found = Reading(answer, self.scheduler.sources, self.settings, now).statuses(refs, self._memory)
        while len(self._memory) > _REMEMBERED:
            del self._memory[next(iter(self._memory))]
        return found
