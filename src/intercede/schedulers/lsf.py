"""LSF: bsub, bjobs, bkill, bresume, bqueues. After its manual; nothing of it was ever seen by us.

https://www.ibm.com/docs/en/spectrum-lsf/10.1.0 (Command Reference, Configuration Reference). Memory and GPUs are not
reserved: what a number means there is up to the site's configuration.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from intercede.answers import Capacity, JobState, QueueInfo, Reason
from intercede.errors import InvalidReference, ParseError, SchedulerUnavailable, SubmissionRejected
from intercede.schedulers.common import check_resources, native_words, read_rows
from intercede.steps import Command
from intercede.workarea.programs import fragment
from intercede.workarea.scheduler import Observation, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, JobRef
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["LSF"]

# bjobs(1), "Job states"
STATES: dict[str, JobState] = {
    "DONE": JobState.SUCCEEDED,
    "EXIT": JobState.FAILED,
    "PEND": JobState.QUEUED,
    "PROV": JobState.QUEUED,
    "PSUSP": JobState.HELD,
    "RUN": JobState.RUNNING,
    "SSUSP": JobState.SUSPENDED,
    "UNKWN": JobState.UNKNOWN,
    "USUSP": JobState.SUSPENDED,
    "WAIT": JobState.QUEUED,
    "ZOMBI": JobState.UNKNOWN,
}
# "Termination reasons displayed by bacct, bhist, and bjobs"
TERMINATED: dict[str, tuple[JobState, Reason | None]] = {
    "TERM_ADMIN": (JobState.CANCELLED, None),
    "TERM_BUCKET_KILL": (JobState.CANCELLED, None),
    "TERM_CPULIMIT": (JobState.FAILED, None),
    "TERM_CWD_NOTEXIST": (JobState.FAILED, Reason.STAGING),
    "TERM_DEADLINE": (JobState.FAILED, Reason.WALLTIME),
    "TERM_FORCE_ADMIN": (JobState.CANCELLED, None),
    "TERM_FORCE_OWNER": (JobState.CANCELLED, None),
    "TERM_LOAD": (JobState.FAILED, Reason.NODE),
    "TERM_MEMLIMIT": (JobState.FAILED, Reason.MEMORY),
    "TERM_OWNER": (JobState.CANCELLED, None),
    "TERM_PREEMPT": (JobState.FAILED, Reason.PREEMPTED),
    "TERM_PROCESSLIMIT": (JobState.FAILED, None),
    "TERM_REMOVE_HUNG_JOB": (JobState.FAILED, Reason.NODE),
    "TERM_RUNLIMIT": (JobState.FAILED, Reason.WALLTIME),
    "TERM_SWAP": (JobState.FAILED, Reason.MEMORY),
    "TERM_THREADLIMIT": (JobState.FAILED, None),
    "TERM_ZOMBIE": (JobState.FAILED, Reason.NODE),
}
_SUBMITTED = re.compile(r"^Job <(\d+)> is submitted to .*queue <[^>]*>\.?\s*$", re.MULTILINE)
_ID = re.compile(r"(\d+)\[([1-9]\d*)\]\Z")
_MOST = 100


@lru_cache(4096)
def _observed(row: str) -> Observation:
    """Read what follows the identifier: `|STAT|EXIT_CODE|QUEUE|HOST|DESCRIPTION|REASON`, `-` where there is nothing."""
    fields = [each.strip() for each in row.split("|", 6)[1:]]
    if len(fields) != 6:
        raise ParseError("bjobs", f"{row[:200]!r} is no row of ours", text=row)
    word, code, queue, hosts, described, why = ("" if each == "-" else each for each in fields)
    if word not in STATES:
        raise ParseError("bjobs", f"the state {word!r}, which the manual does not have", text=row)
    if not re.fullmatch(r"\d{0,3}", code):
        raise ParseError("bjobs", f"the exit code {code!r}", text=row)
    state, reason, exit_code, detail = STATES[word], None, None, ""
    if word == "DONE":
        exit_code = 0
    elif word == "EXIT":
        term = re.match(r"TERM_[A-Z_]+", why)
        state, reason = TERMINATED.get(term[0], (state, None)) if term else (state, None)
        # above 128 it may be a signal, or the payload's own: its record says which
        exit_code = int(code) if code not in {"", "0"} and not term else None
        detail = why if term else "" if exit_code else "LSF tells neither its exit code nor a reason"
    elif word in {"UNKWN", "ZOMBI"}:
        detail = "LSF cannot reach its node"
    node = hosts.partition(":")[0].rpartition("*")[2] or None
    return Observation(
        word, state, reason, exit_code, detail=detail, node=node, queue=queue or None, name=described.split("/")[0]
    )


class LSF:
    """The command language of LSF 10.1, from its documentation."""

    name: ClassVar[str] = "lsf"
    sources: ClassVar[tuple[str, str]] = ("bjobs", "")
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {
            Reason.EXIT_CODE,
            Reason.SIGNAL,
            Reason.WALLTIME,
            Reason.MEMORY,
            Reason.NODE,
            Reason.PREEMPTED,
            Reason.STAGING,
            Reason.LOST,
        }
    )
    reserves: ClassVar[frozenset[str]] = frozenset({"cores", "nodes", "walltime"})
    shell: ClassVar[str] = fragment("intercede.schedulers", "lsf")
    job_shell: ClassVar[str] = fragment("intercede.schedulers", "lsf_job")

    def words(self, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
        """Options of bsub(1): cores are divided by node, rounded up; the walltime is in minutes."""
        wanted = check_resources(self.name, description.resources, self.reserves, settings.best_effort)
        per_node = -(-wanted.cores // wanted.nodes)
        span = "span[hosts=1]" if wanted.nodes == 1 else f"span[ptile={per_node}]"
        words = ["-r" if description.requeue else "-rn", "-n", str(per_node * wanted.nodes), "-R", span]
        if wanted.walltime:
            words += ["-W", str(max(1, -int(-wanted.walltime.total_seconds() // 60)))]
        if queue := wanted.queue or settings.queue:
            words += ["-q", queue]
        if account := wanted.account or settings.account:
            words += ["-P", account]
        return (*words, *native_words(self.name, description, settings))

    def files(self) -> dict[str, bytes]:
        """LSF needs no more."""
        return {}

    def native(self, answer: str, index: int) -> str:
        """`Job <7> is submitted to queue <normal>.`, or `to default queue`: `7[INDEX]`, from 1."""
        found = _SUBMITTED.findall(answer)
        if not found:
            raise ParseError("the answer of bsub", f"no identifier in {answer!r}", text=answer)
        return f"{found[-1]}[{index + 1}]"

    def first_of(self, ref: JobRef) -> int:
        """The index within the array, from 1, follows the copies of its part."""
        found = _ID.match(ref.native)
        if not found or int(found[2]) - 1 > ref.copy_index:
            raise InvalidReference(f"job reference {ref}", f"{ref.native!r} is no LSF job of copy {ref.copy_index}")
        return ref.copy_index - int(found[2]) + 1

    def refusal(self, answer: str, returncode: int) -> IntercedeError:
        """In bsub's own words."""
        if returncode == 127:
            return unavailable("bsub", answer, returncode)
        if "LSF is down" in answer or "Please wait" in answer:
            return SchedulerUnavailable("bsub", answer, "Try again later.", returncode=returncode)
        return SubmissionRejected("bsub", answer, returncode=returncode)

    def read_queue(self, text: str) -> dict[str, Observation]:
        """Read what `ic_bjobs` made of `bjobs -o`; a line that cannot be read is the error of its own jobs."""
        return read_rows("bjobs", text, _ID, _observed)

    def read_history(self, text: str) -> dict[str, Observation]:
        """There is none besides the records: bhist has no form that is made to be read."""
        return {}

    def history_is_off(self, complaint: str) -> bool:
        """Always."""
        return True

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """Up to 100 arrays are asked for by number; all that the user has, where there are more."""
        jobs = dict.fromkeys(native.partition("[")[0] for native in natives)
        return tuple(jobs) if 0 < len(jobs) <= _MOST else ("all",)

    def order_words(self, refs: Sequence[JobRef]) -> tuple[str, ...]:
        """One by one, as bkill(1) takes them; the far side makes one order of a whole array."""
        return tuple(ref.native for ref in refs)

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """Queues, and what we have there. What others have is told in slots, not in jobs, so it is not told here."""
        queues, jobs = yield (
            Command(("bqueues", "-w"), repeatable=True),
            Command(("bjobs", "-noheader", "-o", "queue stat delimiter='^'"), repeatable=True),
        )
        title, *lines = [line.split() for line in queues.text.split("\n") if line.strip()] or [[]]
        if queues.returncode != 0 or title[:3] != ["QUEUE_NAME", "PRIO", "STATUS"]:
            raise unavailable("bqueues", queues.complaint, queues.returncode)
        ours: dict[tuple[str, bool], int] = {}
        for line in jobs.text.split("\n"):
            name, _, word = line.partition("^")
            if STATES.get(word) in {JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.SUSPENDED}:
                key = (name, word in {"PEND", "PSUSP", "PROV", "WAIT"})
                ours[key] = ours.get(key, 0) + 1
        return Capacity(
            tuple(
                QueueInfo(
                    name,
                    accepting=status.startswith("Open"),
                    ours_waiting=ours.get((name, True), 0),
                    ours_running=ours.get((name, False), 0),
                )
                for name, _, status, *_ in lines
            )
        )
