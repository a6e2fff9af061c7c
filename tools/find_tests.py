"""Find which files have tests for which stack, so that the processes of a cell need not collect all the others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

__all__ = ["find_tests"]

ROOT = Path(__file__).parent.parent


def find_tests(stacks: Iterable[str]) -> dict[str, dict[str, int]]:
    """Collect the tests that need these stacks.

    Returns:
        How many there are in each file, by stack. A stack without tests is not in it, and nothing is if the tests
        cannot be collected: whoever runs them will see why.
    """
    if not (names := list(stacks)):
        return {}
    argv = [sys.executable, "-m", "tools.find_tests", *names]
    done = subprocess.run(argv, cwd=ROOT, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}


class _Count:
    """A plugin of pytest that counts."""

    def __init__(self) -> None:
        self.found: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what is left when the tests have been selected."""
        for item in session.items:
            for mark in item.iter_markers("stack"):
                self.found[mark.kwargs["name"]][str(item.path.relative_to(ROOT))] += 1


def main() -> int:
    """Print, in the last line, what there is for the stacks that are named."""
    import pytest

    count = _Count()
    marks = " or ".join(f'stack(name="{name}")' for name in sys.argv[1:])
    code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", "-m", marks, "tests"], plugins=[count])
    print(f"\n{json.dumps(count.found)}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
