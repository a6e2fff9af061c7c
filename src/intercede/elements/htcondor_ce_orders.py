"""Orders to jobs of a remote schedd: cancel, release, renew, purge; a few requests for any number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercede.answers import JobState, Outcome
from intercede.elements.htcondor_ce_access import WRITE
from intercede.elements.htcondor_ce_book import past
from intercede.elements.orders import check_names
from intercede.errors import CommandError, NotFound
from intercede.htcondor_ce.description import constraint_of, native_of
from intercede.htcondor_ce.protocol import Act, Edit, Query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from intercede.answers import JobStatus
    from intercede.elements.htcondor_ce_access import Access
    from intercede.errors import IntercedeError
    from intercede.model import JobRef

__all__ = ["cancel", "purge", "release", "renew"]

Answers = dict["JobRef", "Outcome | IntercedeError"]
_WHICH = ("ClusterId", "ProcId", "JobStatus", "IntercedePurged")
# Neither ended, nor on the way to that
_ALIVE = "JobStatus != 3 && JobStatus != 4"


async def _done(access: Access, refs: Iterable[JobRef], alive: str, action: str) -> Answers:
    """Order something of those of the jobs for which an expression holds; the others need it not."""
    wanted = list(refs)
    if not wanted:
        return {}
    which = f"({constraint_of(wanted)}) && ({alive})"
    there = {native_of(ad) for ad in await access.ask(Query(which, _WHICH))}
    if there:
        await access.ask(Act(action, which, "intercede"), WRITE)
    return {ref: Outcome.DONE if ref.native in there else Outcome.NOT_NEEDED for ref in wanted}


async def cancel(access: Access, refs: Iterable[JobRef]) -> Answers:
    """Remove jobs that have not ended."""
    return await _done(access, refs, _ALIVE, "Remove")


async def release(access: Access, refs: Iterable[JobRef]) -> Answers:
    """Release held jobs, but for those that wait for their files."""
    return await _done(access, refs, "JobStatus == 5 && HoldReasonCode =!= 16", "Release")


async def renew(statuses: Mapping[JobRef, JobStatus], secrets: Mapping[str, bytes | str]) -> Answers:
    """Say that a job's files cannot be replaced: they went with it to the batch system."""
    check_names(secrets)
    answers: Answers = {}
    for ref, status in statuses.items():
        if status.state.is_final or status.state is JobState.UNKNOWN or not secrets:
            answers[ref] = Outcome.NOT_NEEDED
        else:
            said = "the CE has passed its files on"
            advice = "Give the job secrets that last as long as it does."
            answers[ref] = CommandError(f"renew of {ref}", said, advice)
    return answers


async def purge(access: Access, statuses: Mapping[JobRef, JobStatus]) -> Answers:
    """Let ended jobs leave the queue, and all that is kept of them."""
    answers: Answers = {}
    wanted = []
    for ref, status in statuses.items():
        if status.state.is_final or (status.state is JobState.UNKNOWN and not status.native_state):
            wanted.append(ref)
        else:
            said = f"it is {status.state}" + (f" ({status.detail})" if status.detail else "")
            answers[ref] = CommandError(f"purge of {ref}", said, "Cancel it, or wait for its end.")
    if wanted:
        answers |= await _purged(access, wanted)
    return {ref: answers[ref] for ref in statuses}


async def _purged(access: Access, refs: list[JobRef]) -> Answers:
    which = constraint_of(refs)
    ads = {native_of(ad): ad for ad in await access.ask(Query(which, _WHICH))}
    lacking = [ref for ref in refs if ref.native not in ads]
    if lacking:
        ads |= {native_of(ad): ad for ad in await past(access, lacking, _WHICH)}
    fresh = [ref for ref in refs if ref.native in ads and ads[ref.native]["IntercedePurged"] is not True]
    if kept := [ref for ref in fresh if ads[ref.native]["JobStatus"] == 4 and ref not in lacking]:
        ended = f"({constraint_of(kept)}) && JobStatus == 4"
        await access.ask(Edit(ended, "IntercedePurged", "true"), WRITE)
        await access.ask(Edit(ended, "LeaveJobInQueue", "false"), WRITE)
    answers: Answers = {}
    for ref in refs:
        if ref.native not in ads:
            answers[ref] = NotFound(f"purge of {ref}", "the resource keeps nothing of it")
        else:
            answers[ref] = Outcome.DONE if ref in fresh else Outcome.NOT_NEEDED
    return answers
