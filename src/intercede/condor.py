"""What HTCondor says of its jobs, in our words: the same on a submit host and through a remote schedd."""

from __future__ import annotations

import re

from intercede.answers import JobState, Reason

__all__ = ["ORDERED", "STATES", "hold_reason"]

# https://htcondor.readthedocs.io/en/latest/classad-attributes/job-classad-attributes.html, JobStatus: our state while
# the job is in the queue, and HTCondor's word
STATES: dict[str, tuple[JobState, str]] = {
    "1": (JobState.QUEUED, "Idle"),
    "2": (JobState.RUNNING, "Running"),
    "3": (JobState.RUNNING, "Removed"),  # until its node has ended it
    "4": (JobState.SUCCEEDED, "Completed"),  # or FAILED, by exit code and signal
    "5": (JobState.HELD, "Held"),
    "6": (JobState.RUNNING, "Transferring Output"),
    "7": (JobState.SUSPENDED, "Suspended"),
}
# the same page, HoldReasonCode, or code and subcode: those that say what went wrong; a held job waits for somebody
# whatever the reason
_HOLDS: dict[str, Reason] = {
    "12": Reason.STAGING,  # output could not be brought back
    "13": Reason.STAGING,  # input could not be taken there
    "14": Reason.STAGING,  # no access to its directory
    "16": Reason.STAGING,  # its input is being spooled
    "21.102": Reason.MEMORY,  # `use POLICY : HOLD_IF_MEMORY_EXCEEDED` of the node
    "34": Reason.MEMORY,
    "46": Reason.WALLTIME,
    "47": Reason.WALLTIME,
}
# RemoveReason, when the owner or an administrator ordered it
ORDERED = re.compile(r"\(by user ")


def hold_reason(code: str, subcode: str) -> Reason | None:
    """Why a job is held; None if its code does not tell."""
    return _HOLDS.get(f"{code}.{subcode}") or _HOLDS.get(code)
