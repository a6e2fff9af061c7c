"""From a name or a URL to an element: the only place that knows which class is which. Classes load when used."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

from intercede import config as configuration
from intercede.elements.group import ElementGroup
from intercede.errors import ConfigurationError
from intercede.urls import GRID, SCHEDULERS, languages, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from intercede.config import ConfigSource, Where
    from intercede.credentials import CredentialProvider
    from intercede.elements.batch import BatchElement
    from intercede.protocols import Element
    from intercede.settings import ResourceSettings

__all__ = ["open_element", "open_elements"]


def open_element(
    where: Where = "local:", *, credentials: CredentialProvider | None = None, config: ConfigSource = None
) -> Element:
    """Give the element of a resource, to be used as an async context manager.

    Nothing is sent or connected before the first operation.

    Args:
        where: A URL, a name of the configuration, the resource of a reference, a table with the keys of a
            configured resource, or settings.
        credentials: Who supplies secrets. An ssh agent and the keys of the OpenSSH configuration need none.
        config: A configuration file or what is in one. Default: the user's, if there is one.

    Raises:
        ConfigurationError: It names no resource, or its settings are wrong.
    """
    settings = configuration.resolve(where, config)
    if settings.scheduler in GRID:
        return _load(GRID[settings.scheduler][0])(settings, credentials)
    if settings.scheduler not in SCHEDULERS:
        known = f"{nearest(settings.scheduler, languages())}Known: {', '.join(languages())}."
        raise ConfigurationError(f"scheduler {settings.scheduler!r} of {settings.id}", "there is no such one", known)
    return batch_element(settings, credentials)


def batch_element(settings: ResourceSettings, credentials: CredentialProvider | None = None) -> BatchElement:
    """Give the element of a batch system that is reached by commands; see `open_element`."""
    from intercede.elements.batch import BatchElement

    bounds = {"concurrent": settings.politeness.concurrent, "time_limit": settings.limits.command_time}
    if settings.ssh is None:
        transport = _load("intercede.transports.local:LocalTransport")(**bounds)
    else:
        transport = _load("intercede.transports.ssh:SSHTransport")(
            settings.ssh, resource=settings.id, credentials=credentials, **bounds
        )
    return BatchElement(settings, transport, _load(SCHEDULERS[settings.scheduler])())


def open_elements(
    config: ConfigSource = None,
    *,
    credentials: CredentialProvider | None = None,
    names: Iterable[str] | None = None,
) -> ElementGroup:
    """Give many resources as one, to be used as an async context manager.

    A resource is opened when the first reference to it turns up. References made from a URL are served as well: their
    resource is a URL (without the user, who is then the one of the OpenSSH configuration, else the local one).

    Args:
        config: A configuration file or what is in one. Default: the user's, if there is one.
        credentials: Who supplies secrets, for all of them.
        names: Only these resources. Default: all that are configured, the built-in ones, and those of URLs.

    Raises:
        ConfigurationError: The file cannot be read. A wrong table concerns only the jobs of its own resource.
    """
    loaded = configuration.load(config)
    opener = partial(open_element, credentials=credentials, config=loaded)
    if names is None:
        return ElementGroup(opener, loaded.names)
    chosen = list(names)
    for name in chosen:
        if ":" not in name and name not in loaded.names:
            advice = f"{nearest(name, loaded.names)}Known: {', '.join(loaded.names)}."
            raise ConfigurationError(f"resource {name!r}", f"{loaded.source} has no such name", advice)
    return ElementGroup(opener, chosen, only=True)


def _load(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
