"""What is done to submissions on the submit host, as steps: each yields one command, so each is one execution."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from intercede.errors import ParseError
from intercede.workarea.programs import program
from intercede.workarea.scheduler import Observation, Scheduler, natural, numbers, unavailable
from intercede.workarea.sections import Section, must_exist, sections

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from intercede.steps import Steps

__all__ = ["Area", "Chunk", "Known", "Record", "StatusAnswer", "SubmitAnswer"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One part of a submission: a native job of its own.

    Attributes:
        first: Its first copy.
        count: Its number of copies.
        fate: `known`, `unknown`, `refused`, `abandoned` or `never`.
        answer: The scheduler's words.
        returncode: Of the submit command, where it failed.
    """

    first: int
    count: int
    fate: str
    answer: str = ""
    returncode: int = 0


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """What the submit program said: `here` (with what came of each part), `gone` (purged) or `conflict`."""

    verdict: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A submission as the work area remembers it."""

    tag: str
    purged: bool
    meta: dict[str, object]
    keys: str
    purged_copies: tuple[int, ...]
    chunks: tuple[Chunk, ...]

    @property
    def copies(self) -> int:
        """How many copies were asked for."""
        return sum(chunk.count for chunk in self.chunks)

    @property
    def resource(self) -> str:
        """Whose it is."""
        return str(self.meta.get("resource", ""))

    @property
    def submitted(self) -> datetime:
        """When it was sent, by the sender's clock."""
        stamp = self.meta.get("submitted", 0)
        try:
            return datetime.fromtimestamp(float(stamp) if isinstance(stamp, int | float) else 0, UTC)
        except (OverflowError, ValueError, OSError):
            return datetime.fromtimestamp(0, UTC)


class Record(NamedTuple):
    """What a job wrote of itself.

    Attributes:
        attempt: Which run of the job.
        started: When the payload started.
        ended: When it ended; None while it runs, or if the job was ended without warning.
        exit_code: Of the payload.
        signal: That ended the payload.
        flag: `cancelled` (never started), `walltime`, `terminated` (the job was told to end) or `interrupted` (it was,
            and may be started again).
        cpu: Seconds of processor time.
        node: Where.
    """

    attempt: int
    started: datetime | None
    ended: datetime | None
    exit_code: int | None
    signal: int | None
    flag: str
    cpu: float | None
    node: str


@dataclass(slots=True)
class StatusAnswer:
    """What the sources said of the jobs asked for.

    Attributes:
        queue: By native identifier.
        history: By native identifier; of jobs that the queue lacks.
        history_answers: Whether the history answered, or the site keeps none.
        complaint: What it said if not.
        records: By (tag, copy), of jobs that the queue lacks or shows as ended.
        cancelled: (tag, copy) of jobs that we ordered to end.
        purged: (tag, copy) of jobs whose files are gone.
    """

    queue: dict[str, Observation] = field(default_factory=dict)
    history: dict[str, Observation] = field(default_factory=dict)
    history_answers: bool = True
    complaint: str = ""
    records: dict[tuple[str, int], Record] = field(default_factory=dict)
    cancelled: set[tuple[str, int]] = field(default_factory=set)
    purged: set[tuple[str, int]] = field(default_factory=set)


_FEW = 16 * 1024
"""Bytes that may as well travel with the command; another 100 KiB would fit."""


def _lines(jobs: Iterable[tuple[str, int, str, bool]]) -> Iterator[str]:
    """Lines `TAG COPY NATIVE [known]`; what counts up together makes one, with a range of copies."""
    tag, copy, native, known = "", 0, "", False
    last = number = -1
    prefix = ""
    for job in jobs:
        number += 1
        if job[0] == tag and job[1] == last + 1 and job[3] == known and job[2] == f"{prefix}{number}":
            last += 1
            continue
        if tag:
            yield _line(tag, copy, last, native, known=known)
        tag, copy, native, known = job
        last, prefix = copy, native.rstrip("0123456789")
        digits = native[len(prefix) :]
        # without digits, or with a zero before them, the next one is never like it
        number = int(digits) if digits and len(digits) < 10 and str(int(digits)) == digits else -(10**9)
    if tag:
        yield _line(tag, copy, last, native, known=known)


