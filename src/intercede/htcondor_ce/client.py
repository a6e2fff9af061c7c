"""The library's side: one worker process for an address and a credential, asked one thing at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from intercede.answers import Counters
from intercede.errors import (
    AuthenticationFailed,
    CommandError,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    ParseError,
    SchedulerUnavailable,
    StorageError,
)
from intercede.htcondor_ce import private
from intercede.htcondor_ce.credential import configuration, write_credential
from intercede.htcondor_ce.protocol import HEAD, Failure, Kind, decode_answer, frame, length_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from intercede.credentials import Credential
    from intercede.errors import IntercedeError
    from intercede.htcondor_ce.protocol import Request

__all__ = ["RemoteSchedd"]

T = TypeVar("T")
_LONGEST_ANSWER = 256 * 1024 * 1024
WORKER = ("-P", "-m", "intercede.htcondor_ce.worker")


class _Worker:
    """One process; its directory is private, and goes with it."""

    def __init__(self, directory: Path, process: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.process = process

    async def ask(self, request: Request[T]) -> Any:
        """Send a request and wait for its answer.

        Raises:
            EOFError: The process has ended.
            ParseError: Its answer is too long.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None  # noqa: S101 - both are pipes
        assert stdout is not None  # noqa: S101
        # a process that ended may have said why
        with contextlib.suppress(ConnectionError):
            stdin.write(frame(request))
            await stdin.drain()
        length = length_of(await stdout.readexactly(HEAD))
        if length > _LONGEST_ANSWER:
            raise ParseError(type(request).__name__, f"an answer of {length} bytes")
        return decode_answer(await stdout.readexactly(length))

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await asyncio.to_thread(private.remove, self.directory)


class RemoteSchedd:
    """A schedd of somebody else, through the collector in front of it.

    Construction does no input or output. The worker is started when something is asked, replaced when the credential is
    another one, and ended when it does not answer in time. No call holds up the event loop, or another `RemoteSchedd`.

    Args:
        address: `host:port` of its collector. A certificate is checked against the host's name: an IP address has none.
        ca_file: Whose certificates to trust; with `ca_directory` empty as well, those that this Python trusts.
        ca_directory: Whose else.
        time_limit: Seconds for one request, the start of a worker included.
        worker: What the interpreter is told to run.
        counters: What it costs, counted on.
    """

    def __init__(
        self,
        address: str,
        *,
        ca_file: str = "",
        ca_directory: str = "",
        time_limit: float = 60,
        worker: Sequence[str] = WORKER,
        counters: Counters | None = None,
    ) -> None:
        self.address = address
        self.counters = counters or Counters()
        self._trust = (ca_file, ca_directory)
        self._limit = time_limit
        self._words = tuple(worker)
        self._worker: _Worker | None = None
        self._credential: Credential | None = None
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"RemoteSchedd({self.address!r})"

    async def ask(self, request: Request[T], credential: Credential | None, time_limit: float | None = None) -> T:
        """Ask one thing, in the name of a credential.

        Args:
            request: What.
            credential: Whose name; None for nobody's.
            time_limit: Seconds, if not those that hold for all requests.

        Raises:
            AuthenticationFailed: The daemon does not take the credential, or it does not allow this; nothing was done.
            ConnectFailed: No daemon answers there; nothing was done.
            SchedulerUnavailable: The daemon is there, and too busy to answer; nothing was done.
            StorageError: This machine lacks room, files or processes for a worker; nothing was done.
            CommandError: The daemon refused, in its own words.
            ConnectionLost: There was no answer, or none that tells: it may have been done.
            ConfigurationError: The bindings are not installed.
        """
        limit = time_limit or self._limit
        async with self._turn:
            try:
                async with asyncio.timeout(limit):
                    worker = await self._ready(credential)
                    self.counters.commands += 1
                    answer = await worker.ask(request)
            except TimeoutError:
                await self._end()
                raise ConnectionLost(self._asked(request), f"no answer within {limit:g} s") from None
            except EOFError:
                await self._end()
                raise ConnectionLost(self._asked(request), "the process that asked has ended") from None
            except BaseException:
                # its answer, when it comes, would be taken for that of the next request
                await asyncio.shield(self._end())
                raise
        if isinstance(answer, Failure):
            raise self._error(request, answer)
        try:
            return request.read(answer)
        except (TypeError, ValueError) as error:
            raise ParseError(self._asked(request), str(error), text=str(answer)) from error

    async def aclose(self) -> None:
        """End the worker; idempotent. Another request starts one again."""
        async with self._turn:
            await self._end()

    async def _ready(self, credential: Credential | None) -> _Worker:
        """The worker of that credential."""
        if self._worker is not None and (self._credential != credential or self._worker.process.returncode is not None):
            await self._end()
        if self._worker is None:
            # not in a thread: one that is cancelled meanwhile would leave what it had made
            directory = private.make()
            try:
                process = await self._start(directory, credential)
            except BaseException as error:
                private.remove(directory)
                if isinstance(error, OSError):
                    raise StorageError(f"starting a worker for {self.address}", error.strerror or str(error)) from error
                raise
            self._worker, self._credential = _Worker(directory, process), credential
            self.counters.connections += 1
        return self._worker

    async def _start(self, directory: Path, credential: Credential | None) -> asyncio.subprocess.Process:
        settings = write_credential(directory, credential)
        settings |= configuration(directory, *self._trust)
        environment = {f"_condor_{name}": value for name, value in settings.items()}
        environment |= {"CONDOR_CONFIG": "ONLY_ENV", "HOME": str(directory), "LC_ALL": "C", "TZ": "UTC0"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *self._words,
            str(directory),
            self.address,
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end()

    def _asked(self, request: Request[Any]) -> str:
        return f"{type(request).__name__} at {self.address}"

    def _error(self, request: Request[Any], failure: Failure) -> IntercedeError:
        asked = self._asked(request)
        match failure.kind:
            case Kind.MISSING:
                advice = "pip install 'intercede[htcondor]'."
                return ConfigurationError("HTCondor's Python bindings", failure.said, advice)
            case Kind.DENIED:
                advice = "Is the credential fresh, meant for this host, and does it allow this?"
                return AuthenticationFailed(asked, failure.said, advice)
            case Kind.UNREACHED:
                return ConnectFailed(asked, failure.said)
            case Kind.BUSY:
                return SchedulerUnavailable(asked, failure.said)
            case Kind.FAILED:
                return CommandError(asked, failure.said)
            case Kind.UNKNOWN:
                return ConnectionLost(asked, failure.said)
