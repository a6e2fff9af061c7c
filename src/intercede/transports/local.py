"""This machine as the submit host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, cast

from intercede.answers import Counters
from intercede.steps import Completed
from intercede.transports.budget import budget_for
from intercede.transports.flow import Flow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from intercede.steps import Command

__all__ = ["LocalTransport"]

TIMED_OUT = 124  # as timeout(1) has it
TERM_GRACE = 2.0
REST_GRACE = 0.1
KILL_GRACE = 1.0


class LocalTransport:
    """Runs commands as processes of this machine.

    A command gets the environment of this process with `LC_ALL=C` and `TZ=UTC0`, and a process group of its own. The
    whole group is ended (TERM, at most two seconds later KILL) when its time is over, when the caller is cancelled, and
    when a stream is left early. What a command has put into another session (`setsid`) lives on, as it does over SSH.
    Commands of one `run` run one after another.

    Args:
        concurrent: How many commands may run at once on this machine, all elements of the process together.
        time_limit: Seconds for a command that says nothing about it.
    """

    def __init__(self, *, concurrent: int = 4, time_limit: float = 60) -> None:
        self._concurrent = concurrent
        self._time_limit = time_limit
        self._counters = Counters()

    @property
    def host(self) -> str:
        """The host's name, the key of the budget that all elements of the process share for it."""
        return "local"

    @property
    def counters(self) -> Counters:
        """What it has cost so far."""
        return self._counters

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        """Run commands one after another, as one execution.

        A program that is not there gives 127, one that cannot be executed 126, as a shell would.

        Raises:
            LimitExceeded: A command said more than its `output_limit`.
        """
        if not commands:
            return ()
        answers = []
        async with budget_for(self.host, self._concurrent).turn(self._counters):
            self._counters.commands += 1
            for command in commands:
                async with self._start(command, streamed=False) as process:
                    stdout = await process.flow.rest()
                    answers.append(process.answer(stdout))
        return tuple(answers)

    @contextlib.asynccontextmanager
    async def stream(self, command: Command) -> AsyncGenerator[LocalStream, None]:
        """Run one command and hand out its stdout as it comes.

        Leaving early ends the command. `output_limit` bounds stderr only: whoever reads bounds stdout.
        """
        async with budget_for(self.host, self._concurrent).turn(self._counters):
            self._counters.commands += 1
            async with self._start(command, streamed=True) as process:
                yield LocalStream(process)

    async def aclose(self) -> None:
        """Let go of the host; there is nothing to let go of."""

    @contextlib.asynccontextmanager
    async def _start(self, command: Command, *, streamed: bool) -> AsyncGenerator[_Process, None]:
        process = _Process(Flow(command, self._counters, streamed=streamed))
        limit = command.time_limit if command.time_limit is not None else self._time_limit
        loop = asyncio.get_running_loop()
        starting = asyncio.ensure_future(
            loop.subprocess_exec(
                lambda: process,
                *command.argv,
                env={**os.environ, "LC_ALL": "C", "TZ": "UTC0"},
                start_new_session=True,
            )
        )
        try:
            await asyncio.shield(starting)
        except OSError as error:
            process.refuse(error)
        except BaseException:
            # asyncio hangs if it is cancelled while it connects pipes that a grandchild has inherited: let it finish
            await asyncio.gather(starting, return_exceptions=True)
            await process.stop()
            raise
        feeder = asyncio.create_task(process.flow.feed_stdin())
        timer = loop.call_later(limit, process.expire)
        try:
            yield process
        finally:
            timer.cancel()
            feeder.cancel()
            await process.stop()
            await asyncio.gather(feeder, return_exceptions=True)


