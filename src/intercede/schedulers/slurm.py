"""Slurm: sbatch, squeue, sacct, scancel, scontrol, sinfo.

The text formats (`squeue -o`, `sacct -P`) say the same on 20.11 to 26.05; the JSON of 22.05 reports success for jobs
that failed, and 20.11 has none.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from intercede.answers import Capacity, JobState, QueueInfo, Reason
from intercede.errors import (
    InvalidReference,
    ParseError,
)
from intercede.schedulers.common import check_resources, counted, log, moment, native_words, refused
from intercede.steps import Command
from intercede.workarea.programs import fragment
from intercede.workarea.scheduler import Observation, ranges, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, JobRef
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["Slurm"]

# https://slurm.schedmd.com/job_state_codes.html (base states and flags, 20.11 to 26.05)
STATES: dict[str, tuple[JobState, Reason | None]] = {
    "BOOT_FAIL": (JobState.FAILED, Reason.NODE),
    "CANCELLED": (JobState.CANCELLED, None),
    "COMPLETED": (JobState.SUCCEEDED, None),
    "COMPLETING": (JobState.RUNNING, None),
    "CONFIGURING": (JobState.QUEUED, None),
    "DEADLINE": (JobState.FAILED, Reason.WALLTIME),
    "FAILED": (JobState.FAILED, None),
    "NODE_FAIL": (JobState.FAILED, Reason.NODE),
    "OUT_OF_MEMORY": (JobState.FAILED, Reason.MEMORY),
    "PENDING": (JobState.QUEUED, None),
    "POWER_UP_NODE": (JobState.QUEUED, None),
    "PREEMPTED": (JobState.FAILED, Reason.PREEMPTED),
    "REQUEUED": (JobState.QUEUED, None),
    "REQUEUE_FED": (JobState.QUEUED, None),
    "REQUEUE_HOLD": (JobState.HELD, None),
    "RESIZING": (JobState.RUNNING, None),
    "RESV_DEL_HOLD": (JobState.HELD, None),
    "REVOKED": (JobState.CANCELLED, None),
    "RUNNING": (JobState.RUNNING, None),
    "SIGNALING": (JobState.RUNNING, None),
    "SPECIAL_EXIT": (JobState.HELD, None),
    "STAGE_OUT": (JobState.RUNNING, None),
    "STOPPED": (JobState.SUSPENDED, None),
    "SUSPENDED": (JobState.SUSPENDED, None),
    "TIMEOUT": (JobState.FAILED, Reason.WALLTIME),
    "UPDATE_DB": (JobState.RUNNING, None),
}

# https://slurm.schedmd.com/job_reason_codes.html: pending, and will not start until somebody does something
HELD_REASONS = {
    "JobHeldAdmin": "held by an administrator",
    "JobHeldUser": "held by its owner",
    "JobHoldMaxRequeue": "held: requeued too often",
    "launch_failed_requeued_held": "held: its launch failed on the node",
}
# words of a refusal that speak of a limit that passes (sbatch, 20.11 to 26.05)
FULL = re.compile(
    r"AssocMaxSubmitJob|QOSMaxSubmitJob|AssocGrpSubmitJobs|QOSGrpSubmitJobs|job submit limit|MaxSubmitJob|"
    r"Slurm temporarily unable to accept job|too many jobs|MaxJobCount",
    re.IGNORECASE,
)
# which field of ours a refusal speaks of
FIELDS = (
    (re.compile("time limit", re.IGNORECASE), "resources.walltime"),
    (re.compile("partition", re.IGNORECASE), "resources.queue"),
    (re.compile("account", re.IGNORECASE), "resources.account"),
    (re.compile("memory", re.IGNORECASE), "resources.memory"),
    (re.compile("generic resource|gres", re.IGNORECASE), "resources.gpus"),
    (re.compile("node configuration|CPU count|processors", re.IGNORECASE), "resources.cores, nodes, memory or gpus"),
)
ABSENT = re.compile(r"Unable to contact slurm controller|temporarily|in standby|backup controller", re.IGNORECASE)
_ID = re.compile(r"(\d+)_(\d+)\Z")
# what squeue of 24.11 and later says of a job that a signal ended; 20.11 and 22.05 say JobLaunchFailure
_RAISED = re.compile(r"RaisedSignal:(\d+)")
_RANGED = re.compile(r"(\d+)_\[([\d,:-]+)(?:%\d+)?\]\Z")


@lru_cache(4096)
def _walltime(text: str) -> timedelta | None:
    """Read `1-02:03:04`, `02:03:04`, `03:04`; None for UNLIMITED and the like."""
    found = re.match(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)\Z", text)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _expand(native: str) -> list[str]:
    """The tasks of `7_[1-3,8%2]`, as Slurm shows those that have not started; anything else as it is."""
    if not native.endswith("]"):
        return [native]
    found = _RANGED.match(native)
    if not found:
        return [native]
    tasks: list[str] = []
    for part in found[2].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        tasks += (f"{found[1]}_{i}" for i in range(int(first), int(last or first) + 1, int(step or 1)))
    return tasks


@lru_cache(1024)
def _state(word: str, why: str) -> tuple[JobState, Reason | None, str]:
    first = word.split(" ", 1)[0].rstrip("+")  # `CANCELLED by 1000`
    if first not in STATES:
        log.warning("squeue or sacct says a state that this release does not know: %r", word)
        return JobState.UNKNOWN, None, f"Slurm says {word!r}"
    state, reason = STATES[first]
    key = why.replace(" ", "_")
    if state is JobState.QUEUED and key in HELD_REASONS:
        return JobState.HELD, None, HELD_REASONS[key]
    if word.startswith("CANCELLED by "):
        return state, reason, f"cancelled by user {word.rsplit(' ', 1)[-1]}"
    # what squeue gives as the reason of an ended job says less than its exit code or signal
    return state, reason, "" if state.is_final or why in {"None", "", "N/A"} else why


@lru_cache(64)
def _job_number(answer: str) -> str | None:
    lines = (re.match(r"\s*(\d+)(;\S+)?\s*\Z", line) for line in reversed(answer.split("\n")))
    return next((found[1] for found in lines if found), None)


def _exit(text: str) -> tuple[int | None, int | None]:
    """Read `CODE:SIGNAL` of sacct."""
    code, _, signal = text.partition(":")
    if not code.isdigit() or not signal.isdigit():
        return None, None
    return (None, int(signal)) if int(signal) else (int(code), None)


@lru_cache(4096)
def _node(text: str) -> str | None:
    """The first node of a list: `c1` of `c[1-4,7]`, and of `c1,d1`."""
    if text in {"", "n/a", "None assigned", "(null)"}:
        return None
    first = re.match(r"(?:[^][,]|\[[^]]*\])*", text)
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", first[0] if first else text)


def _begun(node: str | None, started: str) -> datetime | None:
    """When a job started; one that was cancelled before has its end there (squeue, and sacct of 20.11), and no node."""
    return moment(started) if node else None


def _rows(asked: str, text: str, read: Callable[..., Observation]) -> Iterator[tuple[str, Observation]]:
    """Read lines `ID|…` of ten columns; what stands behind the id is often the same for many jobs."""
    for line in text.split("\n"):
        natives, *fields = line.split("|")
        if len(fields) != 9 or not natives[:1].isdigit():
            if line.strip():
                log.warning("%s: a line that is none of ours: %r", asked, line[:200])
            continue
        seen = read(*fields)
        for native in natives.split(" "):
            for task in _expand(native):
                yield task, seen


def _signalled(reason: Reason | None, signal: int | None, detail: str) -> tuple[Reason | None, int | None, str]:
    if signal == 53:
        # slurmstepd: "could not open stdout/stderr file": the job never started (seen on 24.11)
        return Reason.STAGING, None, "the node could not open files in the work area"
    return reason, signal, detail


def _queued(
    word: str, why: str, name: str, queue: str, node: str, submitted: str, started: str, ended: str, limit: str
) -> Observation:
    state, reason, detail = _state(word, why)
    raised = _RAISED.match(why) if state is JobState.FAILED else None
    reason, signal, detail = _signalled(reason, int(raised[1]) if raised else None, detail)
    # of a pending job, squeue gives an estimate; of a running one, its limit as the end
    waits = state is JobState.QUEUED or state is JobState.HELD
    host = _node(node)
    return Observation(
        word, state, reason, None, signal, detail, host, queue, moment(submitted),
        None if waits else _begun(host, started), moment(ended) if state.is_final else None, _walltime(limit), name,
    )  # fmt: skip


def _past(
    word: str, code: str, name: str, queue: str, nodes: str, submitted: str, started: str, ended: str, limit: str
) -> Observation:
    state, reason, detail = _state(word, "")
    exit_code, signal = _exit(code) if state.is_final else (None, None)
    if exit_code == 0 and state is not JobState.SUCCEEDED:
        exit_code = None  # 0:0 of a job that was cancelled or timed out is no answer of its payload
    if state is JobState.FAILED:
        reason, signal, detail = _signalled(reason, signal, detail)
    host = _node(nodes)
    return Observation(
        word, state, reason, exit_code, signal, detail, host, queue,
        moment(submitted), _begun(host, started), moment(ended), _walltime(limit), name,
    )  # fmt: skip


class Slurm:
    """The command language of Slurm, seen on 20.11.4, 22.05.8, 24.11.5 and 26.05.5."""

    name: ClassVar[str] = "slurm"
    sources: ClassVar[tuple[str, str]] = ("squeue", "sacct")
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
    reserves: ClassVar[frozenset[str]] = frozenset({"cores", "gpus", "nodes", "memory", "walltime"})
    shell: ClassVar[str] = fragment("intercede.schedulers", "slurm")
    job_shell: ClassVar[str] = fragment("intercede.schedulers", "slurm_job")

    def words(self, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
        """Options of sbatch(1): totals are divided by node, rounded up."""
        wanted = check_resources(self.name, description.resources, self.reserves, settings.best_effort)
        per_node = -(-wanted.cores // wanted.nodes)
        words = [f"--nodes={wanted.nodes}", f"--ntasks={wanted.nodes}", f"--cpus-per-task={per_node}"]
        if wanted.nodes > 1:
            words.append("--ntasks-per-node=1")
        if wanted.gpus:
            words.append(f"--gres=gpu:{-(-wanted.gpus // wanted.nodes)}")
        if wanted.memory:
            # sbatch takes whole units: K is the smallest
            words.append(f"--mem={-(-wanted.memory // (1024 * wanted.nodes))}K")
        if wanted.walltime:
            # sbatch rounds seconds up to the minute itself; 0 would mean no limit
            words.append(f"--time={max(1, -(-int(wanted.walltime.total_seconds()) // 60))}")
        if queue := wanted.queue or settings.queue:
            words.append(f"--partition={queue}")
        if account := wanted.account or settings.account:
            words.append(f"--account={account}")
        words.append("--requeue" if description.requeue else "--no-requeue")
        return (*words, *native_words(self.name, description, settings))

    def files(self) -> dict[str, bytes]:
        """Slurm needs no more."""
        return {}

    def native(self, answer: str, index: int) -> str:
        """`sbatch --parsable` prints `ID` or `ID;CLUSTER`; site plugins may print lines of their own."""
        if number := _job_number(answer):
            return f"{number}_{index}"
        raise ParseError("the answer of sbatch", f"no job id in {answer!r}", text=answer)

    def first_of(self, ref: JobRef) -> int:
        """The index within the array follows the copies of its part."""
        job, _, index = ref.native.partition("_")
        if job.isdigit() and index.isdigit() and (first := ref.copy_index - int(index)) >= 0:
            return first
        raise InvalidReference(f"job reference {ref}", f"{ref.native!r} is no Slurm job of copy {ref.copy_index}")

    def refusal(self, answer: str, returncode: int) -> IntercedeError:
        """In sbatch's own words."""
        return refused("sbatch", answer, returncode, full=FULL, absent=ABSENT, fields=FIELDS)

    def read_queue(self, text: str) -> dict[str, Observation]:
        """Read `squeue -o %i|%T|%r|%j|%P|%B|%V|%S|%e|%l`."""
        return dict(_rows("squeue", text, _queued))

    def read_history(self, text: str) -> dict[str, Observation]:
        """Read `sacct -P -X -o JobID,State,ExitCode,JobName,Partition,NodeList,Submit,Start,End,Timelimit`."""
        return dict(_rows("sacct", text, _past))

    def history_is_off(self, complaint: str) -> bool:
        """`AccountingStorageType=accounting_storage/none`."""
        return "accounting storage is disabled" in complaint

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """Up to 500 jobs, arrays counted once, are asked for by number; all that the user has, where there are more."""
        jobs = dict.fromkeys(native.partition("_")[0] for native in natives)
        return ("-j", ",".join(jobs)) if len(jobs) <= 500 else ("-u",)

    def order_words(self, refs: Sequence[JobRef]) -> tuple[str, ...]:
        """`ID_[0-9,12]`: one word whatever the number, which scancel and scontrol take."""
        found = [_ID.match(ref.native) for ref in refs]
        base = next(each[1] for each in found if each)
        return (f"{base}_[{ranges(int(each[2]) for each in found if each)}]",)

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """Ask sinfo for the partitions and squeue for all jobs, in one round trip."""
        partitions, jobs, me = yield (
            Command(("sinfo", "-h", "-o", "%P|%a|%l|%C"), repeatable=True),
            Command(("squeue", "-h", "-r", "-a", "-t", "PD,R,S,CF,CG", "-o", "%P|%t|%u"), repeatable=True),
            Command(("id", "-un"), repeatable=True),
        )
        for asked, answer in (("sinfo", partitions), ("squeue", jobs)):
            if answer.returncode != 0:
                raise unavailable(asked, answer.complaint, answer.returncode)
        return Capacity(tuple(_queues(partitions.text, jobs.text, me.text.strip())))


def _queues(partitions: str, jobs: str, me: str) -> list[QueueInfo]:
    counts: dict[tuple[str, bool, bool], int] = {}
    for line in jobs.split("\n"):
        names, _, rest = line.partition("|")
        state, _, user = rest.partition("|")
        for name in names.split(","):  # a job may wait in several
            key = (name, state in {"PD", "CF"}, user == me)
            counts[key] = counts.get(key, 0) + 1
    merged: dict[str, QueueInfo] = {}
    for line in partitions.split("\n"):
        fields = line.split("|")
        if len(fields) != 4:
            continue
        name, up, limit, cpus = fields
        plain = name.rstrip("*")
        numbers = [int(part) if part.isdigit() else 0 for part in cpus.split("/")]  # allocated/idle/other/total
        before = merged.get(plain)
        merged[plain] = QueueInfo(
            plain,
            is_default=name.endswith("*"),
            accepting=up == "up",
            max_walltime=_walltime(limit),
            cores=numbers[-1] + (before.cores or 0 if before else 0),
            free_cores=numbers[1] + (before.free_cores or 0 if before else 0),
        )
    return [counted(each, counts) for each in merged.values()]
