"""Making one status of what several sources say. Pure: the rules of truth of a composed element."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from intercede.answers import JobState, JobStatus, Reason, Usage

if TYPE_CHECKING:
    from datetime import datetime

    from intercede.model import JobRef
    from intercede.settings import ResourceSettings
    from intercede.workarea.operations import Record
    from intercede.workarea.scheduler import Observation

__all__ = ["Memory", "Sighting", "alive", "is_alive", "judge", "settled"]


class Sighting(NamedTuple):
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


_NEVER = timedelta()


@dataclass(slots=True)
class Memory:
    """What an element remembers of a job between two questions.

    Attributes:
        status: The last.
        missing: For how long no source has known the job, with all of them answering.
        looked: When it was last asked for and missing.
        unanswered: Whether the history did not answer once, and has not told the end since.
    """

    status: JobStatus | None = None
    missing: timedelta = _NEVER
    looked: datetime | None = None
    unanswered: bool = False

    def seen(self) -> None:
        """A source knows the job: it is not missing, or no longer."""
        self.missing, self.looked = _NEVER, None


def judge(ref: JobRef, seen: Sighting, memory: Memory, settings: ResourceSettings) -> JobStatus:
    """Say where a job is.

    The scheduler decides whether a job ended and why; exit code and signal are the job's own record where there is
    one. Absent is not finished: a job that nobody knows keeps its last state for the grace period, is `UNKNOWN` then,
    and `FAILED` (`LOST`) only when all sources have gone on not knowing it for `lost_after`.
    """
    observed = next((each for each in (seen.queue, seen.history) if each and _is_ours(each, ref)), None)
    before = memory.status
    if before is not None and settled(memory, settings, seen.now) and (observed is None or observed.state.is_final):
        return before
    if not seen.answered:
        memory.unanswered = True
    elif observed is not None and observed is not seen.queue and observed.state.is_final:
        memory.unanswered = False
    # a history that was away has not been told the end yet; one that was started again is in the queue
    if before is not None and before.state.is_final and observed is not None and observed is not seen.queue:
        if not observed.state.is_final:
            return before
    missing = observed is None or (observed.state is JobState.UNKNOWN and observed.reason is Reason.LOST)
    if observed is not None and not missing:
        source = seen.sources[0] if observed is seen.queue else seen.sources[1]
        status = alive(ref, observed, source, seen.now, memory)
        if not observed.state.is_final:
            return status
        fields = status._replace(attempt=1)._asdict()
        return _ended(fields, seen.record, cancelled=seen.cancelled, by_itself=observed.by_itself)
    if before is not None and before.state.is_final and seen.record is None:
        return before
    blank = JobStatus(ref, JobState.UNKNOWN, source="record", observed=seen.now)
    if before is not None:
        blank = blank._replace(queue=before.queue, submitted=before.submitted, node=before.node)
    if seen.record is not None and _has_ended(seen.record, seen, settings):
        return _ended(blank._asdict() | {"state": JobState.FAILED}, seen.record, cancelled=seen.cancelled)
    if seen.queue is not None and observed is None and not seen.queue.state.is_final and not _is_another(seen.queue):
        said = f"the job of that number is called {seen.queue.name!r}: it was renamed, or is none of ours"
        status = alive(ref, seen.queue, seen.sources[0], seen.now, Memory())
        return status._replace(state=JobState.UNKNOWN, detail=said)
    if seen.purged:
        return blank._replace(detail="its files were purged, and the system has forgotten it")
    if seen.cancelled and seen.answered:
        return blank._replace(state=JobState.CANCELLED, detail="cancelled by us")
    return _missing(blank, observed, seen, memory, settings)


def is_alive(observed: Observation, ref: JobRef) -> bool:
    """Whether what the queue says of a job is all that there is to know: it waits or runs, and is the right one."""
    return not observed.state.is_final and observed.state is not JobState.UNKNOWN and _is_ours(observed, ref)


def alive(ref: JobRef, observed: Observation, source: str, now: datetime, memory: Memory) -> JobStatus:
    """The status of a job that a source knows."""
    before = memory.status
    memory.seen()
    # one that was final has been revived
    attempt = 1 if before is None else before.attempt + 1 if before.state.is_final else before.attempt
    return JobStatus(
        ref, observed.state, observed.word, observed.reason, observed.exit_code, observed.signal, observed.detail,
        observed.node, observed.queue, observed.submitted, observed.started, observed.ended, source, now, None, attempt,
    )  # fmt: skip


def settled(memory: Memory, settings: ResourceSettings, now: datetime) -> bool:
    """Whether the last status is final and complete.

    A shared file system may hide a record for a while, and a history that did not answer may yet tell more.
    """
    status = memory.status
    if status is None or not status.state.is_final:
        return False
    told = status.exit_code is not None or status.signal is not None or status.reason is not None
    late = status.ended is not None and (now - status.ended).total_seconds() > settings.grace and not memory.unanswered
    return told or late or status.state is not JobState.FAILED


def _is_ours(observed: Observation, ref: JobRef) -> bool:
    """Whether a job of that identifier is the one that was submitted: identifiers are used again by some systems."""
    return not observed.name or observed.name.split("+", 1)[0] == f"ic-{ref.submission}"


def _has_ended(record: Record, seen: Sighting, settings: ResourceSettings) -> bool:
    """Whether a job that no source knows is over by its own record.

    One that was told to end and may be started again is between two places of the queue for a moment. Why one was told
    to end, if not by us, a history knows that does not answer now.
    """
    if record.flag == "terminated" and not seen.answered and not seen.cancelled:
        return False
    if record.ended is not None and record.flag == "interrupted":
        return seen.answered and (seen.now - record.ended).total_seconds() > settings.grace
    return record.ended is not None or record.flag == "walltime"


def _is_another(observed: Observation) -> bool:
    """Whether a job of that identifier is certainly that of another submission."""
    return observed.name.startswith("ic-")


def _ended(fields: dict[str, Any], record: Record | None, *, cancelled: bool, by_itself: bool = False) -> JobStatus:
    """A job that ended, with what it wrote of itself."""
    if record is not None:
        _recorded(fields, record)
        _said_by(fields, record, cancelled=cancelled, by_itself=by_itself)
    elif cancelled and fields["state"] is JobState.FAILED and fields["reason"] is None and fields["signal"] is not None:
        # it was ended before it could write anything, and the scheduler tells the signal and not who sent it
        fields.update(state=JobState.CANCELLED, detail="cancelled by us")
    _reasoned(fields)
    return JobStatus(**fields)


def _recorded(fields: dict[str, Any], record: Record) -> None:
    """Take over from the record what the scheduler does not tell."""
    if fields["reason"] is Reason.LOST and record.ended is not None:
        # it ended between the look at its processes and the look at its record
        fields.update(native_state="", reason=None, detail="")
    started = fields["started"] = fields["started"] or record.started
    ended = fields["ended"] = fields["ended"] or record.ended
    fields["node"] = fields["node"] or record.node
    fields["attempt"] = record.attempt
    if fields["source"] != "record":
        fields["source"] += "+record"
    cpu = timedelta(seconds=record.cpu) if record.cpu is not None else None
    fields["usage"] = Usage(cpu, ended - started if started and ended else None)


def _said_by(fields: dict[str, Any], record: Record, *, cancelled: bool, by_itself: bool) -> None:
    """Say how the job ended, where the scheduler only says that it did."""
    failed = fields["state"] is JobState.FAILED
    if record.ended is None and record.flag != "cancelled":
        untold = failed and fields["reason"] in {None, Reason.LOST}
        if untold and record.flag == "walltime":
            fields.update(reason=Reason.WALLTIME, detail="ended by force at its walltime")
        elif untold and cancelled:
            # what ended it otherwise ended it before our order, or in spite of it
            fields.update(state=JobState.CANCELLED, reason=None, detail="cancelled by us")
        return
    fields["exit_code"], fields["signal"] = record.exit_code, record.signal
    untold = failed and fields["reason"] is None
    if record.flag == "cancelled" or (cancelled and untold and record.flag in {"terminated", "interrupted"}):
        fields.update(state=JobState.CANCELLED, reason=None, detail="cancelled by us")
    elif untold and record.flag == "walltime":
        fields.update(reason=Reason.WALLTIME, detail="ended at its walltime")
    elif untold and (by_itself or not fields["native_state"]) and record.exit_code == 0:
        fields["state"] = JobState.SUCCEEDED


def _reasoned(fields: dict[str, Any]) -> None:
    """Name the reason that exit code or signal give, where the scheduler gave none."""
    code, signal = fields["exit_code"], fields["signal"]
    if fields["state"] is JobState.SUCCEEDED:
        if code is None and signal is None:
            fields["exit_code"] = 0
    elif fields["state"] is not JobState.FAILED or fields["reason"] is not None:
        return
    elif signal:
        fields.update(reason=Reason.SIGNAL, detail=fields["detail"] or f"ended by signal {signal}")
    elif code:
        hint = {126: " (found, but it cannot be executed)", 127: " (the program was not found)"}
        said = fields["detail"] or f"exit code {code}{hint.get(code, '')}"
        fields.update(reason=Reason.EXIT_CODE, detail=said)


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
        return blank._replace(state=JobState.FAILED, reason=Reason.LOST, detail=long)
    last = before.observed if before is not None else None
    if before is not None and last is not None and (now - last).total_seconds() < settings.grace:
        return before
    word = before.native_state if before is not None else ""
    if before is not None and before.state is not JobState.UNKNOWN:
        detail = f"{detail}; it was {before.state} at {last:%Y-%m-%d %H:%M:%S} UTC" if last else detail
    if not seen.answered:
        return blank._replace(native_state=word, detail=detail, source="")
    return blank._replace(
        native_state=word, reason=Reason.LOST if observed else None, detail=detail,
        source="+".join(filter(None, seen.sources)),
        started=before.started if before is not None else None,
        attempt=before.attempt if before is not None else 1,
    )  # fmt: skip
