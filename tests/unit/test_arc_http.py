"""What a server may answer, and what the client makes of it: against a server of this test's own, over TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from cryptography import x509

from intercede.arc import http
from intercede.arc.client import ArcClient
from intercede.arc.tls import client_context
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
    UnsupportedError,
)
from tests.unit.test_arc_delegation import REQUEST, Authority, _pem

if TYPE_CHECKING:
    from pathlib import Path

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[ArcClient]]
Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """What a server of the name `localhost` shows; `ca.pem` is whom its clients trust."""
    ca = Authority.make()
    holder = ca.issue("localhost")
    (tmp_path / "server.pem").write_bytes(_pem(holder.key) + holder.certificates())
    (tmp_path / "ca.pem").write_bytes(ca.pem())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem")
    return tls


@pytest.fixture
async def serve(tmp_path: Path, tls: ssl.SSLContext) -> AsyncIterator[Serve]:
    """A client of a server that handles requests in this way; `versions` are those of ARC 7, unless it says so."""
    async with AsyncExitStack() as closing:

        async def begin(handler: Handler) -> ArcClient:
            runner = web.ServerRunner(web.Server(handler))  # ty: ignore[invalid-argument-type]
            await runner.setup()
            closing.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "localhost", 0, ssl_context=tls)
            await site.start()
            port = runner.addresses[0][1]
            client = ArcClient("localhost", port, tls=client_context(tmp_path / "ca.pem"), patience=20)
            closing.push_async_callback(client.aclose)
            return client

        yield begin


def json_of(text: str, status: int = 200, reason: str | None = None) -> web.Response:
    return web.Response(text=text, status=status, reason=reason, content_type="application/json")


def versions(request: web.Request, text: str = '{"version":["1.0","1.1","2.0"]}') -> web.Response | None:
    return json_of(text) if request.path == "/arex/rest" else None


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((500, "User can't be assigned configuration", ""), AuthenticationFailed, "500 User can't.*authgroups"),
        ((403, "User can't be assigned configuration", ""), AuthenticationFailed, "403 User can't.*authgroups"),
        (
            (403, "Operation is not allowed", "Token scopes do not match requires scopes"),
            AuthenticationFailed,
            "needs the scope compute.create",
        ),
        ((403, "Forbidden", "no"), AuthenticationFailed, "403 Forbidden: no"),
        ((404, "Not Found", ""), NotFound, "404"),
        ((503, "Busy", ""), SchedulerUnavailable, "503 Busy.*later"),
        ((500, "Oops", "Payload is not recognized"), CommandError, "500 Oops: Payload is not"),
        ((302, "Found", ""), CommandError, "302"),
        ((201, "Created", "<html>"), ParseError, "no JSON"),
        ((201, "Created", '{"job":[]}'), ParseError, "0 answers to 1"),
    ],
)
async def test_refusals(serve: Serve, answer: tuple[int, str, str], kind: type[IntercedeError], words: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        status, reason, text = answer
        return versions(request) or web.Response(text=text, status=status, reason=reason)

    client = await serve(handler)
    with pytest.raises(kind, match=words) as raised:
        await client.create(b"<x/>", 1)
    assert type(raised.value) is kind


async def test_what_creates_is_sent_once_even_if_the_connection_breaks(serve: Serve) -> None:
    sent = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if answer := versions(request):
            return answer
        sent.append(await request.text())
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    client = await serve(handler)
    await client.version()  # a kept connection: the one that a client is tempted to try again on
    with pytest.raises(ConnectionLost):
        await client.create(b"<x/>", 1)
    assert sent == ["<x/>"]


@pytest.mark.parametrize("good", [0, 1])
async def test_an_answer_that_is_no_http(tmp_path: Path, tls: ssl.SSLContext, good: int) -> None:
    """At first it means that this is no CE; later, that an answer was damaged on its way."""
    versions = b'{"version": ["1.1"]}'
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(versions),
        versions,
    )
    answers = iter([whole] * good)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(next(answers, b'"0": ["452595e539f8", "0"],\r\n\r\n'))

    async with await asyncio.start_server(speak, "localhost", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        client = ArcClient("localhost", port, tls=client_context(tmp_path / "ca.pem"), patience=20)
        with pytest.raises(ConnectionLost if good else ParseError, match="no HTTP"):
            await client.jobs()
        await client.aclose()


async def test_an_upload_in_pieces_that_breaks_is_not_begun_again_with_what_is_left(serve: Serve) -> None:
    whole = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if answer := versions(request):
            return answer
        if whole:
            whole.append(await request.read())
            return web.Response()
        whole.append(await request.content.read(10))
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def pieces() -> AsyncIterator[bytes]:
        for letter in b"abcde":
            yield bytes([letter]) * 100

    client = await serve(handler)
    await client.version()
    with pytest.raises(ConnectionLost):
        await client.write("a", "f", pieces())
    assert len(whole) == 1


async def test_an_older_server_is_spoken_to_in_its_way(serve: Serve) -> None:
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return versions(request, '{"version":"1.0"}') or web.Response()

    client = await serve(handler)
    assert await client.jobs() == {}
    assert await client.jobs() == {}
    assert asked == ["/arex/rest", "/arex/rest/1.0/jobs", "/arex/rest/1.0/jobs"]
    with pytest.raises(UnsupportedError, match="proxies only"):
        await client.delegate_token("x")


async def test_a_server_of_another_age_is_refused(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return versions(request, '{"version":["3.0"]}') or web.Response()

    with pytest.raises(UnsupportedError, match=r"speaks 3\.0"):
        await (await serve(handler)).version()


async def test_the_list_of_jobs_goes_out_as_the_server_reads_it(serve: Serve) -> None:
    seen = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if answer := versions(request):
            return answer
        # with a charset, A-REX answers with an empty list
        seen.append((request.headers["Content-Type"], request.headers["Accept"], await request.json()))
        return json_of('{"job":{"status-code":"202","id":"a"}}', 201)

    answers = await (await serve(handler)).kill(["a"])
    assert answers["a"].code == 202
    assert seen == [("application/json", "application/json", {"job": [{"id": "a"}]})]


@pytest.mark.parametrize("place", ["/arex/rest/1.0/delegations/abc", "/arex/rest/1.0/delegations?action=new/abc"])
async def test_a_delegation_is_found_where_each_version_says(serve: Serve, place: str) -> None:
    holder = Authority.make().issue("alice")
    signed = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if answer := versions(request):
            return answer
        if request.method == "POST":
            return web.Response(body=REQUEST, status=201, headers={"Location": f"https://localhost{place}"})
        signed.append((request.path, x509.load_pem_x509_certificates(await request.read())))
        return web.Response()

    assert await (await serve(handler)).delegate(holder, timedelta(hours=1)) == "abc"
    ((path, certificates),) = signed
    assert path == "/arex/rest/1.1/delegations/abc"
    assert certificates[1] == holder.certificate


async def test_a_range_that_the_server_does_not_know_is_cut_here(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return versions(request) or web.Response(body=bytes(range(100)))

    client = await serve(handler)
    assert await client.read("a", "f", offset=10, limit=5) == bytes(range(10, 15))
    assert await client.read("a", "f", offset=95) == bytes(range(95, 100))
    assert await client.read("a", "f", offset=200) == b""


async def test_an_answer_that_ends_early_is_no_answer(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if answer := versions(request):
            return answer
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"only this")
        assert request.transport is not None
        request.transport.abort()
        return response

    with pytest.raises(ConnectionLost):
        await (await serve(handler)).read("a", "f")


async def test_what_is_read_is_acknowledged_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    acknowledged = []
    acknowledge = http._PromptSocket._acknowledge

    def counted(self: http._PromptSocket) -> None:
        acknowledged.append(self.fileno())
        acknowledge(self)

    monkeypatch.setattr(http._PromptSocket, "_acknowledge", counted)

    async def handler(request: web.Request) -> web.StreamResponse:
        return versions(request) or json_of('{"job":[]}')

    client = await serve(handler)
    await client.jobs()
    before = len(acknowledged)
    await client.jobs()
    assert len(acknowledged) > before
    assert len(set(acknowledged)) == 1  # one connection, kept
    assert http.IDLE < 60  # when A-REX closes it


async def test_a_job_that_is_called_wiped_while_its_state_changes_is_missing(serve: Serve) -> None:
    """So that whoever looks for it asks again, and nobody is told that it is gone."""

    async def handler(request: web.Request) -> web.StreamResponse:
        told = {"one": "WIPED", "two": "RUNNING"}
        asked = request.query.get("state", "").split(",")
        jobs = ",".join(f'{{"id":"{ident}","state":"{word}"}}' for ident, word in told.items() if word in asked)
        return versions(request) or json_of(f'{{"job":[{jobs}]}}')

    client = await serve(handler)
    assert await client.jobs() == {"two": "RUNNING"}


@asynccontextmanager
async def speaking(tmp_path: Path, tls: ssl.SSLContext, answer: Speak) -> AsyncGenerator[ArcClient]:
    """A client, with little patience, of a server that says what its versions are, and answers all else in this way."""

    writers = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"/arex/rest HTTP" in head:
                    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"version": ["1.1"]}')
                else:
                    await answer(writer)

    async with await asyncio.start_server(speak, "localhost", 0, ssl=tls, limit=1024) as server:
        port = server.sockets[0].getsockname()[1]
        trust = client_context(tmp_path / "ca.pem")
        async with ArcClient("localhost", port, tls=trust, patience=0.3, submit_time=0.3) as client:
            await client.version()
            yield client
        for writer in writers:
            writer.transport.abort()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(100):
        writer.write(b"{")
        await asyncio.sleep(0.05)


async def mute(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"40000\r\n" + b"x" * 0x40000 + b"\r\n")
        await writer.drain()


async def slices(count: int, pause: float = 0) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause)
        yield b"x" * 250_000


@pytest.mark.parametrize(
    ("answer", "ask"),
    [
        pytest.param(drip, lambda client: client.jobs(), id="an-answer-that-drips"),
        pytest.param(drip, lambda client: client.read("a", "f", limit=100), id="a-file-that-drips"),
        pytest.param(mute, lambda client: client.create(b"<x/>", 1), id="no-answer"),
        pytest.param(mute, lambda client: client.write("a", "f", b"x" * 900_000), id="an-upload-that-nobody-reads"),
        pytest.param(mute, lambda client: client.write("a", "f", slices(1000)), id="a-stream-that-nobody-reads"),
    ],
)
async def test_time_is_bounded(
    tmp_path: Path,
    tls: ssl.SSLContext,
    answer: Speak,
    ask: Callable[[ArcClient], Awaitable[object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "SLOWEST", 1e8)
    async with speaking(tmp_path, tls, answer) as client, asyncio.timeout(3):
        with pytest.raises(SchedulerUnavailable, match="no answer within the time limit"):
            await ask(client)


async def test_what_is_large_is_given_time(serve: Serve) -> None:
    sizes = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if answer := versions(request):
            return answer
        sizes.append(len(await request.content.read()))
        return web.Response()

    client = await serve(handler)
    client._submit_time = 0.3
    await client.write("a", "f", slices(8, 0.1))
    assert sizes == [2_000_000]


async def test_memory_is_bounded(tmp_path: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MOST", 1_000_000)
    async with speaking(tmp_path, tls, endless) as client:
        client._session._patience = 20
        for asked in (client.resource(), client.jobs(), client.diagnose("a", "failed")):
            with pytest.raises(LimitExceeded, match="longer than 1000000 bytes"):
                await asked
        # the range is not honoured: what is beyond it is not waited for
        assert await client.read("a", "f", offset=10, limit=5) == b"xxxxx"


async def test_where_no_connection_is_made_nothing_was_sent(tmp_path: Path, tls: ssl.SSLContext) -> None:
    writers = []

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    async with await asyncio.start_server(silent, "localhost", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with ArcClient("localhost", port, tls=client_context(tmp_path / "ca.pem"), patience=0.4) as client:
            with pytest.raises(ConnectFailed, match="not made in time"):
                await client.create(b"<x/>", 1)
        for writer in writers:
            writer.transport.abort()
