"""The contract on a batch system itself: the suite runs inside the container, as one of its users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.cells import load_cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.stack import Stack

PYTEST = (
    "/opt/venv/bin/python",
    "-m",
    "pytest",
    "--rootdir=/src",
    "-c",
    "/src/pyproject.toml",
    "-p",
    "no:cacheprovider",
)


@pytest.mark.testbed
@pytest.mark.first
@pytest.mark.timeout(1800)
def test_contract_inside(stack_factory: Callable[[str], Stack], container: str) -> None:
    stack = stack_factory(container)
    environment = {"INTERCEDE_CONTRACT": f"local-{stack.spec.scheme}", "PYTHONPYCACHEPREFIX": "/home/alice/.pycache"}
    # OAR starts four jobs a second: two whole suites at once are too many for it
    whole = not load_cells()[container].daily and stack.spec.system != "oar"
    if whole:
        environment["INTERCEDE_CONTRACT_WHOLE"] = "1"
    done = stack.exec(
        [*PYTEST, "-q", "-n", "2", "/src/tests/contract/test_contract.py"],
        user="alice",
        check=False,
        timeout=None,
        env=environment,
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, said
    assert " passed" in said
