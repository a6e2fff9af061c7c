"""Which jobs of a remote schedd are ours, by what is written down with each of them there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from intercede.answers import Submission, SubmissionInfo
from intercede.errors import NotFound, SubmissionUnknown
from intercede.htcondor_ce.description import (
    ABANDONED,
    ANEW,
    LABEL,
    constraint_of,
    named,
    native_of,
    pieces,
    read_label,
)
from intercede.htcondor_ce.jobs import UNSENT, is_arriving, waits_for_files
from intercede.htcondor_ce.protocol import History, Query
from intercede.model import JobRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from intercede.elements.htcondor_ce_access import Access
    from intercede.errors import IntercedeError
    from intercede.htcondor_ce.description import Label
    from intercede.htcondor_ce.protocol import Ad

__all__ = ["Book", "Known", "past"]

_ALL = (*LABEL, "JobStatus", "HoldReasonCode", "RemoveReason", "StageInStart", "QDate", "ServerTime")
_MOMENT = 0.5


@dataclass(slots=True)
class Known:
    """One submission, as the schedd has it.

    Attributes:
        label: Of one of its jobs.
        cluster: Its number there.
        queue: Its jobs in the queue, by copy.
        past: Its jobs in the history, by copy.
        keys: By copy.
    """

    label: Label
    cluster: int
    queue: dict[int, Ad] = field(default_factory=dict)
    past: dict[int, Ad] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)

    @property
    def waiting(self) -> list[int]:
        """Copies whose files never came."""
        return [copy for copy, ad in self.queue.items() if waits_for_files(ad)]

    @property
    def is_arriving(self) -> bool:
        """Whether files of it may be on their way."""
        return any(is_arriving(ad) for ad in self.queue.values())

    @property
    def never_ran(self) -> bool:
        """Whether all of it waits for files that never came, or was removed while it did: they leave one by one."""
        known = (self.past | self.queue).values()
        return len(known) == self.label.copies and all(
            waits_for_files(ad) or _was_removed(ad, UNSENT, ANEW) for ad in known
        )

    def submission(self, abandoned: Iterable[int] = ()) -> Submission:
        """What came of it, copy by copy."""
        tag, given_up = self.label.tag, set(abandoned)
        results: list[JobRef | IntercedeError] = []
        for copy in range(self.label.copies):
            ad = self.queue.get(copy) or self.past.get(copy)
            if copy in given_up or (ad is not None and _was_removed(ad, ABANDONED)):
                results.append(SubmissionUnknown(tag, "this copy was abandoned", "Submit under another tag."))
            elif ad is None:
                results.append(NotFound(f"copy {copy} of submission {tag}", "the schedd has forgotten it"))
            else:
                results.append(JobRef(self.label.resource, tag, copy, native_of(ad)))
        return Submission(
            tag, tuple(self.keys.get(copy, str(copy)) for copy in range(self.label.copies)), tuple(results)
        )

    def info(self) -> SubmissionInfo:
        """As one of all submissions: what has left the queue has left nothing but its name."""
        label = self.label
        kept = sorted(copy for copy, ad in self.queue.items() if ad["IntercedePurged"] is not True)
        refs = tuple(JobRef(label.resource, label.tag, copy, native_of(self.queue[copy])) for copy in kept)
        when = datetime.fromtimestamp(label.submitted, UTC)
        return SubmissionInfo(label.tag, when, label.copies, refs, not refs, self.is_arriving or not self.waiting)


def _was_removed(ad: Ad, *reasons: str) -> bool:
    return ad["JobStatus"] == 3 and str(ad["RemoveReason"]).startswith(reasons)


async def past(access: Access, refs: Sequence[JobRef], attributes: tuple[str, ...]) -> list[Ad]:
    """What the history knows of jobs: one request, or more if there are thousands that are scattered."""
    found: list[Ad] = []
    for some in pieces(refs):
        found += await access.ask(History(constraint_of(some), attributes, len(some)))
    return found


class Book:
    """Finds submissions.

    Args:
        resource: Whose.
        access: The way to the schedd.
    """

    def __init__(self, resource: str, access: Access) -> None:
        self._resource = resource
        self._access = access

    async def submission(self, tag: str) -> Known | None:
        """Give the submission of a tag; None if the schedd knows none of it.

        Jobs whose files never came may have been replaced: the newest are those that count.
        """
        which = f"{await self._ours()} && IntercedeTag == {named(tag)}"
        queue = await self._access.ask(Query(which, _ALL))
        found = self._read(queue, [])
        known = found.get(tag)
        if known is None or len(known.queue) < known.label.copies:
            found = self._read(queue, await self._access.ask(History(which, _ALL)))
        return found.get(tag)

    async def settled(self, tag: str) -> Known | None:
        """As `submission`, when no files of it are on their way any more: they have arrived, or never will."""
        found = await self.submission(tag)
        while found is not None and found.is_arriving:
            await asyncio.sleep(_MOMENT)
            found = await self.submission(tag)
        return found

    async def submissions(self, since: datetime) -> list[Known]:
        """Give all our submissions that are in the queue, and those in the history that were sent since."""
        which = await self._ours()
        queue = await self._access.ask(Query(which, _ALL))
        late = f"{which} && IntercedeSubmitted >= {int(since.timestamp())}"
        return list(self._read(queue, await self._access.ask(History(late, _ALL))).values())

    async def _ours(self) -> str:
        # anybody may write down the same with a job
        return f"IntercedeResource == {named(self._resource)} && User == {named(await self._access.me())}"

    def _read(self, queue: Iterable[Ad], past: Iterable[Ad]) -> dict[str, Known]:
        clusters: dict[str, dict[int, Known]] = defaultdict(dict)
        for ads, where in ((queue, "queue"), (past, "past")):
            for ad in ads:
                label, cluster, copy = read_label(ad), ad["ClusterId"], ad["ProcId"]
                if label is None or not isinstance(cluster, int) or not isinstance(copy, int):
                    continue
                known = clusters[label.tag].setdefault(cluster, Known(label, cluster))
                getattr(known, where)[copy] = ad
                known.keys[copy] = label.key
        return {tag: each[max(each)] for tag, each in clusters.items()}
