"""Times of the same work done in several ways, and what is reported of them."""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Way = Callable[[], Awaitable[float]]
    """Does the work once and gives the seconds that count; what it prepares and clears away does not."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of several repetitions."""

    best: float
    median: float
    all: tuple[float, ...]

    @classmethod
    def of(cls, seconds: list[float]) -> Times:
        return cls(min(seconds), statistics.median(seconds), tuple(round(each, 5) for each in seconds))


@dataclass(slots=True)
class Entry:
    """One line of the report.

    Attributes:
        name: What was done.
        n: To how many jobs, 0 where there are none.
        ours: By the library.
        floor: By raw commands; None where the bar is absolute.
        ratio: Of the medians.
        best_ratio: Of the best times, which a busy machine spoils less.
        executions: Remote executions that the library needed, of the last repetition.
        bar: What the ratio (or, without a floor, the median) is to stay below; None for information only.
        beside: Other ways of doing the same, by name.
        load: The machine's load average at the end.
        notes: Whatever else was seen.
    """

    name: str
    n: int
    ours: Times
    floor: Times | None = None
    ratio: float | None = None
    best_ratio: float | None = None
    executions: int | None = None
    bar: float | None = None
    beside: dict[str, Times] = field(default_factory=dict)
    load: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def passes(self) -> bool | None:
        if self.bar is None:
            return None
        return (self.ours.median if self.ratio is None else self.ratio) <= self.bar

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "passes": self.passes}


def say(text: str) -> None:
    """Tell a person how it goes; stdout is for JSON."""
    print(text, file=sys.stderr, flush=True)


async def alternate(ours: Way, floors: Mapping[str, Way], repetitions: int) -> tuple[Times, dict[str, Times]]:
    """Do the work in all ways in turn, so that a busy moment of the machine strikes all of them alike.

    Args:
        ours: The library's way.
        floors: The others, by name.
        repetitions: Times that count, after one of each that does not.
    """
    ways = {"": ours, **floors}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for round_ in range(repetitions + 1):
        for name in order:
            took = await ways[name]()
            if round_:
                seconds[name].append(took)
        order.reverse()
    times = {name: Times.of(each) for name, each in seconds.items()}
    return times.pop(""), times


async def compare(
    name: str, n: int, ours: Way, floors: Mapping[str, Way], repetitions: int, *, bar: float | None = None
) -> Entry:
    """Measure in turn; the first of the floors is the one of the ratio.

    Args:
        name: Of the entry.
        n: The number of jobs.
        ours: The library's way.
        floors: The others, by name.
        repetitions: How often each is done.
        bar: What the ratio is to stay below.
    """
    say(f"  {name}")
    took, others = await alternate(ours, floors, repetitions)
    floor = others.pop("floor")
    load = round(os.getloadavg()[0], 2)
    entry = Entry(name, n, took, floor, bar=bar, beside=others, load=load)
    entry.ratio = round(took.median / floor.median, 3)
    entry.best_ratio = round(took.best / floor.best, 3)
    return entry
