"""An ARC CE, through A-REX's REST interface: what users hold for `arc://`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from intercede.answers import Capacity, Counters, JobState, JobStatus, LogChunk, Outcome, Submission, SubmissionInfo
from intercede.elements import arc_submitting
from intercede.elements.arc_access import CANCEL, READ, SUBMIT, Access
from intercede.elements.arc_book import REMEMBERED, Book, each
from intercede.elements.arc_capacity import capacity_of
from intercede.elements.arc_files import fetch_one, read_piece
from intercede.elements.arc_orders import cancel, purge, renew
from intercede.elements.arc_status import REASONS, SOURCES, ask
from intercede.elements.following import Desk, Watchers
from intercede.elements.logs import check_name, follow, there
from intercede.elements.reading import Reading
from intercede.elements.shared import check_flat, own, sweep, twice
from intercede.elements.verdict import Memory, settled
from intercede.errors import (
    AuthenticationFailed,
    CommandError,
    IntercedeError,
    NotFound,
    SchedulerUnavailable,
    StorageError,
)
from intercede.model import check_tag

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from intercede.answers import JobOutput, Reason
    from intercede.arc.client import ArcClient
    from intercede.credentials import CredentialProvider
    from intercede.elements.arc_book import Known
    from intercede.model import Copy, JobDescription, JobRef
    from intercede.settings import ResourceSettings

__all__ = ["ArcElement"]

T = TypeVar("T")


class ArcElement:
    """Jobs on one ARC CE, as one person.

    Construction does no input or output. Use it as an async context manager, or call `aclose`. Its verbs answer as
    those of `BatchElement` do; what ARC cannot do is said with each.

    Args:
        settings: Where it is, and what the site needs said.
        credentials: Who supplies the X.509 proxy or the bearer token.
    """

    name: ClassVar[str] = "arc"
    reasons: ClassVar[frozenset[Reason]] = REASONS
    """The reasons that it can tell."""
    reserves: ClassVar[frozenset[str]] = frozenset({"cores", "nodes", "memory", "walltime"})
    """The fields of `Resources` that the batch system behind a CE reserves; plain processes (`fork`) have no memory and
    nodes to reserve, and HTCondor gives a job one machine."""

    def __init__(self, settings: ResourceSettings, credentials: CredentialProvider | None = None) -> None:
        self.settings = settings
        self._counters = Counters()
        self._access = Access(settings, credentials, self._counters)
        self._book = Book(settings.id)
        self._memory: dict[JobRef, Memory] = {}
        self._desk = Desk(self._ask)
        self._watchers = Watchers(self._desk.status, settings)

    def __repr__(self) -> str:
        return f"ArcElement({self.settings.id!r})"

    @property
    def id(self) -> str:
        """The resource's stable name, as in its references."""
        return self.settings.id

    @property
    def counters(self) -> Counters:
        """What the resource has cost so far, in this process: `commands` are requests."""
        return self._counters

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
        await self._access.aclose()

    async def submit(
        self, description: JobDescription, copies: int | Iterable[Copy] = 1, *, tag: str | None = None
    ) -> Submission:
        """Queue copies of a description, at most once for a tag: up to 250 jobs a request, and one upload each.

        With a `tag` of the caller's own, the CE is first searched for its jobs. One caller at a time may use a tag.

        Args:
            description: What is to run.
            copies: How many, or what differs between them.
            tag: The caller's own key of this call; None makes one.

        Returns:
            One reference or error a copy.

        Raises:
            ConfigurationError: The description cannot work; nothing was sent.
            UnsupportedError: The resource cannot honour a field; nothing was queued.
            SubmissionRejected: The CE refused all of it.
            QueueFull: A limit of the site; nothing got in.
            TagConflict: The tag is in use for another content.
            SubmissionUnknown: An answer was lost, or jobs have not got their files: they are `HELD`, and the same tag
                again completes them.
            AuthenticationFailed: The CE does not know us.
            ConnectFailed: Nothing was sent.
        """
        order = arc_submitting.begin(description, copies, tag, self.settings)

        async def send(client: ArcClient) -> Submission:
            delegation = await self._access.delegation() if order.plan.needs_delegation else None
            return await arc_submitting.submit(self._book, order, delegation, self.settings, client)

        return await self._do(SUBMIT, send, retry=False)

    async def find(self, tag: str) -> Submission:
        """Give what got through under a tag, from any process, after any crash.

        The list of all jobs is asked for, and the label of each that was not seen before.

        Raises:
            NotFound: Nothing of that tag is kept: it never began, or the CE has forgotten it.
        """
        return (await self._do(READ, lambda client: self._known(client, tag))).submission()

    async def abandon(self, tag: str) -> Submission:
        """Give up on the jobs of a submission that never got their files: they are removed, and never ran.

        Raises:
            NotFound: Nothing of that tag is kept.
        """

        async def give_up(client: ArcClient) -> Submission:
            known = await self._known(client, tag)
            found = known.submission(known.waiting)
            unwanted = [*known.spare, *(known.natives[copy] for copy in known.waiting)]
            if unwanted:
                await client.kill(unwanted)
                await client.clean(unwanted)
            return found

        return await self._do(CANCEL, give_up)

    async def list(self, since: datetime | None = None) -> Sequence[SubmissionInfo]:
        """Give own submissions on the resource, purged ones as long as their tombstones stay, the oldest first."""
        known = await self._do(READ, self._book.submissions)
        old = time.time() - self.settings.tombstone.total_seconds()
        gone = [one for one in known if one.info().purged and one.purged_at < old]
        stones = [native for one in gone for native in (*one.natives.values(), *one.spare)]
        if stones:
            await self._do(CANCEL, lambda client: client.clean(stones))
        infos = sorted((one.info() for one in known if one not in gone), key=lambda info: info.submitted)
        return [info for info in infos if since is None or info.submitted >= since]

    async def sweep(self, older_than: timedelta) -> Sequence[str]:
        """Purge submissions older than that whose jobs have all ended; gives their tags."""
        return await sweep(self, older_than)

    async def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        """Give the status of every job asked for, in the order asked.

        Two requests for any number of jobs that are known and have not ended (the list, and the details of what is in
        the batch system); one or two more, once, for each that is new to this element, and for each that has ended.

        Raises:
            InvalidReference: A reference was made for another resource or is damaged; nothing was sent.
            SchedulerUnavailable: The CE did not answer.
            TransportError: The CE cannot be reached.
        """
        return await self._desk.status(own(refs, self.id))

    def forget(self, refs: Iterable[JobRef]) -> None:
        """Drop what was learnt of jobs, so that the next question is asked as by a new element."""
        for ref in refs:
            self._memory.pop(ref, None)

    def watch(self, refs: Iterable[JobRef]) -> AsyncIterator[dict[JobRef, JobStatus]]:
        """Give the state of all jobs, then what changes, until all are final.

        All watchers of the element share one query, which slows down while nothing changes.
        """
        return self._watchers.watch(own(refs, self.id))

    async def fetch_output(
        self, refs: Iterable[JobRef], into: Path | str, *, flat: bool = False
    ) -> dict[JobRef, JobOutput | IntercedeError]:
        """Bring stdout, stderr and declared files back, as often as wanted; one request a job, if it left little.

        Of a job that has not ended, or that was ended without warning, there are stdout and stderr alone.

        Args:
            refs: Jobs, ended or not.
            into: A directory; files go to `into/<submission>/<copy>/` and replace older ones.
            flat: Leave out `<submission>`; for jobs of one submission.

        Raises:
            StorageError: The local disk cannot be written.
            SchedulerUnavailable: Not all arrived within `limits.output_time`.
        """
        wanted = list(own(refs, self.id))
        if flat:
            check_flat(wanted)

        async def one(ref: JobRef) -> JobOutput | IntercedeError:
            try:
                return await self._do(READ, lambda client: self._fetch(client, ref, Path(into), flat))
            except StorageError:
                raise
            except IntercedeError as error:
                if isinstance(error, AuthenticationFailed):
                    raise
                return error

        async with _within(self.settings.limits.output_time, "fetch_output"):
            await self._do(READ, lambda client: self._book.read(client, [ref.native for ref in wanted]))
            found = await each(one, wanted, self.settings.politeness.concurrent)
        return dict(zip(wanted, found, strict=True))

    async def read_log(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> LogChunk:
        """Read a piece of the output of a job; of one that has not ended, `stdout` and `stderr` alone.

        Args:
            ref: The job.
            name: `stdout`, `stderr`, or one of its declared outputs.
            offset: Where to begin; negative counts from the end.

        Raises:
            NotFound: There is no such file, or nothing is kept of the job.
        """
        (mine,) = own([ref], self.id)
        return there(await self._piece(mine, name, offset), f"{name} of {mine}")

    async def follow(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> AsyncIterator[LogChunk]:
        """Read on until the job has ended and all was read; each piece's `next_offset` is where to resume."""
        (mine,) = own([ref], self.id)
        longest, changes = self.settings.politeness.max_interval / 5, self._watchers.watch([mine])
        async for chunk in follow(
            lambda at: self._piece(mine, name, at), offset, changes, longest, f"{name} of {mine}"
        ):
            yield chunk

    async def cancel(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Order the jobs' end, a thousand a request; idempotent. It takes the CE some seconds to carry it out."""
        wanted = list(own(refs, self.id))
        ended = {ref for ref, known in self._memory.items() if known.status and known.status.state.is_final}
        return await self._do(CANCEL, lambda client: cancel(client, self._book, wanted, ended))

    async def release(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Leave jobs that are not held as they are. ARC has no order that would let others go on: they are errors."""
        found: dict[JobRef, Outcome | IntercedeError] = {}
        for ref, status in (await self.status(refs)).items():
            held = status.state is JobState.HELD
            refusal = CommandError(f"release of {ref}", status.detail, "Ask the site, or the batch system itself.")
            found[ref] = refusal if held else Outcome.NOT_NEEDED
        return found

    async def renew(
        self, refs: Iterable[JobRef], secrets: Mapping[str, bytes | str]
    ) -> dict[JobRef, Outcome | IntercedeError]:
        """Replace secret files of jobs that the CE has not yet given to its batch system; ended jobs need none."""
        wanted, stamp = list(own(refs, self.id)), time.time_ns()
        return await self._do(SUBMIT, lambda client: renew(client, self._book, wanted, secrets, stamp))

    async def purge(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Remove the files of ended jobs; idempotent. A job that has not ended keeps its files: that is its error.

        The first job of a submission stays on the CE, without its files, as the tombstone; `list` removes old ones.
        """
        statuses = await self.status(refs)
        answers = await self._do(CANCEL, lambda client: purge(client, self._book, statuses))
        for ref, answer in answers.items():
            if not isinstance(answer, Exception):
                self._memory.pop(ref, None)
        return answers

    async def capacity(self) -> Capacity:
        """Give the queues and how many jobs wait and run there; all users' jobs are up to a minute old.

        Of several queues, none is the default unless the resource's `queue` is configured: the CE does not tell.
        """
        return await self._do(READ, lambda client: capacity_of(client, self._book, self.settings.queue))

    async def _known(self, client: ArcClient, tag: str) -> Known:
        check_tag(tag)
        found = await self._book.submission(client, tag)
        if found is None:
            raise NotFound(f"submission {tag}", f"{self.id} has no job of it")
        return found

    async def _fetch(self, client: ArcClient, ref: JobRef, into: Path, flat: bool) -> JobOutput | IntercedeError:
        label = await self._book.check(client, ref)
        found = await fetch_one(client, ref, label, into, flat, self.settings.limits)
        if getattr(found, "stdout", found) is None and await self._book.is_purged(client, ref):
            return NotFound(f"output of {ref}", "the resource keeps nothing of it", "It was purged.")
        return found

    async def _piece(self, ref: JobRef, name: str, offset: int) -> LogChunk | None:
        check_name(name)

        async def read(client: ArcClient) -> LogChunk | None:
            label = await self._book.check(client, ref)
            return await read_piece(client, label, ref.native, name, offset, self.settings.limits.log_bytes)

        async with _within(self.settings.limits.command_time, f"{name} of {ref}"):
            return await self._do(READ, read)

    async def _ask(self, refs: Sequence[JobRef]) -> dict[JobRef, JobStatus]:
        now = datetime.now(UTC).replace(microsecond=0)
        done = {ref for ref in refs if (was := self._memory.get(ref)) and settled(was, self.settings, now)}
        began = {JobState.RUNNING, JobState.HELD, JobState.SUSPENDED}
        last = ((ref.native, was.status) for ref in refs if (was := self._memory.get(ref)) and was.status)
        before = {native: status.native_state for native, status in last if status.state in began}
        answer = await self._do(READ, lambda client: ask(client, self._book, refs, done, before))
        found = Reading(answer, SOURCES, self.settings, now).statuses(refs, self._memory)
        while len(self._memory) > REMEMBERED:
            del self._memory[next(iter(self._memory))]
        return found

    async def _do(self, scopes: frozenset[str], work: Callable[[ArcClient], Awaitable[T]], *, retry: bool = True) -> T:
        """Do something as who we are; what may be repeated, once more where the connection was lost under it."""

        async def once() -> T:
            try:
                return await work(await self._access.client(scopes))
            except AuthenticationFailed:
                self._access.drop()
                raise

        return await twice(once, self.id, self._counters) if retry else await once()


@contextlib.asynccontextmanager
async def _within(seconds: float, asked: str) -> AsyncGenerator[None]:
    """Bound the time that files of jobs take, which are as long as jobs make them."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        said = f"not all arrived within {seconds:g} s"
        raise SchedulerUnavailable(asked, said, "Try again, or raise limits.") from None
