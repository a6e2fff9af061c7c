"""One SSH connection, host key checked, and what can go wrong on the way to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import asyncssh

from intercede.errors import AuthenticationFailed, ConfigurationError, ConnectFailed, HostKeyRejected, IntercedeError
from intercede.transports.ssh_auth import Client, fingerprint

if TYPE_CHECKING:
    from intercede.credentials import CredentialProvider
    from intercede.transports.ssh_config import Target

__all__ = ["connect"]

KEEPALIVES = 3
CLOSING = 2.0
BUSY_WAITS = (0.2, 0.4, 0.8, 1.6, 3.2)

# What a configuration made for people at a terminal may ask for, and what has no place here: nothing of this process's
# environment is sent, nothing is forwarded. GSSAPI key exchange would do without a host key, so it stays off.
_NEVER: dict[str, Any] = {
    "agent_forwarding": False, "agent_path": None, "client_keys": None, "command": None, "env": None,
    "gss_kex": False, "host_based_auth": False, "pkcs11_provider": None, "request_pty": False, "send_env": None,
    "x11_forwarding": False, "x509_trusted_cert_paths": [], "x509_trusted_certs": None,
}  # fmt: skip


async def connect(
    target: Target,
    *,
    resource: str,
    credentials: CredentialProvider | None,
    tunnel: asyncssh.SSHClientConnection | None = None,
) -> asyncssh.SSHClientConnection:
    """Connect to one server, check its host key and authenticate.

    A server that hangs up before it has said what it is has too many at its door (`MaxStartups`): it is tried again a
    few times.

    Args:
        target: The server.
        resource: For the provider: which resource this is for.
        credentials: Who supplies secrets.
        tunnel: The connection to go through, or None.

    Raises:
        ConnectFailed: There is no such host, nobody listens, or it took too long.
        HostKeyRejected: The host key is unknown, or another one than is known.
        AuthenticationFailed: The server did not let us in.
        CredentialError: A secret is missing or cannot be read.
        ConfigurationError: The OpenSSH configuration holds what AsyncSSH cannot take.
    """
    known = await asyncio.to_thread(_KnownKeys, target)
    for wait in BUSY_WAITS:
        with contextlib.suppress(Busy):
            return await _attempt(target, known, resource, credentials, tunnel)
        await asyncio.sleep(wait)
    return await _attempt(target, known, resource, credentials, tunnel)


class Busy(ConnectFailed):
    """The server hung up before it said anything; nothing was sent."""


async def _attempt(
    target: Target,
    known: _KnownKeys,
    resource: str,
    credentials: CredentialProvider | None,
    tunnel: asyncssh.SSHClientConnection | None,
) -> asyncssh.SSHClientConnection:
    client: Client | None = None
    try:
        async with asyncio.timeout(target.connect_timeout) as deadline:
            client = Client(target, resource, credentials, deadline)
            made = client
            return await asyncssh.connect(
                target.alias,
                target.port,
                options=_options(target),
                config=None,
                tunnel=tunnel,
                proxy_command=target.proxy_command,
                username=target.user,
                client_factory=lambda: made,
                known_hosts=known.match,
                connect_timeout=None,
                login_timeout=0,
                keepalive_interval=target.keepalive,
                keepalive_count_max=KEEPALIVES,
                gss_host=target.host if target.options.get("GSSAPIAuthentication", False) else None,
                **_NEVER,
            )
    except TimeoutError as error:
        answer = f"no connection within {target.connect_timeout:g} s"
        raise ConnectFailed(f"ssh to {target}", answer, "Is the host up, and is there no firewall between?") from error
    except (OSError, ValueError, asyncssh.Error) as error:
        raise _explain(error, target, client, known) from error
    finally:
        if client is not None:
            client.forget()


def _options(target: Target) -> asyncssh.SSHClientConnectionOptions:
    """Options that hold the configuration as we have read it: AsyncSSH takes algorithms and the like from there."""
    options = asyncssh.SSHClientConnectionOptions(config=None, known_hosts=b"", **_NEVER)
    options.config = target.options
    return options


class _KnownKeys:
    """The keys that a host may show: pinned ones, or those of files that know the host."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._files = asyncssh.SSHKnownHosts() if not target.host_keys else None
        self.matched: list[asyncssh.SSHKey] = []
        self._pinned: list[asyncssh.SSHKey] = []
        try:
            for line in target.host_keys:
                self._pinned.append(asyncssh.import_public_key(line))
        except asyncssh.KeyImportError as error:
            asked = f"host_keys of {target.alias}"
            raise ConfigurationError(asked, f"{line!r} is no public key", "Write `ssh-ed25519 AAAA…`.") from error
        for path in target.known_hosts if self._files is not None else ():
            with contextlib.suppress(OSError):
                self._load(path.read_text("utf-8", "replace"))

    def _load(self, text: str) -> None:
        for line in text.splitlines():
            with contextlib.suppress(ValueError):  # as for OpenSSH, a bad line does not spoil the others
                if self._files is not None:
                    self._files.load(line)

    def match(self, host: str, addr: str, port: int | None) -> tuple[Any, Any, Any]:
        """The trusted keys, authorities and revoked keys for a host, in AsyncSSH's form.

        The address is not looked up: through a jump host it would be the jump host's, whose key would then do.
        """
        if self._files is None:
            self.matched = self._pinned
            return (self._pinned, [], [])
        keys, authorities, revoked, *_ = self._files.match(host.lower(), "", port)
        self.matched = [*keys, *authorities]
        return (keys, authorities, revoked)

    def describe(self) -> str:
        """Where the keys come from, and which they are."""
        where = (
            "host_keys of the configuration" if self._files is None else ", ".join(map(str, self._target.known_hosts))
        )
        keys = ", ".join(dict.fromkeys(map(fingerprint, self.matched)))
        return f"{where or 'no file at all'} ({keys or 'no key of this host'})"


