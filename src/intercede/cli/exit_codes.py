"""What the command's exit status says. Stable: scripts depend on it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EPILOG", "Exit", "of_error", "of_errors"]


class Exit(IntEnum):
    """The exit statuses. `run` with a single copy gives the status of the job instead, as ssh does."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    CREDENTIALS = 3
    UNREACHABLE = 4
    REFUSED = 5
    UNKNOWN = 6
    BUG = 70
    INTERRUPTED = 130
    PIPE = 141


MEANING = {
    Exit.OK: "done",
    Exit.JOB_FAILED: "a job failed or was cancelled (run, watch)",
    Exit.USAGE: "wrong usage or configuration, or a tag that is in use: nothing was queued",
    Exit.CREDENTIALS: "a credential, authentication or a host key failed",
    Exit.UNREACHABLE: "the resource cannot be reached",
    Exit.REFUSED: "the resource refused, or could not do it",
    Exit.UNKNOWN: "a submission with unknown outcome: see find",
    Exit.BUG: "an error of intercede itself",
    Exit.INTERRUPTED: "interrupted",
    Exit.PIPE: "whoever read the output closed it",
}

EPILOG = (
    "Exit status: "
    + "; ".join(f"{code.value} {text}" for code, text in MEANING.items())
    + (". The run of a single copy gives the job's own status, or 128 + the signal that ended it.")
)

# By the names of the classes, the first that the error is of: the help must not wait for the import of the classes.
_OF_ERRORS = (
    ("Interrupted", Exit.INTERRUPTED),
    ("SubmissionUnknown", Exit.UNKNOWN),
    ("ConfigurationError", Exit.USAGE),
    ("UnsupportedError", Exit.USAGE),
    ("TagConflict", Exit.USAGE),
    ("CredentialError", Exit.CREDENTIALS),
    ("AuthenticationFailed", Exit.CREDENTIALS),
    ("HostKeyRejected", Exit.CREDENTIALS),
    ("TransportError", Exit.UNREACHABLE),
)


def of_error(error: BaseException) -> Exit:
    """Give the exit status for an error of the library."""
    names = {each.__name__ for each in type(error).__mro__}
    return next((code for name, code in _OF_ERRORS if name in names), Exit.REFUSED)


def of_errors(errors: Iterable[BaseException]) -> Exit:
    """Give the exit status for several errors: the gravest; `OK` for none."""
    return max((of_error(error) for error in errors), default=Exit.OK)
