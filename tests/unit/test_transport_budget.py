"""Turns."""

from __future__ import annotations

import asyncio

import pytest

from intercede.answers import Counters
from intercede.transports.budget import Slots, budget_for


async def hold(slots: Slots, log: list[str], name: str, until: asyncio.Event) -> None:
    async with slots.turn(Counters()):
        log.append(name)
        await until.wait()


async def test_first_come_first_served_and_never_more_than_the_limit() -> None:
    slots, log, until = Slots(2), [], asyncio.Event()
    tasks = [asyncio.create_task(hold(slots, log, name, until)) for name in "abcd"]
    await asyncio.sleep(0)
    assert log == ["a", "b"]
    until.set()
    await asyncio.gather(*tasks)
    assert log == ["a", "b", "c", "d"]
    assert slots.taken == 0


async def test_a_cancelled_waiter_loses_no_slot() -> None:
    slots, log, until = Slots(1), [], asyncio.Event()
    async with slots.turn(Counters()):
        second, third = (asyncio.create_task(hold(slots, log, name, until)) for name in "bc")
        await asyncio.sleep(0)
    second.cancel()  # the slot was handed to it just now
    until.set()
    with pytest.raises(asyncio.CancelledError):
        await second
    await asyncio.wait_for(third, 1)
    assert log == ["c"]
    assert slots.taken == 0


async def test_a_lowered_limit_holds_from_then_on() -> None:
    slots, log = Slots(3), []
    first, later = asyncio.Event(), asyncio.Event()
    begun = [asyncio.create_task(hold(slots, log, name, first)) for name in "abc"]
    await asyncio.sleep(0)
    slots.lower(0)
    waiting = [asyncio.create_task(hold(slots, log, name, later)) for name in "de"]
    await asyncio.sleep(0)
    first.set()
    await asyncio.gather(*begun)
    await asyncio.sleep(0)
    assert (slots.limit, slots.taken, log) == (1, 1, ["a", "b", "c", "d"])
    later.set()
    await asyncio.gather(*waiting)


async def test_one_budget_for_a_host_and_the_smallest_counts() -> None:
    assert budget_for("h", 4) is budget_for("h", 2)
    assert budget_for("h", 8).limit == 2
    assert budget_for("i", 8).limit == 8
