"""Makes recordings of the same situations alike: what is left of a difference is the daemon's."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Likeness"]

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600
DAY = 24 * HOUR
_PROGRAM = re.compile(r"^# 'intercede [a-z]+' ([0-9a-f]{24})\b", re.MULTILINE)
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\b")
_EPOCH = re.compile(r"\b\d{10}\b")
_SPENT = re.compile(r"\b\d+m\d+\.\d+s\b")


@dataclass(frozen=True, slots=True)
class Likeness:
    """What differs between two recordings of the same, and what is written instead.

    A moment becomes the minute after the start of 2026 that has the number of the situation in which it was; so the
    order of situations is kept, and how long each took is not. What is hours or days ahead stays so, after the start of
    2026. CPU times become 0. Nonces are counted, job numbers too, from 101.

    Attributes:
        begins: When each situation began, in seconds since 1970; nothing of the one before it was going on then.
        jobs: The native numbers of the jobs, in the order of their submission.
        words: Other words to replace, such as the name of the host.
    """

    begins: Sequence[int]
    jobs: Sequence[str]
    words: Mapping[str, str]

    def of(self, text: str) -> str:
        """Give a recording as it would be of any other daemon that answers the same."""
        for count, nonce in enumerate(dict.fromkeys(_PROGRAM.findall(text)), 1):
            text = text.replace(nonce, f"nonce-{count}")
        for word, plain in self.words.items():
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", plain, text)
        text = _MOMENT.sub(self._moment, text)
        text = _EPOCH.sub(self._epoch, text)
        text = _SPENT.sub(lambda found: re.sub(r"\d", "0", re.sub(r"\d+([m.])", r"0\1", found[0])), text)
        numbers = {number: str(101 + n) for n, number in enumerate(dict.fromkeys(self.jobs))}
        return "".join(_numbered(line, numbers) for line in text.splitlines(keepends=True))

    def _moment(self, found: re.Match[str]) -> str:
        seconds = int(datetime.fromisoformat(found[0]).replace(tzinfo=UTC).timestamp())
        return self._plain(seconds).strftime("%Y-%m-%dT%H:%M:%S")

    def _epoch(self, found: re.Match[str]) -> str:
        seconds = int(found[0])
        # ten digits may be something else
        return str(int(self._plain(seconds).timestamp())) if abs(seconds - self.begins[0]) < DAY else found[0]

    def _plain(self, seconds: int) -> datetime:
        ahead = seconds - self.begins[-1]
        for unit in (DAY, HOUR):
            if ahead > unit / 2:
                return FIRST + timedelta(seconds=unit * round(ahead / unit))
        return FIRST + timedelta(minutes=max(0, bisect_right(self.begins, seconds) - 1))


def _numbered(line: str, numbers: Mapping[str, str]) -> str:
    """Replace the numbers of jobs where one may stand: `7_0`, `-j 7,8`, and in answers `7|…`, or the end of a line."""
    if not numbers or line[:2] in {"< ", "= "}:
        return line
    either = "|".join(numbers)
    if line[:2] in {"| ", "! "}:
        pattern = rf"(?<= )({either})(?=[_|\n]| \d+[_ |])"
    else:  # a command; its words may go on over several lines
        pattern = rf"(?<= )({either})(?=_)"
        line = re.sub(rf"(?<=-j )[\d,]*(?<!\d)({either})(?!\d)[\d,]*", lambda all_: _listed(all_[0], numbers), line)
    return re.sub(pattern, lambda found: numbers[found[1]], line)


def _listed(text: str, numbers: Mapping[str, str]) -> str:
    return ",".join(numbers.get(number, number) for number in text.split(","))
