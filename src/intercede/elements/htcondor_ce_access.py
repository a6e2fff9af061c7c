"""Who an element of a remote schedd is: the credential in use, and the worker process that shows it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from intercede.credentials import BearerToken, CondorToken, CredentialRequest, X509Proxy
from intercede.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionLost,
    CredentialError,
    ParseError,
    SchedulerUnavailable,
)
from intercede.htcondor_ce.client import RemoteSchedd
from intercede.htcondor_ce.protocol import Identify, Query

if TYPE_CHECKING:
    from intercede.answers import Counters
    from intercede.credentials import Credential, CredentialProvider
    from intercede.htcondor_ce.protocol import Request
    from intercede.settings import Endpoint, ResourceSettings

__all__ = ["READ", "WRITE", "Access"]

T = TypeVar("T")
READ = frozenset({"compute.read"})
WRITE = READ | {"compute.create", "compute.modify", "compute.cancel"}
"""A schedd takes nothing from a token that lacks one of these."""
_KINDS = (CondorToken, BearerToken, X509Proxy)
_NAME = re.compile(r"[^\"\\\s]+\Z")
_GRID_CAS = Path("/etc/grid-security/certificates")
# One that asks and one that orders
_IDENTITIES = 2


class Access:
    """Asks a schedd in the name of whoever the provider says.

    Args:
        settings: Of the resource.
        provider: Who supplies credentials.
        counters: What the resource costs.
    """

    def __init__(self, settings: ResourceSettings, provider: CredentialProvider | None, counters: Counters) -> None:
        self._settings = settings
        self._provider = provider
        self.counters = counters
        self._held: dict[frozenset[str], Credential | None] = {}
        # the one that was used last is the last
        self._schedds: dict[Credential | None, RemoteSchedd] = {}
        self._names: dict[Credential | None, str] = {}

    @property
    def endpoint(self) -> Endpoint:
        """Where the schedd is.

        Raises:
            ConfigurationError: The settings do not say.
        """
        if self._settings.endpoint is None:
            raise ConfigurationError(self._settings.id, "it has no endpoint", "Give it host and port.")
        return self._settings.endpoint

    async def ask(self, request: Request[T], scopes: frozenset[str] = READ, time_limit: float | None = None) -> T:
        """Ask one thing.

        Args:
            request: What; all but a submission may be repeated.
            scopes: What a token must allow for it.
            time_limit: Seconds; by default those for an execution that asks.

        Raises:
            SchedulerUnavailable: A question was not answered in time.
            IntercedeError: As `RemoteSchedd.ask` does.
        """
        return await self._ask(await self._credential(scopes), request, time_limit)

    async def me(self) -> str:
        """The user whom the schedd takes us for, `alice@users.htcondor.org`."""
        credential = await self._credential(WRITE)
        if credential not in self._names:
            name = await self._ask(credential, Identify(), None)
            if not _NAME.match(name):
                raise ParseError(f"who we are at {self._settings.id}", f"{name!r} is no user's name")
            self._names = {credential: name}
        return self._names[credential]

    async def proxy(self) -> X509Proxy:
        """The proxy that goes with jobs.

        Raises:
            CredentialError: There is none.
        """
        found = await self._found((X509Proxy,), WRITE)
        if isinstance(found, X509Proxy):
            return found
        advice = "Have the provider supply an X509Proxy, or leave out endpoint.proxy_with_jobs."
        raise CredentialError(f"the proxy for jobs of {self._settings.id}", "there is none", advice)

    async def aclose(self) -> None:
        """End the workers."""
        schedds, self._schedds = list(self._schedds.values()), {}
        for each in schedds:
            await each.aclose()

    async def _ask(self, credential: Credential | None, request: Request[T], time_limit: float | None) -> T:
        schedd = self._schedds[credential] = self._schedds.pop(credential, None) or self._new()
        try:
            while len(self._schedds) > _IDENTITIES:
                await asyncio.shield(self._schedds.pop(next(iter(self._schedds))).aclose())
            return await schedd.ask(request, credential, time_limit or self._settings.limits.command_time)
        except AuthenticationFailed:
            # whatever comes next asks for another one
            self._held.clear()
            raise
        except ConnectionLost as error:
            if isinstance(request, Query | Identify):
                raise SchedulerUnavailable(error.asked, error.answer, "Try again later.") from error
            raise
        finally:
            # it had to go meanwhile, and what it has started since then nobody else would end
            if self._schedds.get(credential) is not schedd:
                await asyncio.shield(schedd.aclose())

    def _new(self) -> RemoteSchedd:
        where = self.endpoint
        trusted = where.ca or (_GRID_CAS if _GRID_CAS.is_dir() else None)
        file, directory = (
            ("", "") if trusted is None else ("", str(trusted)) if trusted.is_dir() else (str(trusted), "")
        )
        host = f"[{where.host}]" if ":" in where.host else where.host
        return RemoteSchedd(f"{host}:{where.port}", ca_file=file, ca_directory=directory, counters=self.counters)

    async def _credential(self, scopes: frozenset[str]) -> Credential | None:
        held = self._held.get(scopes)
        if held is not None and held.expires_at is not None and held.is_fresh():
            return held
        found = self._held[scopes] = await self._found(_KINDS, scopes)
        return found

    async def _found(self, kinds: tuple[type[Credential], ...], scopes: frozenset[str]) -> Credential | None:
        where = self.endpoint
        request = CredentialRequest(self._settings.id, kinds, host=f"{where.host}:{where.port}", scopes=scopes)
        return await self._provider.get(request) if self._provider is not None else None
