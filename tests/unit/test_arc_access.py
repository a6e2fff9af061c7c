"""Which credential an ARC element shows, and for how long the CE may act with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from intercede.answers import Counters
from intercede.credentials import X509Proxy
from intercede.elements import arc_access
from intercede.elements.arc_access import Access
from intercede.errors import ConnectFailed, CredentialError
from intercede.settings import Endpoint, ResourceSettings

if TYPE_CHECKING:
    from intercede.credentials import CredentialRequest

SETTINGS = ResourceSettings(id="arc://ce", scheduler="arc", endpoint=Endpoint(host="ce", port=443))
HOUR = timedelta(hours=1)


@dataclass
class Holder:
    """Whose proxy it is does not matter here."""

    pem: bytes
    ends: datetime


class Client:
    """What a CE was asked."""

    made: list[Client]
    fails = False

    def __init__(self, *_: Any, **__: Any) -> None:
        self.delegated = 0
        self.renewed: list[tuple[str, bytes]] = []
        self.closed = False
        Client.made.append(self)

    async def delegate(self, holder: Holder, lifetime: timedelta) -> str:
        self.delegated += 1
        return f"d-{holder.pem.decode()}"

    async def renew_delegation(self, ident: str, holder: Holder, lifetime: timedelta) -> None:
        self.renewed.append((ident, holder.pem))
        if Client.fails:
            raise ConnectFailed("renew", "no")

    async def aclose(self) -> None:
        self.closed = True


class Provider:
    """Proxies, one after the other: how long each holds."""

    def __init__(self, *spans: timedelta) -> None:
        self.spans = list(spans)
        self.asked = 0

    async def get(self, request: CredentialRequest) -> X509Proxy:
        self.asked += 1
        end = datetime.now(UTC) + self.spans.pop(0)
        return X509Proxy.model_validate({"pem": f"{self.asked}@{end.isoformat()}".encode()})


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(pem: bytes) -> Holder:
        number, _, end = pem.decode().partition("@")
        return Holder(number.encode(), datetime.fromisoformat(end))

    monkeypatch.setattr(Client, "made", [], raising=False)
    monkeypatch.setattr(Client, "fails", False)
    monkeypatch.setattr(arc_access, "ArcClient", Client)
    monkeypatch.setattr(arc_access, "client_context", lambda *_: None)
    monkeypatch.setattr(arc_access, "read_holder", read)


async def test_one_delegation_serves_many_submissions() -> None:
    access = Access(SETTINGS, Provider(HOUR), Counters())
    assert [await access.delegation() for _ in range(3)] == ["d-1"] * 3
    assert await access.client(arc_access.SUBMIT) is Client.made[0]
    assert (Client.made[0].delegated, Client.made[0].renewed) == (1, [])


async def test_a_delegation_is_renewed_with_the_credential_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(timedelta(seconds=70), HOUR)
    access = Access(SETTINGS, provider, Counters())
    await access.delegation()
    later = datetime.now(UTC) + timedelta(seconds=80)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return later

    monkeypatch.setattr(arc_access, "datetime", Clock)
    # the first proxy has ended; whoever touches the element renews what was made with it
    second = await access.client(arc_access.READ)
    first, other = Client.made
    assert (second, provider.asked, first.closed, other.closed) == (other, 2, True, False)
    assert other.renewed == [("d-1", b"2")]
    await access.client(arc_access.READ)
    assert other.renewed == [("d-1", b"2")], "not each time"


async def test_what_is_not_renewed_stops_nobody(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    access = Access(SETTINGS, Provider(HOUR), Counters())
    await access.delegation()
    access._renewals["d-1"] = datetime.now(UTC) - HOUR
    Client.fails = True
    assert await access.client(arc_access.SUBMIT) is Client.made[0]
    assert await access.client(arc_access.SUBMIT) is Client.made[0]
    assert len(Client.made[0].renewed) == 1
    assert "delegation d-1 was not renewed" in caplog.text


async def test_an_ended_credential_is_not_used() -> None:
    access = Access(SETTINGS, Provider(-HOUR), Counters())
    with pytest.raises(CredentialError, match="expired"):
        await access.client()
    assert Client.made == []
