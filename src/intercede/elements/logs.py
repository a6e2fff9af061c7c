"""Reading what a job writes while it runs."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from intercede.answers import LogChunk
from intercede.errors import ConfigurationError, NotFound, ParseError
from intercede.workarea.programs import program
from intercede.workarea.sections import Section, check, refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from intercede.answers import JobStatus
    from intercede.model import JobRef
    from intercede.protocols import Transport
    from intercede.settings import ResourceSettings
    from intercede.workarea.scheduler import Scheduler

__all__ = ["Logs", "check_name", "follow", "there"]


class Logs:
    """Pieces of the files of jobs.

    Args:
        settings: Bounds, and the work area.
        scheduler: Whose jobs they are.
        transport: The way there.
    """

    def __init__(self, settings: ResourceSettings, scheduler: Scheduler, transport: Transport) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._transport = transport

    async def read(self, ref: JobRef, name: str, offset: int) -> LogChunk:
        """Read one piece."""
        return there(await self._read(ref, name, offset), f"{name} of {ref}")

    async def follow(
        self, ref: JobRef, name: str, offset: int, changes: AsyncIterator[dict[JobRef, JobStatus]]
    ) -> AsyncIterator[LogChunk]:
        """Read on until the job is over and a reading after that found nothing more."""
        longest = self._settings.politeness.max_interval / 5
        async for chunk in follow(lambda at: self._read(ref, name, at), offset, changes, longest, f"{name} of {ref}"):
            yield chunk

    async def _read(self, ref: JobRef, name: str, offset: int) -> LogChunk | None:
        check_name(name)
        nonce, limits = secrets.token_hex(12), self._settings.limits
        place = (nonce, self._settings.work_area, self._scheduler.name)
        words = (ref.submission, str(ref.copy_index), name, str(offset), str(limits.log_bytes))
        command = program("log", self._scheduler.shell, place, *words, time_limit=limits.command_time)
        (answer,) = await self._transport.run((command,))
        asked = f"{name} of {ref}"
        check(answer, asked)
        head, _, data = answer.stdout.partition(b"\n")
        said = head.decode("ascii", "replace").split()
        if len(said) < 2 or said[0] != nonce:
            raise ParseError(asked, "no answer", text=answer.complaint)
        if said[1] == "data" and len(said) == 5:
            begin, size, ended = int(said[2]), int(said[3]), said[4] == "1"
            at = begin + len(data)
            return LogChunk(data, begin, at, ended and at >= size)
        if said[1] == "absent":
            return None
        refuse(Section(tuple(said[1:]), data.decode("utf-8", "replace").partition(f"\n{nonce} ")[0]), asked)
        why = "a link leads there, which is not followed" if said[1] == "link" else "the resource keeps nothing of it"
        raise NotFound(asked, why)


def check_name(name: str) -> None:
    """Refuse the name of a file that is not in the job's working directory.

    Raises:
        ConfigurationError: It is none.
    """
    if not name or name.startswith("/") or {"", ".", ".."} & set(name.split("/")) or "\0" in name:
        raise ConfigurationError(f"log {name!r}", "it does not stay inside the job's working directory")


def there(chunk: LogChunk | None, asked: str) -> LogChunk:
    """Give a piece of a file that must be there.

    Raises:
        NotFound: It is not.
    """
    if chunk is None:
        advice = "It appears when the job has started and written it."
        raise NotFound(asked, "there is no such file (yet)", advice)
    return chunk


async def follow(
    read: Callable[[int], Awaitable[LogChunk | None]],
    offset: int,
    changes: AsyncIterator[dict[JobRef, JobStatus]],
    longest: float,
    asked: str,
) -> AsyncIterator[LogChunk]:
    """Read on until a job is over and a reading after that found nothing more.

    Args:
        read: Gives the piece that begins at an offset; None while there is no such file.
        offset: Where to begin.
        changes: What is seen of the job, until its end.
        longest: Seconds to wait at most for more.
        asked: What for.

    Raises:
        NotFound: The job has ended without that file.
    """
    watching = asyncio.ensure_future(_until_final(changes))
    pause = 0.2
    try:
        while True:
            over = watching.done()
            chunk = await read(offset)
            if chunk is not None and (chunk.data or chunk.ended):
                offset, pause = chunk.next_offset, 0.2
                yield chunk
                if chunk.ended:
                    return
                continue
            if over:
                watching.result()
                if chunk is None:
                    raise NotFound(asked, "the job has ended and there is no such file")
                yield LogChunk(b"", chunk.offset, chunk.next_offset, ended=True)
                return
            await asyncio.wait([watching], timeout=pause)
            pause = min(pause * 1.5, longest)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _until_final(changes: AsyncIterator[dict[JobRef, JobStatus]]) -> None:
    async for _ in changes:
        pass
