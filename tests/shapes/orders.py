"""What is asked and ordered of many jobs, the same wherever copies are one native job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercede.answers import JobState, Outcome
from intercede.model import JobRef
from intercede.testing.contract.steps import final, reached, script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercede.protocols import Element

__all__ = ["ask_and_order_with_unknown_identifiers", "cancel_by_halves"]


async def ask_and_order_with_unknown_identifiers(ce: Element) -> None:
    """Identifiers that never were, and one beyond the copies, spoil nothing for the others; counted from 1."""
    refs = (await ce.submit(script("sleep 300"), 2, tag="mixed")).refs
    for ref in refs:
        await reached(ce, ref, JobState.RUNNING)
    never = JobRef(refs[0].resource, "never-was", 0, "9999999.1")
    beyond = JobRef(refs[0].resource, "mixed", 7, f"{refs[0].native.partition('.')[0]}.8")
    asked = [never, refs[1], beyond, refs[0]]
    told = await ce.status(asked)
    assert list(told) == asked
    states = [each.state for each in told.values()]
    assert states == [JobState.UNKNOWN, JobState.RUNNING, JobState.UNKNOWN, JobState.RUNNING]
    outcomes = await ce.cancel([never, refs[1], beyond])
    assert outcomes[refs[1]] is Outcome.DONE
    assert (await final(ce, refs[1:]))[refs[1]].state is JobState.CANCELLED
    assert (await ce.status(refs))[refs[0]].state is JobState.RUNNING


async def cancel_by_halves(ce: Element, refs: Sequence[JobRef]) -> None:
    """Every other one, then all: an execution each, whatever the number."""
    before = ce.counters.commands
    assert await ce.cancel(refs[::2]) == dict.fromkeys(refs[::2], Outcome.DONE)
    assert await ce.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
    assert ce.counters.commands - before == 2
    statuses = await final(ce, refs)
    assert [each for each in statuses.values() if each.state is not JobState.CANCELLED] == []
