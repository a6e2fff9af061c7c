"""The states of A-REX's REST interface in our words.

[REST interface](https://www.nordugrid.org/arc/arc7/tech/rest/rest.html), and what 6.17, 7.0 and 7.2 were seen to say.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from intercede.answers import JobState, Reason

__all__ = ["ENDED", "OF_SYSTEM", "STATES", "Ending", "read_failure", "state_of"]

STATES: dict[str, tuple[JobState, str]] = {
    "ACCEPTING": (JobState.QUEUED, "being taken in"),
    "ACCEPTED": (JobState.QUEUED, "taken in, waits to be prepared"),
    "PREPARING": (JobState.QUEUED, "its inputs are staged, or waited for"),
    "PREPARED": (JobState.QUEUED, "its inputs are there"),
    "SUBMITTING": (JobState.QUEUED, "being given to the batch system"),
    "QUEUING": (JobState.QUEUED, "waits in the batch system"),
    "HELD": (JobState.HELD, "held in the batch system"),
    "RUNNING": (JobState.RUNNING, "in the batch system (the list says so of those that wait there too)"),
    "EXITINGLRMS": (JobState.RUNNING, "has run, and leaves the batch system"),
    "OTHER": (JobState.RUNNING, "in the batch system, in a state that A-REX does not know"),
    "EXECUTED": (JobState.RUNNING, "has run; its outputs are not complete yet"),
    "FINISHING": (JobState.RUNNING, "its outputs are staged"),
    # Not the end, and no order of anybody: a failing job passes through it
    "KILLING": (JobState.RUNNING, "being ended; a job that fails passes through here"),
    "FINISHED": (JobState.SUCCEEDED, ""),
    "FAILED": (JobState.FAILED, ""),
    "KILLED": (JobState.CANCELLED, ""),
    "WIPED": (JobState.UNKNOWN, "removed from the CE"),
    "None": (JobState.UNKNOWN, "the CE does not know it (any more)"),
}
# Words that mean something else with that batch system behind the CE. A-REX calls OTHER what HTCondor holds, and HELD
# what it has suspended; of what Slurm holds it says QUEUING, and OTHER of what has ended there
OF_SYSTEM: dict[str, dict[str, tuple[JobState, str]]] = {
    "condor": {
        "OTHER": (JobState.HELD, "held in HTCondor"),
        "HELD": (JobState.SUSPENDED, "suspended in HTCondor"),
    },
}
ENDED = frozenset(word for word, (state, _) in STATES.items() if state.is_final)

_LRMS = re.compile(r"LRMS error: \((-?\d+)\)\s*(.*)")
_SIGNAL = re.compile(r"died on signal (\d+)")
_WALLTIME = re.compile(r"wall ?time|time ?limit|TIMEOUT|job killed: wall", re.IGNORECASE)
_MEMORY = re.compile(r"\bmemory\b|OUT_OF_ME|job killed: vmem", re.IGNORECASE)
# by an order to the CE, to Slurm, to HTCondor
_CANCELLED = re.compile(r"cancell?ed by external request|Job was cancelled|RemoveReason: via condor_rm", re.IGNORECASE)
# another limit, or a rule of the site: HTCondor tells no more
_POLICY = re.compile(r"job killed: |PeriodicRemove|RemoveReason: ")
# A line that begins so, and what is below it. The words after it are others', and there are URLs in them
_STAGED = re.compile(r"^Failed in data staging.*", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_STAGING = re.compile(r"downloading|uploading|stage", re.IGNORECASE)
_REFUSED = re.compile(r"submission to LRMS failed", re.IGNORECASE)


class Ending(NamedTuple):
    """How a failed job ended, as far as A-REX tells.

    Attributes:
        reason: Why; None if its words are not known.
        exit_code: Of the payload, where there is one.
        signal: That ended the payload, where there is one.
        cancelled: Whether somebody ordered it.
    """

    reason: Reason | None = None
    exit_code: int | None = None
    signal: int | None = None
    cancelled: bool = False


def state_of(word: str) -> JobState:
    """Say what a word of A-REX's means; `UNKNOWN` for a word that we do not know."""
    return STATES.get(word, (JobState.UNKNOWN, ""))[0]


def read_failure(text: str, exit_code: int | None = None) -> Ending:
    """Read why a job failed.

    A job that was cancelled while it was in the batch system is `FAILED` in the live list of 7.0 and 7.2 (in the
    information document, `KILLED`): only these words tell. So it is with one that was taken out of the batch system.

    Args:
        text: `diagnose/failed`, or the `Error` of the information document: `LRMS error: (3) Job failed` (Slurm),
            `(3) Job finished with wrong exit code - 3 != 0` (fork), `(3) Job failed with exit code 3` (HTCondor);
            `(271) Job timeout`, `(271) Job was cancelled` (Slurm); `(271) job killed: wall`, `(271) job killed: vmem`,
            `(-1) RemoveReason: via condor_rm (by user condor)` (HTCondor).
        exit_code: What the job's accounting says, `exitcode=` in `diagnose/diag`, where it says anything.
    """
    if _CANCELLED.search(text):
        return Ending(cancelled=True)
    text, staged = _STAGED.subn("", text)
    if staged and not text.strip():
        return Ending(Reason.STAGING)
    if found := _SIGNAL.search(text):
        return Ending(Reason.SIGNAL, None, int(found[1]))
    if _WALLTIME.search(text):
        return Ending(Reason.WALLTIME)
    if _MEMORY.search(text):
        return Ending(Reason.MEMORY)
    if _POLICY.search(text):
        return Ending()
    if _REFUSED.search(text):
        return Ending(Reason.REJECTED)
    if found := _LRMS.search(text):
        code = int(found[1])
        # Slurm's own: 256 and the signal
        if code > 256:
            return Ending(Reason.SIGNAL, None, code - 256)
        # -1 is "died unexpectedly", of which fork tells nothing else
        code = code if exit_code is None else exit_code
        return Ending(Reason.EXIT_CODE, code) if code > 0 else Ending()
    if staged or _STAGING.search(text):
        return Ending(Reason.STAGING)
    return Ending(Reason.EXIT_CODE, exit_code) if exit_code else Ending()