def _line(tag: str, copy: int, last: int, native: str, *, known: bool) -> str:
    return f"{tag} {copy if last == copy else f'{copy}-{last}'} {native}{' known' if known else ''}"


@lru_cache(4096)
def _when(text: str) -> datetime | None:
    seconds = natural(text)
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


@lru_cache(4096)
def _cpu(text: str) -> float | None:
    """Read `0m1.20s,0m0.30s`, as times(1) of the shell prints it."""
    total = 0.0
    try:
        for part in text.split(","):
            minutes, _, seconds = part.rstrip("s").partition("m")
            total += int(minutes) * 60 + float(seconds.replace(",", "."))
    except (ValueError, OverflowError):
        return None
    return total if 0 <= total < 1e11 else None


def read_record(words: Sequence[str]) -> Record | None:
    """Read the words of a record; None for what is none."""
    if len(words) < 10 or words[0] != "v1":
        return None
    _, attempt, started, ended, code, signal, flag, cpu, node = words[:9]
    return Record(
        natural(attempt) or 1,
        _when(started),
        _when(ended),
        natural(code),
        natural(signal),
        "" if flag == "-" else flag,
        _cpu(cpu),
        node,
    )


def _chunk(section: Section, asked: str) -> Chunk:
    try:
        _, first, count, fate, *rest = section.words
        return Chunk(int(first), int(count), fate, section.body, int(rest[0]) if rest else 0)
    except ValueError as error:
        raise ParseError(asked, f"a part reads {' '.join(section.words)!r}", text=section.body) from error


def _known(said: Iterable[Section], asked: str) -> list[Known]:
    """Read descriptions of submissions, each a section `submission` and what follows it."""
    parts: list[list[Section]] = []
    for section in said:
        if section.head == "submission" and len(section.words) == 3:
            parts.append([section])
        elif parts:
            parts[-1].append(section)
    return [_one(head, rest, asked) for head, *rest in parts]


