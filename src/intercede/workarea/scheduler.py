"""What the command language of one batch system must provide."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from intercede.errors import SchedulerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from intercede.answers import Capacity, JobState, Reason
    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, JobRef
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["Observation", "Scheduler", "natural", "numbers", "ranges", "unavailable"]


class Observation(NamedTuple):
    """What one source says of a job, in our words where it has a word; jobs that look alike share one.

    Attributes:
        word: The system's own word for the state.
        state: Ours.
        name: The native job name, where the source tells it: it must be the submission's.
        by_itself: Whether the source says that the job ended by itself, and not how: its record does.
    """

    word: str
    state: JobState
    reason: Reason | None = None
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    node: str | None = None
    queue: str | None = None
    submitted: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    walltime: timedelta | None = None
    name: str = ""
    by_itself: bool = False


class Scheduler(Protocol):
    """A command language: shell functions for the submit host, and the reading of what they print.

    `shell` defines, for the programs of the work area: `ic_limit` (the most copies that one native job may have),
    `ic_submit DIRECTORY NAME FIRST COUNT WORDS…`, `ic_refused TEXT` (whether an answer means for certain that nothing
    was queued), `ic_unsent TAG` (whether a part that began has queued nothing for certain, so that it may be submitted
    again), `ic_named NAME TAG` (our job of that name, in the words of `ic_submit`'s answer), `ic_queue WORDS…` and
    `ic_history` (lines `TAG COPY NATIVE` on stdin), which print a line `ID|WORD|…` a job, `ic_ended` (a pattern: words
    of jobs that will not run again), `ic_name_at` (the column of the job's name), `ic_cancel NAME TAG RANGES WORDS…`
    and `ic_release NAME WORDS…`. `job_shell` is its part of the job's script. `docs/how-to/add-a-scheduler.md` goes
    through all of them.
    """

    name: ClassVar[str]
    sources: ClassVar[tuple[str, str]]
    """How the queue and the history are called in a status: `("squeue", "sacct")`."""
    reasons: ClassVar[frozenset[Reason]]
    """The reasons that it can tell."""
    reserves: ClassVar[frozenset[str]]
    """The fields of `Resources` that it can reserve."""
    shell: ClassVar[str]
    job_shell: ClassVar[str]

    def words(self, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
        """Words for `ic_submit`.

        Raises:
            UnsupportedError: A field cannot be honoured.
        """
        ...

    def files(self) -> dict[str, bytes]:
        """More files of a submission, by name."""
        ...

    def native(self, answer: str, index: int) -> str:
        """The identifier of the job with that index, from `ic_submit`'s answer.

        Raises:
            ParseError: There is none in it.
        """
        ...

    def first_of(self, ref: JobRef) -> int:
        """The first copy of the part that a job belongs to.

        Raises:
            InvalidReference: The identifier cannot be one of this scheduler, or not of that copy.
        """
        ...

    def refusal(self, answer: str, returncode: int) -> IntercedeError:
        """What a refused submission means."""
        ...

    def read_queue(self, text: str) -> dict[str, Observation]:
        """Read what `ic_queue` printed; lines that make no sense are left out and logged."""
        ...

    def read_history(self, text: str) -> dict[str, Observation]:
        """Read what `ic_history` printed."""
        ...

    def history_is_off(self, complaint: str) -> bool:
        """Whether a complaint of `ic_history` means that the site keeps none at all."""
        ...

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """Words for `ic_queue`: the jobs to ask for, in as few as it takes. It may say more than was asked."""
        ...

    def order_words(self, refs: Sequence[JobRef]) -> tuple[str, ...]:
        """Jobs of one part, in as few words as `ic_cancel` and `ic_release` take."""
        ...

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """Ask for the queues."""
        ...


def unavailable(asked: str, answer: str, returncode: int) -> SchedulerUnavailable:
    """A command of the scheduler that did not do its work: because it is not there, or because it cannot now."""
    if returncode == 127 or "not found" in answer:
        advice = "Is this the submit host, and is the command on the PATH of a login without a terminal?"
    else:
        advice = "Try again later."
    return SchedulerUnavailable(asked, answer, advice, returncode=returncode)


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers as `0-9,12`."""
    said: list[list[int]] = []
    for number in sorted(set(numbers)):
        if said and said[-1][1] == number - 1:
            said[-1][1] = number
        else:
            said.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in said)


def natural(text: str) -> int | None:
    """Read a number of ours; None for anything else, which a job may have written in its place."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def numbers(text: str) -> list[int]:
    """Read `0-9,12`, with lines joined; what is no number is left out."""
    found: set[int] = set()
    for part in text.replace("\n", ",").split(","):
        begin, _, end = part.strip().partition("-")
        first, last = natural(begin), natural(end or begin)
        if first is not None and last is not None:
            found.update(range(first, min(last, first + 10_000_000) + 1))
    return sorted(found)
