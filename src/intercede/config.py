"""From files, URLs and the environment to validated settings; the only reader of any of them.

A resource is data. It is named by

- a URL: `local:` (processes on this machine), `slurm:` or `slurm:///queue` (this machine's Slurm),
  `ssh+slurm://user@host:port/queue`, `ssh+process://host`; the host may be an alias of the OpenSSH configuration;
- a name in `intercede.toml`, which is an explicit path or lies in the user's configuration directory (never in the
  current directory: a preamble is code);
- a table with the keys of such a file.

```toml
[defaults]                              # below every resource, also those named by a URL
work_area = "~/jobs"

[resources.hpc]
url = "ssh+slurm://alice@login.example.org/long"
account = "astro"                       # any field of ResourceSettings
preamble = "module load apptainer"
limits.output_bytes = "5G"

[resources.hpc.ssh]                     # any field of SSHSettings; a hop is a table or "user@host:port"
jump = ["alice@gateway.example.org"]
host_keys = ["ssh-ed25519 AAAA..."]

[resources.local]                       # what is built in may be given settings, too
slots = 4
```

No secret is ever in it.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from pydantic import ValidationError

from intercede.errors import ConfigurationError
from intercede.model import Frozen
from intercede.settings import ResourceSettings
from intercede.urls import (
    BUILT_IN,
    GRID,
    SECRET,
    WHERE_SECRETS_GO,
    from_url,
    hop_from_text,
    languages,
    nearest,
    schemes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

__all__ = ["Config", "ConfigSource", "Where", "default_path", "load", "resolve"]

Table: TypeAlias = Mapping[str, Any]
Where: TypeAlias = "str | Table | ResourceSettings"
ConfigSource: TypeAlias = "Config | Path | str | Table | None"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_SAID_ONCE = (
    ("scheduler",), ("queue",), ("ssh", "host"), ("ssh", "port"), ("ssh", "user"), ("endpoint", "host"),
    ("endpoint", "port"),
)  # fmt: skip


def default_path() -> Path:
    """Where the user's `intercede.toml` is, whether or not it exists."""
    import platformdirs

    return platformdirs.user_config_path("intercede") / "intercede.toml"


def resolve(where: Where, config: ConfigSource = None) -> ResourceSettings:
    """Give the settings of a resource.

    Args:
        where: A URL, a name of the configuration (or `local`, `slurm`), or a table with the keys of one.
        config: The path of a configuration file, or what is in one. Default: the user's, if there is one.

    Raises:
        ConfigurationError: It names no resource, or its settings are wrong. Nothing was sent anywhere.
    """
    if isinstance(where, ResourceSettings):
        return where
    config = load(config)
    if isinstance(where, Mapping):
        return config.build(where, "the table of the resource")
    if ":" in where:
        values = from_url(where)
        table = config.resources.get(values["id"], {})
        return config.build({**table, **values, "url": where}, f"resources.{values['id']}" if table else "the URL")
    if where in config.resources or where in BUILT_IN:
        return config.settings(where)
    names = config.names
    raise ConfigurationError(
        f"resource {where!r}",
        f"{config.source} has no such name (it has: {', '.join(names)})",
        f"{nearest(where, names)}A resource without configuration is named by a URL: {', '.join(schemes())}.",
    )


def load(source: ConfigSource = None) -> Config:
    """Read a configuration. Its resources are validated one by one, when they are used.

    Args:
        source: A path; a table with what a file has; or None for the user's own file, which need not exist.

    Raises:
        ConfigurationError: It cannot be read, is no TOML, or has tables that mean nothing; or anybody may write it.
    """
    if isinstance(source, Config):
        return source
    if isinstance(source, Mapping):
        return _config(source, "the configuration")
    path = default_path() if source is None else Path(source).expanduser()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().decode()
    except FileNotFoundError:
        if source is None:
            return Config(str(path))
        raise ConfigurationError(str(path), "there is no such file") from None
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(str(path), str(error)) from error
    if mode & stat.S_IWOTH:
        raise ConfigurationError(str(path), "anybody may write it, and what it says is run", f"chmod o-w {path}")
    try:
        return _config(tomllib.loads(text), str(path), text, path.absolute().parent)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), f"it is no TOML: {error}") from None


