"""How full a CE is: its information document, and the live list of our own jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from intercede.answers import Capacity, QueueInfo
from intercede.arc.documents import read_batch_systems, read_queues
from intercede.elements.arc_status import own_states
from intercede.schedulers.common import check_resources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from intercede.arc.client import ArcClient
    from intercede.model import Resources

__all__ = ["capacity_of", "check_site"]


async def check_site(client: ArcClient, resources: Resources, best_effort: Iterable[str]) -> Resources:
    """Take away, or refuse, what the batch system behind a CE cannot reserve.

    Raises:
        UnsupportedError: Nobody allowed to ignore it.
    """
    systems = read_batch_systems(await client.resource())
    if systems != {"fork"}:
        return resources
    return check_resources("ARC without a batch system", resources, {"cores", "walltime"}, best_effort)


async def capacity_of(client: ArcClient, preferred: str | None) -> Capacity:
    """Give the queues, with our own jobs counted.

    Args:
        client: The server.
        preferred: The queue of jobs that name none; by default the first that the CE shows.
    """
    queues = read_queues(await client.resource())
    # the list lacks a job in the moment in which its state changes
    waiting, running = own_states(await client.jobs() | await client.jobs())
    told = await client.about([*waiting, *running]) if len(queues) > 1 else {}
    default = preferred or (queues[0].name if queues else None)

    def counted(natives: list[str], queue: QueueInfo) -> int:
        if len(queues) == 1:
            return len(natives)
        where = (told[native].about.get("Queue", default) for native in natives)
        return sum(name == queue.name for name in where)

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
