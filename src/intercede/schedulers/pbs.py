"""OpenPBS: qsub, qstat, qdel, qrls, qselect.

What is read was recorded on OpenPBS 23.06.06. Nothing else of it was ever seen by us: an answer of another form is that
job's `ParseError`, in the detail of its status.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from intercede.answers import Capacity, JobState, QueueInfo, Reason
from intercede.errors import (
    InvalidReference,
    ParseError,
    UnsupportedError,
)
from intercede.schedulers.common import check_resources, counted, native_words, read_rows, refused
from intercede.steps import Command
from intercede.workarea.programs import fragment
from intercede.workarea.scheduler import Observation, ranges, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, JobRef, Resources
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["PBS", "Dialect", "counts", "queue_info"]

# PBS Professional Reference Guide, "Job States" (help.altair.com); all but M, S, T, U and W were recorded
STATES: dict[str, JobState] = {
    "B": JobState.RUNNING,  # an array of which something began; shown of arrays alone
    "E": JobState.RUNNING,  # its output is on the way: half a minute where that fails
    "F": JobState.FAILED,  # its exit status says how
    "H": JobState.HELD,
    "M": JobState.UNKNOWN,  # moved to another server
    "Q": JobState.QUEUED,
    "R": JobState.RUNNING,
    "S": JobState.SUSPENDED,
    "T": JobState.QUEUED,
    "U": JobState.SUSPENDED,
    "W": JobState.QUEUED,
    "X": JobState.FAILED,  # F of a job whose array goes on
}
# PBS Professional Administrator's Guide, "Job Exit Status Codes"; -29 was recorded
KILLED: dict[int, tuple[Reason | None, str]] = {
    -1: (Reason.NODE, "PBS could not start it on the node, before its files were there"),
    -2: (Reason.NODE, "PBS could not start it on the node, after its files were there"),
    -3: (Reason.NODE, "PBS could not start it on the node"),
    -10: (Reason.REJECTED, "the node does not know the account"),
    -24: (None, "it used more processors than it asked for"),
    -25: (None, "it used more processors than it asked for, on the average"),
    -26: (Reason.MEMORY, "it used more virtual memory than it asked for"),
    -27: (Reason.MEMORY, "it used more memory than it asked for"),
    -28: (None, "it used more processor time than it asked for"),
    -29: (Reason.WALLTIME, "it ran longer than it asked for"),
}
HOLDS = {"u": "its owner", "o": "an operator", "s": "the system or an administrator", "p": "PBS, for a bad password"}
# words of a refusal that speak of a limit that passes (Reference Guide, "Error Codes"); none was recorded
FULL = re.compile(r"Maximum number of jobs|would exceed .*limit|limit on number of jobs", re.IGNORECASE)
ABSENT = re.compile("cannot connect to server")
FIELDS = (
    (re.compile("unknown queue|queue is not enabled", re.IGNORECASE), "resources.queue"),
    (re.compile("walltime", re.IGNORECASE), "resources.walltime"),
    (re.compile("ngpus", re.IGNORECASE), "resources.gpus"),
    (re.compile("account", re.IGNORECASE), "resources.account"),
    (re.compile("resource", re.IGNORECASE), "resources.cores, nodes, memory or gpus"),
)
_ID = re.compile(r"(\d+)(?:\[(\d*)\])?((?:\.[A-Za-z0-9._-]+)?)\Z")
_COLUMNS = 15
_MOST = 50
Counts = dict[tuple[str, bool, bool], int]
"""Jobs by queue, whether they wait, and whether they are ours."""


@lru_cache(4096)
def _moment(text: str) -> datetime | None:
    """Read `Tue Nov 24 07:51:11 2026` of a qstat that ran with `TZ=UTC0`."""
    try:
        return datetime.strptime(text, "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def _span(text: str) -> timedelta | None:
    """Read `00:10:00`; None for what is none."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d)", text)
    return timedelta(hours=int(found[1]), minutes=int(found[2]), seconds=int(found[3])) if found else None


