"""The URLs that name resources: text in, settings out. Pure; `config.py` completes and validates what they say."""

from __future__ import annotations

import difflib
import ipaddress
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from intercede.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from urllib.parse import SplitResult

__all__ = [
    "BUILT_IN",
    "GRID",
    "SCHEDULERS",
    "SECRET",
    "WHERE_SECRETS_GO",
    "from_url",
    "hop_from_text",
    "languages",
    "nearest",
    "schemes",
]

SCHEDULERS = {
    "process": "intercede.schedulers.process:Process",
    "slurm": "intercede.schedulers.slurm:Slurm",
    "pbs": "intercede.schedulers.pbs:PBS",
    "torque": "intercede.schedulers.torque:Torque",
    "lsf": "intercede.schedulers.lsf:LSF",
    "gridengine": "intercede.schedulers.gridengine:GridEngine",
    "oar": "intercede.schedulers.oar:OAR",
    "htcondor": "intercede.schedulers.htcondor:HTCondor",
}
"""Every command language there is, and where its class is. The registry imports it when it is used."""

GRID: dict[str, tuple[str, int]] = {
    "arc": ("intercede.elements.arc:ArcElement", 443),
    "htcondor-ce": ("intercede.elements.htcondor_ce:CondorCEElement", 9619),
}
"""Every protocol of services that take jobs over the network: where the class of its element is, and its usual port."""

BUILT_IN = {"local": "local:"} | {name: f"{name}:" for name in SCHEDULERS if name != "process"}
"""The resources that need no configuration."""

SECRET = re.compile(r"pass(word|phrase|wd)|secret|token|credential|private_?key|api_?key|\bpin\b", re.IGNORECASE)
"""What a key looks like whose value should not be there."""

_FROM_QUERY = ("account", "slots", "work_area")
_HOP = re.compile(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[^]]+\]|[^:]+)(?::(?P<port>\d+))?\Z")
WHERE_SECRETS_GO = (
    "No secret is ever in a configuration or a URL: give it through a credential provider, an ssh agent or a key file "
    "named in ssh.identity_files; the command line asks for it, or takes --password-file, --token-file, "
    "--idtoken-file, --proxy-file."
)


def schemes() -> tuple[str, ...]:
    """The schemes of the URLs that name a resource."""
    return ("local", *SCHEDULERS, *(f"ssh+{name}" for name in SCHEDULERS), *GRID)


def languages() -> tuple[str, ...]:
    """What the scheduler of a resource may be."""
    return (*SCHEDULERS, *GRID)


def from_url(url: str) -> dict[str, Any]:
    """Read a URL.

    Args:
        url: Such as `ssh+slurm://alice@login.example.org:2222/long`.

    Returns:
        The settings that it says, with the identifier of the resource: scheme, host and port (without user and queue),
        or `local`, `slurm` for this machine's own.

    Raises:
        ConfigurationError: It names no resource, or holds a password.
    """
    hidden = re.sub(r"//([^:@/]*):.*@", r"//\1:...@", url)  # what may be a password, and that may hold anything
    asked = f"the URL {hidden.partition('?')[0]!r}"
    scheme = url.partition(":")[0].lower()
    if scheme not in schemes():
        advice = f"{nearest(scheme, schemes())}Known: {', '.join(schemes())}."
        raise ConfigurationError(asked, f"no scheme {scheme!r} is known", advice)
    try:
        parts = urlsplit(url)
        port = parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        if hidden == url:
            raise ConfigurationError(asked, str(error)) from None
        # The words of the error would show a part of it.
        raise ConfigurationError(asked, "its port is no number, or it has a password in it", WHERE_SECRETS_GO) from None
    if parts.password is not None:
        raise ConfigurationError(asked, "it has a password in it", WHERE_SECRETS_GO)
    if parts.fragment or not re.fullmatch(r"[!-~]+", url):
        raise ConfigurationError(asked, "it has a '#', a space, or a character that is not ASCII", "Write it as %XX.")
    values = _query(query, asked)
    if queue := unquote(parts.path).strip("/"):
        values["queue"] = queue
    if "/" in queue:
        raise ConfigurationError(asked, f"{queue!r} is no name of a queue")
    if scheme in GRID:
        return values | _service(parts, port, asked)
    return values | (_remote(parts, port, asked) if scheme.startswith("ssh+") else _own(parts, asked))