def _explain(error: Exception, target: Target, client: Client | None, known: _KnownKeys) -> IntercedeError:
    asked = f"ssh to {target}" + (f" ({target.alias})" if target.alias != target.host else "")
    reason = getattr(error, "reason", "") or str(error) or type(error).__name__
    if isinstance(error, asyncssh.HostKeyNotVerifiable) or (
        isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in reason
    ):
        return _rejected(asked, reason, target, client, known)
    lost = isinstance(error, asyncssh.ConnectionLost | ConnectionError)
    if lost and client is not None and client.hung_up and target.proxy_command is None:
        advice = "Is it sshd that listens there? A busy one does so (MaxStartups): try again later."
        return Busy(asked, f"the server hung up before it said what it is: {reason}", advice)
    if isinstance(error, asyncssh.PermissionDenied) or "authentication failures" in reason.lower():
        return _denied(asked, reason, client)
    if isinstance(error, asyncssh.ChannelOpenError):
        advice = "Does the jump host allow forwarding (AllowTcpForwarding), and is the host up?"
        return ConnectFailed(asked, f"the jump host could not reach it: {reason}", advice)
    if isinstance(error, socket.gaierror):
        return ConnectFailed(asked, f"no such host: {error.strerror}", "Check the name.")
    if isinstance(error, ConnectionRefusedError):
        return ConnectFailed(asked, "connection refused", "Nobody listens on that port: check host and port.")
    if isinstance(error, OSError):
        return ConnectFailed(asked, error.strerror or reason)
    if isinstance(error, ValueError):
        return ConfigurationError(asked, reason)
    return ConnectFailed(asked, f"the connection broke before we were in: {reason}")


def _rejected(asked: str, reason: str, target: Target, client: Client | None, known: _KnownKeys) -> HostKeyRejected:
    if client is None or client.offered is None:
        return HostKeyRejected(asked, f"{reason}; looked in {known.describe()}")
    answer = f"it shows {client.offered}, which is not in {known.describe()}"
    if known.matched:
        advice = (
            "The key has CHANGED: somebody may listen in. Ask the site; if the new key is right, replace the old one."
        )
    else:
        host = target.host if target.port == 22 else f"[{target.host}]:{target.port}"
        advice = (
            f"The host is unknown. Compare the fingerprint with what the site publishes, then pin it with host_keys, "
            f"or connect once with ssh(1), which writes it into known_hosts as {host}."
        )
    return HostKeyRejected(asked, answer, advice)


def _denied(asked: str, reason: str, client: Client | None) -> AuthenticationFailed:
    tried = (
        "; ".join(client.tried) if client and client.tried else "nothing: there is no key, agent or credential for it"
    )
    accepts = ", ".join(client.accepts) if client and client.accepts else "no method that we know"
    parts = [reason, f"tried {tried}", f"the server accepts {accepts}", *(client.notes if client else ())]
    return AuthenticationFailed(asked, "; ".join(parts), "Check user, identity files, agent and credentials.")
