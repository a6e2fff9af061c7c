"""A job's attributes, as a remote schedd tells them, in our words. Pure."""

from __future__ import annotations

import logging
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from intercede.answers import JobState, Reason
from intercede.condor import ORDERED, STATES, hold_reason
from intercede.workarea.scheduler import Observation

if TYPE_CHECKING:
    from intercede.htcondor_ce.protocol import Ad

__all__ = ["ARRIVING", "ATTRIBUTES", "UNSENT", "is_arriving", "observe", "observe_past", "waits_for_files"]

log = logging.getLogger("intercede.htcondor_ce")
ATTRIBUTES = (
    "JobStatus", "HoldReasonCode", "HoldReasonSubCode", "HoldReason", "RemoveReason", "RemoteHost", "LastRemoteHost",
    "QDate", "JobCurrentStartDate", "EnteredCurrentStatus", "CompletionDate", "ExitBySignal", "ExitCode", "ExitSignal",
    "IntercedeWalltime", "LastJobStatus", "StageInStart", "ServerTime",
)  # fmt: skip
"""What must be asked for."""
ARRIVING = 20
"""Seconds for which nobody gives up hope of files that were sent to a job."""
UNSENT = "Staging of job files failed"
"""Why a schedd removes jobs by itself whose files did not all come."""
# SYSTEM_PERIODIC_REMOVE of an HTCondor-CE; of a pool's own limits HTCondor says only which expression it was
LATE = "job exceeded allowed walltime"
LOST_ITS_PLACE = "it was started once, lost its place, and was not to be started again"


def observe(ad: Ad) -> Observation:
    """Read a job of the queue."""
    if (ad["JobStatus"], ad["LastJobStatus"]) == (3, 4):
        # it had ended, and was cleared away: by the site's policy, or an administrator
        ad = ad | {"JobStatus": 4}
    status = str(ad["JobStatus"])
    if status not in STATES:
        log.warning("a schedd says a state that this release does not know: %r", status)
        return Observation(status, JobState.UNKNOWN, detail=f"HTCondor says JobStatus {status}")
    state, word = STATES[status]
    if is_arriving(ad):
        return Observation(word, JobState.QUEUED, detail="its files are on their way", submitted=_time(ad, "QDate"))
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
        # one that waits for its files may be told to be held when it has them, without a word of why
        detail = "held" if code is None else f"held ({codes}): {_text(ad, 'HoldReason')}"
        return _ended(seen._replace(reason=hold_reason(f"{code}", f"{subcode}"), detail=detail), ad)
    if word == "Completed":
        ended = _time(ad, "CompletionDate") or _time(ad, "EnteredCurrentStatus")
        seen = _ended(seen._replace(ended=ended), ad)
        if _is_late(seen, ad):
            return seen._replace(
                state=JobState.FAILED, reason=Reason.WALLTIME, signal=None, detail="ended at its walltime"
            )
        if seen.signal == signal.SIGVTALRM:
            return seen._replace(state=JobState.FAILED, reason=Reason.NODE, signal=None, detail=LOST_ITS_PLACE)
        return seen._replace(state=JobState.SUCCEEDED if seen.exit_code == 0 else JobState.FAILED)
    return seen


def waits_for_files(ad: Ad) -> bool:
    """Whether a job waits for its files."""
    return ad["JobStatus"] == 5 and ad["HoldReasonCode"] == 16


def is_arriving(ad: Ad) -> bool:
    """Whether a job may be given its files just now: it is told a second later that it has them."""
    began, now = max(_number(ad, "StageInStart") or 0, _number(ad, "QDate") or 0), _number(ad, "ServerTime")
    return waits_for_files(ad) and now is not None and now - began < ARRIVING


def observe_past(ad: Ad) -> Observation:
    """Read a job of the history: what was removed has ended."""
    seen = observe(ad)
    if seen.word != "Removed":
        return seen
    if seen.detail.startswith(UNSENT):
        return seen._replace(state=JobState.FAILED, reason=Reason.STAGING)
    if LATE in seen.detail:
        return seen._replace(state=JobState.FAILED, reason=Reason.WALLTIME)
    return seen._replace(state=JobState.CANCELLED if ORDERED.search(seen.detail) else JobState.FAILED)


def _is_late(seen: Observation, ad: Ad) -> bool:
    """Whether the job's script said, by the signal that it ended itself with, that it ended the payload at its time."""
    limit = _number(ad, "IntercedeWalltime")
    began = seen.started or seen.submitted
    if limit is None or seen.signal != signal.SIGXCPU or seen.ended is None or began is None:
        return False
    return (seen.ended - began).total_seconds() >= limit


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
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and 0 < seconds < 10**11 else None
