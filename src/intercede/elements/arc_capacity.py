"""How full a CE is: its information document, and the live list of our own jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from intercede.answers import Capacity, QueueInfo
from intercede.arc.documents import read_queues
from intercede.elements.arc_status import own_states
from intercede.errors import UnsupportedError
from intercede.schedulers.common import check_resources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from intercede.arc.client import ArcClient
    from intercede.elements.arc_book import Book
    from intercede.model import Resources

__all__ = ["capacity_of", "check_site"]


# What A-REX passes on to what is behind it; to others, all that it knows
_RESERVES = {
    "fork": ("ARC without a batch system", {"cores", "walltime"}),
    "condor": ("HTCondor behind ARC", {"cores", "memory", "walltime"}),
}


async def check_site(client: ArcClient, book: Book, resources: Resources, best_effort: Iterable[str]) -> Resources:
    """Take away, or refuse, what the batch system behind a CE cannot reserve, or a queue does not allow.

    The CE itself takes such a job: what cannot be reserved is passed over, and what a queue does not allow fails later.

    Args:
        client: The server.
        book: What is known of the CE.
        resources: What is asked for; its `queue` is the one that the job goes to.
        best_effort: Fields that the site's configuration allows to be ignored.

    Raises:
        UnsupportedError: Nobody allowed to ignore it, or it is beyond the queue's limit.
    """
    if resources.memory is None and resources.nodes == 1 and (resources.walltime is None or resources.queue is None):
        return resources
    site = await book.site(client)
    limit = site.limits.get(resources.queue or "")
    if limit is not None and resources.walltime is not None and resources.walltime > limit:
        said = f"the queue {resources.queue} has a time limit of {limit}"
        raise UnsupportedError("resources.walltime", said, "Ask for less, or choose another queue.")
    for system, (name, reserves) in _RESERVES.items():
        if site.systems == {system}:
            return check_resources(name, resources, reserves, best_effort)
    return resources


async def capacity_of(client: ArcClient, book: Book, preferred: str | None) -> Capacity:
    """Give the queues, with our own jobs counted.

    Args:
        client: The server.
        book: What is known of its jobs.
        preferred: The queue of jobs that name none. Of several queues, the CE does not tell which that is.
    """
    queues = read_queues(await client.resource())
    waiting, running = await own_states(client, book)
    told = await client.about([*waiting, *running]) if len(queues) > 1 else {}
    default = preferred or (queues[0].name if len(queues) == 1 else None)
    names = {each.name for each in queues}

    def where(native: str) -> str | None:
        """The queue of a job; the document is late, and it may be one that nobody knows of."""
        label = book.label(native)
        asked = (told[native].about.get("Queue"), label and label.queue, default)
        return next((str(name) for name in asked if name in names), next(iter(sorted(names)), None))

    def counted(natives: list[str], queue: QueueInfo) -> int:
        return len(natives) if len(queues) == 1 else sum(where(native) == queue.name for native in natives)

    return Capacity(tuple(_with(each, counted(waiting, each), counted(running, each), default) for each in queues))


def _with(queue: QueueInfo, waiting: int, running: int, default: str | None) -> QueueInfo:
    """The document is older than the list: there are at least as many jobs as ours."""
    return replace(
        queue,
        is_default=queue.name == default,
        waiting=max(queue.waiting or 0, waiting),
        running=max(queue.running or 0, running),
        ours_waiting=waiting,
        ours_running=running,
    )
