"""The same elements for callers without an event loop: blocking methods of the same names, from any thread.

    from intercede import JobDescription, sync

    with sync.open_element("ssh+slurm://alice@login.example.org/long") as ce:
        submission = ce.submit(JobDescription(executable="hostname"), copies=3)
        for changes in ce.watch(submission.refs):
            ...

All of them share one event loop in one background thread of the process, so any number of threads share the
connections of an element. A thread that is interrupted (Ctrl-C) cancels its own operation before the exception goes on.
After a fork the child has a loop, and connections, of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from intercede import registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from intercede.answers import (
        Capacity,
        Counters,
        JobOutput,
        JobStatus,
        LogChunk,
        Outcome,
        Submission,
        SubmissionInfo,
    )
    from intercede.config import ConfigSource, Where
    from intercede.credentials import CredentialProvider
    from intercede.errors import IntercedeError
    from intercede.model import Copy, JobDescription, JobRef

__all__ = ["Element", "Group", "open_element", "open_elements"]

T = TypeVar("T")


class _Portal:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="intercede-sync", daemon=True)
        self.thread.start()
        self.facades: weakref.WeakSet[_Facade] = weakref.WeakSet()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self.thread:
            coroutine.close()
            msg = "a blocking call in the thread of intercede.sync would wait for itself"
            raise RuntimeError(msg)
        if self is not _portal:  # nobody would ever answer
            coroutine.close()
            msg = "the loop of intercede.sync has ended, or is the parent's (this is a fork)"
            raise RuntimeError(msg)
        ended = threading.Event()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            tasks.append(self.loop.create_task(coroutine))
            tasks[0].add_done_callback(lambda _: ended.set())

        self.loop.call_soon_threadsafe(start)
        try:
            ended.wait()
        except BaseException:
            # The caller was interrupted: end the operation, and let it clean up behind itself.
            self.loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            ended.wait(_GRACE)
            raise
        return tasks[0].result()

    def stop(self) -> None:
        for facade in list(self.facades):
            with suppress(Exception):
                facade.close()
        with suppress(Exception):
            self.run(_end_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(_GRACE)
        if not self.thread.is_alive():
            self.loop.close()


async def _end_all() -> None:
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_GRACE)


_GRACE = 10.0
_lock = threading.Lock()
_portal: _Portal | None = None
_exiting = False
_of_the_parent: list[object] = []


def _the_portal() -> _Portal:
    global _portal
    with _lock:
        if _exiting:
            msg = "intercede.sync has ended: a handler of atexit that uses it is registered after it is imported"
            raise RuntimeError(msg)
        if _portal is None:
            _portal = _Portal()
        return _portal


def _after_fork() -> None:
    # The parent's thread is not here, and what it held belongs to the parent: it is kept, lest its end closes anything.
    global _lock, _portal
    _lock = threading.Lock()
    _of_the_parent.append(_portal)
    _portal = None


def _at_exit() -> None:
    global _exiting, _portal
    if _portal is not None:
        _portal.stop()
    _exiting, _portal = True, None


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)


class _Facade:
    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._inner = make()
        self._portal: _Portal | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections; idempotent. Jobs go on."""
        if not _exiting:  # else that is done
            self._run(lambda inner: inner.aclose())

    def _bind(self) -> _Portal:
        portal = _the_portal()
        if self._portal is not portal:
            if self._portal is not None:
                _of_the_parent.append(self._inner)
                self._inner = self._make()
            self._portal = portal
            portal.facades.add(self)
        return portal

    def _run(self, operation: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        portal = self._bind()

        async def run() -> T:
            return await operation(self._inner)

        return portal.run(run())

    def _iterate(self, operation: Callable[[Any], AsyncIterator[T]]) -> Generator[T]:
        portal = self._bind()
        pump = _Pump(operation(self._inner))
        try:
            while (item := portal.run(pump.next())) is not _END:
                yield item
        finally:
            if portal is not _portal:
                _of_the_parent.append(pump)  # or the end of the loop has ended it
            elif threading.current_thread() is portal.thread:
                portal.loop.call_soon(pump.cancel)
            else:
                portal.run(pump.end())


_END: Any = object()


class _Pump:
    """Runs an asynchronous iterator in one task (it may hold time limits and scopes), a step for each demand."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._source = source
        self._demand = asyncio.Semaphore(0)
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def next(self) -> Any:
        self._task = self._task or asyncio.create_task(self._pump())
        self._demand.release()
        item = await self._items.get()
        if item is _END:
            await self._task
        return item

    async def _pump(self) -> None:
        try:
            while True:
                await self._demand.acquire()
                item = await anext(self._source, _END)
                if item is _END:
                    return
                self._items.put_nowait(item)
        finally:
            self._items.put_nowait(_END)
            if (close := getattr(self._source, "aclose", None)) is not None:
                await close()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        self.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])


class Element(_Facade):
    """One resource, with blocking methods. What they do and raise is as in the asynchronous element."""

    @property
    def id(self) -> str:
        """The resource's stable name, as in its references."""
        return self._inner.id

    @property
    def counters(self) -> Counters:
        """What the resource has cost so far, in this process."""
        return self._inner.counters

    def submit(
        self, description: JobDescription, copies: int | Iterable[Copy] = 1, *, tag: str | None = None
    ) -> Submission:
        """Queue copies of a description, at most once for a tag."""
        return self._run(lambda inner: inner.submit(description, copies, tag=tag))

    def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        """Give the status of every job asked for, in the order asked."""
        return self._run(lambda inner: inner.status(refs))

    def watch(self, refs: Iterable[JobRef]) -> Generator[dict[JobRef, JobStatus]]:
        """Give what changes, until all jobs are final."""
        return self._iterate(lambda inner: inner.watch(refs))

    def fetch_output(
        self, refs: Iterable[JobRef], into: Path | str, *, flat: bool = False
    ) -> dict[JobRef, JobOutput | IntercedeError]:
        """Bring stdout, stderr and declared files into `into/<submission>/<copy>/` (`flat`: `into/<copy>/`)."""
        return self._run(lambda inner: inner.fetch_output(refs, into, flat=flat))

    def read_log(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> LogChunk:
        """Read a piece of a log; a negative offset counts from the end."""
        return self._run(lambda inner: inner.read_log(ref, name, offset))

    def follow(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> Generator[LogChunk]:
        """Read on until the job has ended."""
        return self._iterate(lambda inner: inner.follow(ref, name, offset))

    def cancel(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Order the jobs' end."""
        return self._run(lambda inner: inner.cancel(refs))

    def release(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Let held jobs be scheduled."""
        return self._run(lambda inner: inner.release(refs))

    def renew(
        self, refs: Iterable[JobRef], secrets: Mapping[str, bytes | str]
    ) -> dict[JobRef, Outcome | IntercedeError]:
        """Replace secret files by name, atomically."""
        return self._run(lambda inner: inner.renew(refs, secrets))

    def purge(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Remove the files of ended jobs."""
        return self._run(lambda inner: inner.purge(refs))

    def capacity(self) -> Capacity:
        """Give the queues, their limits, and who waits and runs there."""
        return self._run(lambda inner: inner.capacity())

    def find(self, tag: str) -> Submission:
        """Give what got through under a tag."""
        return self._run(lambda inner: inner.find(tag))

    def abandon(self, tag: str) -> Submission:
        """Give up on the parts of a submission that began without an outcome."""
        return self._run(lambda inner: inner.abandon(tag))

    def list(self, since: datetime | None = None) -> Sequence[SubmissionInfo]:
        """Give own submissions, the oldest first."""
        return self._run(lambda inner: inner.list(since))

    def sweep(self, older_than: timedelta) -> Sequence[str]:
        """Purge old submissions whose jobs have all ended; gives their tags."""
        return self._run(lambda inner: inner.sweep(older_than))


class Group(_Facade):
    """Many resources as one, with blocking methods. What they do is as in `ElementGroup`."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, name: str) -> Element:
        """Give the element of one resource."""

        def make() -> Any:
            self._bind()  # after a fork the child has a group of its own
            return self._inner[name]

        return Element(make)

    @property
    def errors(self) -> dict[str, IntercedeError]:
        """The resources whose last operation failed as a whole, and how."""
        return self._inner.errors

    def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        """Give the status of every job asked for, in the order asked."""
        return self._run(lambda inner: inner.status(refs))

    def watch(self, refs: Iterable[JobRef]) -> Generator[dict[JobRef, JobStatus]]:
        """Give what changes on any of the resources, until all jobs are final."""
        return self._iterate(lambda inner: inner.watch(refs))

    def fetch_output(
        self, refs: Iterable[JobRef], into: Path | str, *, flat: bool = False
    ) -> dict[JobRef, JobOutput | IntercedeError]:
        """Bring output back into `into/<submission>/<copy>/` (`flat`: `into/<copy>/`); an error is that job's value."""
        return self._run(lambda inner: inner.fetch_output(refs, into, flat=flat))

    def cancel(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Order the jobs' end; an error is that job's value."""
        return self._run(lambda inner: inner.cancel(refs))

    def release(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Let held jobs be scheduled; an error is that job's value."""
        return self._run(lambda inner: inner.release(refs))

    def purge(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Remove the files of ended jobs; an error is that job's value."""
        return self._run(lambda inner: inner.purge(refs))


def open_element(
    where: Where = "local:", *, credentials: CredentialProvider | None = None, config: ConfigSource = None
) -> Element:
    """Give the element of a resource, as `intercede.open_element` does, with blocking methods.

    Raises:
        ConfigurationError: It names no resource, or its settings are wrong.
    """
    return Element(partial(registry.open_element, where, credentials=credentials, config=config))


def open_elements(
    config: ConfigSource = None,
    *,
    credentials: CredentialProvider | None = None,
    names: Iterable[str] | None = None,
) -> Group:
    """Give many resources as one, as `intercede.open_elements` does, with blocking methods.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    chosen = None if names is None else list(names)
    return Group(partial(registry.open_elements, config, credentials=credentials, names=chosen))
