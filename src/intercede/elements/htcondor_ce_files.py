"""What jobs of a remote schedd leave: fetched into a directory of ours, and from there, checked, to the caller's."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

from intercede.answers import JobOutput, LogChunk
from intercede.elements.fetching import enter, receive
from intercede.elements.htcondor_ce_access import WRITE
from intercede.elements.unpack import Gathering
from intercede.errors import CommandError, IntercedeError, LimitExceeded, NotFound, ParseError, StorageError
from intercede.htcondor_ce import private
from intercede.htcondor_ce.description import LABEL, back_of, constraint_of, native_of, read_label
from intercede.htcondor_ce.protocol import GONE, Query, Retrieve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence
    from pathlib import Path
    from typing import IO

    from intercede.elements.htcondor_ce_access import Access
    from intercede.model import JobRef
    from intercede.settings import ResourceSettings

__all__ = ["Shelf", "fetch"]

_PIECE = 256 * 1024
_LIST = 64 * 1024 * 1024
_LINE = 64 * 1024
_MOST = 500_000
_ENDED = 4


async def fetch(
    refs: Sequence[JobRef], into: Path, flat: bool, settings: ResourceSettings, access: Access
) -> dict[JobRef, JobOutput | IntercedeError]:
    """Bring what jobs left to directories below `into`, in one request for all of them; it stays there."""
    ads = {native_of(ad): ad for ad in await access.ask(Query(constraint_of(refs), (*LABEL, "JobStatus")))}
    found: dict[JobRef, JobOutput | IntercedeError] = {}
    jobs: dict[JobRef, Gathering] = {}
    for ref in refs:
        ad = ads.get(ref.native)
        label = read_label(ad) if ad is not None else None
        if label is None or label.purged:
            said = "the CE keeps nothing of it"
            found[ref] = NotFound(f"output of {ref}", said, "It was purged, cancelled, or ended long ago.")
            continue
        key = (ref.submission, str(ref.copy_index))
        jobs[ref] = Gathering(ref, into, key[1:] if flat else key, patterns=label.outputs)
    ended = [ref for ref in jobs if ads[ref.native]["JobStatus"] == _ENDED]
    if ended:
        found |= await _retrieved({ref: jobs[ref] for ref in ended}, settings, access)
    return {ref: found[ref] if ref in found else jobs[ref].output("") for ref in refs}


async def _retrieved(
    jobs: dict[JobRef, Gathering], settings: ResourceSettings, access: Access
) -> dict[JobRef, JobOutput | IntercedeError]:
    directory = private.make()
    found: dict[JobRef, JobOutput | IntercedeError] = {}
    try:
        # one for each cluster: each has to be told the schedd once
        places = {ref: directory / ref.native.partition(".")[0] for ref in jobs}
        await asyncio.to_thread(_make, set(places.values()))
        asked = Retrieve({ref.native: str(places[ref]) for ref in jobs})
        refused = await access.ask(asked, WRITE, settings.limits.output_time)
        for ref, job in jobs.items():
            if ref.native in refused:
                kind = NotFound if refused[ref.native].startswith(GONE) else CommandError
                found[ref] = kind(f"output of {ref}", refused[ref.native])
                continue
            try:
                found[ref] = await _unpacked(job, places[ref] / back_of(ref.copy_index), settings, access)
            except StorageError:
                raise
            except (CommandError, ParseError) as error:
                found[ref] = error
    finally:
        await asyncio.to_thread(private.remove, directory)
    return found


def _make(directories: Iterable[Path]) -> None:
    try:
        for each in directories:
            each.mkdir(mode=0o700)
    except OSError as error:
        raise StorageError("making a directory for output", error.strerror or str(error)) from error


async def _unpacked(
    job: Gathering, path: Path, settings: ResourceSettings, access: Access
) -> JobOutput | IntercedeError:
    limits, key = settings.limits, (job.ref.submission, str(job.ref.copy_index))
    file = await asyncio.to_thread(_opened, path, job.ref)
    try:
        access.counters.bytes_received += os.fstat(file.fileno()).st_size
        await asyncio.to_thread(_list, file, job, max(_MOST, limits.output_files))
        await asyncio.to_thread(job.bound, limits.output_bytes, limits.output_files)
        await receive(b"", _pieces(file), {key: job}, limits.output_bytes)
    finally:
        file.close()
    return await asyncio.to_thread(job.output, f"{limits.output_bytes} bytes or {limits.output_files} files")


def _opened(path: Path, ref: JobRef) -> IO[bytes]:
    try:
        # what wrote it there takes names and kinds of files from the CE
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        said = f"{error.strerror}: it left nothing, or it could not be brought back"
        raise CommandError(f"output of {ref}", said) from error
    seen = os.fstat(descriptor)
    if stat.S_ISREG(seen.st_mode) and seen.st_size:
        return open(descriptor, "rb")
    os.close(descriptor)
    raise CommandError(f"output of {ref}", "it ended before it had packed what it left")


def _list(file: IO[bytes], job: Gathering, most: int) -> None:
    """Enter what a job has left, as the file says before its archive begins."""
    asked, jobs = f"output of {job.ref}", {(job.ref.submission, str(job.ref.copy_index)): job}
    head = file.readline(32)
    size = int(head) if head.strip().isdigit() else -1
    if not 0 <= size <= _LIST:
        raise ParseError(asked, "what came back has no list of files", text=repr(head))
    while size and (line := file.readline(min(size, _LINE))):
        size -= len(line)
        if len(line) == _LINE or len(job.listed) == most:
            raise ParseError(asked, f"its list has a longer name than {_LINE} bytes, or more files than {most}")
        enter(line.decode("utf-8", "surrogateescape").removesuffix("\n"), jobs)


async def _pieces(file: IO[bytes]) -> AsyncGenerator[bytes]:
    while piece := await asyncio.to_thread(file.read, _PIECE):
        yield piece


class Shelf:
    """The files of the job that was read last, so that it is not fetched anew for each piece.

    Args:
        settings: Of the resource.
        access: The way to the schedd.
    """

    def __init__(self, settings: ResourceSettings, access: Access) -> None:
        self._settings = settings
        self._access = access
        self._ref: JobRef | None = None
        self._output: JobOutput | None = None
        self._directory: Path | None = None
        self._turn = asyncio.Lock()

    async def read(self, ref: JobRef, name: str, offset: int) -> LogChunk | None:
        """Read a piece of a file of an ended job; None if there is no such file (yet).

        Raises:
            NotFound: Nothing is kept of the job.
        """
        async with self._turn:
            if ref != self._ref:
                await self._fetch(ref)
            if self._output is None:
                return None
            output = self._output
            path = {"stdout": output.stdout, "stderr": output.stderr}.get(name, output.files.get(name))
            return None if path is None else await asyncio.to_thread(self._piece, path, offset)

    async def forget(self, ref: JobRef | None = None) -> None:
        """Remove what is there, of that job or of any."""
        async with self._turn:
            if ref in {None, self._ref}:
                await self._clear()

    async def _fetch(self, ref: JobRef) -> None:
        await self._clear()
        directory = private.make()
        try:
            found = (await fetch([ref], directory, True, self._settings, self._access))[ref]
            output = found.kept if isinstance(found, LimitExceeded) else found
            if not isinstance(output, JobOutput):
                raise found if isinstance(found, IntercedeError) else ParseError(f"output of {ref}", "there is none")
        except BaseException:
            await asyncio.to_thread(private.remove, directory)
            raise
        self._directory = directory
        # of a job that has not ended there is nothing, and soon there may be
        if output.stdout or output.stderr or output.files:
            self._ref, self._output = ref, output

    async def _clear(self) -> None:
        directory, self._directory, self._ref, self._output = self._directory, None, None, None
        if directory is not None:
            await asyncio.to_thread(private.remove, directory)

    def _piece(self, path: Path, offset: int) -> LogChunk:
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                begin = max(0, size + offset) if offset < 0 else offset
                file.seek(begin)
                data = file.read(self._settings.limits.log_bytes)
        except OSError as error:
            raise StorageError(f"reading {path}", error.strerror or str(error)) from error
        at = begin + len(data)
        return LogChunk(data, begin, at, ended=at >= size)
