"""Many jobs of one submission: how many requests they take, and that none is forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Outcome
from intercede.errors import NotFound
from intercede.testing.contract.steps import final, script
from tests.arc.conftest import NEWER, Opener

if TYPE_CHECKING:
    from intercede.elements.arc import ArcElement
    from intercede.model import JobRef


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("arc", "many"), [(NEWER[0], 1000), (NEWER[-1], 200)], indirect=["arc"])
async def test_many_are_listed_cancelled_and_purged(opened: Opener, many: int) -> None:
    ce = opened()
    waits = {"arc": ("input:never=http://127.0.0.1:9/never",)}
    before = ce.counters.commands
    submission = await ce.submit(script(":", native=waits), many)
    # four requests create them, each is given its files; the delegation and the version are asked for once
    assert ce.counters.commands - before <= 4 + many + 4
    refs: list[JobRef] = submission.refs
    assert len(refs) == many
    # what changes its state may not be in the list, and takes a request of its own
    while {each.native_state for each in (await ce.status(refs)).values()} != {"PREPARING"}:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.5)
    before = ce.counters.commands
    assert {each.state for each in (await ce.status(refs)).values()} == {JobState.QUEUED}
    assert ce.counters.commands - before <= 2
    before = ce.counters.commands
    assert set((await ce.cancel(refs)).values()) == {Outcome.DONE}
    assert ce.counters.commands - before == 2
    statuses = await final(ce, refs, 400)
    assert {each.state for each in statuses.values()} == {JobState.CANCELLED}
    assert set((await ce.purge(refs)).values()) == {Outcome.DONE}
    assert [info.purged for info in await ce.list()] == [True]
    await reached_nothing(ce, refs)


async def reached_nothing(ce: ArcElement, refs: list[JobRef]) -> None:
    """What was purged is not known any more, and not lost."""
    assert {each.state for each in (await ce.status(refs)).values()} == {JobState.UNKNOWN}
    with pytest.raises(NotFound):
        await ce.read_log(refs[0])
