"""What a test of the suite takes, made of the host project's `place`."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState
from intercede.model import Copy, JobRef, Resources
from intercede.testing.contract.place import Place, Spot, spot_at
from intercede.testing.contract.steps import ENDS, reached, script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from intercede.protocols import Element

__all__ = ["Early", "ce", "early", "spot"]


@dataclass(frozen=True, slots=True)
class Early:
    """Jobs that take long, sent when a place is first used and looked at by the last tests.

    Attributes:
        walltime: A job that obeys when its time is over, and one that does not; Slurm's least walltime is a minute.
        ended: Jobs that end as `ENDS` says, where the scheduler forgets them soon after.
        cancelled: A job that is cancelled while it runs, likewise.
        timed: A job that prints when it began and when it is about to end, likewise.
    """

    spot: Spot
    walltime: tuple[JobRef, ...]
    ended: tuple[JobRef, ...]
    cancelled: tuple[JobRef, ...]
    timed: tuple[JobRef, ...]

    def element(self) -> Element:
        """An element on their work area."""
        return self.spot.element()


async def _send_early(place: Place) -> Early:
    spot = Spot(place, f"{place.base}/early-{secrets.token_hex(3)}")
    await spot.shell(":")
    refs: list[JobRef] = []
    ended: list[JobRef] = []
    cancelled: list[JobRef] = []
    timed: list[JobRef] = []
    async with spot.element() as ce:
        if place.has("forgets"):
            ended = (await ce.submit(script('eval "$1"'), [Copy(arguments=(row[0],)) for row in ENDS])).refs
            timed = (await ce.submit(script("date +%s; sleep 2; date +%s"))).refs
            cancelled = (await ce.submit(script("sleep 300"))).refs
            await reached(ce, cancelled[0], JobState.RUNNING)
            await ce.cancel(cancelled)
        if place.has("reserves:walltime"):
            text = 'if [ "$INTERCEDE_COPY" = 1 ]; then trap "" TERM; fi; while :; do sleep 0.2; done'
            limit = Resources(walltime=timedelta(seconds=2))
            refs = (await ce.submit(script(text, resources=limit), 2)).refs
    await spot.aclose()
    return Early(spot, tuple(refs), tuple(ended), tuple(cancelled), tuple(timed))


@pytest.fixture(scope="session")
def early(place: Place) -> Early:
    """Jobs that take long."""
    return asyncio.run(_send_early(place))


@pytest.fixture
async def spot(place: Place, early: Early, request: pytest.FixtureRequest) -> AsyncGenerator[Spot, None]:
    """A work area for this test alone."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.lower())[:40]
    async with spot_at(place, f"{name}-{secrets.token_hex(3)}") as made:
        yield made


@pytest.fixture
async def ce(spot: Spot) -> AsyncGenerator[Element, None]:
    """An element on that work area."""
    async with spot.element() as made:
        yield made
