"""The batch systems that are measured on, and the raw commands that do the same there: the floor."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercede.model import SchedulerName

__all__ = ["GRIDENGINE", "HTCONDOR", "OAR", "SLURM", "System"]

_UNPACK = 'umask 077; mkdir -p "$HOME/{0}/log" "$HOME/{0}/c" && cd "$HOME/{0}" && tar -xf - && '


@dataclass(frozen=True)
class System:
    """A batch system, by its raw commands.

    Attributes:
        name: The library's for it.
        stack: The stack of the testbed that is measured on.
        hold: The submit command's words for jobs that wait until they are cancelled: they disturb nothing.
        submit: Writes the line that unpacks the tar on stdin and submits so many copies under that name, with the
            options that the library uses.
        job: The number of the native job, from what that line says, and from a reference's native part.
        queue: The line that asks the queue for a job, `{0}`.
        history: The one that asks for how its copies ended.
        count: How many copies an answer speaks of.
        drop: The line that cancels it and waits until that costs nothing any more.
    """

    name: SchedulerName
    stack: str
    hold: tuple[str, ...]
    submit: Callable[[str, int], str]
    job: re.Pattern[str]
    queue: str
    history: str
    count: Callable[[str], int]
    drop: str

    def status(self, job: str, *, history: bool) -> str:
        """A line that asks the queue, and the history where the queue does not say how jobs ended."""
        lines = [f"{self.queue.format(job)} 2>/dev/null"]
        if history:
            lines.append(self.history.format(job))
        return "; ".join(lines)

    def number(self, said: str) -> str:
        """The native job that was submitted."""
        found = self.job.search(said)
        assert found, said
        return found[1]


def _slurm_submit(name: str, n: int) -> str:
    return _UNPACK.format(name) + (
        f"sbatch --parsable --hold --export=NIL --array=0-{n - 1} --job-name={name} --nodes=1 --ntasks=1 "
        '--cpus-per-task=1 --no-requeue --chdir="$PWD" --output="$PWD/log/0.%a" --input=/dev/null '
        '"$PWD/runner" "$PWD" 0'
    )


def _gridengine_submit(name: str, n: int) -> str:
    return _UNPACK.format(name) + (
        f'qsub -terse -h -t 1-{n} -N {name} -wd "$PWD" -o /dev/null -j y -w e -b y -shell n -r n '
        '/bin/sh "$PWD/runner" "$PWD" 0'
    )


def _oar_submit(name: str, n: int) -> str:
    return _UNPACK.format(name) + (
        f'oarsub --array {n} --hold -n {name} -d "$PWD" -O /dev/null -E /dev/null -l /nodes=1/resource_id=1 '
        '"exec /bin/sh $PWD/runner $PWD 0" | sed -n "s/^OAR_ARRAY_ID=//p"'
    )


def _htcondor_submit(name: str, n: int) -> str:
    """What such a job needs, with the files that the library has for each copy: fewer lines than the library's own."""
    lines = (
        "universe = vanilla\nexecutable = runner\narguments = 0 $(Process) $(ClusterId)\nhold = true\n"
        "output = log/0.$(Process)\nerror = log/0.$(Process).err\nshould_transfer_files = yes\n"
        "when_to_transfer_output = on_exit\n"
        "transfer_input_files = job,outputs,one/$(copy).line,secrets/$(copy)\ntransfer_output_files = ic.tar\n"
        f'transfer_output_remaps = "ic.tar = back/$(copy)"\nbatch_name = {name}\nrequest_cpus = 1\n'
        "requirements = JobCurrentStartExecutingDate =?= undefined\nqueue copy from seq 0 {0} |\n"
    ).replace("{0}", str(n - 1))
    return _UNPACK.format(name) + f"printf %s {shlex.quote(lines)} >submit.0 && condor_submit -terse submit.0"


def _slurm_count(text: str) -> int:
    """Lines `ID|...`, of squeue and of sacct, read without a doubt."""
    return len({fields[0]: fields for fields in (line.split("|") for line in text.splitlines())})


def _gridengine_count(text: str) -> int:
    """Records of qacct, and the tasks of qstat's elements, read without a doubt."""
    found = set(re.findall(r"^taskid +(\d+)", text, re.MULTILINE))
    for tasks in re.findall(r"<tasks>([^<]*)</tasks>", text):
        for part in tasks.split(","):
            first, _, last = part.partition(":")[0].partition("-")
            found.update(map(str, range(int(first), int(last or first) + 1)))
    return len(found)


def _oar_count(text: str) -> int:
    """Jobs of oarstat's JSON, read without a doubt."""
    return len(set(re.findall(r'^ *"Job_Id" : (\d+)', text, re.MULTILINE)))


def _htcondor_count(text: str) -> int:
    """Lines `CLUSTER PROC ...`, read without a doubt."""
    return len({tuple(fields[:2]): fields for fields in map(str.split, text.splitlines())})


_COLUMNS = (
    "ClusterId ProcId JobStatus JobBatchName HoldReasonCode HoldReasonSubCode RemoteHost QDate JobCurrentStartDate "
    "JobCurrentStartExecutingDate CompletionDate EnteredCurrentStatus ExitBySignal ExitCode ExitSignal NumJobStarts "
    "HoldReason RemoveReason"
)
# The controller tells the database of cancelled jobs afterwards: what is measured next has both to itself
_SETTLED = "for i in $(seq 300); do sdiag | grep -q 'DBD Agent queue size: *0$' && break; sleep 0.1; done"

SLURM = System(
    "slurm",
    "slurm-24.11",
    ("--hold",),
    _slurm_submit,
    re.compile(r"^(\d+)"),
    "squeue -h -r -t all -j {0} -o '%i|%T|%r|%j|%P|%B|%V|%S|%e|%l'",
    "sacct -n -P -X -j {0} -o JobID,State,ExitCode,JobName,Partition,NodeList,Submit,Start,End,Timelimit",
    _slurm_count,
    f"scancel {{0}}; {_SETTLED}",
)
GRIDENGINE = System(
    "gridengine",
    "gridengine-8.1",
    ("-h",),
    _gridengine_submit,
    re.compile(r"^(\d+)"),
    'qstat -u "$(id -un)" -xml',
    "qacct -j {0}",
    _gridengine_count,
    "qdel {0} >/dev/null; while qstat | grep -q '^ *{0} '; do sleep 0.2; done",
)
OAR = System(
    "oar",
    "oar-2.6",
    ("--hold",),
    _oar_submit,
    re.compile(r"^(\d+)"),
    "oarstat -J --array {0}",
    ":",  # that tells of ended jobs as well
    _oar_count,
    "oardel --array {0} >/dev/null 2>&1; "
    "while oarstat -J --array {0} | grep -q -e '\"Hold\"' -e '\"toError\"'; do sleep 0.2; done",
)
HTCONDOR = System(
    "htcondor",
    "htcondor-25.14",
    ("hold = true",),
    _htcondor_submit,
    re.compile(r"(\d+)\.0"),
    "condor_q {0} -af " + _COLUMNS,
    "condor_history {0} -af " + _COLUMNS,
    _htcondor_count,
    "condor_rm {0} >/dev/null; while condor_q {0} -af ProcId | grep -q .; do sleep 0.2; done",
)
