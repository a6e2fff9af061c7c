"""Making one status of what several sources say. Pure: the rules of truth of a composed element."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from intercede.answers import JobState, JobStatus, Reason, Usage

if TYPE_CHECKING:
    from datetime import datetime

    from intercede.model import JobRef
    from intercede.settings import ResourceSettings
    from intercede.workarea.operations import Record
    from intercede.workarea.scheduler import Observation

__all__ = ["Memory", "Sighting", "judge"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the sources said of one job, at one time.

    Attributes:
        queue: Of the queue.
        history: Of the history.
        record: Of the job itself.
        cancelled: Whether we ordered its end.
        purged: Whether its files were purged.
        answered: Whether all sources answered.
        complaint: What the one that did not said.
        sources: The names of queue and history.
        now: When.
    """

    queue: Observation | None
    history: Observation | None
    record: Record | None
    cancelled: bool
    purged: bool
    answered: bool
    complaint: str
    sources: tuple[str, str]
    now: datetime


@dataclass(slots=True)
class Memory:
    """What an element remembers of a job between two questions.

    Attributes:
        status: The last.
        missing: For how long no source has known the job, with all of them answering.
        looked: When it was last asked for and missing.
    """

    status: JobStatus | None = None
    missing: timedelta = timedelta()
    looked: datetime | None = None


def judge(ref: JobRef, seen: Sighting, memory: Memory, settings: ResourceSettings) -> JobStatus:
    """Say where a job is.

    The scheduler decides whether a job ended and why; exit code and signal are the job's own record where there is
    one. Absent is not finished: a job that nobody knows keeps its last state for the grace period, is `UNKNOWN` then,
    and `FAILED` (`LOST`) only when all sources have gone on not knowing it for `lost_after`.
    """
    observed = next((each for each in (seen.queue, seen.history) if each and _is_ours(each, ref)), None)
    before = memory.status
    if before is not None and settled(before, settings, seen.now) and (observed is None or observed.state.is_final):
        return before
    missing = observed is None or (observed.state is JobState.UNKNOWN and observed.reason is Reason.LOST)
    if observed is not None and not missing:
        memory.missing, memory.looked = timedelta(), None
        source = seen.sources[0] if observed is seen.queue else seen.sources[1]
        status = _from(ref, observed, source, seen.now)
        if not observed.state.is_final:
            return _again(status, before)
        return _ended(status, seen.record, cancelled=seen.cancelled)
    if before is not None and before.state.is_final and seen.record is None:
        return before
    if seen.queue is not None and observed is None and not seen.queue.state.is_final and not _is_another(seen.queue):
        said = f"the job of that number is called {seen.queue.name!r}: it was renamed, or is none of ours"
        return replace(_from(ref, seen.queue, seen.sources[0], seen.now), state=JobState.UNKNOWN, detail=said)
    blank = JobStatus(ref, JobState.UNKNOWN, source="record", observed=seen.now)
    if before is not None:
        blank = replace(blank, queue=before.queue, submitted=before.submitted, node=before.node)
    if seen.record is not None and _has_ended(seen.record, seen, settings):
        return _ended(replace(blank, state=JobState.FAILED), seen.record, cancelled=seen.cancelled)
    if seen.purged:
        return replace(blank, detail="its files were purged, and the system has forgotten it")
    if seen.cancelled and seen.answered:
        return replace(blank, state=JobState.CANCELLED, detail="cancelled by us")
    return _missing(blank, observed, seen, memory, settings)


def settled(status: JobStatus, settings: ResourceSettings, now: datetime) -> bool:
    """Whether a status is final and complete: a shared file system may hide a record for a while."""
    if not status.state.is_final:
        return False
    told = status.exit_code is not None or status.signal is not None or status.reason is not None
    late = status.ended is not None and (now - status.ended).total_seconds() > settings.grace
    return told or late or status.state is not JobState.FAILED


def _is_ours(observed: Observation, ref: JobRef) -> bool:
    """Whether a job of that identifier is the one that was submitted: identifiers are used again by some systems."""
    return not observed.name or observed.name.split("+", 1)[0] == f"ic-{ref.submission}"


def _has_ended(record: Record, seen: Sighting, settings: ResourceSettings) -> bool:
    """Whether a job that no source knows is over by its own record.

    One that was told to end and may be started again is between two places of the queue for a moment.
    """
    if record.ended is not None and record.flag == "interrupted":
        return seen.answered and (seen.now - record.ended).total_seconds() > settings.grace
    return record.ended is not None or record.flag == "walltime"


def _is_another(observed: Observation) -> bool:
    """Whether a job of that identifier is certainly that of another submission."""
    return observed.name.startswith("ic-")


