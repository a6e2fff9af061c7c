"""What the library says: states with their evidence, outcomes, outputs, queues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, overload

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from intercede.errors import IntercedeError
    from intercede.model import JobRef

__all__ = [
    "Capacity",
    "Counters",
    "JobOutput",
    "JobState",
    "JobStatus",
    "LogChunk",
    "Outcome",
    "QueueInfo",
    "Reason",
    "Submission",
    "SubmissionInfo",
    "Usage",
]


_FINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


class JobState(StrEnum):
    """Where a job is in its life, the same words on every system."""

    QUEUED = "QUEUED"
    HELD = "HELD"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_final(self) -> bool:
        """Whether the scheduler will not run the job again."""
        return self._value_ in _FINAL


class Reason(StrEnum):
    """Why a job failed, is held, or is not known. None in a status where the system does not tell."""

    EXIT_CODE = "EXIT_CODE"
    SIGNAL = "SIGNAL"
    WALLTIME = "WALLTIME"
    MEMORY = "MEMORY"
    NODE = "NODE"
    PREEMPTED = "PREEMPTED"
    REJECTED = "REJECTED"
    STAGING = "STAGING"
    LOST = "LOST"


class Usage(NamedTuple):
    """What a job used, as far as the system tells.

    Attributes:
        cpu_time: Of all its processes.
        wall_time: From start to end.
        peak_memory: Bytes, the largest resident size that was seen; sampled, so an underestimate of short peaks.
    """

    cpu_time: timedelta | None = None
    wall_time: timedelta | None = None
    peak_memory: int | None = None


class JobStatus(NamedTuple):
    """What is known of a job, and who said so; a tuple, as there may be very many at once.

    Attributes:
        ref: The job.
        state: In our words.
        native_state: In the system's word.
        reason: Why, where the system tells.
        exit_code: Of the payload, None where it is not known or a signal ended it.
        signal: The number of the signal that ended the payload.
        detail: A sentence for a person.
        node: Where it runs or ran (the first node).
        queue: Where it waits or waited.
        submitted: Time zone aware, as are all times here; whole seconds.
        started: Of the last attempt.
        ended: Of the last attempt.
        source: Who said so: the command (`squeue`, `sacct`), or `record` for the files that the job itself wrote.
        observed: When it was said.
        usage: What it used, where known.
        attempt: 1 for the first run of the job, 2 after it was requeued once, ...
    """

    ref: JobRef
    state: JobState
    native_state: str = ""
    reason: Reason | None = None
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    node: str | None = None
    queue: str | None = None
    submitted: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    source: str = ""
    observed: datetime | None = None
    usage: Usage | None = None
    attempt: int = 1


class Outcome(StrEnum):
    """What came of an order to one job that was not an error.

    `DONE`: it was carried out (a cancelled job may take the system's kill delay to end).
    `NOT_NEEDED`: nothing was left to do: the job had ended, was purged, or was not held.
    """

    DONE = "DONE"
    NOT_NEEDED = "NOT_NEEDED"


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of one `submit` (or `find`).

    Attributes:
        tag: The caller's, or the one that was made.
        keys: The key of each copy, in order.
        results: One entry a copy, in order: its reference, or the error that kept it out.
    """

    tag: str
    keys: tuple[str, ...]
    results: tuple[JobRef | IntercedeError, ...]

    @property
    def refs(self) -> list[JobRef]:
        """The references of the copies that got in."""
        return [result for result in self.results if not isinstance(result, Exception)]

    @property
    def errors(self) -> dict[int, IntercedeError]:
        """The errors of those that did not, by index of the copy."""
        return {i: result for i, result in enumerate(self.results) if isinstance(result, Exception)}


@dataclass(frozen=True, slots=True)
class SubmissionInfo:
    """One of our own submissions, as the resource remembers it.

    Attributes:
        tag: Its tag.
        submitted: When.
        copies: How many copies were asked for.
        refs: The jobs that are known to have got in.
        purged: Whether only the tombstone is left.
        complete: Whether the outcome of every part is known.
    """

    tag: str
    submitted: datetime
    copies: int
    refs: tuple[JobRef, ...]
    purged: bool = False
    complete: bool = True


@dataclass(frozen=True, slots=True)
class JobOutput:
    """What was brought back of one job.

    Attributes:
        ref: The job.
        directory: Where its files are.
        stdout: None if the job never started.
        stderr: None if the job never started.
        files: The declared outputs that were there, by their name in the working directory.
        skipped: What was left behind, by name, and why: a link, a device, a name that leads out.
        missing: Declared outputs that nothing matched.
    """

    ref: JobRef
    directory: Path
    stdout: Path | None = None
    stderr: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of the output of a job that may still be running.

    Attributes:
        data: The bytes from `offset` on, as many as were there and were allowed.
        offset: Where `data` begins.
        next_offset: Where to go on reading.
        ended: Whether the payload had ended and this piece reaches the end.
    """

    data: bytes
    offset: int
    next_offset: int
    ended: bool


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """One queue of a resource.

    Attributes:
        name: Of the queue.
        is_default: Whether jobs without a queue go there.
        accepting: Whether it takes jobs now.
        max_walltime: None if unlimited or not told.
        cores: Cores behind it, None if not told.
        free_cores: Of these, idle ones.
        waiting: Jobs of all users that wait (array tasks counted one by one).
        running: Jobs of all users that run.
        ours_waiting: Of these, ours.
        ours_running: Of these, ours.
    """

    name: str
    is_default: bool = False
    accepting: bool = True
    max_walltime: timedelta | None = None
    cores: int | None = None
    free_cores: int | None = None
    waiting: int | None = None
    running: int | None = None
    ours_waiting: int = 0
    ours_running: int = 0


@dataclass(frozen=True, slots=True)
class Capacity(Sequence[QueueInfo]):
    """The queues of a resource."""

    queues: tuple[QueueInfo, ...]

    @overload
    def __getitem__(self, index: int) -> QueueInfo: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[QueueInfo, ...]: ...
    def __getitem__(self, index: int | slice) -> QueueInfo | tuple[QueueInfo, ...]:
        return self.queues[index]

    def __len__(self) -> int:
        return len(self.queues)

    def __iter__(self) -> Iterator[QueueInfo]:
        return iter(self.queues)

    def free_for_us(self, limit: int, queue: str | None = None) -> int:
        """How many more of our jobs may wait.

        Args:
            limit: The number of our jobs that shall wait at most.
            queue: Count only this queue; None counts all.

        Returns:
            `limit` less our waiting jobs; 0 if that is negative or no queue accepts jobs.
        """
        chosen = [each for each in self.queues if queue in {None, each.name}]
        if not any(each.accepting for each in chosen):
            return 0
        return max(0, limit - sum(each.ours_waiting for each in chosen))


@dataclass(slots=True)
class Counters:
    """What a resource has cost so far, in this process.

    Attributes:
        commands: Remote executions (one may run several of the scheduler's commands).
        connections: Connections that were made.
        bytes_sent: To commands.
        bytes_received: From commands.
        retries: Executions that were repeated after a failure.
        seconds_waited: Seconds spent waiting for a turn (politeness), not for answers.
    """

    commands: int = 0
    connections: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    retries: int = 0
    seconds_waited: float = 0.0