def _config(tables: Table, source: str, text: str = "", directory: Path | None = None) -> Config:
    for key, table in tables.items():
        if key not in {"defaults", "resources"}:
            advice = nearest(key, ["defaults", "resources"])
            if isinstance(table, Mapping) and not advice:
                advice = f"Did you mean [resources.{key}]? "
            raise ConfigurationError(f"{source}: {key}{_line(text, [key])}", "no such table", advice)
    defaults, resources = tables.get("defaults", {}), tables.get("resources", {})
    for key, table in {"defaults": defaults, "resources": resources}.items():
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"{source}: {key}", f"it is no table: write [{key}]")
    for key in {"id", "url", "scheduler"} & set(defaults):
        raise ConfigurationError(f"{source}: defaults.{key}{_line(text, ['defaults', key])}", "a resource has its own")
    return Config(source, defaults, resources, text, directory)


@dataclass(frozen=True)
class Config:
    """What a configuration says, not yet validated.

    Attributes:
        source: Where it came from, for messages.
        defaults: Settings below those of every resource.
        resources: The tables of the resources, by name.
    """

    source: str = "the configuration"
    defaults: Table = field(default_factory=dict)
    resources: Mapping[str, Table] = field(default_factory=dict)
    text: str = field(default="", repr=False)
    directory: Path | None = None

    @property
    def names(self) -> list[str]:
        """Every name that can be resolved: the configured ones, then the built-in ones."""
        return [*self.resources, *(name for name in BUILT_IN if name not in self.resources)]

    def settings(self, name: str) -> ResourceSettings:
        """Give the settings of a resource by its name.

        Raises:
            ConfigurationError: Its table is wrong.
        """
        table, place = self.resources.get(name, {}), f"resources.{name}"
        asked = self._at(place)
        if not _NAME.match(name):
            raise ConfigurationError(asked, "a name is 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or digit")
        if not isinstance(table, Mapping):
            raise ConfigurationError(asked, f"it is no table: write [{place}]")
        if "id" in table:
            raise ConfigurationError(asked, "it has a key 'id'", "Its name is its identifier: rename the table.")
        if name in BUILT_IN:
            table = {"url": BUILT_IN[name], **table}
            if not isinstance(table["url"], str) or from_url(table["url"])["id"] != name:
                raise ConfigurationError(asked, f"{name!r} is this machine's own", "Give the resource another name.")
        return self.build({**table, "id": name}, place)

    def build(self, table: Table, place: str) -> ResourceSettings:
        """Give the settings that a table makes, on top of the defaults.

        Args:
            table: The keys of one resource.
            place: Where the table is, for messages.

        Raises:
            ConfigurationError: A key is unknown or missing, or a value is wrong; all of them are named.
        """
        own = {key: value for key, value in table.items() if key != "url"}
        if "url" in table:
            if not isinstance(table["url"], str):
                raise ConfigurationError(self._at(place, "url"), "it is no text")
            own = self._on_url(table["url"], own, place)
        if own.get("scheduler", "slurm") not in languages():
            known = ", ".join(languages())
            raise ConfigurationError(self._at(place, "scheduler"), f"{own['scheduler']!r} is none of {known}")
        # what says how to reach a resource is for those that are reached that way
        defaults = {key: value for key, value in self.defaults.items() if key not in {"ssh", "endpoint"} or key in own}
        values = _merged(defaults, own)
        if isinstance(values.get("ssh"), Mapping):
            values["ssh"] = self._ssh(dict(values["ssh"]))
        if isinstance(values.get("endpoint"), Mapping):
            values["endpoint"] = self._paths(values["endpoint"])
        try:
            settings = ResourceSettings.model_validate(values)
        except ValidationError as error:
            said = [self._explain(entry, table, place) for entry in error.errors(include_input=False)]
            raise ConfigurationError("\n".join(said)) from None
        if settings.scheduler == "process" and settings.queue:
            raise ConfigurationError(self._at(place), f"queue {settings.queue!r}: plain processes have no queues")
        if (settings.scheduler in GRID) is (settings.endpoint is None):
            needs = "needs" if settings.endpoint is None else "has no"
            raise ConfigurationError(self._at(place), f"{settings.scheduler} {needs} endpoint")
        return settings

    def _on_url(self, url: str, own: dict[str, Any], place: str) -> dict[str, Any]:
        values = from_url(url)
        for path in _SAID_ONCE:
            first, second = _get(values, path), _get(own, path)
            if first is not None and second is not None and first != second:
                raise ConfigurationError(self._at(place, *path), f"it says {second!r}, and the URL {first!r}")
        return _merged(values, own)

    def _ssh(self, ssh: dict[str, Any]) -> dict[str, Any]:
        if isinstance(ssh.get("jump"), str):
            ssh["jump"] = ssh["jump"].split(",")
        if isinstance(ssh.get("jump"), list | tuple):
            ssh["jump"] = [self._paths(hop_from_text(hop)) for hop in ssh["jump"]]
        socket = os.environ.get("SSH_AUTH_SOCK")
        if socket and ssh.get("agent", True) is True:
            ssh.setdefault("agent_path", socket)
        return self._paths(ssh)

    def _paths(self, hop: Any) -> Any:
        if not isinstance(hop, Mapping):
            return hop
        hop = dict(hop)
        for key in ("config_file", "agent_path", "known_hosts", "ca"):
            if isinstance(hop.get(key), str):
                hop[key] = self._path(hop[key])
        if isinstance(hop.get("identity_files"), list | tuple):
            hop["identity_files"] = [self._path(each) for each in hop["identity_files"]]
        return hop

    def _path(self, text: Any) -> Any:
        # An empty path means "none", so it must not become the directory of the file.
        if not isinstance(text, str) or not text:
            return text
        path = Path(text).expanduser()
        return self.directory / path if self.directory else path

    def _at(self, place: str, *keys: str | int) -> str:
        """Where a key is, for messages."""
        dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        if place != "defaults" and not place.startswith("resources."):
            return f"{place}: {dotted[1:]}" if keys else place
        return f"{self.source}: {place}{dotted}{_line(self.text, [*place.split('.', 1), *map(str, keys)])}"

    def _explain(self, entry: ErrorDetails, table: Table, place: str) -> str:
        """Say what is wrong with one key, and what to do about it."""
        loc = [part for part in entry["loc"] if part != "[key]"]
        if not _has(table, loc) and _has(self.defaults, loc):
            place = "defaults"
        named = self._at(place, *loc)
        if entry["type"] == "missing" and loc[0] in {"id", "scheduler"}:
            return f"{self._at(place)}: {loc[0]!r} is missing, and so is 'url'"
        if entry["type"] != "extra_forbidden":
            return f"{named}: {entry['msg'].removeprefix('Value error, ')}"
        key = str(loc[-1])
        if SECRET.search(key):
            return f"{named}: a secret does not belong here. {WHERE_SECRETS_GO}"
        return f"{named}: no such key. {_nearest_key(loc)}"


