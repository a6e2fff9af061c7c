"""Grid Engine: qsub, qstat, qacct, qdel, qrls, qmod, qconf.

The XML of qstat is turned into lines on the submit host; of finished jobs the accounting file says more, for many jobs
at once, than qacct, which takes one. A job that was deleted while it waited leaves no trace in it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from intercede.answers import Capacity, JobState, QueueInfo, Reason
from intercede.errors import InvalidReference, ParseError
from intercede.schedulers.common import check_resources, counted, epoch, log, moment, native_words, refused
from intercede.steps import Command
from intercede.workarea.programs import fragment
from intercede.workarea.scheduler import Observation, ranges, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, JobRef
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["GridEngine"]

# qstat(1), OUTPUT FORMATS, "the status of the job": letters, of which the first one here that is there decides
STATES: dict[str, tuple[JobState, str]] = {
    "E": (JobState.HELD, "held in an error state"),
    "s": (JobState.SUSPENDED, "suspended by its owner or an administrator"),
    "S": (JobState.SUSPENDED, "suspended with its queue"),
    "T": (JobState.SUSPENDED, "suspended by the load of its node"),
    "P": (JobState.SUSPENDED, "suspended for a job of higher priority"),
    "r": (JobState.RUNNING, ""),
    "t": (JobState.RUNNING, ""),  # until its node has reported, when its payload may have run for a second
    "h": (JobState.HELD, "held by its owner, an administrator, or until another job has ended"),
    "w": (JobState.QUEUED, ""),
    "q": (JobState.QUEUED, ""),
}
_LETTERS = frozenset(STATES) | {"R", "d"}  # started before; about to be deleted

# accounting(5), `failed`, and what qacct says of each number (8.1.9); what is not here kept the job from being started,
# after which it waits again or in an error state
_RAN = {
    12: "before pestop",
    13: "in pestop",
    14: "before epilog",
    15: "in epilog",
    16: "releasing processor set",
}
ENDS: dict[int, tuple[JobState, Reason | None, str]] = {
    19: (JobState.FAILED, Reason.NODE, "its node or daemon went down: before writing exit_status"),
    21: (JobState.FAILED, Reason.NODE, "its node or daemon went down: in recognizing job"),
    24: (JobState.UNKNOWN, Reason.LOST, "it was to be started again (migrating), and is not in the queue"),
    25: (JobState.UNKNOWN, Reason.LOST, "it was to be started again (rescheduling), and is not in the queue"),
    37: (JobState.FAILED, None, "qmaster enforced h_rt, h_cpu, or h_vmem limit"),
    100: (JobState.FAILED, None, ""),  # assumedly after job: a signal ended it
}
# words of a refusal that speak of a limit that passes
FULL = re.compile(r"jobs are allowed per (user|cluster)|exceeds? .*limit.*max_u_jobs|job limit", re.IGNORECASE)
# which field of ours a refusal speaks of
FIELDS = (
    (re.compile("unknown queue", re.IGNORECASE), "resources.queue"),
    (re.compile("parallel environment", re.IGNORECASE), "resources.cores (parallel_environment)"),
    (re.compile("project", re.IGNORECASE), "resources.account"),
    (re.compile("unknown resource", re.IGNORECASE), "resources.memory (memory_resource)"),
    (re.compile("no suitable queues", re.IGNORECASE), "resources.queue, cores, memory or walltime"),
)
ABSENT = re.compile(r"commlib error|unable to send message|unable to contact qmaster|got select error", re.IGNORECASE)
_ID = re.compile(r"(\d+)\.(\d+)\Z")
_RANGED = re.compile(r"(\d+)\.\[([\d,:-]+)\]\Z")
_ANSWER = re.compile(r"(\d+)(?:\.1-\d+:1)?\Z")
_SUBSTITUTE = 98  # what the job's script exits with in the place of 99 and 100


@lru_cache(1024)
def _state(letters: str) -> tuple[JobState, str]:
    if not letters or set(letters) - _LETTERS or not set(letters) & set(STATES):
        log.warning("qstat says a state that this release does not know: %r", letters)
        return JobState.UNKNOWN, f"Grid Engine says {letters!r}"
    return next(STATES[each] for each in STATES if each in letters)


def _expand(native: str) -> list[str]:
    """The tasks of `7.[1-3,8-12:2]`; anything else as it is."""
    found = _RANGED.match(native)
    if not found:
        return [native]
    tasks: list[str] = []
    for part in found[2].split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?(?::(\d+))?", part)
        if span:
            last, step = int(span[2] or span[1]), int(span[3] or 1)
            tasks += (f"{found[1]}.{i}" for i in range(int(span[1]), last + 1, step or 1))
    return tasks


@lru_cache(4096)
def _when(text: str) -> datetime | None:
    """Seconds since the epoch, as in the accounting file, or as qacct writes them; None for 0, `-/-` and the like."""
    if text == "0":
        return None
    try:
        return epoch(text) or datetime.strptime(text, "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def _seconds(text: str) -> int | None:
    """Read `3600` or `1:00:00`; None for INFINITY."""
    found = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+)", text)
    return int(found[1] or 0) * 3600 + int(found[2] or 0) * 60 + int(found[3]) if found else None


@lru_cache(64)
def _job_number(answer: str) -> str | None:
    lines = (_ANSWER.match(line.strip()) for line in reversed(answer.split("\n")))
    return next((found[1] for found in lines if found), None)


def _rows(asked: str, text: str, columns: int) -> Iterator[tuple[list[str], list[str]]]:
    """Read lines `ID ID …|…` of so many columns."""
    for line in text.split("\n"):
        natives, *fields = line.split("|")
        if len(fields) == columns and natives[:1].isdigit():
            yield [task for native in natives.split(" ") for task in _expand(native)], fields
        elif line.strip():
            log.warning("%s: a line that is none of ours: %r", asked, line[:200])


def _queued(letters: str, name: str, submitted: str, started: str, instance: str, why: str) -> Observation:
    state, detail = _state(letters)
    queue, _, node = instance.partition("@")
    return Observation(
        letters, state, None, detail=f"{detail}: {why}" if why else detail, node=node or None, queue=queue or None,
        submitted=moment(submitted), started=moment(started), name=name,
    )  # fmt: skip


def _limit(ended: datetime | None, started: datetime | None, category: str) -> Reason | None:
    """Which limit was enforced: accounting does not tell, unless it is that of time, which the job asked for itself."""
    asked = re.search(r"\bh_rt=(\d[\d:]*)", category)
    seconds = _seconds(asked[1]) if asked else None
    if seconds is None or started is None or ended is None:
        return None
    return Reason.WALLTIME if (ended - started).total_seconds() >= seconds else None


def _past(
    failed: int, code: int, name: str, queue: str, node: str, submitted: str, started: str, ended: str, category: str
) -> Observation:
    begun, over = _when(started), _when(ended)
    exit_code = signal = None
    if failed == 0 or failed in _RAN:
        state, reason = (JobState.FAILED if code else JobState.SUCCEEDED), None
        detail = f"after its end: {_RAN[failed]}" if failed else ""
        exit_code = None if code == _SUBSTITUTE else code
        if code == _SUBSTITUTE:
            detail = "98 in the accounting stands for 98, 99 and 100"
    elif failed in ENDS:
        state, reason, detail = ENDS[failed]
        if state is JobState.FAILED and code > 128:
            signal = code - 128
        if failed == 37:
            reason = _limit(over, begun, category)
    else:
        state, reason = JobState.UNKNOWN, Reason.LOST
        detail = f"Grid Engine could not start it (failed {failed}), and it is not in the queue"
    return Observation(
        f"failed {failed}", state, reason, exit_code, signal, detail, node, queue, _when(submitted), begun, over, None,
        name,
    )  # fmt: skip


class GridEngine:
    """The command language of Grid Engine, seen on 8.1.9 (Debian 12)."""

    name: ClassVar[str] = "gridengine"
    sources: ClassVar[tuple[str, str]] = ("qstat", "qacct")
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.EXIT_CODE, Reason.SIGNAL, Reason.WALLTIME, Reason.NODE, Reason.LOST}
    )
    reserves: ClassVar[frozenset[str]] = frozenset({"cores", "memory", "walltime"})
    shell: ClassVar[str] = fragment("intercede.schedulers", "gridengine")
    job_shell: ClassVar[str] = fragment("intercede.schedulers", "gridengine_job")

    def words(self, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
        """Options of qsub(1): cores are slots of a parallel environment, memory is divided by slot, rounded up."""
        wanted = check_resources(self.name, description.resources, self.reserves, settings.best_effort)
        words = ["-r", "y" if description.requeue else "n"]
        if wanted.cores > 1:
            words += ["-pe", settings.parallel_environment, str(wanted.cores)]
        if wanted.memory:
            words += ["-l", f"{settings.memory_resource}={-(-wanted.memory // wanted.cores)}"]
        if wanted.walltime:
            words += ["-l", f"h_rt={max(1, -int(-wanted.walltime.total_seconds() // 1))}"]
        if queue := wanted.queue or settings.queue:
            words += ["-q", queue]
        if account := wanted.account or settings.account:
            words += ["-P", account]
        return (*words, *native_words(self.name, description, settings))

    def files(self) -> dict[str, bytes]:
        """Grid Engine needs no more."""
        return {}

    def native(self, answer: str, index: int) -> str:
        """`qsub -terse` prints `ID.1-9:1`; a site's verifier of submissions may print lines of its own."""
        if number := _job_number(answer):
            return f"{number}.{index + 1}"
        raise ParseError("the answer of qsub", f"no job id in {answer!r}", text=answer)

    def first_of(self, ref: JobRef) -> int:
        """Tasks are counted from 1, and follow the copies of their part."""
        found = _ID.match(ref.native)
        if not found or not 1 <= int(found[2]) <= ref.copy_index + 1:
            said = f"{ref.native!r} is no Grid Engine job of copy {ref.copy_index}"
            raise InvalidReference(f"job reference {ref}", said)
        return ref.copy_index + 1 - int(found[2])

    def refusal(self, answer: str, returncode: int) -> IntercedeError:
        """In qsub's own words."""
        return refused("qsub", answer, returncode, full=FULL, absent=ABSENT, fields=FIELDS)

    def read_queue(self, text: str) -> dict[str, Observation]:
        """Read lines `ID|STATE|NAME|SUBMITTED|STARTED|QUEUE@NODE|WHY`."""
        found = {}
        for tasks, fields in _rows("qstat", text, 6):
            letters, name, submitted, started, instance, why = fields
            found.update(dict.fromkeys(tasks, _queued(letters, name, submitted, started, instance, why)))
        return found

    def read_history(self, text: str) -> dict[str, Observation]:
        """Read lines `ID|FAILED|EXIT|NAME|QUEUE|NODE|SUBMITTED|STARTED|ENDED|CATEGORY|MAXVMEM`."""
        found = {}
        for tasks, (failed, code, *rest) in _rows("qacct", text, 10):
            if failed.isdecimal() and code.isdecimal():
                found.update(dict.fromkeys(tasks, _past(int(failed), int(code), *rest[:7])))
            else:
                log.warning("qacct: neither %r nor %r may be there", failed, code)
        return found

    def history_is_off(self, complaint: str) -> bool:
        """`reporting_params accounting=false`, or a submit host that does not see the file."""
        return "accounting" in complaint and "No such file" in complaint

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """Up to 2000 jobs, arrays counted once, are asked for by number; where there are more, all of the user's."""
        jobs = dict.fromkeys(native.partition(".")[0] for native in natives)
        return (",".join(jobs),) if len(jobs) <= 2000 else ("-",)

    def order_words(self, refs: Sequence[JobRef]) -> tuple[str, ...]:
        """`ID.1-9,ID.12`: one word whatever the number."""
        found = [each for ref in refs if (each := _ID.match(ref.native))]
        tasks = ranges(int(each[2]) for each in found)
        return (",".join(f"{found[0][1]}.{part}" for part in tasks.split(",")),)

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """Ask qstat for the queues and all jobs, and qconf for the limits of each queue, in one round trip."""
        limits = 'for q in $(qconf -sql); do qconf -sq "$q" | sed -n "s/^qname */queue /p; s/^h_rt */h_rt /p"; done'
        queues, jobs, times, me = yield (
            Command(("qstat", "-g", "c", "-xml"), repeatable=True),
            Command(("qstat", "-u", "*", "-r", "-xml"), repeatable=True),
            Command(("sh", "-c", limits), repeatable=True),
            Command(("id", "-un"), repeatable=True),
        )
        for asked, answer in (("qstat -g c", queues), ("qstat", jobs)):
            if answer.returncode != 0:
                raise unavailable(asked, answer.complaint, answer.returncode)
        return Capacity(tuple(_queues(queues.text, jobs.text, times.text, me.text.strip(), settings.queue)))


