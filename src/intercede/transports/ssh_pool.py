"""Connections shared by everything in one event loop that goes the same way to the same host as the same user."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING

from intercede.errors import ConnectFailed
from intercede.transports.budget import Slots
from intercede.transports.ssh_connect import connect

if TYPE_CHECKING:
    import asyncssh

    from intercede.answers import Counters
    from intercede.credentials import CredentialProvider
    from intercede.transports.ssh_channel import Channel
    from intercede.transports.ssh_config import Target

__all__ = ["Link", "acquire"]

CLOSING = 2.0

_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[object, Link]] = weakref.WeakKeyDictionary()


class Link:
    """A connection to one server that is made when it is first needed, and made again when it was lost.

    Jump hosts are links of their own, so a one-time code for a bastion is asked once for all hosts behind it.

    Attributes:
        target: The server.
        slots: How many channels may be open at once; lowered to what the server was seen to allow.
        channels: Those that are open, or being opened.
        has_timeout: The connection whose host was found to have a good timeout(1); another may lead to another host.
        is_plain: Whether that host's login shell was found to be a POSIX shell as well.
        users: How many transports and further links hold it.
    """

    def __init__(
        self, key: object, target: Target, parent: Link | None, resource: str, credentials: CredentialProvider | None
    ) -> None:
        self.target = target
        self.users = 0
        self.channels: set[Channel] = set()
        self.slots = Slots(1000)
        self.has_timeout: asyncssh.SSHClientConnection | None = None
        self.is_plain = False
        self._key = key
        self._parent = parent
        self._resource = resource
        self._credentials = credentials  # held, because the key knows it by its identity
        self._connection: asyncssh.SSHClientConnection | None = None
        self._attempt: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._waiting = 0

    async def connection(self, counters: Counters) -> asyncssh.SSHClientConnection:
        """The connection; whoever comes first makes it, and whoever comes meanwhile waits for the same one.

        Args:
            counters: Of the transport that asks; a connection that is made for it is counted there.

        Raises:
            TransportError: As `ssh_connect.connect`, or the same of a jump host.
            CredentialError: A secret is missing or cannot be read.
        """
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._connect(counters))
            self._attempt.add_done_callback(_retrieved)
        attempt = self._attempt
        self._waiting += 1
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if attempt.cancelled() and (task is None or not task.cancelling()):  # by `release`, not by our caller
                raise ConnectFailed(f"ssh to {self.target}", "it was closed while it was being opened") from error
            raise
        finally:
            self._waiting -= 1
            if not self._waiting and not attempt.done():  # everybody who wanted it was cancelled
                attempt.cancel()
                self._attempt = None
                await asyncio.wait([attempt])

    @property
    def open(self) -> int:
        """How many channels the server has opened and not closed."""
        return sum(channel.sent and not channel.lost for channel in self.channels)

    def drop(self, connection: asyncssh.SSHClientConnection) -> None:
        """Do not use that connection again."""
        if self._connection is connection:
            self._connection = None
            connection.abort()

    async def _connect(self, counters: Counters) -> asyncssh.SSHClientConnection:
        tunnel = await self._parent.connection(counters) if self._parent is not None else None
        made = await connect(self.target, resource=self._resource, credentials=self._credentials, tunnel=tunnel)
        counters.connections += 1
        self._connection = made
        return made

    async def release(self) -> None:
        """Let go of it; the last one closes the connection."""
        self.users -= 1
        if self.users:
            return
        pool = _pools.get(asyncio.get_running_loop(), {})
        if pool.get(self._key) is self:
            del pool[self._key]
        try:
            if self._attempt is not None and not self._attempt.done():
                self._attempt.cancel()
                await asyncio.wait([self._attempt])
            if self._connection is not None:
                await _close(self._connection)
        finally:
            if self._parent is not None:
                await self._parent.release()


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    try:
        async with asyncio.timeout(CLOSING):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await connection.wait_closed()
    finally:
        connection.abort()


def _retrieved(attempt: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
    """Look at an attempt's exception, so that one which nobody waits for any more is not reported as forgotten."""
    if not attempt.cancelled():
        attempt.exception()


def acquire(
    chain: tuple[Target, ...], *, resource: str, credentials: CredentialProvider | None, max_channels: int
) -> Link:
    """The link to the last server of a chain, for this event loop; `Link.release` gives it back.

    Args:
        chain: Jump hosts, then the submit host.
        resource: For the provider: which resource this is for.
        credentials: Who supplies secrets; only those with the same provider and resource share a link that has one.
        max_channels: Channels at once; the smallest that anyone asked holds.
    """
    pool = _pools.setdefault(asyncio.get_running_loop(), {})
    who = None if credentials is None else (id(credentials), resource)
    link: Link | None = None
    for length in range(1, len(chain) + 1):
        key = (who, *(target.key for target in chain[:length]))
        if key not in pool:
            pool[key] = Link(key, chain[length - 1], link, resource, credentials)
            if link is not None:
                link.users += 1
        link = pool[key]
    if link is None:
        raise ValueError("a chain of no servers")
    link.users += 1
    link.slots.lower(max_channels)
    return link
