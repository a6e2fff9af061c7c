"""HTTP to an ARC CE: kept connections that answer at once, and errors in our words.

A-REX sends the head and the body of an answer in two pieces and does not disable Nagle's algorithm, so on a kept
connection the body waits until the kernel acknowledges the head, which it puts off for 40 ms. `TCP_QUICKACK`, set after
every read, makes it acknowledge at once; it is Linux's, and nothing is lost where it is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from intercede.answers import Counters
from intercede.errors import (
    AuthenticationFailed,
    CommandError,
    ConnectFailed,
    ConnectionLost,
    IntercedeError,
    LimitExceeded,
    NotFound,
    ParseError,
    SchedulerUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping

    from typing_extensions import Buffer

__all__ = ["IDLE", "SLOWEST", "Reply", "Session"]

# A-REX closes a connection that is idle for 60 s, with an alert that comes in the middle of the next request
IDLE = 45.0
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
_EXPIRED = re.compile(r"certificate[_ ]expired", re.IGNORECASE)
_ALERT = re.compile(r"(?:alert|ALERT)[_ ][A-Za-z_ ]+|tlsv1 alert [a-z ]+")
# Bytes of an answer that is kept in memory, as of a command's
_MOST = 64 * 1024 * 1024
SLOWEST = 1_000_000  # bytes a second that what is sent is given time for
# What each operation needs of a token that has scopes
_SCOPES = {"GET": "compute.read", "HEAD": "compute.read", "PUT": "compute.modify", "DELETE": "compute.modify"}


class _PromptSocket(socket.socket):
    """Acknowledges what it has read at once."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        self._acknowledge()
        return data

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        self._acknowledge()
        return count

    def _acknowledge(self) -> None:
        if _QUICKACK is not None:
            with contextlib.suppress(OSError):
                self.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


