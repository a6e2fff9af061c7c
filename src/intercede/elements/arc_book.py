"""Which jobs of a CE are ours: the server's list, and the label that each job has in its description."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from intercede.answers import Submission, SubmissionInfo
from intercede.arc.documents import read_batch_systems, read_queues
from intercede.arc.job import IN, PURGED, Label, job_name, read_label
from intercede.errors import InvalidReference, NotFound, SubmissionUnknown
from intercede.model import JobRef

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Set
    from datetime import timedelta

    from intercede.arc.client import ArcClient
    from intercede.errors import IntercedeError

__all__ = ["LOOKS", "MOMENT", "REMEMBERED", "Book", "Known", "Site", "each", "looks"]

T = TypeVar("T")
A = TypeVar("A")
# Jobs of one CE of which something is remembered; what is forgotten is asked again
REMEMBERED = 200_000
# A job in one of these may still wait for the files that we upload
_BEFORE = frozenset({"ACCEPTING", "ACCEPTED", "PREPARING"})
# One in one of these had them; in all others it may be on its way to its end without them
_WITH_FILES = frozenset({"PREPARED", "SUBMITTING", "QUEUING", "HELD", "RUNNING", "EXITINGLRMS", "OTHER", "FINISHED"})
# How often the list is asked for a job that it lacks, and the seconds between
LOOKS = 3
MOMENT = 0.3
# Seconds for which what a CE says of itself is believed
_LASTS = 600.0


async def each(work: Callable[[A], Awaitable[T]], items: Iterable[A], width: int = 16) -> list[T]:
    """Do something for each item, some at a time; gives what came of them, in order."""
    todo = list(items)
    found: dict[int, T] = {}
    left = iter(enumerate(todo))

    async def hand() -> None:
        for index, item in left:
            found[index] = await work(item)

    hands = [asyncio.ensure_future(hand()) for _ in range(min(width, len(todo)))]
    try:
        await asyncio.gather(*hands)
    finally:
        for one in hands:
            one.cancel()
        await asyncio.gather(*hands, return_exceptions=True)
    return [found[index] for index in range(len(todo))]


async def looks(client: ArcClient) -> AsyncIterator[dict[str, str]]:
    """Give the list of jobs, and again with what it lacked, up to LOOKS times, until whoever asks has found all.

    A job may be missing in the moment in which its state changes.
    """
    live: dict[str, str] = {}
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(MOMENT)
        live |= await client.jobs()
        yield live


@dataclass(frozen=True, slots=True)
class Site:
    """What a CE says of itself.

    Attributes:
        systems: What is behind it, see `read_batch_systems`.
        limits: The longest walltime of each queue that has one.
    """

    systems: frozenset[str]
    limits: Mapping[str, timedelta]


@dataclass(slots=True)
class Known:
    """One submission, as the server has it.

    Attributes:
        label: Of its first job that is there.
        natives: The job of each copy that is there.
        keys: By copy.
        purged: The jobs that were purged, by copy.
        purged_at: When the last one was, in seconds.
        words: What the list says of each job that is there.
        waiting: Copies whose files never arrived.
        spare: Jobs that were made for copies that another job is there for. They never run.
    """

    label: Label
    natives: dict[int, str] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    purged: dict[int, str] = field(default_factory=dict)
    purged_at: int = 0
    words: dict[str, str] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    spare: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> tuple[int, str]:
        """The job that what was purged is written down with: the first one that is there."""
        return min(self.natives.items())

    @property
    def is_whole(self) -> bool:
        """Whether the job of every copy is known."""
        return len(self.natives.keys() | self.purged.keys()) == self.label.copies

    def ref(self, copy: int) -> JobRef | None:
        """The reference of a copy, if it got in."""
        native = self.natives.get(copy) or self.purged.get(copy)
        return JobRef(self.label.resource, self.label.tag, copy, native) if native else None

    def submission(self, abandoned: Iterable[int] = ()) -> Submission:
        """What came of it, copy by copy."""
        tag, count = self.label.tag, self.label.copies
        given_up = set(abandoned)
        results: list[JobRef | IntercedeError] = []
        for copy in range(count):
            ref = self.ref(copy)
            if copy in given_up:
                results.append(SubmissionUnknown(tag, "this copy was abandoned", "Submit under another tag."))
            elif ref is None:
                asked = f"copy {copy} of submission {tag}"
                results.append(NotFound(asked, "it was never created", "Submit again with the same tag."))
            else:
                results.append(ref)
        return Submission(tag, tuple(self.keys.get(copy, str(copy)) for copy in range(count)), tuple(results))

    def info(self) -> SubmissionInfo:
        """As one of all submissions."""
        refs = tuple(ref for copy in sorted(self.natives.keys() - self.purged.keys()) if (ref := self.ref(copy)))
        gone = self.natives.keys() <= self.purged.keys()
        complete = self.is_whole and not self.waiting
        return SubmissionInfo(self.label.tag, self.label.when, self.label.copies, refs, gone, complete)


class _Recent(dict[str, T]):
    """What was noted of jobs; the oldest is let go of."""

    def __setitem__(self, native: str, value: T) -> None:
        super().__setitem__(native, value)
        if len(self) > REMEMBERED:
            del self[next(iter(self))]


class Book:
    """What is known of the jobs on a CE. A job's label never changes, so it is read once.

    Args:
        resource: Whose jobs are ours.

    Attributes:
        purging: Held while what was purged is read and written: one purge after the other.
    """

    def __init__(self, resource: str) -> None:
        self._site: tuple[float, Site] | None = None
        self._resource = resource
        self._labels: dict[str, Label | None] = {}
        self._names: _Recent[str] = _Recent()
        self._arrived: _Recent[None] = _Recent()
        self._gone: _Recent[None] = _Recent()
        self.purging = asyncio.Lock()

    async def site(self, client: ArcClient) -> Site:
        """Say what the CE says of itself; it is asked every ten minutes at most."""
        if self._site is None or time.monotonic() - self._site[0] > _LASTS:
            document = await client.resource()
            limits = {each.name: each.max_walltime for each in read_queues(document) if each.max_walltime is not None}
            self._site = time.monotonic(), Site(frozenset(read_batch_systems(document)), limits)
        return self._site[1]

    def learn(self, native: str, label: Label) -> None:
        """Note a job that we made."""
        self._labels[native] = label

    def arrived(self, native: str) -> None:
        """Note that a job has its files."""
        self._arrived[native] = None

    def forget(self, natives: Iterable[str]) -> None:
        """Note jobs that were purged; the server may still show them for a while."""
        for native in natives:
            self._gone[native] = None

    def is_gone(self, native: str) -> bool:
        """Whether we have purged a job."""
        return native in self._gone

    def label(self, native: str) -> Label | None:
        """The label of a job, if it was read and the job is one of ours."""
        found = self._labels.get(native) if native not in self._gone else None
        return found if found is not None and found.resource == self._resource else None

    def is_of(self, ref: JobRef) -> bool:
        """Whether a reference is that of the job which it names; the label must have been read."""
        found = self.label(ref.native)
        return found is not None and (found.tag, found.copy) == (ref.submission, ref.copy_index)

    async def read(self, client: ArcClient, natives: Iterable[str]) -> set[str]:
        """Read the labels of jobs that are not known yet; gives those that cannot be read: not there, or not now."""

        async def one(native: str) -> None:
            text = await client.diagnose(native, "description")
            if text:
                self._labels[native] = read_label(text)

        # before anything is read: what is asked for now is there afterwards, however much it is
        while len(self._labels) > REMEMBERED:
            del self._labels[next(iter(self._labels))]
        unread = [native for native in dict.fromkeys(natives) if native not in self._labels]
        await each(one, unread)
        return {native for native in unread if native not in self._labels}

    async def check(self, client: ArcClient, ref: JobRef) -> Label:
        """Give the label of the job that a reference names.

        Raises:
            NotFound: The server has no such job, or it is another one.
        """
        await self.read(client, [ref.native])
        label = self.label(ref.native)
        if label is None or not self.is_of(ref):
            raise NotFound(f"{ref}", "the CE keeps nothing of it", "It was purged, or never there.")
        return label

    async def waits_for_files(self, client: ArcClient, live: Mapping[str, str], natives: Iterable[str]) -> set[str]:
        """Of these jobs, those that were never given their files."""
        doubtful = [each for each in natives if live.get(each) in _BEFORE and each not in self._arrived]
        here = dict(zip(doubtful, await each(lambda native: _has_files(client, native), doubtful), strict=True))
        for native, has in here.items():
            if has:
                self.arrived(native)
        return {native for native, has in here.items() if not has}

    async def submission(self, client: ArcClient, tag: str) -> Known | None:
        """Give the submission of a tag; None if the server has no job of it."""
        found = None
        async for live in looks(client):
            found = (await self._of(client, live, {tag})).get(tag)
            # of a copy whose job waits for its files there may be another one, which is just changing its state
            if found is not None and found.is_whole and not found.waiting:
                break
        if found is not None and not found.is_whole:
            # it was written down with the job that was the first one then
            await _add_purged(client, found, found.natives.values())
        return found

    async def purged(self, client: ArcClient, refs: Iterable[JobRef]) -> list[str]:
        """Of jobs that are not there, those that were purged, by whomever."""
        refs = list(refs)
        known = await self._of(client, await client.jobs(), {ref.submission for ref in refs}) if refs else {}
        return [
            ref.native
            for ref in refs
            if ref.submission in known and known[ref.submission].purged.get(ref.copy_index) == ref.native
        ]

    async def submissions(self, client: ArcClient) -> list[Known]:
        """Give all our submissions."""
        return list((await self._of(client, await self.listed(client))).values())

    async def listed(self, client: ArcClient) -> dict[str, str]:
        """Give the list, asked for twice at least, and more often if it lacks a job that is known."""
        live = await client.jobs()
        async for again in looks(client):
            live |= again
            if self._known_natives() <= live.keys():
                break
        # the server has removed them
        for noted in (self._labels, self._names, self._arrived):
            for native in noted.keys() - live.keys():
                del noted[native]
        return live

    def _known_natives(self) -> set[str]:
        return {native for native in self._labels if self.label(native) is not None}

    async def _of(self, client: ArcClient, live: Mapping[str, str], tags: Set[str] | None = None) -> dict[str, Known]:
        await self.read(client, await self._candidates(client, live, tags))
        ours: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        first: dict[str, Label] = {}
        for native in live:
            label = self._labels.get(native)
            if label is not None and label.resource == self._resource and (tags is None or label.tag in tags):
                ours[label.tag][label.copy].append(native)
                first.setdefault(label.tag, label)
        known = await each(lambda tag: self._known(client, live, first[tag], ours[tag]), first)
        return {one.label.tag: one for one in known}

    async def _candidates(self, client: ArcClient, live: Mapping[str, str], tags: Set[str] | None) -> list[str]:
        """Of jobs that are not known, those that may be ours: by their names, or too new to have one there."""
        unknown = [native for native in live if native not in self._labels and native not in self._names]
        for native, said in (await client.about(unknown)).items():
            if name := said.about.get("Name"):
                self._names[native] = str(name)
        end = job_name("", self._resource).removeprefix("ic-")
        wanted = None if tags is None else {job_name(tag, self._resource) for tag in tags}

        def may_be(name: str) -> bool:
            return name.endswith(end) if wanted is None else name in wanted

        return [native for native in live if native not in self._names or may_be(self._names[native])]

    async def _known(
        self, client: ArcClient, live: Mapping[str, str], label: Label, copies: Mapping[int, list[str]]
    ) -> Known:
        every = [native for natives in copies.values() for native in natives]
        waiting = await self.waits_for_files(client, live, every)
        found = Known(label, words={native: live[native] for native in every})
        for copy, natives in copies.items():
            chosen = await self._chosen(client, live, natives, waiting)
            found.natives[copy] = chosen
            found.spare += [native for native in natives if native != chosen]
            if chosen in waiting:
                found.waiting.add(copy)
            if (known := self._labels.get(chosen)) is not None:
                found.keys[copy] = known.key
        await _add_purged(client, found, [found.anchor[1]])
        return found

    async def _chosen(self, client: ArcClient, live: Mapping[str, str], natives: list[str], waiting: set[str]) -> str:
        """Of several jobs of one copy, the one that has its files: an answer was lost, and the others never run.

        If none has, one that can still be given them.
        """
        if len(natives) == 1:
            return natives[0]
        ready = [native for native in natives if native not in waiting]
        # one that nobody completed is killed by us, or by the server after a while
        doubtful = [native for native in ready if native not in self._arrived and live[native] not in _WITH_FILES]
        had = await each(lambda native: _has_files(client, native), doubtful)
        empty = {native for native, has in zip(doubtful, had, strict=True) if not has}
        return min([native for native in ready if native not in empty] or waiting.intersection(natives) or natives)

    async def is_purged(self, client: ArcClient, ref: JobRef) -> bool:
        """Whether a job that is there is a tombstone."""
        return ref.copy_index in (await _read_purged(client, ref.native))[1]

    async def write_purged(self, client: ArcClient, known: Known, copies: Iterable[int] = ()) -> None:
        """Write down what is purged now of a submission, besides what was before."""
        for copy in copies:
            known.purged[copy] = known.natives[copy]
            known.purged_at = int(time.time())
        said = {str(copy): [native, known.keys.get(copy, str(copy))] for copy, native in known.purged.items()}
        await client.write(known.anchor[1], PURGED, json.dumps({"at": known.purged_at, "copies": said}).encode())


async def _has_files(client: ArcClient, native: str) -> bool:
    return f"/{IN}" in (await client.diagnose(native, "input_status")).splitlines()


async def _add_purged(client: ArcClient, known: Known, natives: Iterable[str]) -> None:
    """Note what is written down with these jobs of a submission."""
    for at, copies in await each(lambda native: _read_purged(client, native), natives):
        known.purged_at = max(known.purged_at, at)
        for copy, (native, key) in copies.items():
            known.purged.setdefault(copy, native)
            known.keys.setdefault(copy, key)


async def _read_purged(client: ArcClient, native: str) -> tuple[int, dict[int, tuple[str, str]]]:
    """When the last job was purged, and what was; the file may have been spoilt by the job."""
    try:
        said = json.loads(await client.read(native, PURGED, limit=16 * 1024 * 1024))
        found = {int(copy): (str(name), str(key)) for copy, (name, key) in said["copies"].items()}
        for copy, (name, _) in found.items():
            JobRef("r", "t", copy, name)
        return int(said["at"]), found
    except (
        NotFound, InvalidReference, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError,
    ):  # fmt: skip
        return 0, {}
