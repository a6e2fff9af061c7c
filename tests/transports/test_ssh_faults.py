"""Connections that are not made, or break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from intercede.errors import ConnectFailed, ConnectionLost, TransportError
from intercede.steps import Command
from intercede.testing.ssh_server import Faults
from intercede.transports import ssh_connect

if TYPE_CHECKING:
    from tests.transports.conftest import MakeTransport, StartServer

HELLO = Command(("echo", "hello"))


async def test_a_closed_port(start: StartServer, connect: MakeTransport) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectFailed, match="refused"):
        await connect(await start(), port=port).run([HELLO])


async def test_no_such_host(start: StartServer, connect: MakeTransport) -> None:
    with pytest.raises(ConnectFailed, match="no such host"):
        await connect(await start(), host="nonexistent.invalid").run([HELLO])


async def test_a_port_that_accepts_and_is_silent(start: StartServer, connect: MakeTransport) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with asyncio.timeout(30):  # the port is silent for ever
            with pytest.raises(ConnectFailed, match=r"within 0\.3 s"):
                await connect(await start(), port=silent.getsockname()[1], connect_timeout=0.3).run([HELLO])


async def test_a_server_that_hangs_up_at_first_is_tried_again(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    calls = 0

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while piece := await reader.read(65536):
                writer.write(piece)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls <= 2:  # as OpenSSH does beyond MaxStartups; 8.5 and later say why before
            writer.write(b"Exceeded MaxStartups\r\n" if calls == 1 else b"")
            writer.close()
            return
        there, back = await asyncio.open_connection(server.host, server.port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    busy = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with busy:
        port = busy.sockets[0].getsockname()[1]
        transport = connect(server, port=port, host_keys=(server.host_key,))
        assert (await transport.run([HELLO]))[0].stdout == b"hello\n"
        await transport.aclose()
    assert calls == 3


async def test_something_that_is_no_ssh_server(
    start: StartServer, connect: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_connect, "BUSY_WAITS", (0, 0))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    other = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with other:
        with pytest.raises(ConnectFailed):
            await connect(await start(), port=other.sockets[0].getsockname()[1]).run([HELLO])


async def test_broken_before_the_command_ran(start: StartServer, connect: MakeTransport) -> None:
    server = await start(faults=Faults(before=1))
    transport = connect(server)
    with pytest.raises(ConnectionLost, match="may have run"):  # the request was sent: we cannot know
        await transport.run([HELLO])
    assert (await transport.run([HELLO]))[0].stdout == b"hello\n"


async def test_broken_after_the_command_began(start: StartServer, connect: MakeTransport) -> None:
    server = await start(faults=Faults(after=1))
    transport = connect(server)
    with pytest.raises(ConnectionLost):
        await transport.run([Command(("sleep", "5"), repeatable=True)])
    assert server.executions == 1
    assert (await transport.run([HELLO]))[0].stdout == b"hello\n"
    assert transport.counters.connections == server.connections == 2


async def test_broken_in_the_middle_of_output(start: StartServer, connect: MakeTransport) -> None:
    server = await start(faults=Faults(output=(1, 1_000_000)))
    transport = connect(server)
    got = 0

    async def read() -> None:
        nonlocal got
        async with transport.stream(Command(("cat", "/dev/zero"))) as stream:
            async for piece in stream:
                got += len(piece)

    with pytest.raises(ConnectionLost):
        await read()
    assert 0 < got <= 1_000_000
    assert (await transport.run([HELLO]))[0].stdout == b"hello\n"


async def test_a_server_that_refuses_the_command(start: StartServer, connect: MakeTransport) -> None:
    transport = connect(await start(faults=Faults(refuse=1)))
    with pytest.raises(ConnectFailed, match="does not execute"):
        await transport.run([HELLO])
    assert (await transport.run([HELLO]))[0].stdout == b"hello\n"


async def test_a_server_without_sessions(
    start: StartServer, connect: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intercede.transports.ssh.REFUSED_WAITS", (0.01, 0.01))
    with pytest.raises(ConnectFailed, match="MaxSessions"):
        await connect(await start(max_sessions=0)).run([HELLO])


async def test_lost_while_idle_is_made_again_without_an_error(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    transport = connect(server)
    await transport.run([HELLO])
    server.drop()
    await asyncio.gather(*(transport.run([HELLO]) for _ in range(5)))
    assert server.connections == 2


async def test_all_commands_on_a_lost_connection_are_told(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    transport = connect(server)
    tasks = [asyncio.create_task(transport.run([Command(("sleep", "10"))])) for _ in range(5)]
    while server.executions < 5:  # noqa: ASYNC110 - the server's counter
        await asyncio.sleep(0.01)
    server.drop()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(answer) for answer in answers} == {ConnectionLost}


async def test_a_herd_that_cannot_connect_tries_as_one(
    start: StartServer, connect: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_connect, "BUSY_WAITS", (0, 0))
    attempts = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.1)
        writer.close()

    closing = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with closing:
        transport = connect(await start(), port=closing.sockets[0].getsockname()[1])
        answers = await asyncio.gather(*(transport.run([HELLO]) for _ in range(8)), return_exceptions=True)
    assert all(isinstance(answer, TransportError) for answer in answers)
    assert attempts == 3


async def test_cancelled_while_connecting(start: StartServer, connect: MakeTransport) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        transport = connect(await start(), port=silent.getsockname()[1])
        tasks = [asyncio.create_task(transport.run([HELLO])) for _ in range(3)]
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)


async def test_one_of_a_herd_is_cancelled_and_the_others_connect(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    transport = connect(server)
    tasks = [asyncio.create_task(transport.run([HELLO])) for _ in range(4)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(answer, tuple) for answer in answers[1:])
    assert server.connections == 1