def _prompt_socket(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    made = _PromptSocket(family, kind, protocol)
    made.setblocking(False)
    return made


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end.

    Attributes:
        status: HTTP's.
        headers: By name, in lower case.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Session:
    """Connections to one server. Nothing is sent twice by itself but what HTTP calls idempotent (GET, PUT, DELETE).

    Args:
        base: `https://host:port/arex/rest`.
        tls: See `client_context`.
        token: Gives the bearer token of a request, if there is one.
        connections: At most, at the same time.
        patience: Seconds for a request, from its first byte to the last one of its answer; a second more for each
            megabyte that is sent. Waiting for a free connection is not counted.
        counters: What the server costs, counted on.
    """

    def __init__(
        self,
        base: str,
        tls: ssl.SSLContext,
        *,
        token: Callable[[], Awaitable[str | None]] | None = None,
        connections: int = 8,
        patience: float = 120.0,
        counters: Counters | None = None,
    ) -> None:
        self._base = base
        self.counters = counters or Counters()
        self._token = token
        self._tls = tls
        self._patience = patience
        self._room = asyncio.Semaphore(connections)
        self._session: aiohttp.ClientSession | None = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._spoke = False

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, ssl=self._tls, keepalive_timeout=IDLE, socket_factory=self._socket
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"Accept": "application/json"},
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type",),
                auto_decompress=False,
            )
        return self._session

    def _socket(self, address: Any) -> socket.socket:
        self.counters.connections += 1
        made = _prompt_socket(address)
        self._sockets.add(made)
        return made

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        # one whose server does not read would say goodbye to it for half a minute
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        asked: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        scope: str = "",
        seconds: float | None = None,
    ) -> Reply:
        """Send a request and read the whole answer.

        Args:
            method: GET, HEAD, POST, PUT, DELETE.
            path: Below the base, quoted already.
            asked: What for, for a person.
            body: Bytes, or an async iterator of them.
            headers: Besides the usual ones.
            scope: What a token must allow, if not what the method says.
            seconds: In place of `patience`.

        Raises:
            NotFound: 404.
            AuthenticationFailed: Who we are is not enough, or has expired.
            SchedulerUnavailable: It cannot now, or did not answer in time.
            CommandError: It refused.
            ConnectFailed: Nothing was sent.
            ConnectionLost: It may have been done.
            LimitExceeded: The answer has no end.
        """
        seconds = seconds or self._patience
        async with self.stream(
            method, path, asked=asked, body=body, headers=headers, scope=scope, seconds=seconds
        ) as answer:
            data = await self._whole(answer, asked)
            return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, data)

    async def _whole(self, answer: aiohttp.ClientResponse, asked: str) -> bytes:
        data = bytearray()
        async for piece in answer.content.iter_any():
            self.counters.bytes_received += len(piece)
            data += piece
            if len(data) > _MOST:
                raise LimitExceeded(asked, f"the answer is longer than {_MOST} bytes", "Is this an ARC CE?")
        return bytes(data)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        asked: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        scope: str = "",
        seconds: float | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a request; its answer, which is none of the errors, can be read in pieces (`answer.content`).

        Args and errors are those of `ask`; but without `seconds`, the server may be silent for `patience`, and whoever
        reads the answer bounds the time for the whole.
        """
        sent = dict(headers or {})
        token = await self._token() if self._token is not None else None
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        silent = self._patience if seconds is None else None
        # half, so that it is known of a connection that none was made
        patience = aiohttp.ClientTimeout(total=None, sock_connect=min(self._patience / 2, 30), sock_read=silent)
        url = URL(self._base + path, encoded=True)
        async with self._room:
            self.counters.commands += 1
            with _translated(asked, spoke=self._spoke):
                async with asyncio.timeout(seconds) as timer, self._opened().request(
                    method, url, data=self._body(body, timer), headers=sent, allow_redirects=False, timeout=patience
                ) as answer:  # fmt: skip
                    self._spoke = True
                    if answer.status >= 300 and answer.status != 416:
                        said = (await answer.content.read(4096)).decode("utf-8", "replace").strip()
                        scope = scope or _SCOPES.get(method, "")
                        raise _refused(asked, answer.status, answer.reason or "", said, scope)
                    yield answer

    def _body(self, body: Any, timer: asyncio.Timeout) -> Any:
        """What is sent, counted, and given time for."""
        if isinstance(body, bytes):
            self._count(body, timer)
            return body
        return self._pieces(body, timer) if body is not None else None

    async def _pieces(self, body: AsyncIterator[bytes], timer: asyncio.Timeout) -> AsyncIterator[bytes]:
        async for piece in body:
            yield piece
            self._count(piece, timer)

    def _count(self, data: bytes, timer: asyncio.Timeout) -> None:
        self.counters.bytes_sent += len(data)
        if (end := timer.when()) is not None:
            # it is too late, or the server has answered before it had all
            with contextlib.suppress(RuntimeError):
                timer.reschedule(end + len(data) / SLOWEST)


@contextlib.contextmanager
def _translated(asked: str, *, spoke: bool) -> Generator[None]:
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        advice = "Is it the right host? Configure the CA that signed its certificate."
        raise ConnectFailed(asked, str(error.certificate_error), advice) from None
    except aiohttp.ClientConnectorError as error:
        raise _not_connected(asked, str(error.os_error)) from None
    except TimeoutError as error:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            raise ConnectFailed(asked, "the connection was not made in time") from None
        advice = "Try again later, or raise limits."
        raise SchedulerUnavailable(asked, "no answer within the time limit", advice) from None
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ssl.SSLError, ConnectionError) as error:
        # TLS 1.3: what the server thinks of our certificate comes with its first answer
        if _ALERT.search(str(error)):
            raise _not_connected(asked, str(error)) from None
        raise ConnectionLost(asked, str(error) or type(error).__name__) from None
    except aiohttp.ClientResponseError as error:
        if spoke:
            # seen of 7.0.0 on a kept connection: an answer that was longer than announced, and then the next one
            raise ConnectionLost(asked, f"the answer was no HTTP: {error.message}") from None
        raise ParseError(asked, f"no HTTP: {error.message}", "Is this an ARC CE?") from None


def _not_connected(asked: str, said: str) -> IntercedeError:
    if _EXPIRED.search(said):
        return AuthenticationFailed(asked, "our certificate or proxy has expired", "Renew it.")
    if found := _ALERT.search(said):
        answer = f"the server refuses our certificate: {found[0]}"
        return AuthenticationFailed(asked, answer, "Does it know the CA of it, and is the proxy whole?")
    return ConnectFailed(asked, said)


def _refused(asked: str, status: int, reason: str, said: str, scope: str) -> IntercedeError:
    words = f"{status} {reason}"
    if "assigned configuration" in reason:
        advice = (
            "The CE does not know us: is our certificate's subject, our VO or our token's issuer in one of its "
            "authgroups, and mapped to a user? A token may have expired, too."
        )
        return AuthenticationFailed(asked, words, advice)
    if status == 403 and "scope" in said.lower():
        needed = f" {scope}" if scope else ""
        return AuthenticationFailed(asked, f"{words}: {said}", f"The token needs the scope{needed}.")
    if status in {401, 403}:
        return AuthenticationFailed(asked, ": ".join(part for part in (words, said) if part))
    if status == 404:
        return NotFound(asked, words)
    answer = ": ".join(part for part in (words, said) if part and not part.startswith("<"))
    if status in {429, 502, 503, 504}:
        return SchedulerUnavailable(asked, answer, "Ask again later.")
    return CommandError(asked, answer)
