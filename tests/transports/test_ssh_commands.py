"""Commands over SSH, on a server in this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from intercede.errors import ConnectFailed, LimitExceeded
from intercede.steps import Command

if TYPE_CHECKING:
    from tests.transports.conftest import MakeTransport, StartServer

SHELLS = {"bash": ("bash", "-c"), "fish": ("fish", "-c"), "tcsh": ("tcsh", "-c"), "zsh": ("zsh", "-c")}
BANNER = (b"Welcome to the cluster!\n*** maintenance ***\n" * 50, b"stty: not a tty\n")


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        await asyncio.sleep(0.02)
    return False


def written(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def pid_in(path: Path) -> int:
    while not written(path).endswith("\n"):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)
    return int(written(path))


async def test_bytes_go_in_and_out_unchanged(start: StartServer, connect: MakeTransport) -> None:
    transport = connect(await start())
    words = [bytes(range(1, 256)), b"", b"a'b\"!\\", "ü".encode(), b"\n\n"]
    (answer,) = await transport.run([Command(("sh", "-c", 'printf "%s\\0" "$@"; cat', "sh", *words), b"\0\xff in")])
    assert answer.stdout.split(b"\0", len(words)) == [*words, b"\0\xff in"]
    assert transport.counters.connections == 1
    assert transport.counters.commands == 1


async def test_status_stderr_and_a_missing_program(start: StartServer, connect: MakeTransport) -> None:
    transport = connect(await start())
    (failed,) = await transport.run([Command(("sh", "-c", "echo out; echo err >&2; exit 7"))])
    (missing,) = await transport.run([Command(("nosuchprogram",))])
    (killed,) = await transport.run([Command(("sh", "-c", "kill -9 $$"))])
    assert (failed.returncode, failed.stdout, failed.stderr) == (7, b"out\n", b"err\n")
    assert missing.returncode == 127
    assert b"nosuchprogram" in missing.stderr
    assert (killed.returncode, killed.timed_out) == (137, False)


async def test_several_commands_are_one_execution(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    transport = connect(server)
    commands = [
        Command(("cat",), b"first"),
        Command(("sh", "-c", "echo two; echo e2 >&2; exit 3")),
        Command(("nosuch",)),
        Command(("head", "-c", "100000", "/dev/zero")),
    ]
    answers = await transport.run(commands)
    assert [answer.returncode for answer in answers] == [0, 3, 127, 0]
    assert [len(answer.stdout) for answer in answers] == [5, 4, 0, 100_000]
    assert answers[1].stderr == b"e2\n"
    assert server.executions == transport.counters.commands == 1
    assert await transport.run([]) == ()


@pytest.mark.parametrize("shell", SHELLS)
async def test_any_login_shell_and_what_its_profile_prints(
    start: StartServer, connect: MakeTransport, shell: str
) -> None:
    transport = connect(await start(login=SHELLS[shell], profile=BANNER))
    (one,) = await transport.run([Command(("printf", "%s", b"it's \\ !\n\xff"))])
    assert (one.stdout, one.stderr) == (b"it's \\ !\n\xff", b"")
    first, second = await transport.run([Command(("cat",), b"in"), Command(("sh", "-c", "echo e >&2"))])
    assert (first.stdout, second.stderr) == (b"in", b"e\n")


async def test_a_profile_that_never_ends_is_an_error(start: StartServer, connect: MakeTransport) -> None:
    transport = connect(await start(login=("yes",)))
    with pytest.raises(ConnectFailed, match="did not start our command"):
        await transport.run([Command(("true",))])


async def test_an_account_without_a_shell(start: StartServer, connect: MakeTransport) -> None:
    transport = connect(await start(login=("sh", "-c", "echo This account is not available; exit 1")))
    with pytest.raises(ConnectFailed, match="This account is not available"):
        await transport.run([Command(("true",))])


async def test_five_megabytes_through_stdin(start: StartServer, connect: MakeTransport) -> None:
    transport = connect(await start())
    data = os.urandom(5_000_000)
    (answer,) = await transport.run([Command(("cat",), [data[:1_000_000], data[1_000_000:]])])
    assert answer.stdout == data
    assert transport.counters.bytes_sent == len(data)
    (ignored,) = await transport.run([Command(("echo", "no"), data)])
    assert ignored.stdout == b"no\n"


@pytest.mark.parametrize("stream", ["", " >&2"])
async def test_output_beyond_the_limit_is_refused(start: StartServer, connect: MakeTransport, stream: str) -> None:
    transport = connect(await start())
    with pytest.raises(LimitExceeded, match="1000 bytes"):
        await transport.run([Command(("sh", "-c", f"yes{stream}"), output_limit=1000)])
    small = Command(("head", "-c", "2000", "/dev/zero"), output_limit=1000)
    with pytest.raises(LimitExceeded, match="1000 bytes"):
        await transport.run([Command(("true",)), small])
    assert (await transport.run([Command(("true",))]))[0].returncode == 0


async def test_what_is_too_long_is_refused_before(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    with pytest.raises(LimitExceeded, match="stdin"):
        await connect(server).run([Command(("echo", "x" * 200_000))])
    assert server.executions == 0


async def test_a_command_that_hangs_is_ended_on_the_host(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    transport = connect(server)
    body = f"echo $$ > {server.home}/one; sleep 100 & echo $! > {server.home}/two; echo said; wait"
    began = time.monotonic()
    async with asyncio.timeout(40):  # it sleeps for longer
        (answer,) = await transport.run([Command(("sh", "-c", body), time_limit=2)])
    assert time.monotonic() - began >= 2
    assert (answer.timed_out, answer.returncode, answer.stdout) == (True, 124, b"said\n")
    assert await gone(await pid_in(server.home / "one"))
    assert await gone(await pid_in(server.home / "two"))
    hung, after = await transport.run([Command(("sleep", "100"), time_limit=1), Command(("echo", "on"))])
    assert (hung.timed_out, after.timed_out, after.stdout) == (True, False, b"on\n")
    assert transport.counters.connections == 1


async def test_a_command_that_ignores_term_is_killed(
    start: StartServer, connect: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intercede.transports.ssh_shell.KILL_AFTER", 1)
    server = await start()
    body = f"trap '' TERM; echo $$ > {server.home}/pid; while :; do sleep 0.2; done"
    (answer,) = await connect(server).run([Command(("sh", "-c", body), time_limit=1)])
    assert answer.timed_out
    assert await gone(await pid_in(server.home / "pid"))


async def test_a_command_with_the_statuses_of_timeout_did_not_time_out(
    start: StartServer, connect: MakeTransport
) -> None:
    transport = connect(await start())
    for status in (124, 137):
        (answer,) = await transport.run([Command(("sh", "-c", f"exit {status}"))])
        assert (answer.returncode, answer.timed_out) == (status, False)


@pytest.mark.parametrize("deaf", [False, True])
async def test_cancelling_is_prompt_and_ends_the_command(
    start: StartServer, connect: MakeTransport, deaf: bool
) -> None:
    server = await start(deaf=deaf)
    transport = connect(server)
    body = f"echo $$ > {server.home}/pid; exec sleep 100"
    task = asyncio.create_task(transport.run([Command(("sh", "-c", body), time_limit=4 if deaf else 50)]))
    pid = await pid_in(server.home / "pid")
    task.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert alive(pid) or not deaf, "nobody waits for the watchdog"
    assert await gone(pid)  # by the signal, else by the watchdog
    assert (await transport.run([Command(("echo", "still"))]))[0].stdout == b"still\n"
    assert transport.counters.connections == 1


async def test_a_stream(start: StartServer, connect: MakeTransport) -> None:
    server = await start(profile=BANNER)
    transport = connect(server)
    async with transport.stream(Command(("sh", "-c", "cat; echo e >&2; exit 4"), [b"x" * 1_000_000] * 20)) as stream:
        size = 0
        async for piece in stream:
            size += len(piece)
        done = await stream.completed()
    assert (size, done.returncode, done.stdout, done.stderr) == (20_000_000, 4, b"", b"e\n")


async def test_a_slow_reader_holds_the_command_back(start: StartServer, connect: MakeTransport) -> None:
    transport = connect(await start())
    async with transport.stream(Command(("cat", "/dev/zero"))) as stream:
        async for _ in stream:
            break
        await asyncio.sleep(0.5)
        assert transport.counters.bytes_received < 64 * 1024 * 1024


async def test_leaving_a_stream_early_ends_the_command(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    async with connect(server).stream(Command(("sh", "-c", f"echo $$ > {server.home}/pid; exec yes"))) as stream:
        async for _ in stream:
            break
    assert await gone(await pid_in(server.home / "pid"))


@pytest.mark.parametrize("allowed", [1, 3])
async def test_the_servers_bound_on_sessions_is_learned(
    start: StartServer, connect: MakeTransport, allowed: int
) -> None:
    server = await start(max_sessions=allowed)
    transport = connect(server)
    commands = [Command(("sh", "-c", f"sleep 0.03; echo {number}")) for number in range(20)]
    answers = await asyncio.gather(*(transport.run([command]) for command in commands))
    assert [int(answer.stdout) for (answer,) in answers] == list(range(20))
    assert server.executions == 20
    assert server.most_sessions == allowed
    assert transport.counters.connections == 1
    assert transport.counters.seconds_waited > 0


async def test_one_connection_for_all_transports_that_go_the_same_way(
    start: StartServer, connect: MakeTransport
) -> None:
    server = await start()
    transports = [connect(server) for _ in range(10)]
    await asyncio.gather(*(each.run([Command(("true",))]) for each in transports))
    assert server.connections == 1
    assert sum(each.counters.connections for each in transports) == 1
    for each in transports[:-1]:
        await each.aclose()
        await each.aclose()
    await transports[-1].run([Command(("true",))])
    await transports[-1].aclose()
    await asyncio.sleep(0.05)
    assert (server.connections, len(server.live)) == (1, 0)
    await transports[0].run([Command(("true",))])
    assert server.connections == 2
