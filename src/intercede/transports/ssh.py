"""A submit host that is reached over SSH."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from intercede.answers import Counters
from intercede.errors import ConnectionLost
from intercede.steps import Completed
from intercede.transports.budget import budget_for
from intercede.transports.flow import Flow, excess, shown
from intercede.transports.ssh_shell import KILL_AFTER, Mark, login_line, plain_line, quick_script, script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence

    from asyncssh import SSHClientConnection

    from intercede.credentials import CredentialProvider
    from intercede.errors import TransportError
    from intercede.settings import SSHSettings
    from intercede.steps import Command
    from intercede.transports.ssh_channel import Channel
    from intercede.transports.ssh_pool import Link

__all__ = ["SSHTransport"]

TIMED_OUT = 124  # as timeout(1) has it
GRACE = 15.0
NOISE = 256 * 1024  # bytes that marks and the banners of a login may add to a command's output
LOST_WAITS = (0.0,)  # a connection that was lost while idle is made anew once
REFUSED_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


class SSHTransport:
    """Runs commands on a host over SSH.

    The connection is made by the first command, shared by all transports of the event loop that go the same way as the
    same user, kept alive, and made again by the next command after it was lost. The host needs a POSIX `sh`; the login
    shell may be any, and what its profile prints is discarded. Commands run there with `LC_ALL=C` and `TZ=UTC0`.

    The time limit is kept by a watchdog on the host: TERM at the limit (rounded up to whole seconds), KILL five seconds
    later, to the command's whole process group. A caller that is cancelled, or leaves a stream early, has the command
    sent a TERM and the channel closed at once. A server that ignores signals (OpenSSH before 7.9; later ones for root
    and for forced commands) leaves the command to the end of its stdin, a broken pipe, or the watchdog. What a command
    has put into another session (`setsid`) lives on. To a command whose caller left while stdin was being sent, the end
    of stdin looks like any other: what must not act on half of its input has to check that it is whole.

    Nothing is repeated here once it was sent. A connection that turns out to be gone before that is made again.

    Args:
        settings: How to reach the host.
        resource: The resource's identifier, which the credential provider is told.
        credentials: Who supplies keys, passwords and one-time codes; asked only when they are needed.
        concurrent: How many commands may run at once on the host, all elements of the process together.
        time_limit: Seconds for a command that says nothing about it.
    """

    def __init__(
        self,
        settings: SSHSettings,
        *,
        resource: str,
        credentials: CredentialProvider | None = None,
        concurrent: int = 4,
        time_limit: float = 60,
    ) -> None:
        self._settings = settings
        self._resource = resource
        self._credentials = credentials
        self._concurrent = concurrent
        self._time_limit = time_limit
        self._counters = Counters()
        self._link: Link | None = None
        self._finding = asyncio.Lock()

    @property
    def host(self) -> str:
        """The host's name, the key of the budget that all elements of the process share for it."""
        return f"{self._settings.host}:{self._settings.port}" if self._settings.port else self._settings.host

    @property
    def counters(self) -> Counters:
        """What it has cost so far."""
        return self._counters

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        """Run commands one after another in one execution on the host. Only the first may have stdin.

        Raises:
            ValueError: A command other than the first has stdin.
            ConfigurationError: The configuration cannot work, or an argument holds a NUL.
            CredentialError: A secret is missing or cannot be read.
            ConnectFailed: Nothing was sent.
            HostKeyRejected: The host is not the one that is known; nothing was sent.
            AuthenticationFailed: Nothing ran.
            ConnectionLost: A command may have run.
            LimitExceeded: A command said more than its `output_limit`, or is longer than the host would take.
        """
        if not commands:
            return ()
        if any(command.stdin != b"" for command in commands[1:]):
            raise ValueError("only the first of several commands may have stdin")
        mark = Mark()
        async with self._execution(commands, mark, streamed=False) as channel:
            stdout = await channel.flow.rest()
            if len(commands) == 1:
                answers = (channel.completed(stdout, self._limit(commands[0])),)
            else:
                answers = _apart(commands, mark, channel, stdout)
        for command, answer in zip(commands, answers, strict=True):
            if max(len(answer.stdout), len(answer.stderr)) > command.output_limit:
                raise excess(command)
        return answers

    @contextlib.asynccontextmanager
    async def stream(self, command: Command) -> AsyncGenerator[SSHStream, None]:
        """Run one command and hand out its stdout as it comes.

        Leaving early ends the command, as the class says. `output_limit` bounds stderr only: whoever reads bounds
        stdout.

        Raises:
            IntercedeError: As `run`, from here or from the iteration.
        """
        async with self._execution((command,), Mark(), streamed=True) as channel:
            yield SSHStream(channel, self._limit(command))

    async def aclose(self) -> None:
        """Let go of the connection; whoever is the last one closes it."""
        link, self._link = self._link, None
        if link is not None:
            await link.release()

    def _limit(self, command: Command) -> float:
        return command.time_limit if command.time_limit is not None else self._time_limit

    @contextlib.asynccontextmanager
    async def _execution(
        self, commands: Sequence[Command], mark: Mark, *, streamed: bool
    ) -> AsyncGenerator[Channel, None]:
        limits = [self._limit(command) for command in commands]
        slack = NOISE + sum(command.output_limit for command in commands[1:])

        def new_flow() -> Flow:
            return Flow(commands[0], self._counters, streamed=streamed, slack=slack)

        def line(quick: bool, plain: bool) -> str:
            if quick and len(commands) == 1:
                text = quick_script(commands[0], limits[0], mark)
                return plain_line(text) if plain and text.isascii() else login_line(text)
            return login_line(script(commands, limits, mark, tell=not quick))

        async with (
            budget_for(self.host, self._concurrent).turn(self._counters),
            self._opened(line, new_flow, mark) as channel,
        ):
            self._counters.commands += 1
            patience = sum(limits) + KILL_AFTER * len(limits) + GRACE
            timer = asyncio.get_running_loop().call_later(patience, channel.expire)
            feeder = asyncio.create_task(channel.flow.feed_stdin())
            try:
                yield channel
            finally:
                timer.cancel()
                feeder.cancel()
                channel.abort()
                await asyncio.gather(feeder, return_exceptions=True)

    async def _linked(self) -> Link:
        # AsyncSSH takes a third of a second to import, and most programs never use SSH.
        from intercede.transports.ssh_config import resolve
        from intercede.transports.ssh_pool import acquire

        async with self._finding:
            if self._link is None:
                chain = await asyncio.to_thread(resolve, self._settings)
                self._link = acquire(
                    chain,
                    resource=self._resource,
                    credentials=self._credentials,
                    max_channels=self._settings.max_channels,
                )
            return self._link

    @contextlib.asynccontextmanager
    async def _opened(
        self, line: Callable[[bool, bool], str], new_flow: Callable[[], Flow], mark: Mark
    ) -> AsyncGenerator[Channel, None]:
        """A channel on which the line is being executed, within what the server allows at once."""
        from intercede.transports.ssh_channel import Channel

        link = await self._linked()
        refusals, losses = iter(REFUSED_WAITS), iter(LOST_WAITS)
        while True:
            async with link.slots.turn(self._counters):
                connection = await link.connection(self._counters)
                channel = Channel(new_flow(), mark, str(link.target))
                link.channels.add(channel)
                try:
                    text = line(link.has_timeout is connection, link.is_plain)
                    if await _begins(link, connection, text, channel, refusals, losses):
                        yield channel
                        return
                finally:
                    if channel.has_timeout:
                        link.has_timeout, link.is_plain = connection, channel.is_plain
                    link.channels.discard(channel)