def _merged(below: Table, above: Table) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _get(table: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table


def _has(table: Any, loc: list[Any]) -> bool:
    for part in loc:
        if isinstance(table, list) and isinstance(part, int):
            return part < len(table)
        if not isinstance(table, Mapping) or part not in table:
            return False
        table = table[part]
    return True


def _nearest_key(loc: list[Any]) -> str:
    level = ".".join(str(part) for part in loc[:-1] if not isinstance(part, int))
    known = ["url", *(key for key in _keys(ResourceSettings) if key != "id")]
    here = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == level]
    elsewhere = [key for key in known if key.rpartition(".")[2] == loc[-1]]
    advice = nearest(str(loc[-1]), here) or (f"Did you mean {elsewhere[0]!r}?" if elsewhere else "")
    return advice.strip() or f"Known here: {', '.join(sorted(here))}."


def _keys(model: type[Frozen], prefix: str = "") -> Iterator[str]:
    for name, each in model.model_fields.items():
        yield f"{prefix}{name}"
        for inner in _models(each.annotation):
            yield from _keys(inner, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _line(text: str, path: list[str]) -> str:
    """Where a key is in a file, as ` (line 7)`; nothing if it cannot be told cheaply."""
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+([^]]+)\]+", line):
            table = [part.strip(" \"'") for part in header[1].split(".")]
            found = table
        elif key := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            found = [*table, *(part.strip("\"'") for part in key[1].split("."))]
        else:
            continue
        if found == path:
            return f" (line {number})"
    return ""
