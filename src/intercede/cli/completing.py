"""What shell completion offers."""

from __future__ import annotations

__all__ = ["places", "submissions"]


def places(incomplete: str) -> list[str]:
    """Names of resources and the beginnings of URLs."""
    from intercede import config
    from intercede.errors import IntercedeError

    try:
        names = config.load().names
    except IntercedeError:
        names = []
    from intercede.urls import schemes

    urls = [f"{scheme}://" if scheme.startswith("ssh+") else f"{scheme}:" for scheme in schemes()]
    return [each for each in (*names, *urls) if each.startswith(incomplete)]


def submissions(incomplete: str) -> list[str]:
    """The newest tags."""
    from intercede.cli.memory import Memory
    from intercede.errors import IntercedeError

    try:
        tags = [each.tag for each in Memory().newest(20)]
    except IntercedeError:
        tags = []
    return [each for each in ("@last", *tags) if each.startswith(incomplete)]
