"""The files of jobs on a CE: what is uploaded for them, what they leave, and what they write while they run."""

from __future__ import annotations

import asyncio
import contextlib
import tarfile
from typing import TYPE_CHECKING

from intercede.answers import LogChunk
from intercede.arc.job import OUT
from intercede.elements.fetching import receive
from intercede.elements.unpack import Gathering, Listed
from intercede.errors import IntercedeError, NotFound, ParseError
from intercede.workarea.operations import Record, read_record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from intercede.answers import JobOutput
    from intercede.arc.client import ArcClient
    from intercede.arc.job import Label
    from intercede.elements.sandbox import Sandbox
    from intercede.model import JobRef
    from intercede.settings import Limits

__all__ = ["fetch_one", "packed", "read_piece", "read_record_of"]

_BLOCK = tarfile.BLOCKSIZE
_WINDOW = 64 * 1024
# Of one member's headers: two names, each with a header of its own, and the member's
_MOST = 2 * (_WINDOW + _BLOCK) + _BLOCK
_SMALL = 1024 * 1024
_LONG = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_KINDS = {
    tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.SYMTYPE: "l", tarfile.DIRTYPE: "d", tarfile.FIFOTYPE: "p",
    tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b",
}  # fmt: skip
# So many files beyond a bound are named; the rest is not even looked at
_NAMED = 20


def packed(sandbox: Sandbox) -> bytes | AsyncIterator[bytes]:
    """The stream of a sandbox as an upload takes it."""
    return b"".join(sandbox) if sandbox.size < _SMALL else _pieces(sandbox)


async def _pieces(sandbox: Sandbox) -> AsyncIterator[bytes]:
    stream = iter(sandbox)

    def following() -> bytes:
        return next(stream, b"")

    while piece := await asyncio.to_thread(following):
        yield piece


def _home(label: Label) -> str:
    return f"{label.tag}/c/{label.copy}"


class Archive:
    """A tar archive in a session, read forwards; what is not wanted does not travel."""

    def __init__(self, client: ArcClient, native: str, path: str) -> None:
        self._client = client
        self._native = native
        self._path = path
        self._at = 0
        self._have = b""

    async def members(self) -> AsyncGenerator[tuple[tarfile.TarInfo, bytes, int]]:
        """Give each member, the bytes of its headers, and where its content begins.

        Raises:
            NotFound: There is no such archive.
            ParseError: It was cut off, or is none.
        """
        headers, name = b"", None
        while True:
            block = await self._take(_BLOCK)
            if not block.strip(b"\0"):
                if block:
                    return
                raise ParseError(self._path, "the archive is cut off", "Try again.")
            info = self._read(block)
            headers += block
            if len(headers) > _MOST:
                raise ParseError(self._path, "the archive is broken: a name that does not end")
            if info.type in _LONG:
                text = await self._take(info.size + -info.size % _BLOCK)
                name = text[: info.size].rstrip(b"\0") if info.type == tarfile.GNUTYPE_LONGNAME else name
                headers += text
                continue
            if name is not None:
                info.name = name.decode("utf-8", "surrogateescape")
            begin, size = self._at, info.size if info.isreg() else 0
            yield info, headers, begin
            headers, name = b"", None
            self._skip(begin + size + -size % _BLOCK)

    def _read(self, block: bytes) -> tarfile.TarInfo:
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ParseError(self._path, f"the archive is broken: {error}", "Try again.") from None
        if info.size < 0 or (info.type in _LONG and info.size > _WINDOW):
            raise ParseError(self._path, "the archive is broken")
        return info

    async def content(self, info: tarfile.TarInfo) -> AsyncGenerator[bytes]:
        """Give the content of the member that was given last, with what fills its last block."""
        left = info.size + -info.size % _BLOCK
        while left:
            if self._have:
                data, self._have = self._have[:left], self._have[left:]
                self._at += len(data)
                left -= len(data)
                yield data
                continue
            pieces = self._client.pieces(self._native, self._path, offset=self._at, limit=left)
            async with contextlib.aclosing(pieces) as stream:
                async for data in stream:
                    self._at += len(data)
                    left -= len(data)
                    yield data
            if left:
                raise ParseError(self._path, "the archive is cut off", "Try again.")

    async def _take(self, count: int) -> bytes:
        if len(self._have) < count:
            begin = self._at + len(self._have)
            wanted = max(_WINDOW, count - len(self._have))
            self._have += await self._client.read(self._native, self._path, offset=begin, limit=wanted)
        data, self._have = self._have[:count], self._have[count:]
        self._at += len(data)
        if len(data) < count and data:
            raise ParseError(self._path, "the archive is cut off", "Try again.")
        return data

    def _skip(self, to: int) -> None:
        self._have = self._have[to - self._at :] if to > self._at else self._have
        self._at = max(to, self._at)


