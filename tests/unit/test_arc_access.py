"""Which credential an ARC element shows, and for how long the CE may act with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intercede.answers import Counters
from intercede.arc.job import Label
from intercede.credentials import BearerToken, StaticCredentials, X509Proxy
from intercede.elements import arc_access
from intercede.elements.arc import ArcElement
from intercede.elements.arc_access import Access
from intercede.errors import AuthenticationFailed, ConnectFailed, CredentialError, SchedulerUnavailable
from intercede.model import JobDescription, JobRef
from intercede.settings import Endpoint, Limits, ResourceSettings

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
    refuses = False

    def __init__(self, *_: Any, **__: Any) -> None:
        self.delegated = 0
        self.renewed: list[tuple[str, bytes]] = []
        self.closed = False
        Client.made.append(self)

    async def read(self, *_: Any, **__: Any) -> bytes:
        await asyncio.sleep(5)
        return b""

    async def delegate_token(self, token: str) -> str:
        self.token = token
        return "d"

    async def delegate(self, holder: Holder, lifetime: timedelta) -> str:
        if Client.refuses:
            raise AuthenticationFailed("delegate", "who are you?")
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


def pass_(monkeypatch: pytest.MonkeyPatch, time: timedelta) -> None:
    """Let time pass."""
    later = datetime.now(UTC) + time

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return later

    monkeypatch.setattr(arc_access, "datetime", Clock)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(pem: bytes) -> Holder:
        number, _, end = pem.decode().partition("@")
        return Holder(number.encode(), datetime.fromisoformat(end))

    monkeypatch.setattr(Client, "made", [], raising=False)
    monkeypatch.setattr(Client, "fails", False)
    monkeypatch.setattr(Client, "refuses", False)
    monkeypatch.setattr(arc_access, "ArcClient", Client)
    monkeypatch.setattr(arc_access, "client_context", lambda *_: None)
    monkeypatch.setattr(arc_access, "read_holder", read)


async def test_one_delegation_serves_many_submissions() -> None:
    access = Access(SETTINGS, Provider(HOUR), Counters())
    assert [await access.delegation() for _ in range(3)] == ["d-1"] * 3
    assert await access.client(arc_access.SUBMIT) is Client.made[0]
    assert (Client.made[0].delegated, Client.made[0].renewed) == (1, [])


async def test_a_delegation_is_renewed_with_the_credential_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(timedelta(seconds=70), HOUR, 3 * HOUR)
    access = Access(SETTINGS, provider, Counters())
    await access.delegation()
    pass_(monkeypatch, timedelta(seconds=80))
    # the first proxy has ended; whoever touches the element renews what was made with it
    second = await access.client(arc_access.READ)
    _, other = Client.made
    assert (second, provider.asked) == (other, 2)
    assert other.renewed == [("d-1", b"2")]
    await access.client(arc_access.READ)
    assert other.renewed == [("d-1", b"2")], "not each time"


async def test_a_client_is_closed_when_nobody_can_be_using_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is used after it was closed opens connections, and would leave them."""
    access = Access(SETTINGS, Provider(timedelta(seconds=70), HOUR, 3 * HOUR), Counters())
    await access.client()
    pass_(monkeypatch, timedelta(seconds=80))
    await access.client()
    assert [each.closed for each in Client.made] == [False, False]
    pass_(monkeypatch, 1.5 * HOUR)
    await access.client()
    assert [each.closed for each in Client.made] == [True, False, False]
    await access.aclose()
    assert [each.closed for each in Client.made] == [True, True, True]


async def test_what_is_not_renewed_stops_nobody(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    access = Access(SETTINGS, Provider(HOUR), Counters())
    await access.delegation()
    access._renewals["d-1"] = datetime.now(UTC) - HOUR
    Client.fails = True
    assert await access.client(arc_access.SUBMIT) is Client.made[0]
    assert await access.client(arc_access.SUBMIT) is Client.made[0]
    assert len(Client.made[0].renewed) == 1
    assert "delegation d-1 was not renewed" in caplog.text
    assert access._renewals["d-1"] - datetime.now(UTC) < timedelta(minutes=6), "long before it ends"
    pass_(monkeypatch, timedelta(minutes=6))
    monkeypatch.setattr(Client, "fails", False)
    await access.client(arc_access.SUBMIT)
    assert len(Client.made[0].renewed) == 2


async def test_an_ended_credential_is_not_used() -> None:
    access = Access(SETTINGS, Provider(-HOUR), Counters())
    with pytest.raises(CredentialError, match="expired"):
        await access.client()
    assert Client.made == []


def token(text: str) -> StaticCredentials:
    return StaticCredentials(BearerToken.model_validate({"token": text}))


async def test_a_token_may_end_as_files_do() -> None:
    access = Access(SETTINGS, token(" a.b.c\n"), Counters())
    await access.delegation()
    assert Client.made[0].token == "a.b.c"


@pytest.mark.parametrize("text", ["", "\n", "a b", "a\nb", "tök"])
async def test_what_is_no_token_is_not_sent(text: str) -> None:
    with pytest.raises(CredentialError, match="one word"):
        await Access(SETTINGS, token(text), Counters()).client()
    assert Client.made == []


async def test_a_credential_that_is_refused_when_it_is_delegated_is_asked_for_anew() -> None:
    provider = Provider(HOUR, HOUR)
    element = ArcElement(SETTINGS, provider)
    job = JobDescription(executable="/bin/true", native={"arc": ("input:x=https://h/x",)})
    Client.refuses = True
    for count in (1, 2):
        with pytest.raises(AuthenticationFailed):
            await element.submit(job)
        assert provider.asked == count


async def test_files_are_not_waited_for_without_end() -> None:
    settings = SETTINGS.model_copy(update={"limits": Limits(output_time=0.1, command_time=0.1)})
    element = ArcElement(settings, Provider(HOUR, HOUR))
    element._book.learn("j", Label("t", settings.id, "d", 0, 1, "0", 0))
    ref = JobRef(settings.id, "t", 0, "j")
    with pytest.raises(SchedulerUnavailable, match=r"not all arrived within 0\.1 s"):
        await element.fetch_output([ref], Path("/nowhere"))
    with pytest.raises(SchedulerUnavailable, match=r"not all arrived within 0\.1 s"):
        await element.read_log(ref)
