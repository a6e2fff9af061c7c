"""Following jobs: one query for all who ask at the same time, one poll for all who watch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
from typing import TYPE_CHECKING

from intercede.answers import JobState, JobStatus
from intercede.errors import AuthenticationFailed, CommandError, ConfigurationError, IntercedeError, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from intercede.model import JobRef
    from intercede.settings import ResourceSettings

    Ask = Callable[[Sequence[JobRef]], Awaitable[dict[JobRef, JobStatus]]]

__all__ = ["Desk", "Watchers"]

log = logging.getLogger("intercede.elements")


class Desk:
    """Merges questions: while one is under way, all that come are asked together in the next."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: dict[JobRef, None] = {}
        self._next: asyncio.Future[dict[JobRef, JobStatus]] | None = None
        self._asking: set[asyncio.Future[dict[JobRef, JobStatus]]] = set()
        self._turn = asyncio.Lock()

    async def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        """Ask for jobs, together with whoever else asks now.

        Raises:
            ConfigurationError: The element was closed meanwhile.
        """
        wanted = dict.fromkeys(refs)
        if not wanted:
            return {}
        self._waiting |= wanted
        if self._next is None:
            self._next = asyncio.ensure_future(self._one())
            self._asking.add(self._next)
            self._next.add_done_callback(self._asked)
        asked = self._next
        try:
            answer = await asyncio.shield(asked)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if asked.cancelled() and (task is None or not task.cancelling()):
                raise _closed("status") from None
            raise
        return dict(answer) if list(answer) == list(wanted) else {ref: answer[ref] for ref in wanted}

    async def _one(self) -> dict[JobRef, JobStatus]:
        async with self._turn:
            refs, self._waiting, self._next = list(self._waiting), {}, None
            return await self._ask(refs)

    def _asked(self, done: asyncio.Future[dict[JobRef, JobStatus]]) -> None:
        self._asking.discard(done)
        if not done.cancelled():
            done.exception()  # whoever still waits has it; if all were cancelled, nobody wants it

    async def aclose(self) -> None:
        """End the questions that nobody waits for any more."""
        asking = list(self._asking)
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def _closed(asked: str) -> ConfigurationError:
    return ConfigurationError(asked, "the element was closed meanwhile", "Open it again.")


class _Watcher:
    def __init__(self, refs: Iterable[JobRef]) -> None:
        self.open: dict[JobRef, object] = dict.fromkeys(refs)
        self.news: asyncio.Queue[dict[JobRef, JobStatus] | IntercedeError] = asyncio.Queue()

    def tell(self, statuses: dict[JobRef, JobStatus]) -> bool:
        """Queue what changed for this watcher; final jobs are let go."""
        changes = {}
        for ref, before in list(self.open.items()):
            status = statuses.get(ref)
            if status is None:
                continue
            now = _shape(status)
            if now != before:
                self.open[ref] = now
                changes[ref] = status
            if status.state.is_final:
                del self.open[ref]
        if changes:
            self.news.put_nowait(changes)
        return bool(changes)


def _shape(status: JobStatus) -> object:
    return (
        status.state, status.native_state, status.reason, status.exit_code, status.signal, status.node, status.attempt,
        status.detail if status.state in {JobState.HELD, JobState.UNKNOWN} else "",
    )  # fmt: skip


class Watchers:
    """All watchers of one resource, served by one poll that slows down while nothing changes."""

    def __init__(self, ask: Ask, settings: ResourceSettings) -> None:
        self._ask = ask
        self._settings = settings
        self._all: set[_Watcher] = set()
        self._poll: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    async def watch(self, refs: Iterable[JobRef]) -> AsyncIterator[dict[JobRef, JobStatus]]:
        """Give the state of all jobs, then what changes, until all are final.

        Raises:
            IntercedeError: The resource did not answer for `patience` seconds, or refused who we are.
            ConfigurationError: The element was closed meanwhile.
        """
        watcher = _Watcher(dict.fromkeys(refs))
        if not watcher.open:
            return
        self._all.add(watcher)
        self._wake.set()
        if self._poll is None or self._poll.done():
            self._poll = asyncio.ensure_future(self._run())
        try:
            while watcher.open or not watcher.news.empty():
                news = await watcher.news.get()
                if isinstance(news, IntercedeError):
                    raise news
                yield news
        finally:
            self._all.discard(watcher)
            if not self._all:
                await self.aclose()

    async def _run(self) -> None:
        bounds = self._settings.politeness
        interval, silent_since = bounds.min_interval, None
        while self._all:
            self._wake.clear()
            began = time.monotonic()
            try:
                changed = await self._once()
                silent_since = None
            except (TransportError, CommandError) as error:
                silent_since = silent_since or began
                log.warning("watch: %s; asking again", error)
                changed = False
                if isinstance(error, AuthenticationFailed) or began - silent_since > self._settings.patience:
                    self._tell_all(error)
                    return
            except IntercedeError as error:
                self._tell_all(error)
                return
            except Exception as error:  # a fault of ours must reach whoever watches, not a log
                # its words may hold a secret
                kind = type(error).__name__
                log.error("watch: %s\n%s", kind, "".join(traceback.format_tb(error.__traceback__)))
                self._tell_all(ConfigurationError("watch", f"{kind}: where it was raised is in the log"))
                return
            interval = bounds.min_interval if changed else min(interval * 1.5, bounds.max_interval)
            # a slow answer is how a busy daemon says so
            pause = max(interval, 2 * (time.monotonic() - began))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
                await asyncio.sleep(max(0, bounds.min_interval - (time.monotonic() - began)))

    async def _once(self) -> bool:
        refs = list(dict.fromkeys(ref for watcher in self._all for ref in watcher.open))
        if not refs:
            return False
        statuses = await self._ask(refs)
        told = [watcher.tell(statuses) for watcher in list(self._all)]
        return any(told)

    def _tell_all(self, error: IntercedeError) -> None:
        for watcher in self._all:
            if watcher.open:
                watcher.news.put_nowait(error)

    async def aclose(self) -> None:
        """End the poll; whoever still watches is told."""
        self._tell_all(_closed("watch"))
        poll, self._poll = self._poll, None
        if poll is not None and poll is not asyncio.current_task():
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)
