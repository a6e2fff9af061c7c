"""What the schedulers share: times, words of resources, refusals in common words."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from intercede.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from intercede.model import JobDescription, Resources
    from intercede.settings import ResourceSettings

__all__ = ["check_resources", "epoch", "log", "moment", "native_words"]

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
