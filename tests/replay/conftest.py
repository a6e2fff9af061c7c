"""A submit host of PBS whose commands answer from recordings, here and over SSH."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from intercede.registry import batch_element
from intercede.settings import ResourceSettings
from intercede.steps import Completed
from intercede.testing.replay import ReplayShell, Transcript
from intercede.testing.ssh_server import ssh_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from intercede.elements.batch import BatchElement

COMMANDS = ("qsub", "qstat", "qdel", "qrls", "qselect", "id", "bsub", "bjobs", "bkill", "bresume", "bqueues", "bparams")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReplayShell:
    """The stand-in commands, in front of PATH. The recordings are of user1's jobs."""
    made = ReplayShell(tmp_path / "bin", COMMANDS)
    made.answers("id -un", Transcript("id -un", Completed(0, b"user1\n", b"")))
    monkeypatch.setenv("PATH", made.path, prepend=os.pathsep)
    return made


@pytest.fixture(params=["local", "ssh"])
async def pbs(request: pytest.FixtureRequest, shell: ReplayShell, tmp_path: Path) -> AsyncIterator[BatchElement]:
    """An element of that host."""
    async with _element("pbs", request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def torque(shell: ReplayShell, tmp_path: Path) -> AsyncIterator[BatchElement]:
    """An element of that host, where its commands are Torque's."""
    async with _element("torque", "local", tmp_path) as made:
        yield made


@pytest.fixture
async def lsf(shell: ReplayShell, tmp_path: Path) -> AsyncIterator[BatchElement]:
    """An element of that host, where its commands are LSF's."""
    async with _element("lsf", "local", tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def _element(name: str, way: str, tmp_path: Path) -> AsyncGenerator[BatchElement]:
    async with contextlib.AsyncExitStack() as stack:
        settings: dict[str, Any] = {
            "id": name, "scheduler": name, "work_area": f"{tmp_path}/it's a 100% $HOME", "grace": 1,
            "limits": {"command_time": 15, "submit_time": 15}, "politeness": {"min_interval": 0.1, "max_interval": 0.2},
        }  # fmt: skip
        if way == "ssh":
            server = await stack.enter_async_context(ssh_server(tmp_path / "server"))
            settings["ssh"] = {
                "host": server.host, "port": server.port, "user": server.user, "agent": False, "config_file": "",
                "identity_files": [str(server.client_key)], "known_hosts": str(server.known_hosts),
            }  # fmt: skip
        yield await stack.enter_async_context(batch_element(ResourceSettings.model_validate(settings)))
