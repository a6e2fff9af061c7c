"""Typed secrets, and who supplies them.

An element asks its provider when it needs a secret and has none fresh. No secret is read from the process environment
and nothing is written to it, so any number of elements with as many identities live in one process. No credential
shows its secret when it is printed.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias, runtime_checkable

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretBytes, SecretStr

from intercede.errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = [
    "BearerToken",
    "CondorToken",
    "Credential",
    "CredentialProvider",
    "CredentialRequest",
    "FileCredentials",
    "SSHAnswers",
    "SSHPassword",
    "SSHPrivateKey",
    "StaticCredentials",
    "X509Proxy",
]


class _Secret(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    expires_at: AwareDatetime | None = None

    def is_fresh(self, margin: float = 60) -> bool:
        """Whether it still holds `margin` seconds from now."""
        return self.expires_at is None or self.expires_at.timestamp() - time.time() > margin


class SSHPrivateKey(_Secret):
    """A private key in OpenSSH or PEM form.

    Attributes:
        key: The text of the key file.
        passphrase: What opens it.
        certificate: The text of an OpenSSH certificate for it.
    """

    key: SecretBytes
    passphrase: SecretStr | None = None
    certificate: Annotated[bytes | None, Field(repr=False)] = None


class SSHPassword(_Secret):
    """The password of an account."""

    password: SecretStr


class SSHAnswers(_Secret):
    """Answers to one keyboard-interactive challenge (one-time codes), in the order of its prompts."""

    answers: tuple[SecretStr, ...]


class BearerToken(_Secret):
    """A token that says who one is and what one may do: WLCG's, or a SciToken."""

    token: SecretStr


class CondorToken(_Secret):
    """An IDTOKEN, which HTCondor itself signs."""

    token: SecretStr


class X509Proxy(_Secret):
    """A certificate with its key and, of a proxy, the certificates that lead to the user's.

    Attributes:
        pem: All of them in PEM, the one that counts first.
    """

    pem: SecretBytes


Credential: TypeAlias = SSHPrivateKey | SSHPassword | SSHAnswers | BearerToken | CondorToken | X509Proxy


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """What a provider is asked for.

    Attributes:
        resource: The resource's identifier, as in its references.
        kinds: The types that would do, the best first.
        user: The account, where there is one.
        host: The host that asks (of a chain of jump hosts: that hop), with its port.
        prompts: For `SSHAnswers`: the prompts of the challenge, and whether each answer may be shown while typed.
        instruction: For `SSHAnswers`: what the server says before them.
        scopes: What a token must allow for the operation at hand.
        jump: Whether the host is only a hop on the way, whose secrets are seldom those of the resource.
    """

    resource: str
    kinds: tuple[type[_Secret], ...]
    user: str = ""
    host: str = ""
    prompts: tuple[tuple[str, bool], ...] = ()
    instruction: str = ""
    scopes: frozenset[str] = frozenset()
    jump: bool = False


@runtime_checkable
class CredentialProvider(Protocol):
    """Supplies secrets when they are needed."""

    async def get(self, request: CredentialRequest) -> Credential | None:
        """Give a fresh secret of one of the kinds, or None if there is none for this request.

        Raises:
            CredentialError: There should be one, and it cannot be had.
        """
        ...


class StaticCredentials:
    """Hands out values that the caller has already.

    Args:
        default: For every resource, the best first.
        by_resource: For single resources, by identifier; they come before `default`.
    """

    def __init__(self, *default: Credential, by_resource: Mapping[str, Credential] | None = None) -> None:
        self._default = default
        self._by_resource = dict(by_resource or {})

    def __repr__(self) -> str:
        return f"StaticCredentials({len(self._default)} default, {len(self._by_resource)} by resource)"

    async def get(self, request: CredentialRequest) -> Credential | None:
        """Give the first value of a wanted kind."""
        own = self._by_resource.get(request.resource)
        for credential in (*([own] if own else []), *self._default):
            if isinstance(credential, request.kinds):
                if not credential.is_fresh(0):
                    asked = f"the {type(credential).__name__} for {request.resource}"
                    raise CredentialError(asked, f"expired at {credential.expires_at:%Y-%m-%d %H:%M:%S %Z}")
                return credential
        return None