def _identified(text: str) -> tuple[str, str | None, str]:
    """The number of a job, its index (empty for a whole array), and `.SERVER`, which is left out where it is long."""
    found = _ID.match(text)
    if not found:
        raise ParseError("an identifier of PBS", f"{text[:80]!r} is none", text=text)
    return found[1], found[2], found[3] if len(found[3]) <= 35 else ""


def _ended(dialect: Dialect, status: str, began: bool, substate: str, staged: str, comment: str) -> dict[str, Any]:
    """What is known of a job that will not run again."""
    if not began and re.fullmatch(dialect.unstarted, status):
        return {"state": JobState.CANCELLED, "detail": "deleted before it started"}
    if substate == "91" or re.search(r" and terminated( by \S+)?\Z", comment):
        return {"state": JobState.CANCELLED, "detail": comment}
    if not began and substate == "70":
        # a job of an array that was deleted before it ran has the exit status 1, which no payload gave (23.06)
        return {"state": JobState.CANCELLED, "detail": "deleted before it started"}
    if not began and status == "" and dialect.rejects:
        # a dependency that can never be fulfilled (23.06)
        return {"state": JobState.FAILED, "reason": Reason.REJECTED, "detail": comment or "PBS ended it unstarted"}
    if not re.fullmatch(r"-?\d{1,5}", status):
        raise ParseError("qstat", f"an ended job with the exit status {status!r}", text=status)
    return _exited(
        int(status), "PBS could not bring its own output files back" if staged == "0" else "", dialect.killed
    )


def _exited(code: int, detail: str, killed: Mapping[int, tuple[Reason | None, str]]) -> dict[str, Any]:
    if code == 0:
        return {"state": JobState.SUCCEEDED, "exit_code": 0, "detail": detail}
    if code < 0:
        if code not in killed:
            raise ParseError("qstat", f"exit status {code}, which is none of the manual's", text=str(code))
        reason, said = killed[code]
        return {"state": JobState.FAILED, "reason": reason, "detail": said}
    # above 256, PBS ended it by a signal; 128 and a signal may as well be an exit code: its record says which
    known = {"signal": code - 256} if 256 < code < 256 + 65 else {"exit_code": code}
    return {"state": JobState.FAILED, **known, "detail": detail}


class Dialect(NamedTuple):
    """What differs between OpenPBS and Torque in what is read.

    Attributes:
        states: Its letters.
        killed: What its negative exit statuses mean.
        unstarted: The exit statuses of a job that was deleted before it started, where they tell that.
        rejects: Whether a job that ended unstarted and without an exit status was rejected.
    """

    states: Mapping[str, JobState]
    killed: Mapping[int, tuple[Reason | None, str]]
    unstarted: str = r"(?!)"
    rejects: bool = True

    def __hash__(self) -> int:
        """There is one of each."""
        return id(self)


@lru_cache(4096)
def _observed(row: str, dialect: Dialect) -> Observation:
    """Read what follows the identifier: `|STATE|SUBSTATE|...`, as `ic_qstat` gives it."""
    fields = row.split("|", _COLUMNS - 1)[1:]
    if len(fields) != _COLUMNS - 1:
        raise ParseError("qstat", f"{row[:200]!r} is no row of ours", text=row)
    word, substate, status, holds, staged, _, name, queue, host, made, began, ended, limit, comment = fields
    if word not in dialect.states:
        raise ParseError("qstat", f"the state {word!r}, which the manual does not have", text=row)
    state = dialect.states[word]
    told: dict[str, Any] = {"state": state, "detail": comment if state is JobState.QUEUED else ""}
    if state is JobState.FAILED:
        told = _ended(dialect, status, bool(began), substate, staged, comment)
    elif state is JobState.HELD:
        who = [HOLDS[letter] for letter in holds if letter in HOLDS]
        told["detail"] = f"held by {' and '.join(who)}" if who else comment
    elif state is JobState.UNKNOWN:
        told["detail"] = "it was moved to another server"
    return Observation(
        word, **told, node=host.split("/")[0] or None, queue=queue or None, submitted=_moment(made),
        started=_moment(began), ended=_moment(ended), walltime=_span(limit), name=name,
    )  # fmt: skip


