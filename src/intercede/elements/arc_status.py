"""What the sources of a CE say of jobs, in the words that `verdict` decides on.

The list of jobs is live, and decides: what has ended has ended there. It says RUNNING of all that the batch system has;
which of them wait, `action=status` tells, up to a minute late. How a job ended, its own record says.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from intercede.answers import JobState, Reason
from intercede.arc.documents import moment, read_pairs
from intercede.arc.job import IN
from intercede.arc.states import OF_SYSTEM, STATES, read_failure, state_of
from intercede.elements.arc_book import each, looks
from intercede.elements.arc_files import read_record_of
from intercede.errors import IntercedeError
from intercede.workarea.operations import StatusAnswer
from intercede.workarea.scheduler import Observation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from intercede.arc.client import ArcClient
    from intercede.elements.arc_book import Book
    from intercede.model import JobRef
    from intercede.workarea.operations import Record

__all__ = ["REASONS", "SOURCES", "ask", "live_states", "own_states"]

SOURCES = ("jobs", "diagnose")
REASONS = frozenset({
    Reason.EXIT_CODE, Reason.SIGNAL, Reason.WALLTIME, Reason.MEMORY, Reason.REJECTED, Reason.STAGING,
})  # fmt: skip
# What A-REX calls a state in `diagnose/status`, and in the list
_LIVE = {
    "ACCEPTED": "ACCEPTED", "PREPARING": "PREPARING", "SUBMIT": "SUBMITTING", "INLRMS": "RUNNING",
    "FINISHING": "FINISHING", "CANCELING": "KILLING", "DELETED": "WIPED",
}  # fmt: skip
# What action=status adds to RUNNING in the list
_WITHIN = frozenset({"QUEUING", "HELD", "RUNNING", "EXITINGLRMS", "OTHER"})
# What it says of a job that the list called RUNNING a moment ago. What else it says is from before
_AFTER = frozenset({"EXECUTED", "FINISHING", "KILLING", "FINISHED", "FAILED", "KILLED"})
_NEVER_SENT = "it was created and its files never arrived: submit again with the same tag, or cancel it"


async def ask(
    client: ArcClient, book: Book, refs: Sequence[JobRef], settled: set[JobRef], before: Mapping[str, str] | None = None
) -> StatusAnswer:
    """Ask for jobs.

    Args:
        client: The server.
        book: What is known of its jobs.
        refs: The jobs.
        settled: Those of which all is known.
        before: The last native state of those that did not wait then.
    """
    answer = StatusAnswer()
    wanted = [ref for ref in refs if ref not in settled and not book.is_gone(ref.native)]
    live = await _looked(client, book, wanted) if wanted else {}
    answer.purged = {(ref.submission, ref.copy_index) for ref in refs if book.is_gone(ref.native)}
    within = [native for native, word in live.items() if word == "RUNNING"]
    systems = (await book.site(client)).systems if within else frozenset()
    detail = await _detail(client, systems, within)
    waiting = await book.waits_for_files(client, live, live)
    ended = []
    for ref in wanted:
        word = live.get(ref.native)
        if word is None:
            continue
        if state_of(word).is_final:
            ended.append(ref)
        else:
            inner = _told(detail.get(ref.native, ""), (before or {}).get(ref.native, ""))
            answer.queue[ref.native] = _alive(ref, book, word, inner, systems, held=ref.native in waiting)
    told = await each(lambda ref: _ended(client, book, ref, live[ref.native]), ended)
    for ref, (observed, record) in zip(ended, told, strict=True):
        answer.queue[ref.native] = observed
        if record is not None:
            answer.records[ref.submission, ref.copy_index] = record
    return answer


async def _looked(client: ArcClient, book: Book, wanted: Sequence[JobRef]) -> dict[str, str]:
    """The state of each job that is there; of the others, those that somebody has purged are noted."""
    await book.read(client, [ref.native for ref in wanted])
    live = await live_states(client, wanted)
    book.forget(await book.purged(client, [ref for ref in wanted if ref.native not in live]))
    return live


async def _detail(client: ArcClient, systems: Set[str], natives: list[str]) -> dict[str, str]:
    """What jobs in the batch system do there, as far as is known; in none, nothing ever waits."""
    if not natives:
        return {}
    if systems == {"fork"}:
        return dict.fromkeys(natives, "RUNNING")
    return {native: said.state for native, said in (await client.status(natives)).items() if said.is_good}


async def live_states(client: ArcClient, refs: Sequence[JobRef]) -> dict[str, str]:
    """The state of each job that is there; the list lacks one in the moment in which its state changes."""
    wanted = {ref.native for ref in refs}
    found: dict[str, str] = {}
    words: dict[str, str] | None = None
    async for live in looks(client):
        if words is None:
            words = await _words(client, wanted - live.keys())
        found = {native: word for native, word in (words | live).items() if native in wanted}
        if len(found) == len(wanted):
            break
    return found


async def _words(client: ArcClient, natives: Set[str]) -> dict[str, str]:
    """What the list should say of jobs that it lacks, as far as their own files tell in the same moment."""
    words = await each(lambda native: _word(client, native), natives)
    return {native: word for native, word in zip(natives, words, strict=True) if word}


async def _word(client: ArcClient, native: str) -> str | None:
    word = (await client.diagnose(native, "status")).strip().removeprefix("PENDING:")
    if word == "FINISHED":
        return "FAILED" if (await client.diagnose(native, "failed")).strip() else "FINISHED"
    return _LIVE.get(word)


def _named(ref: JobRef, book: Book, word: str) -> Observation:
    """What the label tells; the name says whose the job is."""
    label = book.label(ref.native)
    if label is None or not book.is_of(ref):
        return Observation(word, JobState.UNKNOWN, name="ic-+another")
    return Observation(word, state_of(word), submitted=label.when, queue=label.queue, name=f"ic-{ref.submission}")


def _alive(ref: JobRef, book: Book, word: str, inner: str, systems: Set[str], *, held: bool) -> Observation:
    named = _named(ref, book, word)
    if not book.is_of(ref):
        return named
    if held:
        return named._replace(state=JobState.HELD, reason=Reason.STAGING, detail=_NEVER_SENT)
    if word == "RUNNING":
        state, detail = _inner(inner, systems)
        return named._replace(word=inner if inner in _WITHIN else word, state=state, detail=detail)
    return named._replace(word=word, state=state_of(word), detail=STATES.get(word, (None, ""))[1])


def _told(word: str, before: str = "") -> str:
    """What action=status tells of a job in the batch system; where it tells nothing yet, or no more, what was told."""
    if word in _AFTER:
        return "RUNNING"
    return word if word in _WITHIN else before


def _inner(word: str, systems: Set[str]) -> tuple[JobState, str]:
    """What a job in the batch system does there, by what action=status says of it."""
    if word not in _WITHIN:
        # nobody knows yet whether it waits there
        return JobState.QUEUED, "given to the batch system"
    return (STATES | OF_SYSTEM.get(next(iter(systems), ""), {}))[word]


async def _ended(client: ArcClient, book: Book, ref: JobRef, word: str) -> tuple[Observation, Record | None]:
    """How a job ended: by its record, and where that does not tell all, by what the server keeps of it."""
    named = _named(ref, book, word)
    label = book.label(ref.native)
    if label is None or not book.is_of(ref):
        return named, None
    record = await read_record_of(client, label, ref.native)
    # whatever the record says, the server may know that it was ended by an order
    if named.state is not JobState.FAILED:
        return await _never_ran(client, ref.native, named, record)
    failed = (await client.diagnose(ref.native, "failed")).strip()
    diag = read_pairs(await client.diagnose(ref.native, "diag"))
    code = diag.get("exitcode", "")
    said = read_failure(failed, int(code) if re.fullmatch(r"\d{1,4}", code) else None)
    if said.cancelled:
        return await _never_ran(client, ref.native, named._replace(state=JobState.CANCELLED, detail=failed), record)
    if record is not None and record.ended is not None:
        # a payload that ended well is not why the job failed; of one that was told to end, its record does not know why
        ended_well = not record.exit_code and not record.signal and record.flag != "walltime"
        limited = record.flag == "terminated" and said.reason in {Reason.MEMORY, Reason.WALLTIME}
        return named._replace(reason=said.reason, detail=failed) if ended_well or limited else named, record
    return named._replace(
        reason=said.reason, exit_code=said.exit_code, signal=said.signal, detail=failed, node=diag.get("nodename"),
        started=moment(diag.get("LRMSStartTime")), ended=moment(diag.get("LRMSEndTime")),
    ), record  # fmt: skip


async def _never_ran(
    client: ArcClient, native: str, observed: Observation, record: Record | None
) -> tuple[Observation, Record | None]:
    """Of a job that was cancelled before it had begun, remove what was sent: secrets, which A-REX 6.17 leaves there."""
    if record is None and observed.state is JobState.CANCELLED:
        with contextlib.suppress(IntercedeError):
            await client.remove(native, IN)
    return observed, record


async def own_states(client: ArcClient, book: Book) -> tuple[list[str], list[str]]:
    """Of all jobs of ours, those that wait, as far as is known, and those that run or have run."""
    live = await book.listed(client)
    within = [native for native, word in live.items() if word == "RUNNING"]
    systems = (await book.site(client)).systems if within else frozenset()
    detail = await _detail(client, systems, within)
    states = {
        native: _inner(_told(detail.get(native, "")), systems)[0] if word == "RUNNING" else state_of(word)
        for native, word in live.items()
    }
    waiting = [native for native, state in states.items() if state in {JobState.QUEUED, JobState.HELD}]
    return waiting, [native for native, state in states.items() if state in {JobState.RUNNING, JobState.SUSPENDED}]
