"""What the library and its worker process say to one another: requests, answers, failures, and their frames.

A frame is four bytes of length and as many of JSON. Pure; of Python's own library alone, as the worker imports no more.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, is_dataclass
from enum import StrEnum
from typing import IO, Any, NamedTuple, Protocol, TypeAlias, TypeVar

__all__ = [
    "GONE", "Act", "Ad", "Edit", "Failure", "History", "Identify", "Kind", "Query", "Request", "Retrieve", "Submit",
    "Submitted", "classify", "decode_answer", "decode_request", "frame", "length_of", "read_frame", "reason_in",
    "refused_submission",
]  # fmt: skip

Ad: TypeAlias = dict[str, str | int | float | bool | None]
"""Attributes of one job; None is HTCondor's `undefined`, and what is no plain value is its expression."""

T_co = TypeVar("T_co", covariant=True)
HEAD = 4
GONE = "it is not in the queue"


class Kind(StrEnum):
    """What kind of failure it was, by what the caller may conclude."""

    MISSING = "MISSING"  # the bindings are not installed
    DENIED = "DENIED"  # the daemon does not take who we are, or does not let us: nothing was done
    UNREACHED = "UNREACHED"  # no connection: nothing was done
    BUSY = "BUSY"  # the daemon is there and does not answer: nothing was done
    FAILED = "FAILED"  # the daemon, or the bindings, said no
    UNKNOWN = "UNKNOWN"  # it may have been done


class Failure(NamedTuple):
    """Why a request was not carried out.

    Attributes:
        kind: What may be concluded.
        said: The daemon's words, else the bindings'.
    """

    kind: Kind
    said: str


class Request(Protocol[T_co]):
    """One thing to do, and how its answer is read."""

    def read(self, value: Any) -> T_co:
        """Read the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Identify:
    """Ask who we are to the schedd, with the right to write: `alice@users.htcondor.org`."""

    def read(self, value: Any) -> str:
        """Read the answer."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Query:
    """Ask for jobs in the queue.

    Attributes:
        constraint: A ClassAd expression.
        attributes: What to tell of each; what a job lacks is None.
    """

    constraint: str
    attributes: tuple[str, ...]

    def read(self, value: Any) -> list[Ad]:
        """Read the answer."""
        return list(value)


@dataclass(frozen=True, slots=True)
class History(Query):
    """Ask for jobs that have left the queue.

    Attributes:
        match: How many are wanted: the newest ones, and the history is read no further. -1 for all there are.
    """

    match: int = -1


class Submitted(NamedTuple):
    """What came of a submission.

    Attributes:
        cluster: Its number.
        count: How many jobs.
        complaint: Why their files did not get there; empty if they did. Without them the jobs are held, code 16.
    """

    cluster: int
    count: int
    complaint: str


@dataclass(frozen=True, slots=True)
class Submit:
    """Queue jobs in one transaction and send their files. It must not be repeated blindly.

    Attributes:
        lines: Of a submit description, without `queue`.
        items: What each job has of its own: variables that the lines use, the same names in each.
    """

    lines: tuple[str, ...]
    items: tuple[dict[str, str], ...]

    def read(self, value: Any) -> Submitted:
        """Read the answer."""
        return Submitted(*value)


@dataclass(frozen=True, slots=True)
class Act:
    """Order something of jobs.

    Attributes:
        action: `Remove`, `Hold` or `Release`.
        constraint: Which jobs.
        reason: For the job's record.
    """

    action: str
    constraint: str
    reason: str

    def read(self, value: Any) -> int:
        """How many jobs it was done to."""
        return int(value)