class FileCredentials:
    """Reads secrets from files, again whenever a file has changed.

    Args:
        private_key: The file of a key.
        password: A file whose first line is the password (or the passphrase of the key, where both are given). No jump
            host is told it.
        proxy: A file with certificate, key and chain, as grid tools leave it in `/tmp/x509up_u1000`.
        token: A file whose first line is a bearer token.
        condor_token: A file whose first line is an IDTOKEN, as in `~/.condor/tokens.d`.
    """

    def __init__(
        self,
        *,
        private_key: Path | str | None = None,
        password: Path | str | None = None,
        proxy: Path | str | None = None,
        token: Path | str | None = None,
        condor_token: Path | str | None = None,
    ) -> None:
        given = {
            "private_key": private_key, "password": password, "proxy": proxy, "token": token,
            "condor_token": condor_token,
        }  # fmt: skip
        self._files = {name: Path(path).expanduser() for name, path in given.items() if path}
        self._read: dict[Path, tuple[tuple[int, int], bytes]] = {}

    def __repr__(self) -> str:
        return f"FileCredentials({', '.join(f'{name}={path}' for name, path in self._files.items())})"

    async def get(self, request: CredentialRequest) -> Credential | None:
        """Give what the files hold now, of the first kind that is asked for and there.

        Raises:
            CredentialError: A file cannot be read, or anybody else can read it.
        """
        kinds = [kind for kind in request.kinds if not (request.jump and kind is SSHPassword)]
        return await asyncio.to_thread(self._get, kinds)

    def _get(self, kinds: Sequence[type[_Secret]]) -> Credential | None:
        for kind in kinds:
            if kind is SSHPrivateKey and "private_key" in self._files:
                passphrase = self._line("password") if "password" in self._files else None
                return SSHPrivateKey(key=SecretBytes(self._content("private_key")), passphrase=passphrase)
            if kind is SSHPassword and "password" in self._files and "private_key" not in self._files:
                return SSHPassword(password=self._line("password"))
            if kind is X509Proxy and "proxy" in self._files:
                return X509Proxy(pem=SecretBytes(self._content("proxy")))
            if kind is BearerToken and "token" in self._files:
                return BearerToken(token=self._line("token"))
            if kind is CondorToken and "condor_token" in self._files:
                return CondorToken(token=self._line("condor_token"))
        return None

    def _line(self, which: str) -> SecretStr:
        try:
            return SecretStr(self._content(which).decode().split("\n", 1)[0].rstrip("\r"))
        except UnicodeDecodeError:
            raise CredentialError(str(self._files[which]), "it is no text in UTF-8") from None

    def _content(self, which: str) -> bytes:
        path = self._files[which]
        try:
            stat = path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if stat.st_mode & 0o077:
                raise CredentialError(str(path), f"mode {stat.st_mode & 0o777:o}", "chmod 600 it.")
            if path not in self._read or self._read[path][0] != seen:
                self._read[path] = (seen, path.read_bytes())
        except OSError as error:
            raise CredentialError(str(path), error.strerror or str(error)) from error
        return self._read[path][1]


def from_function(function: Callable[[CredentialRequest], Awaitable[Any]]) -> CredentialProvider:
    """Make a provider of an async function that takes a request and gives a credential or None."""

    class Provider:
        async def get(self, request: CredentialRequest) -> Credential | None:
            return await function(request)

    return Provider()


def expires_in(seconds: float) -> datetime:
    """The moment that many seconds from now, for `expires_at`."""
    return datetime.fromtimestamp(time.time() + seconds, UTC)
