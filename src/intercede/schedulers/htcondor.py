"""HTCondor on its submit host: condor_submit, condor_q, condor_history, condor_rm, condor_release, condor_tail.

No file system is shared with the nodes: HTCondor moves a job's files. Each copy is a process of one cluster.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from intercede.answers import Capacity, JobState, QueueInfo, Reason
from intercede.condor import ORDERED, STATES, hold_reason
from intercede.errors import ConfigurationError, InvalidReference, ParseError, UnsupportedError
from intercede.schedulers.common import check_resources, epoch, log, native_words, read_rows, refused
from intercede.steps import Command
from intercede.workarea.programs import fragment
from intercede.workarea.scheduler import Observation, ranges, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, JobRef, Resources
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["ABSENT", "FIELDS", "FULL", "HTCondor", "native_lines"]

AGAIN = "intercede: it was started once, lost its place, and is not to be started again"
LATE = "intercede: its walltime is over"
REMOVED = {AGAIN: Reason.NODE, LATE: Reason.WALLTIME}
FULL = re.compile(r"MAX_JOBS_PER_OWNER|MAX_JOBS_SUBMITTED|exceed.*limit", re.IGNORECASE)
ABSENT = re.compile(r"an't find address of|ailed to connect|an't connect|onnection refused", re.IGNORECASE)
# the beginning of an expression that could not be read; the one of `requirements` speaks of all of them
FIELDS = (
    (re.compile(r"^\s*request_?memory\b", re.IGNORECASE | re.MULTILINE), "resources.memory"),
    (re.compile(r"^\s*request_?cpus\b", re.IGNORECASE | re.MULTILINE), "resources.cores"),
    (re.compile(r"^\s*request_?gpus\b", re.IGNORECASE | re.MULTILINE), "resources.gpus"),
    (re.compile("accounting_?group", re.IGNORECASE), "resources.account"),
)
_ID = re.compile(r"(\d+)\.(\d+)\Z")
_IMAGE = re.compile(r"[A-Za-z0-9_./:@+-]+\Z")
_IDS = re.compile(r"\d+\.\d+\Z")
_SLOT = ("SlotType", "State", "TotalSlotCpus", "Cpus")
_BEGAN = "JobCurrentStartExecutingDate"
_GRACE = 120  # seconds after the walltime, when the job's own script should have ended it
_TOLD = 30  # seconds between SIGTERM and SIGKILL


def _known(text: str) -> str:
    return "" if text in {"undefined", "error"} else text


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


class _Row(NamedTuple):
    """What condor_q and condor_history are asked for."""

    status: str
    name: str
    hold: str
    subcode: str
    host: str
    queued: str
    started: str
    executing: str
    completed: str
    entered: str
    signalled: str
    code: str
    number: str
    starts: str
    why: str


@lru_cache(4096)
def _seen(rest: str) -> Observation:
    """Read the columns of `_Row`, each after a `|`."""
    fields = [_known(each) for each in rest.split("|")[1:]]
    if len(fields) != len(_Row._fields):
        raise ParseError("condor_q", f"{len(fields)} columns in {rest!r}", text=rest)
    row = _Row(*fields)
    row = row._replace(name=row.name or "?")  # one without is somebody else's
    if row.status not in STATES:
        log.warning("condor_q or condor_history says a state that this release does not know: %r", row.status)
        return Observation(row.status, JobState.UNKNOWN, detail=f"HTCondor says JobStatus {row.status}", name=row.name)
    state, word = STATES[row.status]
    seen = Observation(
        word, state, detail=row.why, node=row.host.rpartition("@")[2] or None, submitted=epoch(row.queued),
        started=epoch(row.executing) or epoch(row.started), name=row.name,
    )  # fmt: skip
    if state is JobState.QUEUED:
        return seen._replace(node=None, started=None)
    if word == "Removed":
        # it is in the queue until its node has ended it; one that never started has nothing to end
        waited = seen.started is None
        seen = seen._replace(state=JobState.QUEUED, node=None) if waited else seen
        return seen._replace(ended=epoch(row.entered))
    if state is JobState.HELD:
        codes = row.hold if row.subcode in {"", "0"} else f"{row.hold}.{row.subcode}"
        seen = seen._replace(reason=hold_reason(row.hold, row.subcode), detail=f"held ({codes}): {row.why}")
    elif word != "Completed":
        return seen
    signal = _number(row.number) if row.signalled == "true" else None
    exit_code = _number(row.code) if row.signalled != "true" else None
    if word == "Completed":
        state = JobState.SUCCEEDED if exit_code == 0 else JobState.FAILED
        seen = seen._replace(state=state, ended=epoch(row.completed) or epoch(row.entered), detail="")
    return seen._replace(exit_code=exit_code, signal=signal)


def _past(rest: str) -> Observation:
    """As in the queue, but nothing there goes on: what was removed has ended."""
    seen = _seen(rest)
    if seen.word != "Removed":
        return seen
    if seen.detail in REMOVED:
        return seen._replace(state=JobState.FAILED, reason=REMOVED[seen.detail])
    ordered = ORDERED.search(seen.detail)
    return seen._replace(state=JobState.CANCELLED if ordered else JobState.FAILED)


class HTCondor:
    """The command language of HTCondor, seen on 23.9.6 and 25.14.1."""

    name: ClassVar[str] = "htcondor"
    sources: ClassVar[tuple[str, str]] = ("condor_q", "condor_history")
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {Reason.EXIT_CODE, Reason.SIGNAL, Reason.WALLTIME, Reason.MEMORY, Reason.NODE, Reason.STAGING, Reason.LOST}
    )
    reserves: ClassVar[frozenset[str]] = frozenset({"cores", "gpus", "memory", "walltime"})
    shell: ClassVar[str] = fragment("intercede.schedulers", "htcondor")
    # what is brought back is chosen on the node
    job_shell: ClassVar[str] = (
        fragment("intercede.workarea", "outputs")
        + fragment("intercede.workarea", "pack")
        + fragment("intercede.schedulers", "htcondor_job")
    )

    def words(self, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
        """Lines of a submit description: memory is in MiB, rounded up; an account is an accounting group."""
        wanted = check_resources(self.name, description.resources, self.reserves, settings.best_effort)
        if wanted.queue or settings.queue:
            raise UnsupportedError("resources.queue", "HTCondor has no queues", "Leave it out.")
        lines = [f"request_cpus = {wanted.cores}", f"job_max_vacate_time = {_TOLD}"]
        if wanted.memory:
            lines.append(f"request_memory = {-(-wanted.memory // 2**20)}")
        if wanted.gpus:
            lines.append(f"request_gpus = {wanted.gpus}")
        if account := wanted.account or settings.account:
            lines.append(f"accounting_group = {account}")
        lines += _policy(wanted, requeue=description.requeue)
        return (*lines, *native_lines(description, settings))

    def files(self) -> dict[str, bytes]:
        """HTCondor needs no more."""
        return {}

    def native(self, answer: str, index: int) -> str:
        """`condor_submit -terse` prints `CLUSTER.0 - CLUSTER.9`, after any warnings."""
        for line in reversed(answer.split("\n")):
            if found := re.match(r"\s*(\d+)\.0(\s+-\s+\d+\.\d+)?\s*\Z", line):
                return f"{found[1]}.{index}"
        raise ParseError("the answer of condor_submit", f"no job id in {answer!r}", text=answer)

    def first_of(self, ref: JobRef) -> int:
        """The process counts the copies of its part."""
        found = _ID.match(ref.native)
        if not found or int(found[2]) > ref.copy_index:
            said = f"{ref.native!r} cannot be copy {ref.copy_index}"
            raise InvalidReference(f"job reference {ref}", said, "Was it cut or changed?")
        return ref.copy_index - int(found[2])

    def refusal(self, answer: str, returncode: int) -> IntercedeError:
        """Tell a limit that passes, and a daemon that is not there, from a refusal."""
        return refused("condor_submit", answer, returncode, full=FULL, absent=ABSENT, fields=FIELDS)

    def read_queue(self, text: str) -> dict[str, Observation]:
        """Read what condor_q printed."""
        return read_rows("condor_q", text, _IDS, _seen)

    def read_history(self, text: str) -> dict[str, Observation]:
        """Read what condor_history printed."""
        return read_rows("condor_history", text, _IDS, _past)

    def history_is_off(self, complaint: str) -> bool:
        """Whether the schedd writes none (`HISTORY` is not defined)."""
        return "No history file defined" in complaint

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """Up to 300 clusters are asked for by number; where there are more, all of the user's jobs.

        From 398 on (25.14.1) condor_q prints nothing, and succeeds.
        """
        clusters = dict.fromkeys(native.partition(".")[0] for native in natives)
        return tuple(clusters) if len(clusters) <= 300 else ("-",)

    def order_words(self, refs: Sequence[JobRef]) -> tuple[str, ...]:
        """`CLUSTER 0-9,12`."""
        found = [each for ref in refs if (each := _ID.match(ref.native))]
        return (found[0][1], ranges(int(each[2]) for each in found))

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """Ask for all slots that are no part of another one, and for how many jobs there are, in one round trip."""
        slots, totals, me = yield (
            Command(("condor_status", "-constraint", 'SlotType =!= "Dynamic"', "-af", *_SLOT), repeatable=True),
            Command(("condor_q", "-totals"), repeatable=True),
            Command(("id", "-un"), repeatable=True),
        )
        for asked, answer in (("condor_status", slots), ("condor_q", totals)):
            if answer.returncode != 0:
                raise unavailable(asked, answer.complaint, answer.returncode)
        cores = free = 0
        for line in slots.text.split("\n"):
            kind, state, total, left = [*line.split(), "", "", "", ""][:4]
            cores += _number(total) or 0
            if kind == "Partitionable" or state == "Unclaimed":
                free += _number(left) or 0
        ours, everybody = _totals(totals.text, me.text.strip() or "?"), _totals(totals.text, "")
        return Capacity((
            QueueInfo(
                "pool", is_default=True, accepting=cores > 0, cores=cores, free_cores=free, waiting=everybody[0],
                running=everybody[1], ours_waiting=ours[0], ours_running=ours[1],
            ),
        ))  # fmt: skip


def native_lines(description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
    """The container universe where it is configured, and the site's and the description's own lines.

    Raises:
        ConfigurationError: The image cannot be written down, or a line is more than one, or says what is queued.
    """
    native = native_words(HTCondor.name, description, settings)
    image = description.container if settings.container_universe else None
    if image is not None and not _IMAGE.match(image):
        raise ConfigurationError("container", f"{image!r} has characters that HTCondor might take for others")
    for line in native:
        if "\n" in line or re.match(r"\s*queue\b", line, re.IGNORECASE):
            raise ConfigurationError("native.htcondor", f"{line!r} is not one line of a submit description")
    return (*_container(image), *native)


def _container(image: str | None) -> tuple[str, ...]:
    """The container universe; a path is one of the node, where the image is already."""
    if image is None:
        return ()
    here = ("transfer_container = false",) if image.startswith("/") else ()
    return ("universe = container", f"container_image = {image}", *here)


def _policy(wanted: Resources, *, requeue: bool) -> list[str]:
    """When HTCondor is to remove a job by itself, and what it says then."""
    lines = []
    again = late = "false"
    if not requeue:
        # neither matched again, nor left waiting; NumJobStarts is told the schedd minutes later
        lines.append(f"requirements = {_BEGAN} =?= undefined")
        again = f"JobStatus =?= 1 && {_BEGAN} =!= undefined"
    if wanted.walltime:
        limit = max(1, -int(-wanted.walltime.total_seconds() // 1)) + _GRACE
        late = f"JobStatus =?= 2 && {_BEGAN} >= JobCurrentStartDate && time() - {_BEGAN} > {limit}"
    if (again, late) != ("false", "false"):
        lines.append(f"periodic_remove = ({again}) || ({late})")
        # of another expression, that of a site or of native words, HTCondor says which one it was
        said = f'ifThenElse({again}, "{AGAIN}", ifThenElse({late}, "{LATE}", undefined))'
        lines.append(f"My.PeriodicRemoveReason = {said}")
    return lines


def _totals(text: str, user: str) -> tuple[int, int]:
    """How many wait and run of `Total for USER@DOMAIN: ... 3 idle, 1 running, ...`; all users' without a user."""
    who = rf"{re.escape(user)}(@\S+)?" if user else "all users"
    found = re.search(rf"^Total for {who}: .* (\d+) idle, (\d+) running", text, re.MULTILINE)
    return (int(found[found.lastindex - 1]), int(found[found.lastindex])) if found and found.lastindex else (0, 0)