def _from(ref: JobRef, observed: Observation, source: str, now: datetime) -> JobStatus:
    return JobStatus(
        ref, observed.state, observed.word, observed.reason, observed.exit_code, observed.signal, observed.detail,
        observed.node, observed.queue, observed.submitted, observed.started, observed.ended, source, now,
    )  # fmt: skip


def _again(status: JobStatus, before: JobStatus | None) -> JobStatus:
    """A job that is not final; one that was has been revived."""
    if before is None:
        return status
    return replace(status, attempt=before.attempt + 1 if before.state.is_final else before.attempt)


def _ended(status: JobStatus, record: Record | None, *, cancelled: bool) -> JobStatus:
    """A job that ended, with what it wrote of itself."""
    if record is None:
        return _reasoned(status)
    if status.reason is Reason.LOST and record.ended is not None:
        # it ended between the look at its processes and the look at its record
        status = replace(status, native_state="", reason=None, detail="")
    started, ended = status.started or record.started, status.ended or record.ended
    cpu = timedelta(seconds=record.cpu) if record.cpu is not None else None
    status = replace(
        status,
        started=started,
        ended=ended,
        node=status.node or record.node,
        attempt=record.attempt,
        source=status.source if status.source == "record" else f"{status.source}+record",
        usage=Usage(cpu, ended - started if started and ended else None),
    )
    if record.ended is None and record.flag != "cancelled":
        if record.flag == "walltime" and status.state is JobState.FAILED and status.reason in {None, Reason.LOST}:
            return replace(status, reason=Reason.WALLTIME, detail="ended by force at its walltime")
        # what ended it otherwise ended it before our order, or in spite of it
        if cancelled and status.state is JobState.FAILED and status.reason in {None, Reason.LOST}:
            return replace(status, state=JobState.CANCELLED, reason=None, detail="cancelled by us")
        return _reasoned(status)
    status = replace(status, exit_code=record.exit_code, signal=record.signal)
    if record.flag == "cancelled" or (
        cancelled
        and status.state is JobState.FAILED
        and status.reason is None
        and record.flag in {"terminated", "interrupted"}
    ):
        return replace(status, state=JobState.CANCELLED, reason=None, detail="cancelled by us")
    if status.state is JobState.FAILED and status.reason is None and record.flag == "walltime":
        return replace(status, reason=Reason.WALLTIME, detail="ended at its walltime")
    if (
        status.state is JobState.FAILED
        and status.reason is None
        and status.native_state in {"", "EXITED"}
        and (record.exit_code == 0)
    ):
        return replace(status, state=JobState.SUCCEEDED)
    return _reasoned(status)


def _reasoned(status: JobStatus) -> JobStatus:
    """Name the reason that exit code or signal give, where the scheduler gave none."""
    if status.state is JobState.SUCCEEDED and status.exit_code is None and status.signal is None:
        return replace(status, exit_code=0)
    if status.state is not JobState.FAILED or status.reason is not None:
        return status
    if status.signal:
        return replace(status, reason=Reason.SIGNAL, detail=status.detail or f"ended by signal {status.signal}")
    if status.exit_code:
        hint = {126: " (found, but it cannot be executed)", 127: " (the program was not found)"}
        return replace(
            status,
            reason=Reason.EXIT_CODE,
            detail=status.detail or f"exit code {status.exit_code}{hint.get(status.exit_code, '')}",
        )
    return status


def _missing(
    blank: JobStatus, observed: Observation | None, seen: Sighting, memory: Memory, settings: ResourceSettings
) -> JobStatus:
    """A job that no source knows."""
    before, now = memory.status, seen.now
    if seen.answered:
        if memory.looked is not None:
            memory.missing += now - memory.looked
        memory.looked = now
    else:
        memory.looked = None
    detail = observed.detail if observed else "no source knows it"
    if not seen.answered:
        detail = f"it is not in the queue, and {seen.complaint}"
    if memory.missing >= settings.lost_after:
        long = f"{detail} for {memory.missing}"
        return replace(blank, state=JobState.FAILED, reason=Reason.LOST, detail=long)
    last = before.observed if before is not None else None
    if before is not None and last is not None and (now - last).total_seconds() < settings.grace:
        return before
    word = before.native_state if before is not None else ""
    if before is not None and before.state is not JobState.UNKNOWN:
        detail = f"{detail}; it was {before.state} at {last:%Y-%m-%d %H:%M:%S} UTC" if last else detail
    if not seen.answered:
        return replace(blank, native_state=word, detail=detail, source="")
    return replace(
        blank, native_state=word, reason=Reason.LOST if observed else None, detail=detail,
        source="+".join(filter(None, seen.sources)),
        started=before.started if before is not None else None,
        attempt=before.attempt if before is not None else 1,
    )  # fmt: skip
