"""Typed secrets, and who supplies them.

An element asks its provider when it needs a secret and has none fresh. Nothing is read from the process environment
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
    from collections.abc import Awaitable, Callable, Mapping

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
    """

    resource: str
    kinds: tuple[type[_Secret], ...]
    user: str = ""
    host: str = ""
    prompts: tuple[tuple[str, bool], ...] = ()
    instruction: str = ""
    scopes: frozenset[str] = frozenset()


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
    """Reads a private key or a password from a file, again whenever the file has changed.

    Args:
        private_key: The file of a key.
        password: A file whose first line is the password (or the passphrase of the key, where both are given).
    """

    def __init__(self, *, private_key: Path | str | None = None, password: Path | str | None = None) -> None:
        self._files = {
            "key": Path(private_key).expanduser() if private_key else None,
            "password": Path(password).expanduser() if password else None,
        }
        self._read: dict[str, tuple[tuple[int, int], bytes]] = {}

    def __repr__(self) -> str:
        return f"FileCredentials({', '.join(f'{k}={v}' for k, v in self._files.items() if v)})"

    async def get(self, request: CredentialRequest) -> Credential | None:
        """Give what the files hold now.

        Raises:
            CredentialError: A file cannot be read, or anybody else can read it.
        """
        key, password = await asyncio.to_thread(lambda: (self._content("key"), self._content("password")))
        word = SecretStr(password.decode().split("\n", 1)[0].rstrip("\r")) if password is not None else None
        if key is not None and SSHPrivateKey in request.kinds:
            return SSHPrivateKey(key=SecretBytes(key), passphrase=word)
        if key is None and word is not None and SSHPassword in request.kinds:
            return SSHPassword(password=word)
        return None

    def _content(self, which: str) -> bytes | None:
        path = self._files[which]
        if path is None:
            return None
        try:
            stat = path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if stat.st_mode & 0o077:
                raise CredentialError(str(path), f"mode {stat.st_mode & 0o777:o}", "chmod 600 it.")
            if which not in self._read or self._read[which][0] != seen:
                self._read[which] = (seen, path.read_bytes())
        except OSError as error:
            raise CredentialError(str(path), error.strerror or str(error)) from error
        return self._read[which][1]


def from_function(function: Callable[[CredentialRequest], Awaitable[Any]]) -> CredentialProvider:
    """Make a provider of an async function that takes a request and gives a credential or None."""

    class Provider:
        async def get(self, request: CredentialRequest) -> Credential | None:
            return await function(request)

    return Provider()


def expires_in(seconds: float) -> datetime:
    """The moment that many seconds from now, for `expires_at`."""
    return datetime.fromtimestamp(time.time() + seconds, UTC)