async def _begins(
    link: Link,
    connection: SSHClientConnection,
    line: str,
    channel: Channel,
    refusals: Iterator[float],
    losses: Iterator[float],
) -> bool:
    """Open the channel; False if nothing was sent and it is worth another attempt."""
    from intercede.transports.ssh_channel import Gone, Refused, open_channel

    try:
        await open_channel(connection, line, channel)
    except Refused as error:
        # What is open now is what the server allows: wait for one of them to end. A server that refuses even the first
        # is still busy with a channel that was closed just before.
        link.slots.lower(link.open)
        if not link.open:
            await _pause(refusals, error)
        return False
    except Gone as error:
        link.drop(connection)
        await _pause(losses, error)
        return False
    return True


async def _pause(waits: Iterator[float], error: TransportError) -> None:
    wait = next(waits, None)
    if wait is None:
        raise error
    await asyncio.sleep(wait)


def _apart(commands: Sequence[Command], mark: Mark, channel: Channel, stdout: bytes) -> tuple[Completed, ...]:
    """Give each of several commands what is between its marks."""
    outputs = mark.end.split(stdout)  # output, status, output, status, ..., rest
    errors = mark.end.split(bytes(channel.flow.errors))
    answers = []
    for number, command in enumerate(commands):
        said = channel.errors(errors[2 * number]) if 2 * number < len(errors) else (b"", False)
        text = outputs[2 * number] if 2 * number < len(outputs) else b""
        if 2 * number + 1 < len(outputs):
            status = TIMED_OUT if said[1] else int(outputs[2 * number + 1])
            answers.append(Completed(status, text, *said))
        elif channel.timed_out:
            answers.append(Completed(TIMED_OUT, text, said[0], timed_out=True))
        else:
            raise ConnectionLost(shown(command), "the remote shell was ended before it", "It may have run.")
    return tuple(answers)


class SSHStream:
    """Stdout of a running remote command, in pieces."""

    def __init__(self, channel: Channel, limit: float) -> None:
        self._channel = channel
        self._limit = limit

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give pieces of stdout until it ends."""
        return self._channel.flow.pieces()

    async def completed(self) -> Completed:
        """Wait for the end; `stdout` of the answer is empty."""
        async for _ in self._channel.flow.pieces():
            pass
        return self._channel.completed(b"", self._limit)