def _elements(text: str, tag: str) -> Iterator[dict[str, str]]:
    """The simple children of each element of that name; Grid Engine writes each on a line of its own."""
    for body in re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", text, re.DOTALL):
        yield dict(re.findall(r"<(\w+)[^>]*>([^<]*)</\1>", body))


def _tasks(text: str) -> int:
    """How many there are in `2-4:1,7`; a job that is no array has none, and is one."""
    return len(_expand(f"0.[{text}]")) if text else 1


def _counts(jobs: str, me: str, default: str) -> dict[tuple[str, bool, bool], int]:
    """How many jobs (queue, whether they wait, whether they are ours)."""
    counts: dict[tuple[str, bool, bool], int] = {}
    for job in _elements(jobs, "job_list"):
        at = job.get("queue_name", "").partition("@")[0]
        asked = job.get("hard_req_queue", "").partition("@")[0]
        key = (at or asked or default, not at, job.get("JB_owner") == me)
        counts[key] = counts.get(key, 0) + _tasks(job.get("tasks", ""))
    return counts


def _queues(queues: str, jobs: str, times: str, me: str, wanted: str | None) -> list[QueueInfo]:
    """A job that names no queue may go to any: it is counted once, at the configured one, at `all.q`, or the first."""
    limits: dict[str, timedelta | None] = {}
    name = ""
    for line in times.split("\n"):
        key, _, value = line.partition(" ")
        if key == "queue":
            name = value
        elif key == "h_rt" and (seconds := _seconds(value)) is not None:
            limits[name] = timedelta(seconds=seconds)
    summaries = {each["name"]: each for each in _elements(queues, "cluster_queue_summary") if "name" in each}
    default = next((each for each in (wanted, "all.q", *summaries) if each in summaries), "")
    counts = _counts(jobs, me, default)
    return [
        counted(
            QueueInfo(
                name,
                is_default=name == default,
                accepting=_number(each, "available") + _number(each, "used") > 0,
                max_walltime=limits.get(name),
                cores=_number(each, "total"),
                free_cores=_number(each, "available"),
            ),
            counts,
        )
        for name, each in summaries.items()
    ]


def _number(summary: dict[str, str], key: str) -> int:
    text = summary.get(key, "")
    return int(text) if text.isdecimal() else 0