class LocalStream:
    """Stdout of a running command of this machine, in pieces."""

    def __init__(self, process: _Process) -> None:
        self._process = process

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give pieces of stdout until it ends."""
        return self._process.flow.pieces()

    async def completed(self) -> Completed:
        """Wait for the end; `stdout` of the answer is empty."""
        async for _ in self._process.flow.pieces():
            pass
        return self._process.answer(b"")


class _Process(asyncio.SubprocessProtocol):
    """One process with its group, from its start to the last byte of its pipes."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.timed_out = False
        self._transport: asyncio.SubprocessTransport | None = None
        self._group: int | None = None
        self._returncode: int | None = None
        self._over = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._group = self._transport.get_pid()
        self.flow.pipe = self

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.flow.feed_stdout if fd == 1 else self.flow.feed_stderr)(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 0:
            self.flow.resume_writing()

    def process_exited(self) -> None:
        if self._transport is not None:
            self._returncode = self._transport.get_returncode()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over.set()
        self.flow.end()

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    def write(self, data: bytes) -> None:
        stdin = cast("asyncio.WriteTransport | None", self._pipe(0))
        if stdin is None or stdin.is_closing():
            raise BrokenPipeError
        stdin.write(data)

    def write_eof(self) -> None:
        stdin = self._pipe(0)
        if stdin is not None:
            stdin.close()

    def pause_reading(self) -> None:
        stdout = cast("asyncio.ReadTransport | None", self._pipe(1))
        if stdout is not None and not stdout.is_closing():
            stdout.pause_reading()

    def resume_reading(self) -> None:
        stdout = cast("asyncio.ReadTransport | None", self._pipe(1))
        if stdout is not None and not stdout.is_closing():
            stdout.resume_reading()

    def _pipe(self, fd: int) -> asyncio.BaseTransport | None:
        return self._transport.get_pipe_transport(fd) if self._transport is not None else None

    def refuse(self, error: OSError) -> None:
        """There is no process, for a reason that a shell would tell."""
        name = self.flow.command.argv[0]
        text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
        missing = isinstance(error, FileNotFoundError)
        self._returncode = 127 if missing else 126
        complaint = f"{text}: {'not found' if missing else error.strerror}\n"
        self.flow.feed_stderr(complaint.encode("utf-8", "surrogateescape"))
        self._over.set()
        self.flow.end()

    def answer(self, stdout: bytes) -> Completed:
        """What the command gave."""
        code = self._returncode if self._returncode is not None else -signal.SIGKILL
        code = 128 - code if code < 0 else code
        return Completed(TIMED_OUT if self.timed_out else code, stdout, bytes(self.flow.errors), self.timed_out)

    def expire(self) -> None:
        """Its time is over."""
        if not self._over.is_set():
            self.timed_out = True
            self._ending = asyncio.create_task(self._end_group())

    async def stop(self) -> None:
        """End whatever still runs, and let go of the pipes; nothing to do after a normal end."""
        self.flow.end()
        self.resume_reading()  # a pipe that is not read would never be seen to close
        try:
            if not self._over.is_set():
                await (self._ending or self._end_group())
        finally:
            if self._ending is not None:
                self._ending.cancel()
                await asyncio.gather(self._ending, return_exceptions=True)
            if not self._over.is_set():  # cancelled while ending it: no more patience
                self._signal(signal.SIGKILL)
            if self._transport is not None:
                self._transport.close()

    async def _end_group(self) -> None:
        deadline = time.monotonic() + TERM_GRACE
        alive = self._signal(signal.SIGTERM)
        while alive and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            alive = self._signal(0)
            if self._over.is_set():  # what is left has no pipe of ours, and may be zombies that no init collects
                deadline = min(deadline, time.monotonic() + REST_GRACE)
        if alive:
            self._signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):  # somebody outside the group still holds the pipes
            await asyncio.wait_for(self._over.wait(), KILL_GRACE)
        self.flow.end()

    def _signal(self, number: int) -> bool:
        """Signal the whole group; False when there is nobody left in it."""
        try:
            if self._group is not None:
                os.killpg(self._group, number)
        except (ProcessLookupError, PermissionError):  # Darwin says EPERM for a group of zombies
            return False
        return self._group is not None
