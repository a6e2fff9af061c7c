"""Who an ARC element is: the credential in use, the client that shows it, and what of it the CE may use for us."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from intercede.arc.client import ArcClient
from intercede.arc.delegation import Holder, read_holder
from intercede.arc.tls import client_context
from intercede.credentials import BearerToken, CredentialRequest, X509Proxy
from intercede.errors import ConfigurationError, CredentialError, IntercedeError

if TYPE_CHECKING:
    from intercede.answers import Counters
    from intercede.credentials import CredentialProvider
    from intercede.settings import Endpoint, ResourceSettings

__all__ = ["CANCEL", "READ", "SUBMIT", "Access"]

READ = frozenset({"compute.read"})
SUBMIT = READ | {"compute.create", "compute.modify"}
CANCEL = READ | {"compute.cancel", "compute.modify"}
_GRID_CAS = Path("/etc/grid-security/certificates")
# A credential that ends so soon is not begun with
_MARGIN = timedelta(seconds=60)
_DELEGATED = timedelta(hours=24)
# After which a renewal that failed is tried again
_AGAIN = timedelta(minutes=5)
# For which a client that shows an ended credential is kept: requests may be under way, and those that follow them
_LINGERS = timedelta(hours=1)
_TOKEN = re.compile(r"[!-~]+")
_log = logging.getLogger("intercede.arc")


@dataclass(slots=True)
class _Held:
    """A credential in use; `delegation` is for the jobs that are submitted with it."""

    credential: BearerToken | X509Proxy
    ends: datetime | None
    client: ArcClient
    holder: Holder | None
    delegation: str = ""

    def is_fresh(self, now: datetime) -> bool:
        return self.ends is None or self.ends - now > _MARGIN


class Access:
    """Gives clients that show a credential which holds.

    Args:
        settings: Of the resource.
        provider: Who supplies credentials.
        counters: What the resource costs.
    """

    def __init__(self, settings: ResourceSettings, provider: CredentialProvider | None, counters: Counters) -> None:
        self._settings = settings
        self._provider = provider
        self._counters = counters
        self._held: dict[frozenset[str], _Held] = {}
        self._known: list[_Held] = []
        self._renewals: dict[str, datetime] = {}
        self._turn = asyncio.Lock()

    @property
    def _endpoint(self) -> Endpoint:
        if self._settings.endpoint is None:
            raise ConfigurationError(self._settings.id, "it has no endpoint")
        return self._settings.endpoint

    async def client(self, scopes: frozenset[str] = READ) -> ArcClient:
        """Give a client for an operation.

        Proxies that were delegated by this element are renewed on the way when half of their time is over, with the
        credential of now: jobs that were submitted with an older one go on. A-REX has no way to renew a token.

        Args:
            scopes: What a token must allow for it.

        Raises:
            CredentialError: There is no credential, or it has ended.
        """
        async with self._turn:
            held = await self._fresh(scopes)
            await self._renew(held)
            return held.client

    async def delegation(self) -> str:
        """Let the CE act for us in jobs that are submitted now; gives the delegation's identifier, which is used again.

        Raises:
            CredentialError: There is no credential, or it has ended.
            UnsupportedError: There is a token, and the server takes proxies only.
        """
        async with self._turn:
            held = await self._fresh(SUBMIT)
            if not held.delegation:
                await self._delegate(held)
            return held.delegation

    def drop(self) -> None:
        """Use the credentials of now no more, which were refused: the next operation asks for others."""
        self._held.clear()

    async def aclose(self) -> None:
        """Close all connections."""
        for each in self._known:
            await each.client.aclose()

    async def _delegate(self, held: _Held) -> None:
        if isinstance(held.credential, BearerToken):
            held.delegation = await held.client.delegate_token(held.credential.token.get_secret_value())
        elif held.holder is not None:
            held.delegation = await held.client.delegate(held.holder, _DELEGATED)
            self._renewals[held.delegation] = _half(held.holder)

    async def _renew(self, held: _Held) -> None:
        if held.holder is None:
            return
        for ident, due in list(self._renewals.items()):
            if due > datetime.now(UTC):
                continue
            # where it fails, not each time: the operation that brought us here is another matter
            self._renewals[ident] = datetime.now(UTC) + _AGAIN
            try:
                await held.client.renew_delegation(ident, held.holder, _DELEGATED)
                self._renewals[ident] = _half(held.holder)
            except IntercedeError as error:
                _log.warning("%s: delegation %s was not renewed: %s", self._settings.id, ident, error)

    async def _fresh(self, scopes: frozenset[str]) -> _Held:
        held = self._held.get(scopes)
        if held is None or not held.is_fresh(datetime.now(UTC)):
            held = self._held[scopes] = await self._ask(scopes)
        return held

    async def _ask(self, scopes: frozenset[str]) -> _Held:
        asked = f"credential for {self._settings.id}"
        kinds, host = (X509Proxy, BearerToken), f"{self._endpoint.host}:{self._endpoint.port}"
        request = CredentialRequest(self._settings.id, kinds, host=host, scopes=scopes)
        found = await self._provider.get(request) if self._provider is not None else None
        if not isinstance(found, X509Proxy | BearerToken):
            raise CredentialError(asked, "there is none", "An ARC CE wants an X.509 proxy or a bearer token.")
        if isinstance(found, BearerToken):
            found = found.model_copy(update={"token": _one_word(asked, found.token.get_secret_value())})
        holder = read_holder(found.pem.get_secret_value()) if isinstance(found, X509Proxy) else None
        told = holder.ends if holder is not None else _end_of(found)
        ends = min((each for each in (told, found.expires_at) if each is not None), default=None)
        if ends is not None and ends <= datetime.now(UTC):
            raise CredentialError(asked, f"it expired at {ends:%Y-%m-%d %H:%M:%S %Z}", "Renew it.")
        for each in list(self._known):
            if each.credential == found:
                return each
            if each.ends is not None and each.ends + _LINGERS <= datetime.now(UTC):
                self._known.remove(each)
                await each.client.aclose()
        self._known.append(_Held(found, ends, self._client(found), holder))
        return self._known[-1]

    def _client(self, credential: BearerToken | X509Proxy) -> ArcClient:
        trusted = self._endpoint.ca or (_GRID_CAS if _GRID_CAS.is_dir() else None)
        pem = credential.pem.get_secret_value() if isinstance(credential, X509Proxy) else None
        said = credential.token.get_secret_value() if isinstance(credential, BearerToken) else None

        async def token() -> str | None:
            return said

        return ArcClient(
            self._endpoint.host, self._endpoint.port, tls=client_context(trusted, pem), token=token,
            connections=self._settings.politeness.concurrent, patience=self._settings.limits.command_time,
            submit_time=self._settings.limits.submit_time, counters=self._counters,
        )  # fmt: skip


def _one_word(asked: str, token: str) -> SecretStr:
    """A token without the line end that files have.

    Raises:
        CredentialError: It cannot be sent.
    """
    word = token.strip()
    if not _TOKEN.fullmatch(word):
        raise CredentialError(asked, "the token is not one word of printable ASCII", "Give the token alone.")
    return SecretStr(word)


def _half(holder: Holder) -> datetime:
    """When a delegation that is made now by this holder is to be renewed."""
    now = datetime.now(UTC)
    return now + max((min(holder.ends, now + _DELEGATED) - now) / 2, _MARGIN)


def _end_of(credential: BearerToken | X509Proxy) -> datetime | None:
    """When a token ends, if it is a JWT that says so."""
    if not isinstance(credential, BearerToken):
        return None
    try:
        text = credential.token.get_secret_value().split(".")[1]
        return datetime.fromtimestamp(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))["exp"], UTC)
    except (IndexError, ValueError, KeyError, TypeError, OverflowError):
        return None
