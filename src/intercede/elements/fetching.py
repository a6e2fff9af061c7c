"""Bringing output back: one execution and one stream for any number of jobs."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from intercede.elements.unpack import Feed, Gathering, Listed, unpack
from intercede.errors import IntercedeError, LimitExceeded, NotFound, ParseError, SchedulerUnavailable
from intercede.workarea.programs import program
from intercede.workarea.scheduler import numbers
from intercede.workarea.sections import Section, refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from intercede.answers import JobOutput
    from intercede.model import JobRef
    from intercede.protocols import Transport
    from intercede.settings import ResourceSettings
    from intercede.workarea.scheduler import Scheduler

__all__ = ["enter", "fetch", "receive"]

_SIZE = re.compile(r"\d{1,18}", re.ASCII)
_HEAD_LIMIT = 256 * 1024 * 1024
_TAR_FAILED = 2  # GNU tar: 1, a file changed meanwhile; 2, one could not be read. More: it was not tar's own end.


async def fetch(
    refs: Sequence[JobRef], into: Path, flat: bool, settings: ResourceSettings, scheduler: Scheduler,
    transport: Transport,
) -> dict[JobRef, JobOutput | IntercedeError]:  # fmt: skip
    """Bring stdout, stderr and declared files of jobs into directories below `into`."""
    jobs = {}
    for ref in refs:
        key = (ref.submission, str(ref.copy_index))
        jobs[key] = Gathering(ref, into, key[1:] if flat else key)
    nonce = secrets.token_hex(12)
    limits = settings.limits
    command = program(
        "collect", scheduler.shell, (nonce, settings.work_area, scheduler.name), str(limits.output_bytes),
        str(limits.output_files), stdin="".join(f"{tag} {copy}\n" for tag, copy in sorted(jobs)).encode(),
        time_limit=limits.output_time,
    )  # fmt: skip
    async with transport.stream(command) as stream:
        pieces = aiter(stream)
        head, rest = await _head(nonce, pieces)
        absent = _announced(head, jobs)
        await receive(rest, pieces, jobs, limits.output_bytes)
        answer = await stream.completed()
    if answer.timed_out:
        raise SchedulerUnavailable("fetch_output", f"not all arrived within {limits.output_time:g} s")
    if answer.returncode > _TAR_FAILED:
        said = f"the stream of files was cut off (exit status {answer.returncode})"
        raise ParseError("fetch_output", said, "Try again.", text=answer.complaint)
    bounds = f"{limits.output_bytes} bytes or {limits.output_files} files"
    outputs = {key: absent.get(key) or job.output(bounds) for key, job in jobs.items()}
    return {ref: outputs[ref.submission, str(ref.copy_index)] for ref in refs}


async def _head(nonce: str, pieces: AsyncIterator[bytes]) -> tuple[list[Section], bytes]:
    """Read up to the line after which the tar stream begins."""
    mark = f"{nonce} tar\n".encode()
    end = f"{nonce} end\n".encode()
    data = bytearray()
    async for piece in pieces:
        searched = max(0, len(data) - len(mark))
        data += piece
        if len(data) > _HEAD_LIMIT:
            raise LimitExceeded("fetch_output", f"the list of files is longer than {_HEAD_LIMIT} bytes")
        at = data.find(mark, searched)
        if at >= 0:
            return _split(nonce, bytes(data[:at])), bytes(data[at + len(mark) :])
        if data.endswith(end):
            break
    found = _split(nonce, bytes(data))
    for section in found:
        refuse(section, "fetch_output")
    if not found or found[0].head != "nothing":
        raise ParseError("fetch_output", "the answer was cut off", "Try again.", text=repr(bytes(data[-500:])))
    return found, b""


def _split(nonce: str, data: bytes) -> list[Section]:
    blocks = ("\n" + data.decode("utf-8", "surrogateescape")).split(f"\n{nonce} ")[1:]
    return [Section(tuple(head.split()), body) for head, _, body in (block.partition("\n") for block in blocks)]


def _announced(head: list[Section], jobs: dict[tuple[str, str], Gathering]) -> dict[tuple[str, str], IntercedeError]:
    """Enter what the far side has, and find the jobs of which it keeps nothing."""
    patterns: dict[str, tuple[str, ...]] = {}
    purged: dict[str, set[str]] = {}
    for section in head:
        if section.head == "meta":
            try:
                found = json.loads(section.body).get("outputs", [])
            except (ValueError, AttributeError):
                found = []
            patterns[section.words[1]] = tuple(str(each) for each in found)
        elif section.head == "purged":
            purged[section.words[1]] = {str(number) for number in numbers(section.body)}
        elif section.head == "list":
            for line in section.body.split("\n"):
                enter(line, jobs)
    gone = {}
    for (tag, copy), job in jobs.items():
        job.patterns = patterns.get(tag, ())
        if tag not in patterns or copy in purged.get(tag, ()):
            asked = f"output of {job.ref}"
            gone[tag, copy] = NotFound(asked, "the resource keeps nothing of it", "It was purged, or never there.")
    return gone


def enter(line: str, jobs: dict[tuple[str, str], Gathering]) -> None:
    """Enter a line `TYPE SIZE ./TAG/c/COPY/NAME` of what the far side has."""
    kind, _, rest = line.partition(" ")
    size, _, name = rest.partition(" ")
    parts = name.replace("\x01", "\n").split("/", 4)
    job = jobs.get((parts[1], parts[3])) if len(parts) == 5 else None
    if job is not None and _SIZE.fullmatch(size):
        job.listed.append(Listed(kind, int(size), parts[4]))


async def receive(
    rest: bytes, pieces: AsyncIterator[bytes], jobs: dict[tuple[str, str], Gathering], limit: int
) -> None:
    """Pass the stream to a thread that unpacks it; cancelling leaves no half-written file."""
    feed = Feed()
    # a thread of its own: those that all share would be taken by fetches that wait for their end, which comes by one
    own = ThreadPoolExecutor(1, "unpack")
    writing = asyncio.get_running_loop().run_in_executor(own, unpack, feed, jobs, limit)
    try:
        await _pass_on(rest, feed, writing)
        async for piece in pieces:
            if writing.done():  # it failed, or has all there is to unpack
                break
            await _pass_on(piece, feed, writing)
        await _pass_on(None, feed, writing)
        await asyncio.shield(writing)
    except tarfile.TarError as error:
        raise ParseError("fetch_output", f"the stream of files is broken: {error}", "Try again.") from error
    finally:
        if not writing.done():
            feed.stop()
        await asyncio.gather(writing, return_exceptions=True)
        own.shutdown(wait=False)


async def _pass_on(piece: bytes | None, feed: Feed, writing: asyncio.Future[None]) -> None:
    if writing.done():
        return
    if piece is None or not feed.offer(piece):
        await asyncio.to_thread(feed.put, piece)
