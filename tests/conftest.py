"""What all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from testbed.manifest import DEFAULT, load_manifest

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["testbed.plugin"]
pytest.register_assert_rewrite("intercede.testing.contract")
# by default an example that takes longer than 0.2 s fails, however busy the machine is
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def stack_of_shape(path: Path) -> str:
    """The stack that tests of `tests/shapes/test_NAME.py` need: of shape NAME, or plain of system NAME, or of Slurm.

    Of several it is the last of the manifest, which is run every day.
    """
    shape = path.stem.removeprefix("test_").replace("_", "-")
    fits = {"shape": shape}, {"system": shape, "shape": "plain"}
    stacks = list(load_manifest().items())[::-1]
    found = (name for wanted in fits for name, spec in stacks if wanted.items() <= vars(spec).items())
    return next(found, DEFAULT)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of shapes with their stack."""
    if item.path.parent.name == "shapes":
        item.add_marker(pytest.mark.stack(name=stack_of_shape(item.path)))
