"""What A-REX answers, read: 6.17, which unwraps lists of one and says nothing of empty ones, as well as 7.x."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from intercede.answers import QueueInfo
from intercede.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "Answer",
    "Listing",
    "many",
    "moment",
    "read_answers",
    "read_batch_systems",
    "read_json",
    "read_listing",
    "read_pairs",
    "read_queues",
    "read_versions",
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one job.

    Attributes:
        ident: The job's identifier; empty of one that was not created.
        code: As HTTP has them: 200, 201, 202; 404 of a job that is not there, or is another owner's.
        reason: In A-REX's words.
        state: The native state, where it was asked for.
        about: The information document, where it was asked for.
    """

    ident: str
    code: int
    reason: str = ""
    state: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether it was done."""
        return 200 <= self.code < 300


@dataclass(frozen=True, slots=True)
class Listing:
    """One directory of a job's session.

    Attributes:
        files: Names in it. The job chose them: they may be anything.
        directories: Names in it.
    """

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


def many(value: Any) -> list[Any]:
    """Give a list, whatever A-REX makes of one: the list, its only element, an empty text, or nothing."""
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


def read_json(asked: str, body: bytes) -> dict[str, Any]:
    """Read an answer; no bytes at all are 6.17's way to say that there is nothing.

    Raises:
        ParseError: It is not an object in JSON.
    """
    if not body.strip():
        return {}
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        text = body[:2000].decode("utf-8", "replace")
        raise ParseError(asked, f"no JSON: {text[:200]!r}", "Is this an ARC CE?", text=text)
    return read


def read_versions(asked: str, body: bytes) -> tuple[str, ...]:
    """Say which versions of the interface there are.

    Raises:
        ParseError: It does not say.
    """
    found = tuple(str(each) for each in many(read_json(asked, body).get("version")))
    if not found:
        raise ParseError(asked, "it names no version", "Is this an ARC CE?", text=body.decode("utf-8", "replace"))
    return found


def read_answers(asked: str, body: bytes, wanted: int | Sequence[str] | None = None) -> list[Answer]:
    """Read what is said of several jobs.

    A list that is too long is cut by the server without a word, so the answers are counted.

    Args:
        asked: What for.
        body: The answer.
        wanted: How many answers there must be, or of which jobs, in this order; None takes any.

    Raises:
        ParseError: Another number of answers, or other jobs, or no code where there must be one.
    """
    found = [_answer(asked, each, needs_code=wanted is not None) for each in many(read_json(asked, body).get("job"))]
    idents = None if wanted is None or isinstance(wanted, int) else list(wanted)
    count = wanted if isinstance(wanted, int) else len(idents) if idents is not None else len(found)
    if len(found) != count:
        raise ParseError(asked, f"{len(found)} answers to {count} questions", text=body.decode("utf-8", "replace"))
    if idents is not None and [each.ident for each in found] != idents:
        raise ParseError(asked, "the answers are of other jobs", text=body.decode("utf-8", "replace"))
    return found


def _answer(asked: str, entry: Any, *, needs_code: bool) -> Answer:
    entry = entry if isinstance(entry, dict) else {}
    code = str(entry.get("status-code", "" if needs_code else "200"))
    ident = entry.get("id", "")
    if not code.isdecimal() or not isinstance(ident, str):
        raise ParseError(asked, f"an entry without a code or an identifier: {str(entry)[:200]}", text=str(entry))
    document = entry.get("info_document")
    about = document.get("ComputingActivity", {}) if isinstance(document, dict) else {}
    state = str(entry.get("state", ""))
    return Answer(ident, int(code), str(entry.get("reason", "")), state, about if isinstance(about, dict) else {})


def read_listing(asked: str, body: bytes) -> Listing:
    """Read what is in a directory.

    Raises:
        ParseError: It is no listing.
    """
    read = read_json(asked, body)
    if read and not read.keys() & {"file", "dir"}:
        raise ParseError(asked, "no listing", text=body.decode("utf-8", "replace"))
    names = [tuple(str(each) for each in many(read.get(kind))) for kind in ("file", "dir")]
    return Listing(*names)


def read_pairs(text: str) -> dict[str, str]:
    """Read lines `name=value`, as in `diagnose/diag` and `diagnose/local`; of several of a name, the last."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def moment(text: object) -> datetime | None:
    """Read a time, `2026-11-25T14:01:50Z` or `20261125140150Z`; None for anything else."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-?\d\d-?\d\dT?\d\d:?\d\d:?\d\dZ", text):
        return None
    try:
        return datetime.strptime(re.sub(r"[-:TZ]", "", text), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def read_queues(document: Mapping[str, Any]) -> list[QueueInfo]:
    """Read the queues out of the CE's information document (GLUE2), each once, by name: it has them in any order.

    The waiting jobs are those in the batch system and those that A-REX has not given to it yet.
    """
    found = {}
    for service in _under(document, "ComputingService"):
        managers = [each for each in many(service.get("ComputingManager")) if isinstance(each, dict)]
        cores = [count for count in (_count(each.get("TotalSlots")) for each in managers) if count is not None]
        for share in many(service.get("ComputingShare")):
            if isinstance(share, dict) and (name := share.get("MappingQueue") or share.get("Name")):
                found[name] = _queue(name, share, sum(cores) if cores else None)
    return [found[name] for name in sorted(found)]


def read_batch_systems(document: Mapping[str, Any]) -> set[str]:
    """Say what is behind the CE, such as `fork` (plain processes), `slurm`, `condor`; it may not say."""
    services = _under(document, "ComputingService")
    managers = [each for service in services for each in many(service.get("ComputingManager"))]
    return {str(each["ProductName"]).lower() for each in managers if isinstance(each, dict) and each.get("ProductName")}


# What Slurm calls infinite
_ENDLESS = 2**31 - 1


def _queue(name: str, share: Mapping[str, Any], cores: int | None) -> QueueInfo:
    waiting = [_count(share.get(key)) for key in ("WaitingJobs", "PreLRMSWaitingJobs")]
    told = [count for count in waiting if count is not None]
    limit = _count(share.get("MaxWallTime"))
    return QueueInfo(
        name,
        accepting=share.get("ServingState", "production") == "production",
        max_walltime=None if limit is None or limit >= _ENDLESS else timedelta(seconds=limit),
        cores=cores,
        free_cores=_count(share.get("FreeSlots")),
        waiting=sum(told) if told else None,
        running=_count(share.get("RunningJobs")),
    )


def _count(text: object) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() else None


def _under(value: Any, key: str) -> Iterator[Mapping[str, Any]]:
    """Every object of that name, at any depth: where the services are differs from release to release."""
    # not by calls: how deep they may be is less than how deep JSON may be
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            yield from (each for each in many(one.get(key)) if isinstance(each, dict))
            left += (inner for name, inner in one.items() if name != key)