def _rows(text: str, dialect: Dialect) -> dict[str, Observation]:
    """Read lines `ID ID ...|STATE|...`; a whole array is none of the jobs."""
    found = read_rows("qstat", text, _ID, lambda row: _observed(row, dialect))
    return {native: seen for native, seen in found.items() if "[]" not in native}


class PBS:
    """The command language of OpenPBS, recorded from 23.06.06."""

    name: ClassVar[str] = "pbs"
    sources: ClassVar[tuple[str, str]] = ("qstat", "qstat -x")
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.EXIT_CODE, Reason.SIGNAL, Reason.WALLTIME, Reason.MEMORY, Reason.NODE, Reason.REJECTED, Reason.LOST}
    )
    reserves: ClassVar[frozenset[str]] = frozenset({"cores", "gpus", "nodes", "memory", "walltime"})
    dialect: ClassVar[Dialect] = Dialect(STATES, KILLED)
    shell: ClassVar[str] = fragment("intercede.schedulers", "pbs")
    job_shell: ClassVar[str] = fragment("intercede.schedulers", "pbs_job")

    def words(self, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
        """Whether it may run again, then options of qsub(1B): totals are divided by node, rounded up."""
        wanted = check_resources(self.name, description.resources, self.reserves, settings.best_effort)
        words = ["y" if description.requeue else "n", *self._amounts(wanted)]
        if wanted.walltime:
            seconds = -int(-wanted.walltime.total_seconds() // 1)
            words += ["-l", f"walltime={seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"]
        if queue := wanted.queue or settings.queue:
            if "@" in queue:
                raise UnsupportedError("resources.queue", f"{queue!r} is of another server", "Open that server.")
            words += ["-q", queue]
        if account := wanted.account or settings.account:
            words += ["-A", account]
        return (*words, *native_words(self.name, description, settings))

    def _amounts(self, wanted: Resources) -> list[str]:
        """Chunks of pbs_resources(7B); `ngpus` is one that the site defines (User's Guide, "Using GPUs")."""
        chunk = [f"select={wanted.nodes}", f"ncpus={-(-wanted.cores // wanted.nodes)}"]
        if wanted.memory:
            chunk.append(f"mem={-(-wanted.memory // (1024 * wanted.nodes))}kb")
        if wanted.gpus:
            chunk.append(f"ngpus={-(-wanted.gpus // wanted.nodes)}")
        scattered = ["-l", "place=scatter"] if wanted.nodes > 1 else []
        return ["-l", ":".join(chunk), *scattered]

    def files(self) -> dict[str, bytes]:
        """PBS needs no more."""
        return {}

    def native(self, answer: str, index: int) -> str:
        """`7.SERVER`, or `7[].SERVER` of an array: `7[INDEX].SERVER`; hooks may print lines of their own."""
        for line in reversed(answer.split("\n")):
            if _ID.match(line.strip()):
                number, inner, server = _identified(line.strip())
                if inner == "":
                    return f"{number}[{index}]{server}"
                if inner is None and index == 0:
                    return f"{number}{server}"
        raise ParseError("the answer of qsub", f"no identifier of job {index} in {answer!r}", text=answer)

    def first_of(self, ref: JobRef) -> int:
        """The index within the array follows the copies of its part; a job that is no array is a part of its own."""
        found = _ID.match(ref.native)
        index = int(found[2] or 0) if found else 0
        if not found or found[2] == "" or index > ref.copy_index:
            raise InvalidReference(f"job reference {ref}", f"{ref.native!r} is no PBS job of copy {ref.copy_index}")
        return ref.copy_index - index

    def refusal(self, answer: str, returncode: int) -> IntercedeError:
        """In qsub's own words."""
        return refused("qsub", answer, returncode, full=FULL, absent=ABSENT, fields=FIELDS)

    def read_queue(self, text: str) -> dict[str, Observation]:
        """Read what `ic_qstat` made of `qstat -t -f`."""
        return _rows(text, self.dialect)

    def read_history(self, text: str) -> dict[str, Observation]:
        """Read what `ic_qstat` made of `qstat -x -t -f`."""
        return _rows(text, self.dialect)

    def history_is_off(self, complaint: str) -> bool:
        """`job_history_enable = False` (Reference Guide, "Error Codes"); not recorded."""
        return "not configured to maintain job history" in complaint or "job_history_enable not SET" in complaint

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """Up to 50 jobs, arrays counted once, are asked for by number; all of ours, where there are more."""
        jobs = dict.fromkeys(re.sub(r"\[\d*\]", "[]", native) for native in natives)
        return tuple(jobs) if 0 < len(jobs) <= _MOST else ("all",)

    def order_words(self, refs: Sequence[JobRef]) -> tuple[str, ...]:
        """`ID[0-9]`: a word for each range (qdel(1B))."""
        words: list[str] = []
        arrays: dict[tuple[str, str], list[int]] = {}
        for ref in refs:
            number, inner, server = _identified(ref.native)
            if inner is None:
                words.append(ref.native)
            else:
                arrays.setdefault((number, server), []).append(int(inner))
        for (number, server), indices in arrays.items():
            words += (f"{number}[{part}]{server}" for part in ranges(indices).split(","))
        return tuple(words)

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """Queues and the default one; whose jobs wait and run there."""
        queues, server, jobs, me = yield (
            Command(("qstat", "-Q", "-f", "-F", "json"), repeatable=True),
            Command(("qstat", "-B", "-f", "-F", "json"), repeatable=True),
            Command(("qstat", "-t"), repeatable=True),
            Command(("id", "-un"), repeatable=True),
        )
        for asked, answer in (("qstat -Q", queues), ("qstat -B", server), ("qstat -t", jobs)):
            if answer.returncode != 0:
                raise unavailable(asked, answer.complaint, answer.returncode)
        servers = _document(server.text, "Server")
        default = next((each.get("default_queue") for each in servers.values()), None)
        seen = counts(jobs.text, me.text.strip())
        found = []
        for name, about in _document(queues.text, "Queue").items():
            most = about.get("resources_max")
            limit = str(most.get("walltime", "")) if isinstance(most, dict) else ""
            enabled = str(about.get("enabled"))
            found.append(queue_info(name, default=name == default, enabled=enabled, limit=limit, seen=seen))
        return Capacity(tuple(found))


def _document(text: str, key: str) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(text, strict=False).get(key, {})
        return {str(name): dict(each) for name, each in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ParseError(f"qstat of {key}", str(error), text=text) from error


def counts(text: str, me: str) -> Counts:
    """Count the lines of `qstat -t`: by queue, whether it waits, whether it is ours. Names are cut after 15 letters."""
    found: Counts = {}
    for line in text.split("\n"):
        fields = line.split()
        if len(fields) < 6 or not re.match(r"\d+(\.|\[\d)", fields[0]):
            continue  # of an array, its jobs
        user, _, state, queue = fields[-4:]
        ours = user == me or (len(user) >= 15 and me.startswith(user.rstrip("*")))
        if state in {"Q", "H", "W", "T"} or state in {"R", "E", "S", "U"}:
            key = (queue, state in {"Q", "H", "W", "T"}, ours)
            found[key] = found.get(key, 0) + 1
    return found


def queue_info(name: str, *, default: bool, enabled: str, limit: str, seen: Counts) -> QueueInfo:
    """A queue, with what was counted."""
    queue = QueueInfo(name, is_default=default, accepting=enabled == "True", max_walltime=_span(limit))
    return counted(queue, seen)
