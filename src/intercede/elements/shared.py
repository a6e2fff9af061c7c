"""What the elements do alike, however their jobs are reached."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from intercede.answers import JobState
from intercede.errors import ConnectionLost, InvalidReference

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import timedelta

    from intercede.answers import Counters, JobStatus
    from intercede.model import JobRef
    from intercede.protocols import Element

__all__ = ["check_flat", "own", "sweep", "twice"]

T = TypeVar("T")
log = logging.getLogger("intercede.elements")


def own(refs: Iterable[JobRef], resource: str) -> dict[JobRef, None]:
    """References, each once, that were all made for this resource.

    Raises:
        InvalidReference: One was not.
    """
    wanted = dict.fromkeys(refs)
    for ref in wanted:
        if ref.resource != resource:
            said = f"it was made for {ref.resource}, this is {resource}"
            raise InvalidReference(f"job reference {ref}", said, "Open that resource.")
    return wanted


def check_flat(refs: Iterable[JobRef]) -> None:
    """Refuse to bring back several submissions into one directory.

    Raises:
        InvalidReference: They are several.
    """
    if len({ref.submission for ref in refs}) > 1:
        raise InvalidReference("fetch_output", "jobs of several submissions cannot be brought back flat")


async def sweep(
    element: Element, older_than: timedelta, rest: Callable[[str], Awaitable[bool]] | None = None
) -> list[str]:
    """Purge submissions that are older and whose jobs have all ended; gives their tags.

    Args:
        element: Whose.
        older_than: By how much.
        rest: Takes away what is kept of a submission's copies that were never queued; gives whether nothing is left.
    """
    now = datetime.now(UTC)
    before, lost = now - older_than, now - element.settings.lost_after
    infos = [each for each in await element.list() if each.submitted <= before and not each.purged and each.complete]
    statuses = await element.status(ref for info in infos for ref in info.refs)
    swept = []
    for info in infos:
        if all(_is_over(statuses[ref], forgotten=info.submitted < lost) for ref in info.refs):
            outcomes = await element.purge(info.refs)
            failed = any(isinstance(each, Exception) for each in outcomes.values())
            if not failed and (rest is None or len(info.refs) == info.copies or await rest(info.tag)):
                swept.append(info.tag)
    return swept


def _is_over(status: JobStatus, *, forgotten: bool) -> bool:
    """Whether nothing of a job can be running: an unreachable source, or another host, may still know it."""
    gone = status.state is JobState.UNKNOWN and status.reason is None and not status.native_state
    return status.state.is_final or (forgotten and gone and bool(status.source))


async def twice(work: Callable[[], Awaitable[T]], resource: str, counters: Counters) -> T:
    """Do what may be repeated, once more where the connection was lost under it."""
    try:
        return await work()
    except ConnectionLost as error:
        log.info("%s: %s; asking again", resource, error)
    counters.retries += 1
    return await work()
