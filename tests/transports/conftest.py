"""Servers in this process, and ways to them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intercede.settings import SSHSettings
from intercede.testing.ssh_server import SSHServer, ssh_server
from intercede.transports.ssh import SSHTransport

StartServer = Callable[..., Awaitable[SSHServer]]
MakeTransport = Callable[..., SSHTransport]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose name is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="ic-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartServer]:
    """Start a server; all of them are stopped after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(name: str = "server", **options: Any) -> SSHServer:
            return await stack.enter_async_context(ssh_server(tmp_path / name, **options))

        yield begin


@pytest.fixture
async def connect(start: StartServer) -> AsyncIterator[MakeTransport]:
    """Make a transport to a server; all of them are closed after the test (before the servers stop)."""
    async with contextlib.AsyncExitStack() as stack:

        def make(
            server: SSHServer, *, credentials: Any = None, time_limit: float = 20, **settings: Any
        ) -> SSHTransport:
            transport = SSHTransport(
                SSHSettings(**({**way_to(server)} | settings)),
                resource="test",
                credentials=credentials,
                concurrent=50,
                time_limit=time_limit,
            )
            stack.push_async_callback(transport.aclose)
            return transport

        yield make


def way_to(server: SSHServer) -> dict[str, Any]:
    """The settings that reach a server with its own key."""
    return {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "identity_files": (server.client_key,),
        "known_hosts": server.known_hosts,
        "config_file": Path(),
        "agent": False,
        "connect_timeout": 10,
    }
