"""Requests to an ARC CE as plainly as Python can send them: kept connections, and nothing that checks or decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from intercede import FileCredentials, open_element
from intercede.arc.tls import client_context
from intercede.elements.arc import ArcElement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from pathlib import Path

    import testbed

BASE = "/arex/rest/1.1"
# What was read is acknowledged at once, as by the library
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


def credential(stack: testbed.Stack) -> bytes:
    """Alice's certificate and key."""
    return b"".join((stack.given / f"alice-{part}.pem").read_bytes() for part in ("cert", "key"))


def opened(stack: testbed.Stack, scratch: Path, **more: Any) -> ArcElement:
    """The CE as alice."""
    proxy = scratch / "proxy"
    if not proxy.exists():
        proxy.touch(0o600)
        proxy.write_bytes(credential(stack))
    endpoint = {"host": stack.host, "port": stack.port, "ca": str(stack.given / "certificates")}
    settings = {"id": "bench", "scheduler": "arc", "endpoint": endpoint, **more}
    made = open_element(settings, credentials=FileCredentials(proxy=proxy))
    assert isinstance(made, ArcElement)
    return made


class Line:
    """One kept connection, one request at a time.

    Args:
        reader: Its stream.
        writer: Its stream.
        prompt: Whether what was read is acknowledged at once.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, prompt: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._prompt = prompt

    async def __call__(self, method: str, path: str, body: bytes = b"", kind: str = "application/xml") -> bytes:
        """Send a request and give the body of its answer, which must be a good one."""
        head = (
            f"{method} {BASE}{path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        self._acknowledge()
        said = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        self._acknowledge()
        assert said[9:12].startswith("2"), said
        _, _, rest = said.partition("content-length:")
        return await self._reader.readexactly(int(rest.split("\r\n")[0])) if rest else b""

    def _acknowledge(self) -> None:
        if self._prompt and _QUICKACK is not None:
            self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def lines(stack: testbed.Stack, count: int, *, prompt: bool = True) -> AsyncGenerator[list[Line]]:
    """Connections that are open already."""
    tls = client_context(stack.given / "certificates", credential(stack))
    made: list[Line] = []
    try:
        for _ in range(count):
            made.append(Line(*await asyncio.open_connection(stack.host, stack.port, ssl=tls), prompt=prompt))
            await made[-1]("GET", "/jobs?state=WIPED")
        yield made
    finally:
        for line in made:
            line.close()


async def spread(work: Callable[[Line, int], Awaitable[object]], count: int, over: list[Line]) -> None:
    """Do something for each number, on the connections, each of which takes the next one when it is free."""
    numbers = iter(range(count))

    async def on(line: Line) -> None:
        for number in numbers:
            await work(line, number)

    await asyncio.gather(*(on(line) for line in over))


def created(answer: bytes) -> list[str]:
    """The identifiers of the jobs that a request has made."""
    return [each["id"] for each in json.loads(answer)["job"]]


def named(idents: Iterable[str]) -> bytes:
    """A list of jobs as the server takes it."""
    return json.dumps({"job": [{"id": ident} for ident in idents]}).encode()
