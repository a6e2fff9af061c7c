"""What is supported, as tables, from the code and the testbed's manifest.

`verified` is said of what the contract suite runs against in every `make test`; `planned` of what has a name in the
model and no command language yet. Nothing else is claimed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, get_args

from intercede.answers import Reason
from intercede.model import SchedulerName
from intercede.urls import SCHEDULERS
from testbed.manifest import load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["needs", "reasons", "support", "table"]

TITLES = {
    "arc": "ARC",
    "grid_engine": "Grid Engine",
    "htcondor": "HTCondor",
    "lsf": "LSF",
    "oar": "OAR",
    "pbs": "PBS",
    "process": "processes, no batch system",
    "slurm": "Slurm",
}
NEEDS = ("cores", "gpus", "nodes", "memory", "walltime")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def support() -> str:
    """What is reached, how, and how far that is true."""
    rows = [
        [TITLES["process"], "this machine", "`local:`", "verified"],
        [TITLES["process"], "over SSH", "`ssh+process://user@host`", "verified"],
    ]
    for name in SCHEDULERS:
        if name == "process":
            continue
        here = f"`{name}:`, `{name}:///queue`"
        plain = [stack for stack in load_manifest().values() if stack.system == name and stack.shape == "plain"]
        releases = [stack.version for stack in plain]
        label = "verified" if releases else "from documentation"
        for release in releases or [""]:
            rows.append([f"{TITLES[name]} {release}".strip(), "this machine", here, label])
            rows.append([f"{TITLES[name]} {release}".strip(), "over SSH", f"`ssh+{name}://user@host/queue`", label])
    planned = [TITLES[name] for name in get_args(SchedulerName) if name not in SCHEDULERS]
    rows.append([", ".join([*planned, "HTCondor-CE"]), "", "", "planned"])
    return table(("System", "Where", "URL", "State"), rows)


def needs() -> str:
    """Which resources each command language can reserve."""
    return _matrix("Need", NEEDS, lambda need, each: "reserved" if need in each.reserves else "refused")


def reasons() -> str:
    """Which reasons each command language can tell."""
    return _matrix("Reason", Reason, lambda reason, each: "told" if reason in each.reasons else "")


def _matrix(title: str, names: Iterable[str], cell: Callable[[str, Any], str]) -> str:
    schedulers = _schedulers()
    rows = ([f"`{name}`", *(cell(name, each) for each in schedulers)] for name in names)
    return table((title, *(f"`{each.name}`" for each in schedulers)), rows)


def _schedulers() -> list[Any]:
    found = []
    for place in SCHEDULERS.values():
        module, _, name = place.partition(":")
        found.append(getattr(importlib.import_module(module), name))
    return found
