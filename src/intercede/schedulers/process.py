"""No batch system: detached processes on the submit host, a bounded number at once.

A submission has a supervisor (`xargs -P`), every job waits for its turn in a pool of slots that all submissions of a
work area share, and what is known of a job is what it wrote itself. Needs Linux (`/proc`), `flock` and `setsid`
(util-linux).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from intercede.answers import Capacity, JobState, QueueInfo, Reason
from intercede.errors import (
    InvalidReference,
    ParseError,
    SchedulerUnavailable,
    StorageError,
    SubmissionRejected,
    UnsupportedError,
)
from intercede.schedulers.common import check_resources, epoch, log
from intercede.steps import Command
from intercede.workarea.programs import fragment
from intercede.workarea.scheduler import Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, JobRef
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["Process"]

STATES: dict[str, tuple[JobState, Reason | None, str]] = {
    "CANCELLED": (JobState.CANCELLED, None, "cancelled before it started"),
    "ELSEWHERE": (JobState.UNKNOWN, Reason.LOST, "it was started before this host was booted"),
    "EXITED": (JobState.FAILED, None, ""),  # its record says how
    "FOREIGN": (JobState.UNKNOWN, None, "it belongs to another host, which alone sees its processes: ask there"),
    "PENDING": (JobState.QUEUED, None, ""),
    "RUNNING": (JobState.RUNNING, None, ""),
    "SUSPENDED": (JobState.SUSPENDED, None, "its processes are stopped"),
    "VANISHED": (JobState.FAILED, Reason.LOST, "its processes are gone and left no word of their end"),
}
_ID = re.compile(r"[A-Za-z0-9.-]+\.[0-9a-f]{8}\.[0-9a-f]{10}_(\d+)\Z")


class Process:
    """Plain processes, with the same interface as a batch system."""

    name: ClassVar[str] = "process"
    sources: ClassVar[tuple[str, str]] = ("processes", "")
    reasons: ClassVar[frozenset[Reason]] = frozenset({Reason.EXIT_CODE, Reason.SIGNAL, Reason.WALLTIME, Reason.LOST})
    reserves: ClassVar[frozenset[str]] = frozenset({"cores", "walltime"})
    shell: ClassVar[str] = fragment("intercede.schedulers", "process")
    job_shell: ClassVar[str] = fragment("intercede.schedulers", "process_job")

    def words(self, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
        """Slots of the pool (0: all cores of the host), cores of a job, seconds of walltime (0: no limit)."""
        wanted = check_resources(self.name, description.resources, self.reserves, settings.best_effort)
        for field in ("queue", "account"):
            if getattr(wanted, field) is not None:
                raise UnsupportedError(f"resources.{field}", "plain processes have none", "Leave it out.")
        if description.native.get("process") or settings.native:
            raise UnsupportedError("native", "plain processes have no submit command", "Leave it out.")
        if settings.slots is not None and wanted.cores > settings.slots:
            raise UnsupportedError("resources.cores", f"{wanted.cores} wanted, the resource has {settings.slots} slots")
        seconds = -int(-wanted.walltime.total_seconds() // 1) if wanted.walltime else 0
        return (str(settings.slots or 0), str(wanted.cores), str(seconds))

    def files(self) -> dict[str, bytes]:
        """The supervisor."""
        return {"supervisor": fragment("intercede.schedulers", "process_supervisor").encode()}

    def native(self, answer: str, index: int) -> str:
        """`HOST.BOOT.NUMBER_INDEX`: which host, and since which boot, it belongs to; the number is the submission's."""
        native = f"{answer.strip()}_{index}"
        if not _ID.match(native):
            raise ParseError("the name of the host", f"{answer!r} is none", text=answer)
        return native

    def first_of(self, ref: JobRef) -> int:
        """A submission is never split."""
        found = _ID.match(ref.native)
        if not found or int(found[1]) != ref.copy_index:
            raise InvalidReference(f"job reference {ref}", f"{ref.native!r} is no process of copy {ref.copy_index}")
        return 0

    def refusal(self, answer: str, returncode: int) -> IntercedeError:
        """The pool is too small, or the host lacks a tool."""
        if "wanted" in answer:
            return SubmissionRejected("submit", answer, "Ask for less, or configure more slots.", returncode=returncode)
        return StorageError("submit", answer, returncode=returncode)

    def read_queue(self, text: str) -> dict[str, Observation]:
        """Read lines `ID|WORD|SUBMITTED|STARTED|NODE`, times in seconds since the epoch."""
        found = {}
        for line in text.split("\n"):
            natives, *fields = line.split("|")
            if len(fields) == 4 and fields[0] in STATES:
                word, sent, began, node = fields
                state, reason, detail = STATES[word]
                seen = Observation(
                    word, state, reason, detail=detail, node=node or None,
                    submitted=epoch(sent), started=epoch(began), by_itself=word == "EXITED",
                )  # fmt: skip
                found.update(dict.fromkeys(natives.split(" "), seen))
            elif line.strip():
                log.warning("a line that is none of ours: %r", line[:200])
        return found

    def read_history(self, text: str) -> dict[str, Observation]:
        """There is none besides the records."""
        return {}

    def history_is_off(self, complaint: str) -> bool:
        """Always."""
        return True

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """What is known of a job lies beside it."""
        return ()

    def order_words(self, refs: Sequence[JobRef]) -> tuple[str, ...]:
        """The ranges of copies say it all."""
        return ()

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """One queue without a name of its own: the pool of slots."""
        script = fragment("intercede.schedulers", "process_capacity")
        area = settings.work_area
        (answer,) = yield (Command(("sh", "-c", script, "intercede", area, self.name), repeatable=True),)
        try:
            cores, used, running, waiting = (int(word) for word in answer.text.split())
        except ValueError:
            raise SchedulerUnavailable("capacity", answer.complaint, returncode=answer.returncode) from None
        slots = settings.slots or cores
        return Capacity(
            (
                QueueInfo(
                    "default",
                    is_default=True,
                    cores=slots,
                    free_cores=max(0, slots - used),
                    waiting=waiting,
                    running=running,
                    ours_waiting=waiting,
                    ours_running=running,
                ),
            )
        )
