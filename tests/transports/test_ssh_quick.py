"""A host that is known to have a good timeout(1) is given a shorter script: nothing else may differ."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from intercede.steps import Command
from tests.transports.test_ssh_commands import gone, pid_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercede.testing.ssh_server import SSHServer
    from intercede.transports.ssh import SSHTransport
    from tests.transports.conftest import MakeTransport, StartServer

BANNER = (b"Welcome!\n" * 50, b"stty: not a tty\n")


async def known(start: StartServer, connect: MakeTransport, **options: object) -> tuple[SSHServer, SSHTransport]:
    server = await start(**options)
    transport = connect(server)
    (first,) = await transport.run([Command(("sh", "-c", "echo out; echo err >&2"))])
    assert (first.stdout, first.stderr) == (b"out\n", b"err\n")
    assert transport._link is not None
    assert transport._link.has_timeout is not None
    return server, transport


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("sh", "-c", "cat; echo err >&2; exit 7"), (7, b"in", b"err\n")),
        (("sh", "-c", "exit 124"), (124, b"", b"")),
        (("sh", "-c", "exit 125"), (125, b"", b"")),
        (("sh", "-c", "exit 137"), (137, b"", b"")),
        (("sh", "-c", "kill -9 $$"), (137, b"", b"")),
        (("printf", "%s", "it's $HOME\n\\"), (0, b"it's $HOME\n\\", b"")),
        (("sh", "-c", "echo $LC_ALL $TZ"), (0, b"C UTC0\n", b"")),
    ],
)
async def test_what_a_command_gives(
    start: StartServer, connect: MakeTransport, argv: Sequence[str], expected: tuple[int, bytes, bytes]
) -> None:
    _, transport = await known(start, connect, profile=BANNER)
    (answer,) = await transport.run([Command(tuple(argv), stdin=b"in")])
    assert (answer.returncode, answer.stdout, answer.stderr, answer.timed_out) == (*expected, False)


@pytest.mark.parametrize("name", ["nosuchprogram", "cd", "exit"])
async def test_a_name_is_a_program_never_a_builtin(start: StartServer, connect: MakeTransport, name: str) -> None:
    _, transport = await known(start, connect)
    (answer,) = await transport.run([Command((name, "0"))])
    assert answer.returncode == 127
    assert name.encode() in answer.stderr


async def test_the_time_limit_holds_for_all_that_was_started(start: StartServer, connect: MakeTransport) -> None:
    server, transport = await known(start, connect)
    body = f"sleep 100 & echo $! >{server.home}/pid; echo said; wait"
    began = time.monotonic()
    (answer,) = await transport.run([Command(("sh", "-c", body), time_limit=1)])
    assert time.monotonic() - began >= 1
    assert (answer.timed_out, answer.returncode, answer.stdout) == (True, 124, b"said\n")
    assert await gone(await pid_in(server.home / "pid"))


async def test_cancelling_ends_the_command(start: StartServer, connect: MakeTransport) -> None:
    server, transport = await known(start, connect)
    body = f"echo $$ >{server.home}/pid; exec sleep 100"
    task = asyncio.create_task(transport.run([Command(("sh", "-c", body), time_limit=50)]))
    pid = await pid_in(server.home / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pid)


async def test_another_connection_is_looked_at_anew(start: StartServer, connect: MakeTransport) -> None:
    _, transport = await known(start, connect)
    assert transport._link is not None
    connection = await transport._link.connection(transport.counters)
    transport._link.drop(connection)
    (answer,) = await transport.run([Command(("echo", "again"))])
    assert answer.stdout == b"again\n"
    assert transport._link.has_timeout is not connection
