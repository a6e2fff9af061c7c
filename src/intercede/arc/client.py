"""A client of A-REX's REST interface, 1.0 (ARC 6) and 1.1 (ARC 7): one method a request, no decision, no repetition."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from intercede.arc.delegation import answer_request
from intercede.arc.documents import (
    Answer,
    Listing,
    read_answers,
    read_json,
    read_listing,
    read_versions,
)
from intercede.arc.http import SLOWEST, Session
from intercede.arc.states import STATES
from intercede.errors import ConfigurationError, NotFound, ParseError, UnsupportedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from intercede.answers import Counters
    from intercede.arc.delegation import Holder
    from intercede.arc.http import Reply

__all__ = ["MOST_JOBS", "ArcClient"]

# The server reads 1 MiB of a list of identifiers, says nothing of the rest, and takes long for many
MOST_JOBS = 1000
PIECE = 1 << 18
_SPOKEN = ("1.1", "1.0")
_JSON = {"Content-Type": "application/json"}  # exactly so: with a charset, the list is taken for an empty one
# While its state changes, the list may call a job WIPED that is there
_ALL = ",".join(word for word in STATES if word not in {"WIPED", "None"})


class ArcClient:
    """One server, asked as one person.

    Args:
        host: Its name, which must be in its certificate.
        port: Where it listens.
        tls: See `intercede.arc.tls.client_context`.
        token: Gives the bearer token of a request, if there is one.
        connections: At most, at the same time.
        patience: Seconds for a request; see `intercede.arc.http.Session`.
        submit_time: Seconds for one that creates jobs, or uploads a file; a second more for each megabyte.
        counters: What the server costs, counted on.

    Every method raises the errors of `intercede.arc.http.Session.ask`, and `ParseError` for an answer that makes no
    sense. Use it as an async context manager.
    """

    def __init__(
        self,
        host: str,
        port: int = 443,
        *,
        tls: ssl.SSLContext,
        token: Callable[[], Awaitable[str | None]] | None = None,
        connections: int = 8,
        patience: float = 120.0,
        submit_time: float = 120.0,
        counters: Counters | None = None,
    ) -> None:
        self._patience, self._submit_time = patience, submit_time
        self.name = f"{host}:{port}"
        base = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        self._session = Session(
            f"{base}/arex/rest", tls, token=token, connections=connections, patience=patience, counters=counters
        )
        self._version = ""

    async def __aenter__(self) -> ArcClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; another request opens new ones."""
        await self._session.aclose()

    async def version(self) -> str:
        """Say which version of the interface is spoken: the newest that both know. The server is asked once.

        Raises:
            UnsupportedError: There is none.
        """
        if not self._version:
            asked = f"{self.name}: versions"
            offered = read_versions(asked, (await self._session.ask("GET", "", asked=asked)).body)
            common = [each for each in _SPOKEN if each in offered]
            if not common:
                raise UnsupportedError("REST interface", f"the server speaks {', '.join(offered)}, we {_SPOKEN}")
            self._version = common[0]
        return self._version

    async def _ask(self, method: str, path: str, what: str, **more: Any) -> Reply:
        return await self._session.ask(method, f"/{await self.version()}{path}", asked=f"{self.name}: {what}", **more)

    async def create(self, document: bytes, count: int) -> list[Answer]:
        """Create the jobs of a document.

        Args:
            document: See `intercede.arc.adl.write_adl`.
            count: How many they are.

        Returns:
            An answer for each, in order: 201 with its identifier, or another code and why it was refused.
        """
        asked = f"create {count} jobs"
        reply = await self._ask(
            "POST", "/jobs?action=new", asked, body=document,
            headers={"Content-Type": "application/xml"}, scope="compute.create", seconds=self._submit_time,
        )  # fmt: skip
        return read_answers(f"{self.name}: {asked}", reply.body, count)

    async def jobs(self) -> dict[str, str]:
        """Give the live state of each job of ours.

        The list says RUNNING of all that are in the batch system, and FAILED of some that were cancelled: see
        `intercede.arc.states.read_failure`. It lacks a job now and then that is there, in the moment in which its state
        changes: ask `diagnose(ident, "status")` about one that is missing, and where that is empty, the list again.
        """
        reply = await self._ask("GET", f"/jobs?state={_ALL}", "list the jobs")
        return {each.ident: each.state for each in read_answers(f"{self.name}: list the jobs", reply.body)}

    async def status(self, idents: Sequence[str]) -> dict[str, Answer]:
        """Give the state of jobs in detail, up to a minute old."""
        return await self._each("status", idents, "compute.read")

    async def about(self, idents: Sequence[str]) -> dict[str, Answer]:
        """Give the information document of jobs, up to a minute old."""
        return await self._each("info", idents, "compute.read")

    async def kill(self, idents: Sequence[str]) -> dict[str, Answer]:
        """Order jobs to be ended; that takes seconds. 202 says that a job is known, not that it was running."""
        return await self._each("kill", idents, "compute.cancel")

    async def clean(self, idents: Sequence[str]) -> dict[str, Answer]:
        """Remove ended jobs and their files."""
        return await self._each("clean", idents, "compute.cancel")

    async def _each(self, action: str, idents: Sequence[str], scope: str) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for start in range(0, len(idents), MOST_JOBS):
            part = idents[start : start + MOST_JOBS]
            asked = f"{action} of {len(part)} jobs"
            body = json.dumps({"job": [{"id": ident} for ident in part]}).encode()
            reply = await self._ask("POST", f"/jobs?action={action}", asked, body=body, headers=_JSON, scope=scope)
            answers = read_answers(f"{self.name}: {asked}", reply.body, part)
            found.update({each.ident: each for each in answers})
        return found

    async def diagnose(self, ident: str, what: str) -> str:
        """Read one of the server's own files on a job: `failed`, `diag`, `local`, `description`, `errors`, ...

        Returns:
            Its text; empty if there is none, or no such job.
        """
        try:
            reply = await self._ask("GET", f"/jobs/{quote(ident, safe='')}/diagnose/{what}", f"{what} of job {ident}")
        except NotFound:
            return ""
        return reply.body.decode("utf-8", "replace")

    async def resource(self) -> dict[str, Any]:
        """Give the information document of the CE (GLUE2)."""
        reply = await self._ask("GET", "/info", "information document")
        return read_json(f"{self.name}: information document", reply.body)

    async def listing(self, ident: str, path: str = "") -> Listing:
        """List a directory of a job's session.

        Raises:
            NotFound: There is no such directory, or job.
        """
        asked = f"list {path or '/'} of job {ident}"
        reply = await self._ask("GET", _session_path(ident, path), asked)
        return read_listing(f"{self.name}: {asked}", reply.body)

    async def read(self, ident: str, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """Read a piece of a file in a job's session.

        Args:
            ident: The job.
            path: The file.
            offset: Where to begin.
            limit: How many bytes at most.

        Returns:
            What is there: less than `limit` at the end of the file, nothing beyond it.

        Raises:
            NotFound: There is no such file, or job.
        """
        data = bytearray()
        seconds = None if limit is None else self._patience + limit / SLOWEST
        async with contextlib.aclosing(self._pieces(ident, path, offset, limit, seconds)) as pieces:
            async for piece in pieces:
                data += piece
        return bytes(data)

    def pieces(self, ident: str, path: str, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes]:
        """Read a file in a job's session piece by piece; otherwise like `read`, but without a limit on the time."""
        return self._pieces(ident, path, offset, limit)

    async def _pieces(
        self, ident: str, path: str, offset: int, limit: int | None, seconds: float | None = None
    ) -> AsyncGenerator[bytes]:
        if limit == 0:
            return
        asked = f"{self.name}: read {path} of job {ident}"
        span = {}
        if offset or limit is not None:
            span["Range"] = f"bytes={offset}-{'' if limit is None else offset + limit - 1}"
        where = f"/{await self.version()}{_session_path(ident, path)}"
        async with self._session.stream("GET", where, asked=asked, headers=span, seconds=seconds) as answer:
            if answer.status == 416:
                return
            # 200: the file is smaller than a range is worth, or the server knows none
            skip = offset if answer.status == 200 else 0
            left = limit
            async for piece in answer.content.iter_chunked(PIECE):
                self._session.counters.bytes_received += len(piece)
                kept, skip = piece[skip:], max(0, skip - len(piece))
                kept = kept if left is None else kept[:left]
                left = None if left is None else left - len(kept)
                if kept:
                    yield kept
                if left == 0:
                    break

    async def size(self, ident: str, path: str) -> int:
        """Say how many bytes a file in a job's session has.

        Raises:
            NotFound: There is no such file, or job.
        """
        asked = f"size of {path} of job {ident}"
        reply = await self._ask("HEAD", _session_path(ident, path), asked)
        told = reply.headers.get("content-length", "")
        if not told.isdecimal():
            raise ParseError(f"{self.name}: {asked}", "it does not say")
        return int(told)

    async def write(self, ident: str, path: str, data: bytes | AsyncIterator[bytes]) -> None:
        """Upload a file into a job's session; its directories are made."""
        asked = f"upload {path} to job {ident}"
        await self._ask("PUT", _session_path(ident, path), asked, body=data, seconds=self._submit_time)

    async def remove(self, ident: str, path: str) -> None:
        """Remove a file from a job's session.

        Raises:
            CommandError: There is none.
        """
        await self._ask("DELETE", _session_path(ident, path), f"remove {path} of job {ident}")

    async def delegate(self, holder: Holder, lifetime: timedelta) -> str:
        """Let the CE act for us: it makes a key, and gets a proxy for it.

        Returns:
            The delegation's identifier, for `Activity.delegation`.

        Raises:
            CredentialError: The holder's certificate has ended.
        """
        asked = "delegate a proxy"
        reply = await self._ask("POST", "/delegations?action=new", asked, scope="compute.create")
        # 6.17 says .../delegations?action=new/ID
        ident = reply.headers.get("location", "").rstrip("/").rpartition("/")[2]
        if not ident:
            raise ParseError(f"{self.name}: {asked}", "the answer has no Location")
        await self._sign(ident, reply.body, holder, lifetime)
        return ident

    async def renew_delegation(self, ident: str, holder: Holder, lifetime: timedelta) -> None:
        """Give a delegation a proxy that ends later; jobs that use it go on with that.

        One that is not there (any more) is made, under the same identifier (seen on 7.0.0).

        Raises:
            CredentialError: The holder's certificate has ended.
        """
        path = f"/delegations/{quote(ident, safe='')}?action=renew"
        reply = await self._ask("POST", path, f"renew delegation {ident}", scope="compute.create")
        await self._sign(ident, reply.body, holder, lifetime)

    async def _sign(self, ident: str, request: bytes, holder: Holder, lifetime: timedelta) -> None:
        proxy = await asyncio.to_thread(
            answer_request, request, holder, now=datetime.now(UTC).replace(microsecond=0), lifetime=lifetime
        )
        path = f"/delegations/{quote(ident, safe='')}"
        await self._ask("PUT", path, f"sign delegation {ident}", body=proxy, scope="compute.create")

    async def delegate_token(self, token: str) -> str:
        """Give the CE a token to act with.

        Returns:
            The delegation's identifier.

        Raises:
            UnsupportedError: The server speaks 1.0, which has proxies only.
        """
        if await self.version() == "1.0":
            raise UnsupportedError("delegation", "this CE takes proxies only", "Give it an X.509 proxy.")
        asked = "delegate a token"
        reply = await self._ask(
            "POST", "/delegations?action=new&type=jwt", asked,
            headers={"X-Token-Delegation": f"Bearer {token}"}, scope="compute.create",
        )  # fmt: skip
        return reply.headers.get("location", "").rstrip("/").rpartition("/")[2]


def _session_path(ident: str, path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if ".." in parts or "." in parts:
        raise ConfigurationError(f"path {path!r}", "it does not stay inside the job's directory")
    quoted = [quote(part.encode("utf-8", "surrogateescape"), safe="") for part in parts]
    return "/".join([f"/jobs/{quote(ident, safe='')}/session", *quoted])
