"""Every error that intercede raises or returns as the value of one job.

Models that the caller makes (`JobDescription`, `Resources`, `Copy`, credentials) raise pydantic's `ValidationError`.

```
IntercedeError
├── ConfigurationError      what the caller wrote cannot work; nothing was sent anywhere
│   └── InvalidReference    a JobRef that was cut, changed, or made for another resource
├── UnsupportedError        the resource cannot honour a field of the description; nothing was queued
├── CredentialError         a secret is missing, unreadable or expired
├── TransportError
│   ├── ConnectFailed       nothing was sent
│   │   └── HostKeyRejected the server is not the one that known_hosts or the configuration names
│   ├── AuthenticationFailed
│   └── ConnectionLost      a command may have run
├── CommandError            a command ran, or should have, and did not do what was asked
│   ├── SubmissionRejected  the scheduler refused the job; nothing was queued
│   ├── QueueFull           a limit of the site; some copies may have got in
│   ├── SchedulerUnavailable  no answer, or "ask me later"
│   └── StorageError        the far side could not write: disk full, quota, permission
├── TagConflict             the same tag with another content
├── SubmissionUnknown       it may or may not be queued: ask `find(tag)`
├── NotFound                the resource keeps nothing of that job (any more)
├── ParseError              an answer that is not what the command's manual promises
└── LimitExceeded           more bytes, files or time than the configuration allows
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from intercede.model import JobRef

__all__ = [
    "AuthenticationFailed",
    "CommandError",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionLost",
    "CredentialError",
    "HostKeyRejected",
    "IntercedeError",
    "InvalidReference",
    "LimitExceeded",
    "NotFound",
    "ParseError",
    "QueueFull",
    "SchedulerUnavailable",
    "StorageError",
    "SubmissionRejected",
    "SubmissionUnknown",
    "TagConflict",
    "TransportError",
    "UnsupportedError",
]


class IntercedeError(Exception):
    """The base of every error of this library.

    The text says what was asked, what came back and what to do; the three parts are also attributes.

    Args:
        asked: What was being done, and to what.
        answer: What came back, in the words of the other side where it had any.
        advice: What the reader can do about it.
    """

    def __init__(self, asked: str, answer: str = "", advice: str = "") -> None:
        self.asked = asked
        self.answer = answer
        self.advice = advice
        super().__init__(asked, answer, advice)

    def __str__(self) -> str:
        text = ": ".join(part.strip() for part in (self.asked, self.answer) if part.strip())
        if not self.advice:
            return text
        return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {self.advice}"


class ConfigurationError(IntercedeError):
    """What the caller wrote cannot work; raised before anything is sent."""


class InvalidReference(ConfigurationError):
    """A job reference that was cut, changed, or made for another resource."""


class UnsupportedError(IntercedeError):
    """The resource cannot honour a field of the description; nothing was queued.

    Attributes:
        field: The field's name as in the description, such as `resources.gpus`.
    """

    def __init__(self, field: str, answer: str = "", advice: str = "") -> None:
        self.field = field
        super().__init__(field, answer, advice)


class CredentialError(IntercedeError):
    """A secret is missing, unreadable or expired."""


class TransportError(IntercedeError):
    """The way to the submit host failed."""


class ConnectFailed(TransportError):
    """No connection was made, so nothing was sent and nothing ran."""


class HostKeyRejected(ConnectFailed):
    """The server showed another host key than the one that is known, or an unknown one; nothing was sent."""


class AuthenticationFailed(TransportError):
    """The server is the right one and refused who we are; nothing ran."""


class ConnectionLost(TransportError):
    """The connection broke after a command was sent: it may have run."""


class CommandError(IntercedeError):
    """A command on the far side did not do what was asked.

    Attributes:
        returncode: Its exit status, or None where there was none.
    """

    def __init__(self, asked: str, answer: str = "", advice: str = "", *, returncode: int | None = None) -> None:
        self.returncode = returncode
        super().__init__(asked, answer, advice)


class SubmissionRejected(CommandError):
    """The scheduler refused the job, in the words of `answer`; nothing was queued."""


class QueueFull(CommandError):
    """A limit of the site on queued jobs was met.

    Attributes:
        retry_after: When to try again at the earliest, where that is known.
        accepted: The jobs of the same call that did get in.
    """

    def __init__(
        self,
        asked: str,
        answer: str = "",
        advice: str = "",
        *,
        returncode: int | None = None,
        retry_after: timedelta | None = None,
        accepted: Sequence[JobRef] = (),
    ) -> None:
        self.retry_after = retry_after
        self.accepted = tuple(accepted)
        super().__init__(asked, answer, advice, returncode=returncode)


class SchedulerUnavailable(CommandError):
    """The scheduler did not answer in time, or said that it cannot now. Asking again later is right."""


class StorageError(CommandError):
    """The far side could not write: disk full, quota, permission, or modes that do not hold."""


class TagConflict(IntercedeError):
    """The tag is already used on this resource for another content; nothing was queued."""


class SubmissionUnknown(IntercedeError):
    """A submission began and its outcome is not known.

    It is never repeated by itself. `find(tag)` tells what got through; `submit` with the same tag is safe, and
    `abandon(tag)` gives up on what began without an outcome.

    Attributes:
        tag: The tag of the submission.
        refs: The jobs that are known to have got through.
    """

    def __init__(self, tag: str, answer: str = "", advice: str = "", *, refs: Sequence[JobRef] = ()) -> None:
        self.tag = tag
        self.refs = tuple(refs)
        advice = advice or f"Ask find({tag!r}) later, submit again with the same tag, or abandon({tag!r})."
        super().__init__(f"submission {tag}", answer, advice)


class NotFound(IntercedeError):
    """The resource keeps nothing (any more) of that job, submission or file."""


class ParseError(IntercedeError):
    """An answer is not what the command's manual promises.

    Attributes:
        text: The offending text, shortened.
    """

    def __init__(self, asked: str, answer: str = "", advice: str = "", *, text: str = "") -> None:
        self.text = text[:2000]
        super().__init__(asked, answer, advice)


class LimitExceeded(IntercedeError):
    """More bytes, files or time than the configuration allows.

    Attributes:
        kept: What was kept nevertheless, such as the output that did fit.
    """

    def __init__(self, asked: str, answer: str = "", advice: str = "", *, kept: object = None) -> None:
        self.kept = kept
        super().__init__(asked, answer, advice)
