"""The cells of the test matrix: what `make test`, `make test-all` and the hosted CI run.

The testbed's manifest is the only list. A cell is

- `quick`: everything that needs no container, on the Python of the environment;
- each stack: all tests that need it, whichever they are (`pytest -m 'stack(name="NAME")'` finds them);
- `python-X.Y`: the quick tests on another Python, in the container that the manifest's `[pythons]` names.

Every day means: each system in its newest version and each of its shapes. `python -m tools.cells` prints the cells;
with `--json` the matrix of a hosted CI. It needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.errors import TestbedError
from testbed.manifest import DEFAULT, MANIFEST, StackSpec, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BRISK", "QUICK", "Cell", "choose", "load_cells", "parse_cells"]

QUICK = "not testbed"
# Of those, what `make test-quick` runs too: a second interpreter needs no second look at what takes seconds
BRISK = f"{QUICK} and not slow"


@dataclass(frozen=True)
class Cell:
    """One run of pytest.

    Attributes:
        name: What it is called.
        marks: Which tests: what pytest is given with `-m`.
        stack: The stack that they need, or in whose image they run; None for those that run on this machine alone.
        python: Which Python of that image, "3.14"; empty for that of the environment.
        daily: Whether `make test` has it.
    """

    name: str
    marks: str
    stack: StackSpec | None = None
    python: str = ""
    daily: bool = True

    @property
    def about(self) -> str:
        """What it is, in a few words."""
        if self.stack is None:
            return "no container"
        if self.python:
            return f"the quick tests on Python {self.python}, in the image of {self.stack.name}"
        return f"{self.stack.system} {self.stack.version}, {self.stack.shape}"


def parse_cells(text: str) -> dict[str, Cell]:
    """Find the cells in a manifest.

    Raises:
        TestbedError: The manifest is wrong.
    """
    stacks = parse_manifest(text)
    cells = [Cell("quick", QUICK)]
    newest = _newest(stacks.values())
    for name, spec in stacks.items():
        daily = name == DEFAULT or newest[spec.system, spec.shape] == spec
        cells.append(Cell(name, f'stack(name="{name}")', spec, daily=daily))
    for python, name in tomllib.loads(text).get("pythons", {}).items():
        if name not in stacks:
            raise TestbedError(f"the manifest's Python {python} is that of {name!r}, and there is no such stack")
        cells.append(Cell(f"python-{python}", BRISK, stacks[name], python))
    return {cell.name: cell for cell in cells}


def _newest(stacks: Iterable[StackSpec]) -> dict[tuple[str, str], StackSpec]:
    found: dict[tuple[str, str], StackSpec] = {}
    for spec in sorted(stacks, key=lambda each: [int(part) for part in each.version.split(".")]):
        found[spec.system, spec.shape] = spec
    return found


def load_cells() -> dict[str, Cell]:
    """Find the cells of the repository's own manifest."""
    return parse_cells(MANIFEST.read_text(encoding="utf-8"))


def choose(names: list[str], *, everything: bool) -> list[Cell]:
    """Pick the cells of a run: those named, else all, else those of every day.

    Raises:
        TestbedError: There is no such cell; the message lists those there are.
    """
    cells = load_cells()
    if unknown := [name for name in names if name not in cells]:
        raise TestbedError(f"no cell {', '.join(unknown)}; there are: {', '.join(cells)}")
    return [cells[name] for name in names] or [cell for cell in cells.values() if everything or cell.daily]


def main() -> int:
    """Print the cells."""
    parser = argparse.ArgumentParser(prog="python -m tools.cells", description="Print the cells of the test matrix.")
    parser.add_argument("--all", action="store_true", help="also those that are not run every day")
    parser.add_argument("--json", action="store_true", help="as the matrix of a hosted CI: a list of names")
    arguments = parser.parse_args()
    cells = choose([], everything=arguments.all)
    if arguments.json:
        print(json.dumps([cell.name for cell in cells]))
        return 0
    for cell in cells:
        print(f"{cell.name:28} {cell.about}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
