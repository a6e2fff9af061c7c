"""Turns: how many commands may run at once on a host, shared by all elements of the process."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from intercede.answers import Counters

__all__ = ["HostBudget", "Slots", "budget_for"]


class Slots:
    """A semaphore whose limit can change while it is in use; first come, first served.

    Args:
        limit: How many holders there may be at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def lower(self, limit: int) -> None:
        """Allow fewer from now on; holders keep what they have."""
        self.limit = max(1, min(self.limit, limit))

    @contextlib.asynccontextmanager
    async def turn(self, counters: Counters) -> AsyncGenerator[None, None]:
        """Hold one slot; the seconds spent waiting for it are counted."""
        await self._acquire(counters)
        try:
            yield
        finally:
            self.taken -= 1
            self._wake()

    async def _acquire(self, counters: Counters) -> None:
        if self.taken < self.limit and not self._waiting:
            self.taken += 1
            return
        began = time.monotonic()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot was ours already: hand it on
                self.taken -= 1
                self._wake()
            raise
        finally:
            counters.seconds_waited += time.monotonic() - began
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)

    def _wake(self) -> None:
        while self._waiting and self.taken < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)


class HostBudget(Slots):
    """The commands that run at once on one host."""


_budgets: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, HostBudget]] = weakref.WeakKeyDictionary()


def budget_for(host: str, concurrent: int) -> HostBudget:
    """The budget that all elements of the running event loop share for a host.

    Args:
        host: The host's name, as `Transport.host` gives it.
        concurrent: How many commands the caller's configuration allows at once; the smallest that anyone asked holds.
    """
    budgets = _budgets.setdefault(asyncio.get_running_loop(), {})
    budget = budgets.setdefault(host, HostBudget(concurrent))
    budget.lower(concurrent)
    return budget
