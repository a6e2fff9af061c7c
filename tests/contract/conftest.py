"""The places where the contract is to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede.schedulers.process import Process
from intercede.testing.contract.place import Place, traits_of
from intercede.testing.contract.select import declare_markers, deselect_homeless, parametrize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HERE: Mapping[str, frozenset[str]] = {
    "local-process": traits_of(Process, "supervised"),
}


def pytest_configure(config: pytest.Config) -> None:
    declare_markers(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize(metafunc, HERE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    deselect_homeless(config, items)


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The place of that name."""
    makers = {"local-process": _local_process}
    return makers[request.param](tmp_path_factory.mktemp(request.param))


def _local_process(directory: Path) -> Place:
    settings = {"id": "local", "scheduler": "process", "slots": 4}
    return Place("local-process", HERE["local-process"], settings, str(directory))
