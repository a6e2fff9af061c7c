"""A remote schedd, such as an HTCondor-CE: what users hold for `htcondor-ce://`."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from intercede.answers import Capacity, Counters, LogChunk, Outcome, QueueInfo, Reason
from intercede.elements import htcondor_ce_orders, htcondor_ce_submitting
from intercede.elements.following import Desk, Watchers
from intercede.elements.htcondor_ce_access import Access
from intercede.elements.htcondor_ce_book import Book, past
from intercede.elements.htcondor_ce_files import Shelf, fetch
from intercede.elements.logs import check_name, follow, there
from intercede.elements.reading import Reading
from intercede.elements.shared import check_flat, own, sweep, twice
from intercede.elements.verdict import Memory, settled
from intercede.errors import CommandError, IntercedeError, InvalidReference, NotFound
from intercede.htcondor_ce.description import constraint_of, native_of
from intercede.htcondor_ce.jobs import ATTRIBUTES, observe, observe_past
from intercede.htcondor_ce.protocol import Query
from intercede.model import check_tag
from intercede.workarea.operations import StatusAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from intercede.answers import JobOutput, JobStatus, Submission, SubmissionInfo
    from intercede.credentials import CredentialProvider
    from intercede.elements.htcondor_ce_book import Known
    from intercede.model import Copy, JobDescription, JobRef
    from intercede.settings import ResourceSettings

__all__ = ["CondorCEElement"]

T = TypeVar("T")
SOURCES = ("schedd", "history")
# neither ended nor held, unless it is for its files
_COUNTED = "JobStatus != 3 && JobStatus != 4 && (JobStatus != 5 || HoldReasonCode == 16)"
_REMEMBERED = 200_000
_NATIVE = re.compile(r"[1-9]\d{0,9}\.(\d{1,7})\Z", re.ASCII)
_SEEN = ("ClusterId", "ProcId", *ATTRIBUTES)


class CondorCEElement:
    """Jobs of one remote schedd, as one person.

    Construction does no input or output. Use it as an async context manager, or call `aclose`. Its verbs answer as
    those of `BatchElement` do; what HTCondor cannot do is said with each.

    Attributes:
        name: Of the protocol.
        reasons: Those that it can tell.
        reserves: The fields of `Resources` that it can reserve.

    Args:
        settings: Where it is, and what the site needs said.
        credentials: Who supplies an IDTOKEN, a bearer token or a certificate.
    """

    name: ClassVar[str] = "htcondor-ce"
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.EXIT_CODE, Reason.SIGNAL, Reason.WALLTIME, Reason.NODE, Reason.STAGING, Reason.LOST}
    )
    reserves: ClassVar[frozenset[str]] = htcondor_ce_submitting.RESERVES

    def __init__(self, settings: ResourceSettings, credentials: CredentialProvider | None = None) -> None:
        self.settings = settings
        self._counters = Counters()
        self._access = Access(settings, credentials, self._counters)
        self._book = Book(settings.id, self._access)
        self._shelf = Shelf(settings, self._access)
        self._memory: dict[JobRef, Memory] = {}
        self._desk = Desk(self._ask)
        self._watchers = Watchers(self._desk.status, settings)

    def __repr__(self) -> str:
        return f"CondorCEElement({self.settings.id!r})"

    @property
    def id(self) -> str:
        """The resource's stable name, as in its references."""
        return self.settings.id

    @property
    def counters(self) -> Counters:
        """What the resource has cost so far: `commands` are requests, `connections` worker processes."""
        return self._counters

    async def __aenter__(self) -> Self:
        """Enter; does no input or output."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of worker processes, tasks and files; idempotent. Jobs go on."""
        await self._watchers.aclose()
        await self._desk.aclose()
        await self._access.aclose()
        await self._shelf.forget()

    async def submit(
        self, description: JobDescription, copies: int | Iterable[Copy] = 1, *, tag: str | None = None
    ) -> Submission:
        """Queue copies of a description, at most once for a tag: one transaction, and then the files of all copies.

        With a `tag` of the caller's own, queue and history are first searched for its jobs. One caller at a time may
        use a tag. Jobs whose files never came are removed and sent anew when the tag is used again.

        Args:
            description: What is to run. The inputs travel once a copy.
            copies: How many, or what differs between them.
            tag: The caller's own key of this call; None makes one.

        Returns:
            One reference a copy.

        Raises:
            ConfigurationError: The description cannot work; nothing was sent.
            UnsupportedError: The resource cannot honour a field; nothing was queued.
            SubmissionRejected: The schedd refused all of it.
            QueueFull: A limit of the site; nothing got in.
            TagConflict: The tag is in use for another content.
            SubmissionUnknown: An answer was lost, or the jobs have not got their files: they are `HELD`.
            AuthenticationFailed: The schedd does not take the credential; nothing was queued.
            ConnectFailed: Nothing was sent.
        """
        order = htcondor_ce_submitting.begin(description, copies, tag, self.settings)
        return await htcondor_ce_submitting.submit(self._access, self._book, order, self.settings)

    async def find(self, tag: str) -> Submission:
        """Give what got through under a tag, from any process, after any crash.

        Raises:
            NotFound: Nothing of that tag is kept: it never began, or the schedd's history has lost it.
        """
        return (await self._known(tag)).submission()

    async def abandon(self, tag: str) -> Submission:
        """Give up on the jobs of a submission whose files never came: they are removed, and never ran.

        Raises:
            NotFound: Nothing of that tag is kept.
        """
        known = await self._known(tag, settled=True)
        return await htcondor_ce_submitting.abandon(self._access, self._book, known)

    async def list(self, since: datetime | None = None) -> Sequence[SubmissionInfo]:
        """Give own submissions, the oldest first; what has left the queue is listed as long as tombstones stay."""
        known = await self._book.submissions(datetime.now(UTC) - self.settings.tombstone)
        infos = sorted((each.info() for each in known), key=lambda info: info.submitted)
        return [info for info in infos if since is None or info.submitted >= since]

    async def sweep(self, older_than: timedelta) -> Sequence[str]:
        """Purge submissions older than that whose jobs have all ended; gives their tags."""
        return await sweep(self, older_than)

    async def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        """Give the status of every job asked for, in the order asked.

        One request for any number of jobs, and one more if some have left the queue. Concurrent calls are merged.

        Raises:
            InvalidReference: A reference was made for another resource or is damaged; nothing was sent.
            SchedulerUnavailable: The schedd did not answer.
            TransportError: The schedd cannot be reached.
        """
        return await self._desk.status(self._own(refs))

    def forget(self, refs: Iterable[JobRef]) -> None:
        """Drop what was learnt of jobs, so that the next question is asked as by a new element."""
        for ref in refs:
            self._memory.pop(ref, None)

    def watch(self, refs: Iterable[JobRef]) -> AsyncIterator[dict[JobRef, JobStatus]]:
        """Give the state of all jobs, then what changes, until all are final.

        All watchers of the element share one query, which slows down while nothing changes.
        """
        return self._watchers.watch(self._own(refs))

    async def fetch_output(
        self, refs: Iterable[JobRef], into: Path | str, *, flat: bool = False
    ) -> dict[JobRef, JobOutput | IntercedeError]:
        """Bring stdout, stderr and declared files back, as often as wanted, until `retention` is over.

        Of a job that has not ended there is nothing yet. Of one that was cancelled HTCondor keeps nothing: `NotFound`.

        Args:
            refs: Jobs, ended or not.
            into: A directory; files go to `into/<submission>/<copy>/` and replace older ones.
            flat: Leave out `<submission>`; for jobs of one submission.

        Raises:
            StorageError: The local disk cannot be written.
        """
        wanted = list(self._own(refs))
        if flat:
            check_flat(wanted)
        if not wanted:
            return {}
        return await self._twice(lambda: fetch(wanted, Path(into), flat, self.settings, self._access))

    async def read_log(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> LogChunk:
        """Read a piece of what an ended job left; a CE shows nothing of one that still runs.

        All that the job left is fetched for the first piece.

        Args:
            ref: The job.
            name: `stdout`, `stderr`, or one of its declared outputs.
            offset: Where to begin; negative counts from the end.

        Raises:
            NotFound: There is no such file, the job has not ended, or nothing is kept of it.
        """
        (mine,) = self._own([ref])
        return there(await self._piece(mine, name, offset), f"{name} of {mine}")

    async def follow(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> AsyncIterator[LogChunk]:
        """Wait for the job's end and read all of it; each piece's `next_offset` is where to resume."""
        (mine,) = self._own([ref])
        longest, changes = self.settings.politeness.max_interval / 5, self._watchers.watch([mine])
        async for chunk in follow(
            lambda at: self._piece(mine, name, at), offset, changes, longest, f"{name} of {mine}"
        ):
            yield chunk

    async def cancel(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Order the jobs' end; idempotent. HTCondor keeps nothing of what they leave."""
        wanted = list(self._own(refs))
        return await self._twice(lambda: htcondor_ce_orders.cancel(self._access, wanted))

    async def release(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Let held jobs be scheduled; jobs that are not held, or wait for their files, are left as they are."""
        wanted = list(self._own(refs))
        return await self._twice(lambda: htcondor_ce_orders.release(self._access, wanted))

    async def renew(
        self, refs: Iterable[JobRef], secrets: Mapping[str, bytes | str]
    ) -> dict[JobRef, Outcome | IntercedeError]:
        """Say what became of jobs whose secrets should be replaced, which a CE cannot: ended jobs need none."""
        return await htcondor_ce_orders.renew(await self.status(refs), secrets)

    async def purge(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Have the CE forget what ended jobs left, at the next look at its queue; idempotent.

        A job that has not ended keeps its files: that is its error. The schedd's history is the tombstone.
        """
        statuses = await self.status(refs)
        answers = await self._twice(lambda: htcondor_ce_orders.purge(self._access, statuses))
        for ref, answer in answers.items():
            if not isinstance(answer, Exception):
                self._memory.pop(ref, None)
                await self._shelf.forget(ref)
        return answers

    async def capacity(self) -> Capacity:
        """Give how many jobs wait and run at the schedd, all users' and ours; what is behind a CE it does not say."""
        me = await self._access.me()
        ads = await self._access.ask(Query(_COUNTED, ("JobStatus", "User")))
        counts = Counter((ad["JobStatus"] in {1, 5}, ad["User"] == me) for ad in ads)
        return Capacity((
            QueueInfo(
                self.settings.queue or "default", is_default=True,
                waiting=counts[True, True] + counts[True, False], running=counts[False, True] + counts[False, False],
                ours_waiting=counts[True, True], ours_running=counts[False, True],
            ),
        ))  # fmt: skip

    def _own(self, refs: Iterable[JobRef]) -> dict[JobRef, None]:
        """Refuse references that are not of this resource, or of no job of a schedd, before anything is sent."""
        wanted = own(refs, self.id)
        for ref in wanted:
            found = _NATIVE.match(ref.native)
            if not found or int(found[1]) != ref.copy_index:
                said = f"{ref.native!r} cannot be copy {ref.copy_index}"
                raise InvalidReference(f"job reference {ref}", said, "Was it cut or changed?")
        return wanted

    async def _known(self, tag: str, *, settled: bool = False) -> Known:
        check_tag(tag)
        found = await (self._book.settled(tag) if settled else self._book.submission(tag))
        if found is None:
            raise NotFound(f"submission {tag}", f"{self.id} has no job of it")
        return found

    async def _piece(self, ref: JobRef, name: str, offset: int) -> LogChunk | None:
        check_name(name)
        return await self._twice(lambda: self._shelf.read(ref, name, offset))

    async def _twice(self, work: Callable[[], Awaitable[T]]) -> T:
        return await twice(work, self.id, self._counters)

    async def _ask(self, refs: Sequence[JobRef]) -> dict[JobRef, JobStatus]:
        now = datetime.now(UTC).replace(microsecond=0)
        answer = StatusAnswer()
        for ad in await self._access.ask(Query(constraint_of(refs), _SEEN)):
            answer.queue[native_of(ad)] = observe(ad)
        known = self._memory.get
        absent = [
            ref
            for ref in refs
            if ref.native not in answer.queue and not ((was := known(ref)) and settled(was, self.settings, now))
        ]
        if absent:
            try:
                gone = await past(self._access, absent, _SEEN)
            except CommandError as error:
                answer.history_answers, answer.complaint = False, f"history: {error}"
            else:
                for ad in gone:
                    answer.history[native_of(ad)] = observe_past(ad)
        found = Reading(answer, SOURCES, self.settings, now).statuses(refs, self._memory)
        while len(self._memory) > _REMEMBERED:
            del self._memory[next(iter(self._memory))]
        return found
