"""OAR: oarsub, oarstat, oardel, oarresume, oarnodes.

The elements of an array are jobs with numbers of their own; a job is named by the array's number and its index in it,
which it keeps when OAR submits it again under another number. The JSON of oarstat is turned into lines on the submit
host.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

from intercede.answers import Capacity, JobState, QueueInfo, Reason
from intercede.errors import InvalidReference, ParseError, UnsupportedError
from intercede.schedulers.common import check_resources, counted, epoch, log, native_words, read_rows, refused
from intercede.steps import Command
from intercede.workarea.programs import fragment
from intercede.workarea.scheduler import Observation, ranges, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, JobRef
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["OAR"]

# https://manpages.ubuntu.com/manpages/resolute/man1/oarstat.1.html and, in Debian's oar-doc, the table `jobs` of the
# administrator's guide (2.5 and 2.6); Terminated says nothing of how
STATES: dict[str, tuple[JobState, str]] = {
    "Waiting": (JobState.QUEUED, ""),
    "Hold": (JobState.HELD, "held by its owner or an administrator"),
    "toAckReservation": (JobState.QUEUED, ""),
    "toLaunch": (JobState.QUEUED, ""),
    "Launching": (JobState.QUEUED, ""),
    "Running": (JobState.RUNNING, ""),
    "Suspended": (JobState.SUSPENDED, ""),
    "Resuming": (JobState.SUSPENDED, "it is about to go on"),
    "Finishing": (JobState.RUNNING, ""),
    "toError": (JobState.RUNNING, "it is being ended"),
    "Terminated": (JobState.FAILED, ""),
    "Error": (JobState.FAILED, ""),
}
# the table `event_logs` there: why a job is in Error; the first one here that it has decides. A job over its walltime
# is deleted by root, so that the order comes after the limit.
EVENTS: dict[str, tuple[JobState, Reason | None, str]] = {
    "WALLTIME": (JobState.FAILED, Reason.WALLTIME, ""),
    "BESTEFFORT_KILL": (JobState.FAILED, Reason.PREEMPTED, "it made way for another job"),
    "PING_CHECKER_NODE_SUSPECTED_END_JOB": (JobState.FAILED, Reason.NODE, "its node did not answer"),
    "FRAG_JOB_REQUEST": (JobState.CANCELLED, None, ""),
    "WORKING_DIRECTORY": (JobState.FAILED, Reason.STAGING, ""),
    "OUTPUT_FILES": (JobState.FAILED, Reason.STAGING, ""),
    "EXIT_VALUE_OAREXEC": (JobState.FAILED, Reason.NODE, ""),
}
# After these OAR submits the job again under another number; until it has looked at the event, it may yet do so
# (NodeChangeState, 2.5.9 and 2.6.1)
AGAIN = frozenset(
    {
        "PROLOGUE_ERROR",
        "CANNOT_WRITE_NODE_FILE",
        "CANNOT_WRITE_PID_FILE",
        "USER_SHELL",
        "CANNOT_CREATE_TMP_DIRECTORY",
        "LAUNCHING_OAREXEC_TIMEOUT",
    }
)
# words of an admission rule that speak of a limit that passes; the rules are the site's own
FULL = re.compile(r"too many jobs|max\w* (number of )?(waiting |running )?jobs|jobs? limit|quota", re.IGNORECASE)
# which field of ours a refusal speaks of
FIELDS = (
    (re.compile("walltime", re.IGNORECASE), "resources.walltime"),
    (re.compile("not enough resources", re.IGNORECASE), "resources.cores or nodes"),
    (re.compile("queue", re.IGNORECASE), "resources.queue"),
    (re.compile("project", re.IGNORECASE), "resources.account"),
)
ABSENT = re.compile(r"DB connection error|DBI connect|cannot connect to executor", re.IGNORECASE)
_ID = re.compile(r"(\d+)\.(\d+)\Z")
_SUBSTITUTE = 98  # what the job's script exits with in the place of 99
_SAID = re.compile(r"^\[ADMISSION RULE\] (Set default|Modify resource description).*\n?", re.MULTILINE)
_WAITING = frozenset(word for word, (state, _) in STATES.items() if state in {JobState.QUEUED, JobState.HELD})


def _seen(row: str) -> Observation:
    """Read `|STATE|NAME|QUEUE|NODE|SUBMITTED|STARTED|ENDED|EXIT|EVENTS`."""
    fields = row.split("|")[1:]
    if len(fields) != 9:
        raise ParseError("oarstat", f"{len(fields)} columns in {row!r}", text=row)
    word, name, queue, node, submitted, started, ended, code, events = fields
    known = STATES.get(word)
    if known is None:
        log.warning("oarstat says a state that this release does not know: %r", word)
    state, detail = known or (JobState.UNKNOWN, f"OAR says {word!r}")
    seen = Observation(
        word, state, None, None, None, detail, node or None, queue or None, _when(submitted), _when(started),
        _when(ended) if state.is_final else None, None, name or "?",
    )  # fmt: skip
    if word == "Terminated":
        return _terminated(seen, code)
    return _error(seen, events) if word == "Error" else seen


def _when(text: str) -> datetime | None:
    return None if text == "0" else epoch(text)


def _terminated(seen: Observation, code: str) -> Observation:
    """A job that ended by itself; `exit_code` is what wait(2) says: 768 is exit 3, 9 is SIGKILL."""
    if not code.isdecimal():
        return seen._replace(by_itself=True)
    exit_code, signal = int(code) >> 8, int(code) & 127
    if signal:
        return seen._replace(signal=signal)
    if exit_code == _SUBSTITUTE:
        return seen._replace(by_itself=True, detail="98 in the database stands for 98 and 99")
    state = JobState.FAILED if exit_code else JobState.SUCCEEDED
    return seen._replace(state=state, exit_code=exit_code)


def _error(seen: Observation, events: str) -> Observation:
    """A job that was ended, or could not be started: its events `TYPE,TO_CHECK,WORDS;...` tell which."""
    told: dict[str, str] = {}
    for event in events.split(";"):
        kind, _, rest = event.partition(",")
        check, _, said = rest.partition(",")
        told[kind] = said
        if kind in AGAIN and check == "YES":
            return seen._replace(state=JobState.QUEUED, ended=None, detail=f"it could not be started: {said}")
    for kind, (state, reason, detail) in EVENTS.items():
        if kind in told:
            return seen._replace(state=state, reason=reason, detail=detail or told[kind])
    failed = next((kind for kind in told if kind in AGAIN), "")
    if failed:
        return seen._replace(reason=Reason.NODE, detail=f"it could not be started: {told[failed]}")
    return seen._replace(detail="; ".join(filter(None, told.values())))


class OAR:
    """The command language of OAR, seen on 2.5.9 (Debian 12) and 2.6.1 (Debian 13)."""

    name: ClassVar[str] = "oar"
    sources: ClassVar[tuple[str, str]] = ("oarstat", "oarstat -f")
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {
            Reason.EXIT_CODE,
            Reason.SIGNAL,
            Reason.WALLTIME,
            Reason.NODE,
            Reason.PREEMPTED,
            Reason.STAGING,
            Reason.LOST,
        }
    )
    reserves: ClassVar[frozenset[str]] = frozenset({"cores", "nodes", "walltime"})
    shell: ClassVar[str] = fragment("intercede.schedulers", "oar")
    job_shell: ClassVar[str] = fragment("intercede.schedulers", "oar_job")

    def words(self, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
        """Options of oarsub(1): a core is a resource of OAR; cores are divided by node, rounded up."""
        wanted = check_resources(self.name, description.resources, self.reserves, settings.best_effort)
        native = native_words(self.name, description, settings)
        asked = f"/nodes={wanted.nodes}/resource_id={-(-wanted.cores // wanted.nodes)}"
        if wanted.walltime:
            seconds = max(1, -int(-wanted.walltime.total_seconds() // 1))
            asked += f",walltime={seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}"
        words = ["-l", asked]
        if any(word.startswith(("-l", "--resource")) for word in native):
            # two of them would be alternatives, of which OAR takes the one that starts first
            if wanted.cores > 1 or wanted.nodes > 1 or wanted.walltime:
                raise UnsupportedError("native.oar", "-l beside resources", "Ask for cores, nodes and walltime in one.")
            words = []
        if queue := wanted.queue or settings.queue:
            words += ["-q", queue]
        if account := wanted.account or settings.account:
            words += ["--project", account]
        if description.requeue:
            words += ["-t", "idempotent"]
        return (*words, *native)

    def files(self) -> dict[str, bytes]:
        """OAR needs no more."""
        return {}

    def native(self, answer: str, index: int) -> str:
        """`ic_submit` leaves the number of the array."""
        number = answer.strip()
        if not re.fullmatch(r"[1-9]\d*", number):
            raise ParseError("the answer of oarsub", f"no job id in {answer!r}", text=answer)
        return f"{number}.{index + 1}"

    def first_of(self, ref: JobRef) -> int:
        """Indices are counted from 1, and follow the copies of their part."""
        found = _ID.match(ref.native)
        if not found or not 1 <= int(found[2]) <= ref.copy_index + 1:
            said = f"{ref.native!r} is no OAR job of copy {ref.copy_index}"
            raise InvalidReference(f"job reference {ref}", said)
        return ref.copy_index + 1 - int(found[2])

    def refusal(self, answer: str, returncode: int) -> IntercedeError:
        """In oarsub's own words, without what its rules say to everybody."""
        said = _SAID.sub("", answer).strip() or answer
        return refused("oarsub", said, returncode, full=FULL, absent=ABSENT, fields=FIELDS)

    def read_queue(self, text: str) -> dict[str, Observation]:
        """Read lines `ARRAY.INDEX|STATE|NAME|...`."""
        return read_rows("oarstat", text, _ID, _seen)

    def read_history(self, text: str) -> dict[str, Observation]:
        """Read the same lines."""
        return read_rows("oarstat -f", text, _ID, _seen)

    def history_is_off(self, complaint: str) -> bool:
        """The database keeps all jobs."""
        return False

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """Up to 500 arrays are asked for by number; all that the user has, where there are more."""
        arrays = dict.fromkeys(native.partition(".")[0] for native in natives)
        return (",".join(arrays) if len(arrays) <= 500 else "-",)

    def order_words(self, refs: Sequence[JobRef]) -> tuple[str, ...]:
        """The array, and indices as `1-10,13`."""
        found = [_ID.match(ref.native) for ref in refs]
        array = next(each[1] for each in found if each)
        return array, ranges(int(each[2]) for each in found if each)

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """Ask oarnodes for the resources and oarstat for all jobs, in one round trip; no user may list the queues."""
        alive = "state NOT IN ('Terminated', 'Error')"
        nodes, jobs, me = yield (
            Command(("oarnodes", "-J", "--sql", "type = 'default'"), repeatable=True),
            Command(("oarstat", "-J", "--sql", alive), repeatable=True),
            Command(("id", "-un"), repeatable=True),
        )
        for asked, answer in (("oarnodes", nodes), ("oarstat", jobs)):
            if answer.returncode != 0:
                raise unavailable(asked, answer.complaint, answer.returncode)
        return Capacity(tuple(_queues(_json("oarnodes", nodes.text), _json("oarstat", jobs.text), me.text, settings)))


