"""What is supported, as tables, from the code and the testbed's manifest.

`verified` is said, with the day, of what the contract suite passed on in the last recorded run of all cells, live;
`recorded from` of what there are only recordings of; `from documentation` of the rest; `planned` of what has a name in
the model and no command language yet. Nothing else is claimed.
"""

from __future__ import annotations

import ast
import importlib
import re
from typing import TYPE_CHECKING, Any, get_args

from intercede.answers import Reason
from intercede.model import SchedulerName
from intercede.urls import GRID, SCHEDULERS, languages
from testbed.manifest import IMAGES, REPOSITORY, load_manifest
from tools.cells import load_cells
from tools.results import load_results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tools.cells import Cell

__all__ = ["cells", "needs", "reasons", "support", "table"]

TITLES = {
    "arc": "ARC",
    "gridengine": "Grid Engine",
    "htcondor": "HTCondor",
    "htcondor-ce": "HTCondor-CE (a stand-in, of HTCondor alone)",
    "lsf": "LSF",
    "oar": "OAR",
    "pbs": "OpenPBS",
    "process": "processes, no batch system",
    "slurm": "Slurm",
    "torque": "Torque",
}
# Of systems that are not in the testbed: what there are recordings of, in tests/transcripts
RECORDED = {"pbs": "recorded from a live OpenPBS 23.06.06"}
QUEUELESS = {"htcondor"}
# The configurations that say nothing of what is behind a CE; the others are called after that
GRID_SHAPES = {"plain", "ce"}
NEEDS = ("cores", "gpus", "nodes", "memory", "walltime")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


def support() -> str:
    """What is reached, how, and how far that is true."""
    rows = [
        [TITLES["process"], "this machine", "`local:`", _state("quick")],
        [TITLES["process"], "over SSH", "`ssh+process://user@host`", _state("quick")],
    ]
    for name in SCHEDULERS:
        if name == "process":
            continue
        queue = "" if name in QUEUELESS else "/queue"
        here = f"`{name}:`" + (f", `{name}://{queue}`" if queue else "")
        plain = [stack for stack in load_manifest().values() if stack.system == name and stack.shape == "plain"]
        there = f"`ssh+{name}://user@host{queue}`"
        if not plain:
            rows.append(
                [TITLES[name], "this machine, over SSH", f"{here}, {there}", RECORDED.get(name, "from documentation")]
            )
        for stack in plain:
            # On the system's own machine the suite runs where Python is new enough
            ways = {"over SSH": there} | ({"this machine": here} if stack.inside else {})
            system = f"{TITLES[name]} {stack.version}, Debian {stack.suite}"
            rows += [[system, where, url, _state(stack.name)] for where, url in reversed(ways.items())]
    for stack in load_manifest().values():
        if stack.scheme in GRID and (stack.shape in GRID_SHAPES or stack.shape in TITLES):
            behind = f" over {TITLES[stack.shape]}" if stack.shape in TITLES else ""
            system = f"{TITLES[stack.scheme]} {stack.version}{behind}, Debian {stack.suite}"
            rows.append([system, "over the network", f"`{stack.scheme}://host/queue`", _state(stack.name)])
    planned = [TITLES[name] for name in (*get_args(SchedulerName), "htcondor-ce") if name not in languages()]
    if planned:
        rows.append([", ".join(planned), "", "", "planned"])
    return table(("System", "Where", "URL", "State"), rows)


def _state(cell: str) -> str:
    last = load_results().get(cell)
    return f"verified {last.date}" if last and last.good else "not verified yet"


def cells() -> str:
    """What the contract and the tests of configurations ran against, and how that came out."""
    results = load_results()
    rows = []
    for cell in load_cells().values():
        last = results.get(cell.name)
        said = [last.openssh, last.python, f"{last.passed} passed", last.date] if last else ["", "", "not run yet", ""]
        if last and not last.good:
            said[2] = f"{last.failed} failed, {last.passed} passed"
        rows.append([f"`{cell.name}`", _system(cell), _about(cell), *said])
    return table(("Cell", "System", "What it shows", "OpenSSH", "Python", "Tests", "Last run"), rows)


def _system(cell: Cell) -> str:
    if cell.stack is None:
        return "no container"
    system = "" if cell.python else f"{TITLES.get(cell.stack.system, cell.stack.system)} {cell.stack.version}, "
    return f"{system}Debian {cell.stack.suite}"


def _about(cell: Cell) -> str:
    if cell.stack is None:
        return "pure tests; the contract on processes, here and over SSH"
    if cell.python:
        return f"the same on Python {cell.python}"
    if cell.stack.shape in GRID_SHAPES:
        return "the contract"
    if cell.stack.scheme in GRID and cell.stack.shape in TITLES:
        return f"the contract, with {TITLES[cell.stack.shape]} behind it"
    return _first_sentence(cell.stack.system, cell.stack.shape)


def _first_sentence(system: str, shape: str) -> str:
    """Of the tests for a shape, else of its configuration."""
    folder = system if system in GRID else "shapes"
    module = REPOSITORY / "tests" / folder / f"test_{shape.replace('-', '_')}.py"
    if module.is_file():
        text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    else:
        lines = (IMAGES / system / "shapes" / f"{shape}.sh").read_text(encoding="utf-8").splitlines()
        text = " ".join(line.lstrip("# ") for line in lines if line.startswith("# ") and "shellcheck" not in line)
    return re.split(r"(?<=\w)\.(?:\s|$)", re.sub(r"\s+", " ", text), maxsplit=1)[0].replace("|", "\\|")


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
    for place in (*SCHEDULERS.values(), *(place for place, _ in GRID.values())):
        module, _, name = place.partition(":")
        found.append(getattr(importlib.import_module(module), name))
    return found
