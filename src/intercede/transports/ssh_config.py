"""Which server, as whom, with which keys: our settings over the user's OpenSSH configuration.

AsyncSSH reads the configuration (ssh_config(5)); what it reads otherwise than OpenSSH, where that would change who or
where we connect to, is put right or refused here.
"""

from __future__ import annotations

import getpass
import glob
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from asyncssh.config import ConfigParseError, SSHClientConfig

from intercede.errors import ConfigurationError
from intercede.settings import Hop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercede.settings import SSHSettings

__all__ = ["Target", "resolve"]

DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")
GLOBAL_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
MOST_HOPS = 8
MOST_INCLUDES = 16
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[^]]+)\]|(?P<host>[^:@\[\]]+))(?::(?P<port>\d+))?/?\Z"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One SSH server, with everything decided.

    Attributes:
        alias: The name as it was given, which `Host` blocks match.
        host: Where it is.
        port: Its port.
        user: The account there.
        identities: Files of private keys, in the order to try, with whether our own settings named them.
        certificates: Files of certificates for them.
        only_identities: Of an agent's keys, only those that are also in `identities`.
        agent: The agent's socket, or None.
        host_keys: Pinned keys; if any, no file is consulted.
        known_hosts: The files that know the host's key.
        proxy_command: The words of a command whose stdin and stdout are the connection, or None.
        options: The rest of the configuration, for AsyncSSH: algorithms, methods, address family, ...
        keepalive: Seconds between keep-alives.
        connect_timeout: Seconds for the connection, authentication included.
        jump: Whether it is a hop on the way to the submit host.
    """

    alias: str
    host: str
    port: int
    user: str
    identities: tuple[tuple[Path, bool], ...]
    certificates: tuple[Path, ...]
    only_identities: bool
    agent: Path | None
    host_keys: tuple[str, ...]
    known_hosts: tuple[Path, ...]
    proxy_command: tuple[str, ...] | None
    options: SSHClientConfig
    keepalive: float
    connect_timeout: float
    jump: bool = False

    @property
    def key(self) -> tuple[Any, ...]:
        """What two targets have in common that may share a connection."""
        return (
            self.alias, self.host, self.port, self.user, self.identities, self.certificates, self.only_identities,
            self.agent, self.host_keys, self.known_hosts, self.options.get("HostKeyAlias"), self.proxy_command,
        )  # fmt: skip

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"


class _Config(SSHClientConfig):
    """An OpenSSH client configuration, read as OpenSSH reads it where AsyncSSH 2.24 does not."""

    # AsyncSSH expands %-tokens at the end of each included file; OpenSSH once, when everything is known.
    _percent_expand: ClassVar[set[str]] = set()  # ty: ignore[incompatible-attribute-override]
    _depth = 0

    def expanded(self, value: str) -> str:
        """A value with its %-tokens, variables and leading tilde replaced."""
        self._set_tokens()
        self._tokens["k"] = str(self.get("HostKeyAlias") or self._orig_host)
        return os.path.expanduser(self._expand_val(value))

    def _sorted_include(self, option: str, args: list[str]) -> None:
        # In the order of their names, as glob(3) gives them: the first value found counts.
        if self._depth >= MOST_INCLUDES:
            self._error("Include: too many levels")
        path, line = self._path, self._line_no
        self._depth += 1
        for pattern in args:
            full = os.path.join(self._default_path, os.path.expanduser(pattern))
            for found in sorted(glob.glob(full)):
                if Path(found).is_file():
                    self.parse(Path(found))
        self._depth -= 1
        self._path, self._line_no, self._matching = path, line, True
        args.clear()

    def _match_expanded(self, option: str, args: list[str]) -> None:
        # AsyncSSH hands the command of `Match exec` to the shell with its %-tokens unreplaced.
        for place, word in enumerate(args[:-1]):
            if word.lower() in {"exec", "!exec"}:
                args[place + 1] = self.expanded(args[place + 1])
        self._match(option, args)

    def _refuse(self, option: str, args: list[str]) -> None:
        if args[0].lower() not in {"none", "no", "false"}:
            self._error(f"{option} is not supported here; give this resource a configuration file without it")
        args.clear()

    # AsyncSSH has no public way to add an option; its server configuration replaces the same table.
    _handlers: ClassVar[dict[str, Any]] = {  # ty: ignore[incompatible-attribute-override]
        **SSHClientConfig._handlers,
        "include": ("Include", _sorted_include),
        "match": ("Match", _match_expanded),
        "revokedhostkeys": ("RevokedHostKeys", _refuse),
        "bindinterface": ("BindInterface", _refuse),
        "proxyusefdpass": ("ProxyUseFdpass", _refuse),
        "canonicalizehostname": ("CanonicalizeHostname", _refuse),
    }


def resolve(settings: SSHSettings) -> tuple[Target, ...]:
    """Decide the chain of servers to connect to, the submit host last.

    It reads files and may run what `Match exec` says, so it belongs into a thread.

    Raises:
        ConfigurationError: The configuration cannot be read, or says what we cannot do.
    """
    *hops, last = _chain(settings, settings, settings.jump, 0)
    return (*(replace(hop, jump=True) for hop in hops), last)


def _chain(hop: Hop, settings: SSHSettings, jump: Sequence[Hop] | None, depth: int) -> list[Target]:
    """The servers up to a hop. Without `jump`, the configuration says how the hop is reached, as for `ssh`."""
    if depth > MOST_HOPS:
        raise ConfigurationError(hop.host, "its jump hosts lead in a circle", "See ProxyJump in the SSH configuration.")
    try:
        config = _load(hop, settings)
        proxies = [name for name in config.get_options(reload=False) if name in {"ProxyJump", "ProxyCommand"}]
        first = proxies[0] if proxies and jump is None else ""  # of the two, the one that is said first counts
        command = config.get("ProxyCommand") if first == "ProxyCommand" else None
        if jump is None and first == "ProxyJump" and config.get("ProxyJump"):
            jump = [_parse_jump(text) for text in str(config.get("ProxyJump")).split(",")]
        before: list[Target] = []
        for place, each in enumerate(jump or ()):
            # `ssh -J a,b host` reaches `a` as the configuration says for it, and `b` through `a`.
            before += _chain(each, settings, None if place == 0 else (), depth + 1)
        return [*before, _target(hop, settings, config, command=str(command) if command else None)]
    except (ConfigParseError, OSError, UnicodeDecodeError, RecursionError) as error:
        file = settings.config_file or "~/.ssh/config"
        raise ConfigurationError(f"the OpenSSH configuration for {hop.host} ({file})", str(error)) from error


def _load(hop: Hop, settings: SSHSettings) -> _Config:
    paths: list[Path] = []
    if settings.config_file is None:
        paths = [path for path in (Path("~/.ssh/config").expanduser(),) if os.access(path, os.R_OK)]
    elif settings.config_file != Path():
        paths = [settings.config_file.expanduser()]
    who: tuple[Any, ...] = (getpass.getuser(), hop.user or (), hop.host, hop.port or ())
    config = _Config.load(None, paths, False, False, False, *who)
    if config.has_match_final():  # once more for `Match final`; as for OpenSSH, what was found already stays
        config = _Config.load(config, paths, False, False, True, *who)
    return cast("_Config", config)


def _parse_jump(text: str) -> Hop:
    found = _JUMP.match(text.strip())
    try:
        if found:
            return Hop(
                host=found["six"] or found["host"],
                user=found["user"],
                port=int(found["port"]) if found["port"] else None,
            )
    except ValueError as error:
        raise ConfigurationError("ProxyJump of the OpenSSH configuration", f"{text!r}") from error
    raise ConfigurationError("ProxyJump of the OpenSSH configuration", f"{text!r} names no host")


def _target(hop: Hop, settings: SSHSettings, config: _Config, *, command: str | None) -> Target:
    configured = _paths(config, "IdentityFile")
    if not hop.identity_files and config.get("IdentityFile") is None:
        folder = Path("~/.ssh").expanduser()
        configured = [path for name in DEFAULT_IDENTITIES if (path := folder / name).is_file()]
    own = [path.expanduser() for path in hop.identity_files]
    identities = dict.fromkeys(
        [*((path, True) for path in own), *((path, False) for path in configured if path not in own)]
    )
    words = ("sh", "-c", f"exec {config.expanded(command)}") if command else None
    return Target(
        alias=hop.host,
        host=str(config.get("Hostname", hop.host)),
        port=int(str(config.get("Port", 22))),
        user=str(config.get("User") or getpass.getuser()),
        identities=tuple(identities),
        certificates=tuple(_paths(config, "CertificateFile")),
        only_identities=bool(config.get("IdentitiesOnly")),
        agent=_agent(settings, config),
        host_keys=hop.host_keys,
        known_hosts=tuple(_known_hosts(hop, config)),
        proxy_command=words,
        options=config,
        keepalive=settings.keepalive,
        connect_timeout=settings.connect_timeout,
    )


def _paths(config: _Config, option: str) -> list[Path]:
    values: Any = config.get(option) or ()
    return [Path(config.expanded(value)) for value in values]


def _known_hosts(hop: Hop, config: _Config) -> list[Path]:
    if hop.known_hosts is not None:
        return [hop.known_hosts.expanduser()]
    # `UserKnownHostsFile none` is "no file of the user's", never "do not check".
    user = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
    if config.get("UserKnownHostsFile") is not None:
        user = [str(path) for path in _paths(config, "UserKnownHostsFile")]
    system: list[str] = list(GLOBAL_KNOWN_HOSTS)
    if config.get("GlobalKnownHostsFile") is not None:
        system = [str(path) for path in _paths(config, "GlobalKnownHostsFile")]
    return [Path(path).expanduser() for path in (*user, *system)]


def _agent(settings: SSHSettings, config: _Config) -> Path | None:
    if not settings.agent:
        return None
    if settings.agent_path is not None:
        return settings.agent_path.expanduser()
    options = config.get_options(reload=False)
    if "IdentityAgent" in options and config.get("IdentityAgent") not in {None, "SSH_AUTH_SOCK"}:
        name = str(config.get("IdentityAgent"))
        return Path(config.expanded(f"${{{name[1:]}}}" if re.fullmatch(r"\$\w+", name) else name))
    return None
