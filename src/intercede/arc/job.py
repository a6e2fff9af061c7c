"""A job of ours in a session of A-REX: its files, what the server is told of it, and how it is known again. Pure.

Of a job there are, in its session directory: `intercede.in.tar`, which we upload and without which it never starts; the
directory TAG while it runs, with `c/COPY/stdout` in it; and `intercede.out.tar` when it has ended, besides
`intercede.output.NAME` for what the CE is to send away. `intercede.purged` is of the submission: what was purged of it.
"""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from intercede.arc.adl import Activity
from intercede.errors import ConfigurationError
from intercede.model import check_tag
from intercede.workarea.programs import fragment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from intercede.model import Resources

__all__ = ["IN", "JOB_SHELL", "OUT", "PURGED", "Label", "activity", "job_name", "read_label"]

IN = "intercede.in.tar"
OUT = "intercede.out.tar"
PURGED = "intercede.purged"
FETCHED = "intercede.input."
SENT = "intercede.output."
JOB_SHELL = (
    fragment("intercede.workarea", "outputs")
    + fragment("intercede.workarea", "pack")
    + fragment("intercede.arc", "job")
)
_VERSION = 1
# Whoever has our identity can write a label, so what it counts is held against what can be
_MOST_COPIES = 1_000_000
_LAST = int(datetime.max.replace(tzinfo=UTC).timestamp())
_NAMESPACE = "{http://www.eu-emi.eu/es/2010/12/adl}"


@dataclass(frozen=True, slots=True)
class Label:
    """How a job is known to be one of ours; the server keeps it in the job's description.

    Attributes:
        tag: Of its submission.
        resource: Whose.
        digest: What the submission agrees in.
        copy: Which copy of it.
        copies: How many there were to be.
        key: The caller's own identifier of the copy.
        submitted: Seconds, by the sender's clock.
        queue: That was asked for, or none.
        outputs: The patterns that were declared.
    """

    tag: str
    resource: str
    digest: str
    copy: int
    copies: int
    key: str
    submitted: int
    queue: str | None = None
    outputs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the job is called: by the tag, and by whose it is."""
        return job_name(self.tag, self.resource)

    @property
    def when(self) -> datetime:
        """When it was sent."""
        return datetime.fromtimestamp(self.submitted, UTC)

    def written(self) -> str:
        """As text, of printable ASCII alone; the tag is in the job's name."""
        said = {
            "v": _VERSION, "resource": self.resource, "digest": self.digest, "copy": self.copy, "copies": self.copies,
            "key": self.key, "submitted": self.submitted, "queue": self.queue, "outputs": self.outputs,
        }  # fmt: skip
        return json.dumps(said, separators=(",", ":"))


def job_name(tag: str, resource: str) -> str:
    """What the jobs of a submission are called. The information documents of many jobs have their names."""
    return f"ic-{tag}+{hashlib.sha256(resource.encode()).hexdigest()[:8]}"


def read_label(description: str) -> Label | None:
    """Read the label out of a job's description as the server keeps it; None if the job is none of ours."""
    try:
        root = ET.fromstring(description)  # noqa: S314 - expat bounds what entities may grow to
    except ET.ParseError:
        return None
    name = root.findtext(f".//{_NAMESPACE}Name") or ""
    try:
        said: Any = json.loads(root.findtext(f".//{_NAMESPACE}Annotation") or "")
        if not name.startswith("ic-") or said["v"] != _VERSION:
            return None
        label = Label(
            check_tag(name.removeprefix("ic-").partition("+")[0]), str(said["resource"]), str(said["digest"]),
            int(said["copy"]), int(said["copies"]), str(said["key"]), int(said["submitted"]),
            None if said["queue"] is None else str(said["queue"]), tuple(str(each) for each in said["outputs"]),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, ConfigurationError):
        return None
    sound = 0 <= label.copy < label.copies <= _MOST_COPIES and 0 <= label.submitted <= _LAST
    return label if sound else None


def activity(
    label: Label, resources: Resources, *, runtimes: Sequence[str] = (), fetched: Mapping[str, str] | None = None,
    sent: Mapping[str, str] | None = None, delegation: str | None = None,
) -> Activity:  # fmt: skip
    """What A-REX is told of one copy.

    Args:
        label: Of the job.
        resources: What it is given.
        runtimes: Names of runtime environments.
        fetched: Inputs that the CE fetches, by name: from where.
        sent: Outputs that the CE sends away at the end, by name: where to.
        delegation: The identifier of the delegated credential for both.
    """
    begin = (
        f"mkdir -m 700 {label.tag} && tar -xof {IN} -C {label.tag} && rm -f {IN} && test -f {label.tag}/whole && "
        f"exec /bin/sh {label.tag}/runner {label.tag} {label.copy}"
    )
    home = f"{label.tag}/c/{label.copy}"
    kept = (OUT, PURGED, *(f"{home}/{name}" for name in ("record", "stdout", "stderr")))
    cores, memory = resources.cores, resources.memory
    return Activity(
        name=label.name,
        program="/bin/sh",
        arguments=("-c", begin),
        annotation=label.written(),
        stdout="intercede.stdout",
        stderr="intercede.stderr",
        uploads={IN: False},
        fetched={FETCHED + name: url for name, url in (fetched or {}).items()},
        kept=kept,
        sent={SENT + name: url for name, url in (sent or {}).items()},
        queue=label.queue,
        cores=cores,
        nodes=resources.nodes,
        memory=None if memory is None else -(-memory // cores),
        walltime=resources.walltime,
        runtimes=runtimes,
        delegation=delegation,
    )
