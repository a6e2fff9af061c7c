"""A job's attributes, as a remote schedd tells them, in our words. Pure."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from intercede.answers import JobState, Reason
from intercede.condor import HOLDS, ORDERED, STATES
from intercede.workarea.scheduler import Observation

if TYPE_CHECKING:
    from intercede.htcondor_ce.protocol import Ad

__all__ = ["ATTRIBUTES", "observe", "observe_past"]

log = logging.getLogger("intercede.htcondor_ce")
ATTRIBUTES = (
    "JobStatus", "HoldReasonCode", "HoldReasonSubCode", "HoldReason", "RemoveReason", "RemoteHost", "LastRemoteHost",
    "QDate", "JobCurrentStartDate", "EnteredCurrentStatus", "CompletionDate", "ExitBySignal", "ExitCode", "ExitSignal",
)  # fmt: skip
"""What must be asked for."""
# SYSTEM_PERIODIC_REMOVE of an HTCondor-CE; of a pool's own limits HTCondor says only which expression it was
LATE = "job exceeded allowed walltime"


def observe(ad: Ad) -> Observation:
    """Read a job of the queue."""
    status = str(ad["JobStatus"])
    if status not in STATES:
        log.warning("a schedd says a state that this release does not know: %r", status)
        return Observation(status, JobState.UNKNOWN, detail=f"HTCondor says JobStatus {status}")
    state, word = STATES[status]
    seen = Observation(word, state, submitted=_time(ad, "QDate"))
    if state is JobState.QUEUED:
        return seen
    node = _text(ad, "RemoteHost") or _text(ad, "LastRemoteHost")
    seen = seen._replace(node=node.rpartition("@")[2] or None, started=_time(ad, "JobCurrentStartDate"))
    if word == "Removed":
        return seen._replace(detail=_text(ad, "RemoveReason"), ended=_time(ad, "EnteredCurrentStatus"))
    if state is JobState.HELD:
        code, subcode = ad["HoldReasonCode"], ad["HoldReasonSubCode"]
        codes = f"{code}.{subcode}" if subcode else f"{code}"
        detail = f"held ({codes}): {_text(ad, 'HoldReason')}"
        return _ended(seen._replace(reason=HOLDS.get(str(code)), detail=detail), ad)
    if word == "Completed":
        ended = _time(ad, "CompletionDate") or _time(ad, "EnteredCurrentStatus")
        seen = _ended(seen._replace(ended=ended), ad)
        return seen._replace(state=JobState.SUCCEEDED if seen.exit_code == 0 else JobState.FAILED)
    return seen


def observe_past(ad: Ad) -> Observation:
    """Read a job of the history: what was removed has ended."""
    seen = observe(ad)
    if seen.word != "Removed":
        return seen
    if LATE in seen.detail:
        return seen._replace(state=JobState.FAILED, reason=Reason.WALLTIME)
    return seen._replace(state=JobState.CANCELLED if ORDERED.search(seen.detail) else JobState.FAILED)


def _ended(seen: Observation, ad: Ad) -> Observation:
    """How its program ended, if it did."""
    if ad["ExitBySignal"] is True:
        return seen._replace(signal=_number(ad, "ExitSignal"))
    return seen._replace(exit_code=_number(ad, "ExitCode"))


def _text(ad: Ad, name: str) -> str:
    value = ad[name]
    return value if isinstance(value, str) else ""


def _number(ad: Ad, name: str) -> int | None:
    value = ad[name]
    return value if isinstance(value, int) else None


def _time(ad: Ad, name: str) -> datetime | None:
    seconds = _number(ad, name)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
