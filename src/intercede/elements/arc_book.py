"""Which jobs of a CE are ours: the server's list, and the label that each job has in its description."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from intercede.answers import JobState, Submission, SubmissionInfo
from intercede.arc.documents import read_batch_systems, read_queues
from intercede.arc.job import IN, PURGED, Label, job_name, read_label
from intercede.arc.states import state_of
from intercede.errors import InvalidReference, NotFound, SubmissionUnknown
from intercede.model import JobRef

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from datetime import timedelta

    from intercede.arc.client import ArcClient
    from intercede.errors import IntercedeError

__all__ = ["LOOKS", "MOMENT", "Book", "Known", "Site", "each", "looks"]

T = TypeVar("T")
A = TypeVar("A")
# A job in one of these may still wait for the files that we upload
_BEFORE = frozenset({"ACCEPTING", "ACCEPTED", "PREPARING"})
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
        waiting: Copies whose files never arrived.
        spare: Jobs that were made for copies that another job is there for. They never run.
    """

    label: Label
    natives: dict[int, str] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    purged: dict[int, str] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    spare: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> tuple[int, str]:
        """The job that what was purged is written down with: the first one that is there."""
        return min(self.natives.items())

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
        there = self.natives.keys() | self.purged.keys()
        gone = there <= self.purged.keys()
        complete = len(there) == self.label.copies and not self.waiting
        return SubmissionInfo(self.label.tag, self.label.when, self.label.copies, refs, gone, complete)


class Book:
    """What is known of the jobs on a CE. A job's label never changes, so it is read once.

    Args:
        resource: Whose jobs are ours.
    """

    def __init__(self, resource: str) -> None:
        self._site: tuple[float, Site] | None = None
        self._resource = resource
        self._labels: dict[str, Label | None] = {}
        self._names: dict[str, str] = {}
        self._arrived: set[str] = set()
        self._gone: set[str] = set()

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
        self._arrived.add(native)

    def forget(self, natives: Iterable[str]) -> None:
        """Note jobs that were purged; the server may still show them for a while."""
        self._gone.update(natives)

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

    async def read(self, client: ArcClient, natives: Iterable[str]) -> None:
        """Read the labels of jobs that are not known yet."""

        async def one(native: str) -> None:
            text = await client.diagnose(native, "description")
            if text:
                self._labels[native] = read_label(text)

        await each(one, [native for native in dict.fromkeys(natives) if native not in self._labels])

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
        self._arrived.update(native for native, has in here.items() if has)
        return {native for native, has in here.items() if not has}

    async def submission(self, client: ArcClient, tag: str) -> Known | None:
        """Give the submission of a tag; None if the server has no job of it."""
        found = None
        async for live in looks(client):
            found = (await self._of(client, live, tag)).get(tag)
            if found is not None and len(found.natives.keys() | found.purged.keys()) == found.label.copies:
                break
        return found

    async def submissions(self, client: ArcClient) -> list[Known]:
        """Give all our submissions."""
        return list((await self._of(client, await self.listed(client))).values())

    async def listed(self, client: ArcClient) -> dict[str, str]:
        """Give the list, asked for twice at least, and more often if it lacks a job that is known."""
        live = await client.jobs()
        async for again in looks(client):
            live |= again
            if self._known_natives() <= live.keys():
                return live
        # the server has removed them
        for native in self._known_natives() - live.keys():
            del self._labels[native]
        return live

    def _known_natives(self) -> set[str]:
        return {native for native in self._labels if self.label(native) is not None}

    async def _of(self, client: ArcClient, live: Mapping[str, str], tag: str | None = None) -> dict[str, Known]:
        await self.read(client, await self._candidates(client, live, tag))
        ours: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        first: dict[str, Label] = {}
        for native in live:
            label = self._labels.get(native)
            if label is not None and label.resource == self._resource and tag in {None, label.tag}:
                ours[label.tag][label.copy].append(native)
                first.setdefault(label.tag, label)
        known = await each(lambda tag: self._known(client, live, first[tag], ours[tag]), first)
        return {one.label.tag: one for one in known}

    async def _candidates(self, client: ArcClient, live: Mapping[str, str], tag: str | None) -> list[str]:
        """Of jobs that are not known, those that may be ours: by their names, or too new to have one there."""
        unknown = [native for native in live if native not in self._labels and native not in self._names]
        for native, said in (await client.about(unknown)).items():
            if name := said.about.get("Name"):
                self._names[native] = str(name)
        start, _, end = job_name(tag or "", self._resource).partition("+")

        def may_be(name: str) -> bool:
            return name.endswith(f"+{end}") and (tag is None or name == f"{start}+{end}")

        return [native for native in live if native not in self._names or may_be(self._names[native])]

    async def _known(
        self, client: ArcClient, live: Mapping[str, str], label: Label, copies: Mapping[int, list[str]]
    ) -> Known:
        every = [native for natives in copies.values() for native in natives]
        waiting = await self.waits_for_files(client, live, every)
        found = Known(label)
        for copy, natives in copies.items():
            chosen = await self._chosen(client, live, natives, waiting)
            found.natives[copy] = chosen
            found.spare += [native for native in natives if native != chosen]
            if chosen in waiting:
                found.waiting.add(copy)
            if (known := self._labels.get(chosen)) is not None:
                found.keys[copy] = known.key
        for copy, (native, key) in (await _read_purged(client, found.anchor[1])).items():
            found.purged[copy] = native
            found.keys.setdefault(copy, key)
        return found

    async def _chosen(self, client: ArcClient, live: Mapping[str, str], natives: list[str], waiting: set[str]) -> str:
        """Of several jobs of one copy, the one that has its files: an answer was lost, and the others never run."""
        ready = [native for native in natives if native not in waiting]
        if len(natives) > 1:
            # one that nobody completed is ended by the server after a while
            ended = [native for native in ready if state_of(live[native]) in {JobState.FAILED, JobState.CANCELLED}]
            had = await each(lambda native: _has_files(client, native), ended)
            empty = {native for native, has in zip(ended, had, strict=True) if not has}
            ready = [native for native in ready if native not in empty]
        return min(ready or natives)

    async def is_purged(self, client: ArcClient, ref: JobRef) -> bool:
        """Whether a job that is there is a tombstone."""
        return ref.copy_index in await _read_purged(client, ref.native)

    async def write_purged(self, client: ArcClient, known: Known, copies: Iterable[int]) -> None:
        """Write down what is purged now of a submission, besides what was before."""
        for copy in copies:
            known.purged[copy] = known.natives[copy]
        said = {str(copy): [native, known.keys.get(copy, str(copy))] for copy, native in known.purged.items()}
        await client.write(known.anchor[1], PURGED, json.dumps(said).encode())


async def _has_files(client: ArcClient, native: str) -> bool:
    return f"/{IN}" in (await client.diagnose(native, "input_status")).splitlines()


async def _read_purged(client: ArcClient, anchor: str) -> dict[int, tuple[str, str]]:
    """What was purged; the file may have been spoilt by the job."""
    try:
        said = json.loads(await client.read(anchor, PURGED, limit=16 * 1024 * 1024))
        found = {int(copy): (str(native), str(key)) for copy, (native, key) in said.items()}
        for copy, (native, _) in found.items():
            JobRef("r", "t", copy, native)
    except (NotFound, ValueError, TypeError, AttributeError, InvalidReference):
        return {}
    return found