async def fetch_one(
    client: ArcClient, ref: JobRef, label: Label, into: Path, flat: bool, limits: Limits
) -> JobOutput | IntercedeError:
    """Bring back what there is of one job."""
    key = (ref.submission, str(ref.copy_index))
    job = Gathering(ref, into, key[1:] if flat else key)
    job.patterns = label.outputs
    try:
        async with contextlib.aclosing(_chosen(client, ref.native, job, limits)) as chosen:
            await receive(b"", chosen, {key: job}, limits.output_bytes)
    except NotFound:
        # it has not ended, or was ended without warning
        async with contextlib.aclosing(_loose(client, label, ref.native, job, limits)) as loose:
            await receive(b"", loose, {key: job}, limits.output_bytes)
    return job.output(f"{limits.output_bytes} bytes or {limits.output_files} files")


async def _chosen(client: ArcClient, native: str, job: Gathering, limits: Limits) -> AsyncGenerator[bytes]:
    """Of what a job has packed, what is within the bounds; all of it is entered."""
    archive = Archive(client, native, OUT)
    used = count = 0
    async for info, headers, _ in archive.members():
        inner = info.name.removeprefix("./").split("/", 3)
        kind = _KINDS.get(info.type)
        name = inner[-1] if len(inner) == 4 else ""
        if kind is None or (name not in {"stdout", "stderr"} and not name.startswith("work/")):
            continue
        count += 1
        if count > limits.output_files:
            kind = "files"
        elif kind == "f" and used + info.size > limits.output_bytes:
            kind = "bytes"
        used += info.size if kind == "f" else 0
        job.listed.append(Listed(kind, info.size, name))
        if kind in "fdl":
            yield headers
            if kind == "f":
                async with contextlib.aclosing(archive.content(info)) as content:
                    async for data in content:
                        yield data
        elif count >= limits.output_files + _NAMED:
            break
    yield b"\0" * 2 * _BLOCK


async def _loose(client: ArcClient, label: Label, native: str, job: Gathering, limits: Limits) -> AsyncGenerator[bytes]:
    """Stdout and stderr as they are now, in the form in which they are packed at the end."""
    for name in ("stdout", "stderr"):
        path = f"{_home(label)}/{name}"
        try:
            size = await client.size(native, path)
        except NotFound:
            continue
        fits = size <= limits.output_bytes
        job.listed.append(Listed("f" if fits else "bytes", size, name))
        if not fits:
            continue
        info = tarfile.TarInfo(f"./{path}")
        info.size = size
        yield info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        left = size
        async with contextlib.aclosing(client.pieces(native, path, limit=size)) as pieces:
            async for data in pieces:
                left -= len(data)
                yield data
        if left:
            raise ParseError(path, "it became shorter while it was read", "Try again.")
        yield b"\0" * (-size % _BLOCK)
    yield b"\0" * 2 * _BLOCK


async def read_record_of(client: ArcClient, label: Label, native: str) -> Record | None:
    """What a job that has ended wrote of itself."""
    with contextlib.suppress(NotFound):
        data = await client.read(native, OUT, limit=2 * _BLOCK)
        if len(data) == 2 * _BLOCK and data.startswith(f"./{_home(label)}/record\0".encode()):
            return _record(data[_BLOCK:])
    with contextlib.suppress(NotFound):
        return _record(await client.read(native, f"{_home(label)}/record", limit=_BLOCK))
    return None


def _record(data: bytes) -> Record | None:
    return read_record(data.rstrip(b"\0").decode("ascii", "replace").split())


async def read_piece(
    client: ArcClient, label: Label, native: str, name: str, offset: int, limit: int
) -> LogChunk | None:
    """Read a piece of a job's file; of a running job, only stdout and stderr can be seen.

    Returns:
        None if there is no such file (yet).
    """
    for _ in range(2):
        try:
            return await _packed_piece(client, native, name, offset, limit)
        except NotFound:
            pass
        if name not in {"stdout", "stderr"}:
            return None
        with contextlib.suppress(NotFound):
            path = f"{_home(label)}/{name}"
            size = await client.size(native, path)
            begin = max(0, size + offset) if offset < 0 else offset
            data = await client.read(native, path, offset=begin, limit=limit)
            return LogChunk(data, begin, begin + len(data), ended=False)
        # it was packed in between, or is not there yet
    return None


async def _packed_piece(client: ArcClient, native: str, name: str, offset: int, limit: int) -> LogChunk | None:
    wanted = name if name in {"stdout", "stderr"} else f"work/{name}"
    archive = Archive(client, native, OUT)
    async for info, _, begin in archive.members():
        inner = info.name.removeprefix("./").split("/", 3)
        if len(inner) == 4 and inner[3] == wanted and info.isreg():
            start = max(0, info.size + offset) if offset < 0 else offset
            data = await client.read(native, OUT, offset=begin + start, limit=max(0, min(limit, info.size - start)))
            at = start + len(data)
            return LogChunk(data, start, at, ended=at >= info.size)
    return None