@dataclass(frozen=True, slots=True)
class Edit:
    """Give jobs another value of an attribute: with `LeaveJobInQueue` false an ended one goes to the history.

    Attributes:
        constraint: Which jobs.
        attribute: Its name.
        value: A ClassAd expression.
    """

    constraint: str
    attribute: str
    value: str

    def read(self, value: Any) -> int:
        """How many jobs it was done to."""
        return int(value)


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Fetch the spooled output of ended jobs, which stays there.

    HTCondor does not tell whether there was any, and gives none of a job that has not ended: look at the files.

    Attributes:
        directories: Where the files of a job go, by its number `CLUSTER.PROC`.
    """

    directories: dict[str, str]

    def read(self, value: Any) -> dict[str, str]:
        """The jobs that nothing was fetched of, and why: it begins with `GONE`, or their files could not be sent."""
        return dict(value)


_REQUESTS: dict[str, type[Any]] = {
    each.__name__: each for each in (Identify, Query, History, Submit, Act, Edit, Retrieve)
}


def frame(message: Any) -> bytes:
    """Pack a request, a `Failure`, or the value of an answer."""
    content: dict[str, Any]
    if is_dataclass(message) and not isinstance(message, type):
        content = {"do": type(message).__name__} | asdict(message)
    elif isinstance(message, Failure):
        content = {"failed": message.kind, "said": message.said}
    else:
        content = {"value": message}
    packed = json.dumps(content).encode()
    return len(packed).to_bytes(HEAD, "big") + packed


def length_of(head: bytes) -> int:
    """How many bytes follow the first four."""
    return int.from_bytes(head, "big")


def read_frame(stream: IO[bytes]) -> bytes | None:
    """Read the content of a frame; None at the end."""
    head = stream.read(HEAD)
    return stream.read(length_of(head)) if len(head) == HEAD else None


def decode_request(content: bytes) -> Request[Any]:
    """Unpack a request, on the worker's side."""
    fields = json.loads(content)
    made = _REQUESTS[fields.pop("do")]
    return made(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def decode_answer(content: bytes) -> Any:
    """Unpack an answer, on the library's side: a value or a `Failure`."""
    fields = json.loads(content)
    if "failed" in fields:
        return Failure(Kind(fields["failed"]), fields["said"])
    return fields["value"]


# As seen in answers of 23.9.6 and 25.14.1, and in what their client library logs
_DENIED = re.compile(r"AUTHENTICATE:|SECMAN:20(02|10)|\"DENIED\"|authentication .*failed", re.IGNORECASE)
_UNREACHED = re.compile(
    r"attempt to connect to .* failed|ailed to connect|an't connect|ailed communication with collector"
    r"|knows no schedd",
    re.IGNORECASE,
)
_BUSY = "SECMAN:2007"
_REFUSED = re.compile(r"SCHEDD:\d+:")
_NOISE = re.compile(r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d (\(\S+\) )?(ERROR: )?")
_TELLING = re.compile(r"ERROR: |FAILED: |failed|refused|denied|an't|expired", re.IGNORECASE)


def reason_in(logged: str, said: str) -> str:
    """Find why something failed.

    Args:
        logged: What the client library logged meanwhile, which often knows more.
        said: The text of the exception.
    """
    telling = [_NOISE.sub("", line).strip() for line in logged.split("\n") if _TELLING.search(line)]
    errors = [_NOISE.sub("", line).strip() for line in logged.split("\n") if "ERROR: " in line]
    found = errors[-1:] or telling[:1]
    return "; ".join(dict.fromkeys(part for part in (*found, said.strip()) if part))


def classify(reason: str) -> Failure:
    """Tell a refusal of who we are, and a daemon that is not there or hangs, from other failures."""
    if _BUSY in reason:
        return Failure(Kind.BUSY, reason)
    if _DENIED.search(reason):
        return Failure(Kind.DENIED, reason)
    return Failure(Kind.UNREACHED if _UNREACHED.search(reason) else Kind.FAILED, reason)


def refused_submission(said: str) -> Failure:
    """Tell what a submission came to that failed.

    All jobs are one transaction, so before its end nothing is queued. Nor is it when the schedd refuses it at its end,
    in words of its own; without them, how it ended is not known. The log is no evidence here: an address that was tried
    in vain says nothing of the one that was reached.
    """
    if "commit transaction" in said:
        return Failure(Kind.FAILED if _REFUSED.search(said) else Kind.UNKNOWN, said)
    return classify(said)
