"""The bytes of one running command, between the callbacks of a protocol and the coroutines that wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from intercede.errors import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from intercede.answers import Counters
    from intercede.steps import Command

__all__ = ["Flow", "Pipe", "excess", "shown"]

HIGH_WATER = 4 * 1024 * 1024
PIECE = 256 * 1024
_NAMED = 3


class Pipe(Protocol):
    """What a flow asks of the protocol that feeds it."""

    def write(self, data: bytes) -> None:
        """Send bytes to the command's stdin; `BrokenPipeError` where nobody reads any more."""
        ...

    def write_eof(self) -> None:
        """End the command's stdin."""
        ...

    def pause_reading(self) -> None:
        """Let stdout wait on the other side."""
        ...

    def resume_reading(self) -> None:
        """Let stdout come again."""
        ...


def shown(command: Command) -> str:
    """The command for a message: its words, shortened, so that a script among them does not fill a page."""
    if command.argv[:2] == ("sh", "-c") and len(command.argv) > _NAMED:
        return str(command.argv[_NAMED])  # a script says as $0 what it is
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in command.argv]
    text = " ".join(word if len(word) <= 40 and word.isprintable() else f"{word[:20]!r}…" for word in words)
    return text if len(text) <= 200 else f"{text[:200]}…"


def excess(command: Command) -> LimitExceeded:
    """The error of a command that says more than it may."""
    answer = f"more than {command.output_limit} bytes of output"
    return LimitExceeded(shown(command), answer, "Ask for less, or raise output_limit.")


class Flow:
    """Stdout piece by piece with back-pressure, stderr as a whole, stdin without blocking the loop.

    Args:
        command: Whose bytes they are; its `output_limit` bounds stderr, and stdout too unless it is streamed.
        counters: Where the bytes are counted.
        streamed: Whether a reader takes stdout as it comes, and so bounds it himself.
        slack: Further bytes of each stream that are not the command's own output.
    """

    def __init__(self, command: Command, counters: Counters, *, streamed: bool, slack: int = 0) -> None:
        self.command = command
        self.errors = bytearray()
        self.ended = False
        self.failure: Exception | None = None
        self.pipe: Pipe | None = None
        self._counters = counters
        most = command.output_limit + slack
        self._limits = (None if streamed else most, most)
        self._pieces: deque[bytes] = deque()
        self._held = self._total = 0
        self._paused = False
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def feed_stdout(self, data: bytes) -> None:
        """Take bytes of stdout from the protocol."""
        self._counters.bytes_received += len(data)
        if self.ended:  # nobody reads any more
            return
        self._total += len(data)
        limit = self._limits[0]
        if self.failure or (limit is not None and self._total > limit):
            self.fail(excess(self.command))
            return
        self._pieces.append(data)
        self._held += len(data)
        self._pause_if_full()
        self._news.set()

    def _pause_if_full(self) -> None:
        if self._limits[0] is None and self._held > HIGH_WATER and not self._paused and self.pipe is not None:
            self._paused = True
            self.pipe.pause_reading()

    def feed_stderr(self, data: bytes) -> None:
        """Take bytes of stderr from the protocol."""
        self._counters.bytes_received += len(data)
        if self.failure or len(self.errors) + len(data) > self._limits[1]:
            self.fail(excess(self.command))
            return
        self.errors += data

    def fail(self, error: Exception) -> None:
        """End with an error, unless there is one already; whoever reads gets it."""
        if self.failure is None:
            self.failure = error
        self._news.set()
        self._writable.set()

    def end(self) -> None:
        """Nothing comes any more."""
        self.ended = True
        self._news.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """The other side is slow: stdin waits."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The other side takes stdin again."""
        self._writable.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give stdout until it ends.

        Raises:
            IntercedeError: Whatever ended it before its time.
        """
        while True:
            if self.failure is not None:
                raise self.failure
            if self._pieces:
                piece = self._pieces.popleft()
                self._held -= len(piece)
                if self._paused and self._held < HIGH_WATER // 4 and self.pipe is not None:
                    # All that waits comes at once: AsyncSSH opens the whole window again as soon as it hands over the
                    # first piece of what it holds, so a pause half-way would let it hold more and more.
                    self.pipe.resume_reading()
                    self._paused = False
                    self._pause_if_full()
                yield piece
            elif self.ended:
                return
            else:
                self._news.clear()
                await self._news.wait()

    async def rest(self) -> bytes:
        """All of stdout that has not been taken, once it has ended."""
        return b"".join([piece async for piece in self.pieces()])

    def received(self) -> bytes:
        """What has come of stdout so far and was not taken."""
        return b"".join(self._pieces)

    async def feed_stdin(self) -> None:
        """Send the command its stdin and close it. A command that stops reading is no error: its exit status tells."""
        stdin = self.command.stdin
        try:
            async for piece in _in_pieces(stdin):
                await self._writable.wait()
                if self.ended or self.failure or self.pipe is None:
                    return
                self.pipe.write(piece)
                self._counters.bytes_sent += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:  # of the caller's own iterable: it must reach the caller, not a task's graveyard
            self.fail(error)
            return
        if self.pipe is not None and not self.ended:
            self.pipe.write_eof()


async def _in_pieces(stdin: bytes | Iterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(stdin, bytes | bytearray | memoryview):
        for start in range(0, len(stdin), PIECE):
            yield bytes(stdin[start : start + PIECE])
        return
    source = iter(stdin)

    def following() -> bytes | None:
        return next(source, None)

    while (piece := await asyncio.to_thread(following)) is not None:  # it may read a disk
        for start in range(0, len(piece), PIECE):
            yield piece[start : start + PIECE]