def _json(asked: str, text: str) -> list[dict[str, Any]]:
    """The objects by number of an answer; where there is none, OAR prints nothing."""
    try:
        read = json.loads(text or "{}")
    except ValueError as error:
        raise ParseError(f"the answer of {asked}", str(error), text=text) from error
    return [each for each in read.values() if isinstance(each, dict)] if isinstance(read, dict) else []


def _queues(
    resources: list[dict[str, Any]], jobs: list[dict[str, Any]], me: str, settings: ResourceSettings
) -> list[QueueInfo]:
    """The queues that have jobs, and the one that jobs go to; all of them share the resources."""
    default = settings.queue or "default"
    taken = {number for job in jobs for number in job.get("assigned_resources", ())}
    there = {each.get("resource_id") for each in resources if each.get("state") == "Alive"}
    counts: dict[tuple[str, bool, bool], int] = {}
    for job in jobs:
        key = (str(job.get("queue")), job.get("state") in _WAITING, job.get("owner") == me.strip())
        counts[key] = counts.get(key, 0) + 1
    names = dict.fromkeys([default, *(key[0] for key in counts)])
    queues = (
        QueueInfo(
            name, is_default=name == default, accepting=bool(there), cores=len(resources), free_cores=len(there - taken)
        )
        for name in names
    )
    return [counted(queue, counts) for queue in queues]
