"""Faults on the way to the submit host, put in at a given execution."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from intercede.errors import ConnectFailed, ConnectionLost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from intercede.answers import Counters
    from intercede.protocols import Stream, Transport
    from intercede.steps import Command, Completed

__all__ = ["Cutting", "Stalling"]


class _Around:
    """A transport around another one, which counts executions from 1."""

    def __init__(self, transport: Transport) -> None:
        self.inner = transport
        self.executions = 0

    @property
    def host(self) -> str:
        """That of the inner one."""
        return self.inner.host

    @property
    def counters(self) -> Counters:
        """Those of the inner one."""
        return self.inner.counters

    async def aclose(self) -> None:
        """Close the inner one."""
        await self.inner.aclose()


class Cutting(_Around):
    """Cuts the connection before or after whole executions.

    Args:
        transport: What really runs the commands.
        before: Executions that are never sent: `ConnectFailed`.
        after: Executions that really run, to their end, and whose answer is lost: `ConnectionLost`.
    """

    def __init__(
        self, transport: Transport, *, before: frozenset[int] = frozenset(), after: frozenset[int] = frozenset()
    ) -> None:
        super().__init__(transport)
        self.before = before
        self.after = after

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        """Run commands, or say that the connection was cut."""
        number = self._count()
        answers = await self.inner.run(commands)
        if number in self.after:
            raise ConnectionLost(f"execution {number}", "the connection was cut on purpose")
        return answers

    @contextlib.asynccontextmanager
    async def stream(self, command: Command) -> AsyncGenerator[Stream, None]:
        """Stream a command; a lost one is cut half way through the first piece of its answer."""
        number = self._count()
        async with self.inner.stream(command) as stream:
            yield _Cut(stream) if number in self.after else stream

    def _count(self) -> int:
        self.executions += 1
        if self.executions in self.before:
            raise ConnectFailed(f"execution {self.executions}", "the connection was refused on purpose")
        return self.executions


class _Cut:
    """Half of a stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give half of what comes first."""
        async for piece in self._stream:
            yield piece[: len(piece) // 2]
            break
        raise ConnectionLost("a stream", "the connection was cut on purpose")

    async def completed(self) -> Completed:
        """Never come to an end."""
        raise ConnectionLost("a stream", "the connection was cut on purpose")


class Stalling(_Around):
    """Lets executions wait, as a slow network or a slow host does.

    Args:
        transport: What really runs the commands.
        seconds: For how long, before each execution.
    """

    def __init__(self, transport: Transport, *, seconds: float) -> None:
        super().__init__(transport)
        self.seconds = seconds

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        """Wait, then run commands."""
        await asyncio.sleep(self.seconds)
        return await self.inner.run(commands)

    @contextlib.asynccontextmanager
    async def stream(self, command: Command) -> AsyncGenerator[Stream, None]:
        """Wait, then stream a command."""
        await asyncio.sleep(self.seconds)
        async with self.inner.stream(command) as stream:
            yield stream