def _own(parts: SplitResult, asked: str) -> dict[str, Any]:
    if parts.netloc:
        advice = f"A queue is {parts.scheme}:///{parts.netloc}, a host is ssh+slurm://{parts.netloc}."
        raise ConfigurationError(asked, f"{parts.scheme}: is this machine, so it names no host", advice)
    scheduler = "process" if parts.scheme == "local" else parts.scheme
    return {"id": "local" if scheduler == "process" else scheduler, "scheduler": scheduler}


def _service(parts: SplitResult, port: int | None, asked: str) -> dict[str, Any]:
    host, usual = _host(parts, asked), GRID[parts.scheme][1]
    if parts.username is not None:
        raise ConfigurationError(asked, "it names a user", "Who you are is what your credential says.")
    return {
        "id": f"{parts.scheme}://{_named(host)}{f':{port}' if port not in {None, usual} else ''}",
        "scheduler": parts.scheme,
        "endpoint": {"host": host, "port": port or usual},
    }


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _remote(parts: SplitResult, port: int | None, asked: str) -> dict[str, Any]:
    host = _host(parts, asked)
    ssh = {"host": host, "port": port, "user": unquote(parts.username or "") or None}
    return {
        "id": f"{parts.scheme}://{_named(host)}{f':{port}' if port not in {None, 22} else ''}",
        "scheduler": parts.scheme.removeprefix("ssh+"),
        "ssh": {key: value for key, value in ssh.items() if value is not None},
    }


def _host(parts: SplitResult, asked: str) -> str:
    if not parts.hostname:
        user = "" if parts.scheme in GRID else "user@"
        raise ConfigurationError(asked, "it names no host", f"Write {parts.scheme}://{user}host/queue.")
    if ":" in parts.hostname:
        try:
            return str(ipaddress.IPv6Address(unquote(parts.hostname)))
        except ValueError as error:
            raise ConfigurationError(asked, str(error)) from None
    # An alias of the OpenSSH configuration is matched as it is written; a domain name is the same in any case.
    written = parts.netloc.rpartition("@")[2].partition(":")[0]
    return parts.hostname if "." in written else written


def _query(query: list[tuple[str, str]], asked: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in query:
        if SECRET.search(key):
            raise ConfigurationError(asked, f"{key!r} does not belong in it", WHERE_SECRETS_GO)
        if key not in _FROM_QUERY or key in values:
            why = "is said twice" if key in values else f"is none of {', '.join(_FROM_QUERY)}"
            advice = f"{nearest(key, _FROM_QUERY)}More can be said in [resources.NAME] of intercede.toml."
            raise ConfigurationError(asked, f"{key!r} {why}", advice)
        values[key] = value
    return values


def hop_from_text(hop: Any) -> Any:
    """Read `user@host:port`; what is no text is handed back for validation.

    Raises:
        ConfigurationError: It reads differently.
    """
    if not isinstance(hop, str):
        return hop
    found = _HOP.match(hop.strip())
    if not found:
        raise ConfigurationError(f"jump host {hop!r}", "it does not read user@host:port")
    values = {key: value for key, value in found.groupdict().items() if value}
    return values | {"host": values["host"].strip("[]")}


def nearest(word: str, known: Iterable[str]) -> str:
    """Ask whether the nearest of the known words was meant; nothing if none is near."""
    found = difflib.get_close_matches(word, list(known), 1)
    return f"Did you mean {found[0]!r}? " if found else ""