def _one(head: Section, rest: Sequence[Section], asked: str) -> Known:
    try:
        meta = json.loads(head.body)
    except (ValueError, RecursionError):
        meta = {}
    bodies = {section.head: section.body for section in rest}
    chunks = tuple(_chunk(section, asked) for section in rest if section.head == "chunk")
    _, tag, where = head.words
    return Known(
        tag, where == "gone", meta if isinstance(meta, dict) else {}, bodies.get("keys", ""),
        tuple(numbers(bodies.get("purged", ""))), chunks,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Area:
    """The work area of one scheduler on one submit host, and the nonce of the next command."""

    path: str
    scheduler: Scheduler
    nonce: str

    @property
    def _place(self) -> tuple[str, str, str]:
        return (self.nonce, self.path, self.scheduler.name)

    def submit(
        self, tag: str, digest: str, copies: int, words: Sequence[str], stdin: bytes | Iterable[bytes], seconds: float
    ) -> Steps[SubmitAnswer]:
        """Send a submission, at most once; a concurrent one of the same tag is waited for, half the time."""
        arguments = (tag, digest, str(copies), str(int(seconds / 2)), *words)
        command = program("submit", self.scheduler.shell, self._place, *arguments, stdin=stdin, repeatable=False,
                          time_limit=seconds)  # fmt: skip
        (answer,) = yield (command,)
        asked = f"submit {tag}"
        said = sections(self.nonce, answer, asked)
        if not said:
            raise ParseError(asked, "no verdict", text=answer.text)
        return SubmitAnswer(said[0].head, tuple(_chunk(each, asked) for each in said if each.head == "chunk"))

    def status(self, jobs: Sequence[tuple[str, int, str, bool]], seconds: float) -> Steps[StatusAnswer]:
        """Ask for jobs, as (tag, copy, native, whether their end is known already)."""
        lines = "\n".join(_lines(jobs))
        words = self.scheduler.queue_words(native for _, _, native, _ in jobs)
        few = len(lines) < _FEW
        command = program("status", self.scheduler.shell, self._place, lines if few else "-", *words,
                          stdin=b"" if few else lines.encode(), time_limit=seconds)  # fmt: skip
        (answer,) = yield (command,)
        said = sections(self.nonce, answer, f"status of {len(jobs)} jobs ({self.scheduler.sources[0]})")
        found = StatusAnswer()
        if said and said[0].head == "nothing":
            return found
        by_head = {section.head: section for section in said}
        ask, history = self.scheduler.sources
        ended = by_head.get("queued")
        if ended is None or "queue" not in by_head:
            raise ParseError("status", "the queue's part is missing", text=answer.text)
        said_queue = by_head["queue"].body
        if ended.words[1:] != ("0",):
            code = ended.words[-1]
            raise unavailable(ask, said_queue, int(code) if code.isdigit() else 1)
        found.queue = self.scheduler.read_queue(said_queue)
        for past, closing in itertools.pairwise(said):
            if past.head != "history":
                continue
            if closing.words == ("historied", "0"):
                found.history.update(self.scheduler.read_history(past.body))
            elif not self.scheduler.history_is_off(past.body):
                found.history_answers = False
                found.complaint = f"{history}: {past.body}"
        if "records" in by_head:
            _read_records(by_head["records"].body, found)
        return found

    def find(self, tag: str, seconds: float, *, abandon: bool = False) -> Steps[Known]:
        """Ask for one submission; raises `NotFound`."""
        command = program("find", self.scheduler.shell, self._place, tag, str(int(abandon)), time_limit=seconds)
        (answer,) = yield (command,)
        asked = f"find {tag}"
        found = _known(must_exist(sections(self.nonce, answer, asked), asked), asked)
        if not found:
            raise ParseError(asked, "no description of it", text=answer.text)
        return found[0]

    def listing(self, tombstone_days: int, seconds: float) -> Steps[list[Known]]:
        """Ask for all submissions, of whatever resource."""
        command = program("list", self.scheduler.shell, self._place, str(tombstone_days), time_limit=seconds)
        (answer,) = yield (command,)
        said = sections(self.nonce, answer, "list")
        return [] if said and said[0].head == "nothing" else _known(said, "list")

    def order(self, name: str, lines: Iterable[str], seconds: float) -> Steps[dict[tuple[str, ...], tuple[str, str]]]:
        """Run `cancel`, `release` or `purge`: gives what was said of each line, by its words: (verdict, text)."""
        stdin = "".join(f"{line}\n" for line in lines).encode()
        command = program(name, self.scheduler.shell, self._place, stdin=stdin, time_limit=seconds)
        (answer,) = yield (command,)
        said = must_exist(sections(self.nonce, answer, name), name)
        return {section.words[1:-1]: (section.words[-1], section.body) for section in said}

    def renew(self, stdin: bytes | Iterable[bytes], seconds: float) -> Steps[dict[tuple[str, int], bool]]:
        """Replace secrets: gives the (tag, copy) whose files were, and whether the job will see the new ones."""
        command = program("renew", self.scheduler.shell, self._place, stdin=stdin, time_limit=seconds)
        (answer,) = yield (command,)
        said = must_exist(sections(self.nonce, answer, "renew"), "renew")
        heads = ("renewed", "late")
        return {(each.words[1], int(each.words[2])): each.head == "renewed" for each in said if each.head in heads}


def _read_records(text: str, found: StatusAnswer) -> None:
    """Read lines `TAG COPIES cancelled|purged|- RECORD`, COPIES as `0,3,4`."""
    for line in text.split("\n"):
        words = line.split()
        if len(words) < 4:
            continue
        tag, copies, mark = words[:3]
        record = read_record(words[3:])
        for copy in copies.split(","):
            index = natural(copy)
            if index is None:
                continue
            job = (tag, index)
            if mark == "cancelled":
                found.cancelled.add(job)
            elif mark == "purged":
                found.purged.add(job)
            if record is not None:
                found.records[job] = record
