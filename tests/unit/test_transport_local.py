"""Commands as processes of this machine."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from intercede.errors import LimitExceeded
from intercede.steps import Command
from intercede.transports.local import LocalTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intercede.transports.local.TERM_GRACE", 0.3)
    monkeypatch.setattr("intercede.transports.local.KILL_GRACE", 0.1)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid: int) -> bool:
    for _ in range(100):
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


async def test_bytes_go_in_and_out_unchanged() -> None:
    words = [b"\xff\xfe", b"a'b\"c", b"$HOME `id` \\ !", b"line\nline", b"", "ü".encode()]
    (answer,) = await LocalTransport().run([Command(("printf", "%s\\0", *words))])
    assert answer.stdout.split(b"\0")[:-1] == words


async def test_status_stderr_and_environment() -> None:
    (answer,) = await LocalTransport().run([Command(("sh", "-c", "echo $LC_ALL $TZ; echo no >&2; exit 7"))])
    assert (answer.returncode, answer.stdout, answer.stderr) == (7, b"C UTC0\n", b"no\n")


async def test_a_signal_is_told_as_by_a_shell() -> None:
    (answer,) = await LocalTransport().run([Command(("sh", "-c", "kill -9 $$"))])
    assert answer.returncode == 137


async def test_a_missing_program_gives_127_and_the_next_command_runs(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    answers = await LocalTransport().run(
        [Command(("nosuch",)), Command((str(tmp_path / "plain"),)), Command(("true",))]
    )
    assert [answer.returncode for answer in answers] == [127, 126, 0]
    assert b"nosuch: not found" in answers[0].stderr


async def test_stdin_from_an_iterable_that_is_slow_and_large() -> None:
    ticks = 0

    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            time.sleep(0.005)
            yield b"x" * 100_000

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    (answer,) = await LocalTransport().run([Command(("wc", "-c"), pieces())])
    ticking.cancel()
    assert int(answer.stdout) == 5_000_000
    assert ticks > 10


async def test_a_command_that_does_not_read_its_stdin_is_no_error() -> None:
    (answer,) = await LocalTransport().run([Command(("true",), b"x" * 5_000_000)])
    assert answer.returncode == 0


async def test_an_error_of_the_callers_iterable_reaches_the_caller() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise FileNotFoundError("input.dat")

    with pytest.raises(FileNotFoundError, match=r"input\.dat"):
        await LocalTransport().run([Command(("cat",), pieces())])


@pytest.mark.parametrize("stream", ["", " >&2"])
async def test_output_beyond_the_limit_is_refused(stream: str) -> None:
    with pytest.raises(LimitExceeded, match="1000 bytes"):
        await LocalTransport().run([Command(("sh", "-c", f"yes{stream}"), output_limit=1000)])


@pytest.mark.slow
async def test_a_command_that_takes_too_long_is_ended_with_its_group(tmp_path: Path) -> None:
    body = f"sh -c 'trap : TERM; while :; do sleep 0.1; done' & echo $! > {tmp_path}/pid; echo said; wait"
    # it never ends by itself
    async with asyncio.timeout(30):
        (answer,) = await LocalTransport().run([Command(("sh", "-c", body), time_limit=0.5)])
    assert answer.timed_out
    assert answer.returncode == 124
    assert answer.stdout == b"said\n"
    assert await gone(int((tmp_path / "pid").read_text()))


async def test_cancelling_ends_the_group(tmp_path: Path) -> None:
    command = Command(("sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"))
    task = asyncio.create_task(LocalTransport().run([command]))
    pid = await pid_in(tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pid)


async def test_a_process_that_left_the_session_lives_on_and_does_not_block(tmp_path: Path) -> None:
    body = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' </dev/null >/dev/null 2>&1 &"
    (answer,) = await LocalTransport().run([Command(("sh", "-c", body))])
    assert answer.returncode == 0
    pid = await pid_in(tmp_path / "pid")
    assert alive(pid)
    os.kill(pid, 9)


@pytest.mark.slow
async def test_a_stranger_that_holds_the_pipe_ends_with_the_time_limit(tmp_path: Path) -> None:
    body = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & echo done"
    async with asyncio.timeout(30):
        (answer,) = await LocalTransport().run([Command(("sh", "-c", body), time_limit=0.5)])
    assert answer.timed_out
    assert answer.stdout == b"done\n"
    os.kill(await pid_in(tmp_path / "pid"), 9)


async def test_a_stream_gives_pieces_and_the_end() -> None:
    async with LocalTransport().stream(
        Command(("sh", "-c", "head -c 10000000 /dev/zero; echo e >&2; exit 4"))
    ) as stream:
        size = 0
        async for piece in stream:
            size += len(piece)
            if size < 5_000_000:
                await asyncio.sleep(0)
        done = await stream.completed()
    assert (size, done.returncode, done.stderr, done.stdout) == (10_000_000, 4, b"e\n", b"")


async def test_a_slow_reader_holds_the_command_back() -> None:
    transport = LocalTransport()
    async with transport.stream(Command(("cat", "/dev/zero"))) as stream:
        async for _ in stream:
            break
        await asyncio.sleep(0.3)
        assert transport.counters.bytes_received < 64 * 1024 * 1024


async def test_leaving_a_stream_early_ends_the_command(tmp_path: Path) -> None:
    body = f"echo $$ > {tmp_path}/pid; echo go; sleep 60; echo never"
    async with LocalTransport().stream(Command(("sh", "-c", body))) as stream:
        async for piece in stream:
            assert piece == b"go\n"
            break
    assert await gone(await pid_in(tmp_path / "pid"))


async def test_the_budget_of_the_host_holds_for_all_transports() -> None:
    first, second = LocalTransport(concurrent=2), LocalTransport(concurrent=2)
    began = time.monotonic()
    await asyncio.gather(*(each.run([Command(("sleep", "0.2"))]) for each in (first, second) for _ in range(3)))
    assert time.monotonic() - began >= 0.6
    assert first.counters.seconds_waited + second.counters.seconds_waited > 0.3
    assert first.counters.commands == 3
    await first.aclose()
    await first.aclose()
