"""Record anew what every Slurm of the testbed says: `python -m tools.record [STACK ...]`.

Each plain Slurm of the manifest is brought up in turn, recorded into `tests/transcripts/STACK`, and taken down. One
that `python -m testbed up STACK --keep` left up is used, and left up. `git diff` shows what has changed, and
`diff -ru tests/transcripts/slurm-20.11 tests/transcripts/slurm-22.05` what two versions say otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from intercede.testing.record import record
from testbed.errors import TestbedError
from testbed.launch import find_reusable, start, tell
from testbed.manifest import find_stack, load_manifest

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from testbed.stack import Stack

INTO = Path(__file__).parent.parent / "tests" / "transcripts"


@contextlib.contextmanager
def up(name: str) -> Generator[Stack]:
    """A stack that is up; what was up already stays so."""
    kept = find_reusable(name)
    if kept is not None:
        yield kept
        return
    stack = start(name, say=tell)
    try:
        yield stack
    finally:
        stack.close()


def main(names: Sequence[str]) -> int:
    """Record the named stacks; all plain Slurms by default."""
    every = [spec.name for spec in load_manifest().values() if (spec.system, spec.shape) == ("slurm", "plain")]
    try:
        for name in names or every:
            find_stack(name)
            with up(name) as stack:
                tell(f"recording {name}, {stack.version}")
                asyncio.run(record(f"ssh+{stack.spec.scheme}://{name}", stack.ssh_config, INTO / name))
    except TestbedError as error:
        tell(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
