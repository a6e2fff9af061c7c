"""What the schedulers share: times, words of resources, refusals in common words."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from intercede.answers import JobState, QueueInfo
from intercede.errors import ParseError, QueueFull, SchedulerUnavailable, SubmissionRejected, UnsupportedError
from intercede.workarea.scheduler import Observation, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from intercede.errors import IntercedeError
    from intercede.model import JobDescription, Resources
    from intercede.settings import ResourceSettings

__all__ = ["check_resources", "counted", "epoch", "log", "moment", "native_words", "read_rows", "refused"]

log = logging.getLogger("intercede.schedulers")


@lru_cache(4096)
def moment(text: str) -> datetime | None:
    """Read a time without a zone from a command that ran with `TZ=UTC0`; None for `N/A`, `Unknown`, `None`, nothing."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None


def epoch(text: str) -> datetime | None:
    """Read seconds since the epoch; None for anything else."""
    return datetime.fromtimestamp(int(text), UTC) if re.fullmatch(r"\d{1,11}", text) else None


def check_resources(
    name: str, resources: Resources, reserves: Iterable[str], best_effort: Iterable[str] = ()
) -> Resources:
    """Take away what the system cannot reserve and need not, and refuse what it must.

    Args:
        name: The scheduler's.
        resources: What is asked for.
        reserves: The fields that the scheduler can reserve.
        best_effort: Fields that the site's configuration allows to be ignored, besides the description's.

    Raises:
        UnsupportedError: A field cannot be reserved and nobody allowed that.
    """
    plain: dict[str, int | None] = {"cores": 1, "gpus": 0, "nodes": 1, "memory": None, "walltime": None}
    ignored = {}
    for field, default in plain.items():
        if getattr(resources, field) == default or field in reserves:
            continue
        if field not in resources.best_effort and field not in best_effort:
            asked = f"resources.{field}"
            raise UnsupportedError(
                asked, f"{name} cannot reserve it", f"Leave it out, or name {field!r} in best_effort."
            )
        ignored[field] = default
    return resources.model_copy(update=ignored) if ignored else resources


def native_words(name: str, description: JobDescription, settings: ResourceSettings) -> tuple[str, ...]:
    """The site's and the description's own words for this scheduler's submit command."""
    return (*settings.native, *description.native.get(name, ()))


def refused(
    asked: str,
    answer: str,
    returncode: int,
    *,
    full: re.Pattern[str],
    absent: re.Pattern[str],
    fields: Sequence[tuple[re.Pattern[str], str]],
) -> IntercedeError:
    """What a refusal to queue a job is, in the words of the command that said it.

    Args:
        asked: The command.
        answer: What it said.
        returncode: Its exit status.
        full: Words that speak of a limit that passes.
        absent: Words of a daemon that is not there.
        fields: Words, and which field of ours they speak of.
    """
    if full.search(answer):
        return QueueFull(asked, answer, "Submit again when jobs have ended.", returncode=returncode)
    if absent.search(answer):
        return SchedulerUnavailable(asked, answer, "Try again later.", returncode=returncode)
    if returncode == 127:
        return unavailable(asked, answer, returncode)
    # what a command says of its usage names every field
    complaint = re.split(r"^usage:", answer, maxsplit=1, flags=re.IGNORECASE | re.MULTILINE)[0]
    field = next((name for pattern, name in fields if pattern.search(complaint)), "")
    advice = "`intercede queues` lists the queues and their limits." if field else ""
    return SubmissionRejected(f"{asked} ({field})" if field else asked, answer, advice, returncode=returncode)


def read_rows(
    asked: str, text: str, ids: re.Pattern[str], read: Callable[[str], Observation]
) -> dict[str, Observation]:
    """Read lines `ID ID ...|WORD|...`; one that cannot be read is the error of its own jobs.

    Args:
        asked: The command that they are from.
        text: The lines.
        ids: What an identifier looks like.
        read: Reads what follows the identifiers, `|WORD|...`; a `ParseError` becomes the detail of an unknown state.
    """
    found: dict[str, Observation] = {}
    for line in text.split("\n"):
        natives, bar, _ = line.partition("|")
        known = [native for native in natives.split(" ") if ids.match(native)]
        if not bar or not known:
            if line.strip():
                log.warning("%s: a line that is none of ours: %r", asked, line[:200])
            continue
        try:
            seen = read(line[len(natives) :])
        except ParseError as error:
            log.warning("%s: %s", natives, error)
            seen = Observation(line.split("|", 2)[1] or "?", JobState.UNKNOWN, detail=f"ParseError: {error}")
        found.update(dict.fromkeys(known, seen))
    return found


def counted(queue: QueueInfo, counts: Mapping[tuple[str, bool, bool], int]) -> QueueInfo:
    """A queue with its jobs, of counts by (queue, whether they wait, whether they are ours)."""
    waiting, running = ([counts.get((queue.name, waits, ours), 0) for ours in (True, False)] for waits in (True, False))
    return replace(queue, waiting=sum(waiting), running=sum(running), ours_waiting=waiting[0], ours_running=running[0])
