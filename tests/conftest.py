"""What all tests share."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from testbed.manifest import DEFAULT, load_manifest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytest_plugins = ["testbed.plugin"]
pytest.register_assert_rewrite("intercede.testing.contract")
# by default an example that takes longer than 0.2 s fails, however busy the machine is
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def stack_of_shape(path: Path) -> str:
    """The stack that tests of `tests/shapes/test_NAME.py` need: of shape NAME, or plain of system NAME, or of Slurm.

    All are of systems that are reached over SSH. Of several it is the last of the manifest, which is run every day.
    """
    shape = path.stem.removeprefix("test_").replace("_", "-")
    fits = {"shape": shape}, {"system": shape, "shape": "plain"}
    stacks = [(name, spec) for name, spec in load_manifest().items() if not spec.port][::-1]
    found = (name for wanted in fits for name, spec in stacks if wanted.items() <= vars(spec).items())
    return next(found, DEFAULT)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of shapes with their stack."""
    if item.path.parent.name == "shapes":
        item.add_marker(pytest.mark.stack(name=stack_of_shape(item.path)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who wants a stack alone comes last, and may have to wait until the others are done."""
    for item in items:
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.timeout(1800))
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test marked `alone` stops or freezes daemons of its stack: meanwhile no other worker is there.

    What jobs miss then, they are told a minute later. It is more than a fixture, for those of a session come before it.
    """
    names = sorted({mark.kwargs["name"] for mark in item.iter_markers("stack")})
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    # what the fixture tmp_path_factory gives
    above = item.config._tmp_path_factory.getbasetemp().parent  # ty: ignore[missing-attribute]
    kind = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    with contextlib.ExitStack() as held:
        for name in names:
            gate, lock = (held.enter_context((above / f"{name}-{run}.{end}").open("w")) for end in ("gate", "lock"))
            # whoever waits for it alone keeps others from coming before him
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(lock, kind)
            fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)
