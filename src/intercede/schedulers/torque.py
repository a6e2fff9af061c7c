"""Torque, a dialect of PBS: qsub, qstat, qdel, qrls. After its manual; nothing of it was ever seen by us.

https://docs.adaptivecomputing.com/torque/6-1-2/adminGuide (Appendix A, "Commands Overview"; "Job Exit Status").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from intercede.answers import Capacity, JobState, Reason
from intercede.errors import ParseError
from intercede.schedulers.pbs import PBS, Dialect, counts, queue_info
from intercede.steps import Command
from intercede.workarea.programs import fragment
from intercede.workarea.scheduler import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from intercede.model import Resources
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps

__all__ = ["Torque"]

# qstat(1B), "Standard Output"
STATES: dict[str, JobState] = {
    "C": JobState.FAILED,  # its exit status says how
    "E": JobState.RUNNING,
    "H": JobState.HELD,
    "Q": JobState.QUEUED,
    "R": JobState.RUNNING,
    "S": JobState.SUSPENDED,
    "T": JobState.QUEUED,
    "W": JobState.QUEUED,
}
# "Job Exit Status"; it starts jobs that ended with -3, -13 or -14 again
KILLED: dict[int, tuple[Reason | None, str]] = {
    -1: (Reason.NODE, "Torque could not start it on the node, before its files were there"),
    -2: (Reason.NODE, "Torque could not start it on the node, after its files were there"),
    -3: (Reason.NODE, "Torque could not start it on the node"),
    -4: (Reason.NODE, "ended when the node was started"),
    -5: (Reason.NODE, "ended when the node was started"),
    -6: (Reason.NODE, "ended when the node was started"),
    -7: (Reason.NODE, "Torque could not restart it"),
    -8: (Reason.NODE, "Torque could not execute its command"),
    -9: (Reason.STAGING, "Torque could not open its output"),
    -10: (Reason.MEMORY, "it used more memory than it asked for"),
    -11: (Reason.WALLTIME, "it ran longer than it asked for"),
    -12: (None, "it used more processor time than it asked for"),
    -13: (Reason.NODE, "the node could not make its control group"),
    -14: (Reason.NODE, "the node's prologue failed"),
}


class Torque(PBS):
    """The command language of Torque, from its documentation."""

    name: ClassVar[str] = "torque"
    sources: ClassVar[tuple[str, str]] = ("qstat -t", "qstat -f")
    reasons: ClassVar[frozenset[Reason]] = frozenset(
        {
            Reason.EXIT_CODE,
            Reason.SIGNAL,
            Reason.WALLTIME,
            Reason.MEMORY,
            Reason.NODE,
            Reason.STAGING,
            Reason.LOST,
        }
    )
    # a status above 255 is none of a script's own: what was never started was deleted
    dialect: ClassVar[Dialect] = Dialect(STATES, KILLED, unstarted=r"2[5-9]\d|3[01]\d", rejects=False)
    shell: ClassVar[str] = "\n".join(fragment("intercede.schedulers", name) for name in ("pbs", "torque"))
    job_shell: ClassVar[str] = "\n".join(fragment("intercede.schedulers", name) for name in ("torque_job", "pbs_job"))

    def _amounts(self, wanted: Resources) -> list[str]:
        """`nodes=N:ppn=P` of "Requesting Resources"; memory is the job's in all."""
        words = [f"nodes={wanted.nodes}:ppn={-(-wanted.cores // wanted.nodes)}"]
        if wanted.gpus:
            words[0] += f":gpus={-(-wanted.gpus // wanted.nodes)}"
        if wanted.memory:
            words.append(f"mem={-(-wanted.memory // 1024)}kb")
        return [word for each in words for word in ("-l", each)]

    def native(self, answer: str, index: int) -> str:
        """As for OpenPBS, without the server, which the table of `qstat -t` cuts off."""
        return super().native(answer, index).partition(".")[0]

    def history_is_off(self, complaint: str) -> bool:
        """There is none to be switched off: completed jobs stay for a while, or not at all."""
        return False

    def queue_words(self, natives: Iterable[str]) -> tuple[str, ...]:
        """One table shows all jobs."""
        return ()

    def capacity(self, settings: ResourceSettings) -> Steps[Capacity]:
        """Queues and the default one; whose jobs wait and run there."""
        queues, server, jobs, me = yield (
            Command(("qstat", "-Q", "-f"), repeatable=True),
            Command(("qstat", "-B", "-f"), repeatable=True),
            Command(("qstat", "-t"), repeatable=True),
            Command(("id", "-un"), repeatable=True),
        )
        for asked, answer in (("qstat -Q", queues), ("qstat -B", server), ("qstat -t", jobs)):
            if answer.returncode != 0:
                raise unavailable(asked, answer.complaint, answer.returncode)
        default = re.search(r"^ +default_queue = (\S+)$", server.text, re.MULTILINE)
        seen = counts(jobs.text, me.text.strip())
        found = re.findall(r"^Queue: (\S+)\n((?: .*\n|\t.*\n)*)", queues.text, re.MULTILINE)
        if not found and queues.text.strip():
            raise ParseError("qstat -Q -f", "no queue in it", text=queues.text)
        listed = []
        for name, about in found:
            told = dict(re.findall(r"^ +(\S+) = (.*)$", about, re.MULTILINE))
            limit, enabled = told.get("resources_max.walltime", ""), told.get("enabled", "")
            first = default is not None and name == default[1]
            listed.append(queue_info(name, default=first, enabled=enabled, limit=limit, seen=seen))
        return Capacity(tuple(listed))
