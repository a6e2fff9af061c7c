"""The client of A-REX's REST interface, on a live one."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from intercede.answers import Reason
from intercede.arc.adl import Activity, carried, write_adl
from intercede.arc.client import MOST_JOBS, ArcClient
from intercede.arc.delegation import read_holder
from intercede.arc.documents import read_pairs, read_queues
from intercede.arc.states import ENDED, Ending, read_failure
from intercede.arc.tls import client_context
from intercede.errors import (
    AuthenticationFailed,
    CommandError,
    ConfigurationError,
    ConnectFailed,
    NotFound,
    TransportError,
)
from tests.arc.conftest import NEWER, STACKS, ClientFor, credential, proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from testbed.stack import Stack

# Who is asked as whom: tokens are for the newer ones
WAYS = [(name, way) for name in STACKS for way in ("certificate", "proxy", "token") if way != "token" or name in NEWER]
REFUSED = [(name, {"user": "mallory"}) for name in STACKS]
REFUSED += [(name, who) for name in NEWER for who in ({"token": "mallory"}, {"token": "expired"}, {})]
newer = pytest.mark.parametrize("arc", NEWER, indirect=True)
NAMES = ("plain", "two  words", "it's", "$x", "a%2e", "ü€", "q?x=1", "a#b", "+", "a;b", "\udcff\udc80", "a\nb")


def activity(script: str, *kept: str, **more: object) -> Activity:
    program, arguments = carried(script.encode())
    return Activity("ic-test", program, arguments, kept=kept, **more)  # ty: ignore[invalid-argument-type]


async def created(client: ArcClient, *activities: Activity) -> list[str]:
    answers = await client.create(write_adl(activities), len(activities))
    assert [each.reason for each in answers] == ["Created"] * len(activities)
    return [each.ident for each in answers]


async def until(client: ArcClient, is_so: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """The live list, once it is as wanted; pytest's time limit ends the waiting."""
    while not is_so(live := await client.jobs()):  # noqa: ASYNC110 - there is nothing to wait for
        await asyncio.sleep(0.3)
    return live


async def ended(client: ArcClient, idents: Sequence[str]) -> list[str]:
    """The states of the jobs, in the list, when all have ended."""
    live = await until(client, lambda live: all(live.get(ident) in ENDED for ident in idents))
    return [live[ident] for ident in idents]


@pytest.mark.parametrize(("arc", "way"), WAYS, indirect=["arc"])
async def test_a_job_with_a_file_goes_through_its_life(arc: Stack, client_for: ClientFor, way: str) -> None:
    client = {
        "certificate": lambda: client_for("bob"),
        "proxy": lambda: client_for(pem=proxy(arc, "bob", timedelta(hours=1))),
        "token": lambda: client_for(token="bob"),
    }[way]()
    assert await client.version() == ("1.1" if arc.name in NEWER else "1.0")
    script = 'id -un; cat in; echo "it\'s" >&2; mkdir d; echo deep >d/f; exit 3'
    (ident,) = await created(client, activity(script, "d/", uploads={"in": False}, queue="fork"))
    await client.write(ident, "in", b"in\n")
    assert await ended(client, [ident]) == ["FAILED"]
    assert read_pairs(await client.diagnose(ident, "diag"))["exitcode"] == "3"
    assert read_failure(await client.diagnose(ident, "failed")) == Ending(Reason.EXIT_CODE, 3)
    assert read_pairs(await client.diagnose(ident, "local"))["jobname"] == "ic-test"
    assert await client.read(ident, "stdout") == b"bob\nin\n"
    assert await client.read(ident, "stderr") == b"it's\n"
    assert await client.read(ident, "d/f") == b"deep\n"
    root = await client.listing(ident)
    assert (set(root.files), root.directories) == ({"stdout", "stderr"}, ("d",))
    assert {each.code for each in (await client.clean([ident])).values()} == {202}
    await until(client, lambda live: ident not in live)
    with pytest.raises(NotFound):
        await client.listing(ident)


async def test_of_a_hundred_one_is_bad(client_for: ClientFor) -> None:
    client = client_for("alice")
    jobs = [Activity(f"ic-{i}", "/bin/true", queue="nosuch" if i == 42 else None) for i in range(100)]
    answers = await client.create(write_adl(jobs), 100)
    assert [i for i, each in enumerate(answers) if not each.is_good] == [42]
    assert answers[42].reason == "Requested queue nosuch is not allowed for this user"
    good = [each.ident for each in answers if each.is_good]
    await until(client, lambda live: set(good) <= live.keys())
    await client.kill(good)
    await ended(client, good)
    assert "jobname=ic-43" in await client.diagnose(good[42], "local")
    await client.clean(good)


async def test_cancelled_job_and_one_that_is_not_there(client_for: ClientFor) -> None:
    client = client_for("alice")
    (ident,) = await created(client, activity("sleep 300"))
    await until(client, lambda live: live.get(ident) == "RUNNING")
    killed = await client.kill([ident, "nosuch"])
    assert [killed[each].code for each in (ident, "nosuch")] == [202, 404]
    # "FAILED" in the list
    await ended(client, [ident])
    assert read_failure(await client.diagnose(ident, "failed")) == Ending(cancelled=True)
    assert [each.code for each in (await client.status([ident, "nosuch"])).values()] == [200, 404]
    await client.clean([ident])


async def test_more_jobs_than_a_request_may_name(client_for: ClientFor) -> None:
    client = client_for("alice")
    idents = [f"{i:012x}" for i in range(MOST_JOBS + 1)]
    answers = await client.about(idents)
    assert list(answers) == idents
    assert {each.code for each in answers.values()} == {404}


async def test_files_of_any_name_and_any_part_of_them(client_for: ClientFor) -> None:
    client = client_for("alice")
    (ident,) = await created(client, activity(":", uploads={"never": False}))
    for name in NAMES:
        await client.write(ident, f"dir/{name}", os.fsencode(name))
    assert [await client.read(ident, f"dir/{name}") for name in NAMES] == [os.fsencode(name) for name in NAMES]
    data = os.urandom(3_000_000)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    await client.write(ident, "big", pieces())
    assert await client.read(ident, "big") == data
    assert await client.read(ident, "big", offset=1_000_000, limit=1_500_000) == data[1_000_000:2_500_000]
    assert await client.read(ident, "big", offset=2_999_990, limit=100) == data[-10:]
    assert await client.read(ident, "big", offset=3_000_000) == b""
    assert await client.read(ident, "big", offset=9_000_000, limit=10) == b""
    assert await client.read(ident, "big", limit=0) == b""
    await client.remove(ident, "big")
    with pytest.raises(CommandError):
        await client.remove(ident, "big")
    with pytest.raises(NotFound):
        await client.read(ident, "big")
    with pytest.raises(ConfigurationError, match="does not stay inside"):
        await client.read(ident, "dir/../../x")
    await client.kill([ident])
    await ended(client, [ident])
    await client.clean([ident])


@newer
async def test_one_person_by_certificate_and_by_token_is_two_owners(client_for: ClientFor) -> None:
    by_certificate, by_token = client_for("alice"), client_for(token="alice")
    (ident,) = await created(by_certificate, Activity("ic-mine", "/bin/true"))
    await ended(by_certificate, [ident])
    assert ident not in await by_token.jobs()
    assert (await by_token.clean([ident]))[ident].code == 404
    with pytest.raises(NotFound):
        await by_token.listing(ident)
    await by_certificate.clean([ident])


async def test_a_delegated_proxy_reaches_the_job_and_is_renewed(arc: Stack, client_for: ClientFor) -> None:
    client, holder = client_for("alice"), read_holder(credential(arc, "alice"))
    delegation = await client.delegate(holder, timedelta(hours=1))
    said = []
    for _ in range(2):
        (ident,) = await created(client, activity(":", delegation=delegation))
        assert await ended(client, [ident]) == ["FINISHED"]
        said.append(read_pairs(await client.diagnose(ident, "local"))["delegexpiretime"])
        await client.clean([ident])
        await client.renew_delegation(delegation, holder, timedelta(hours=9))
    assert said[0] < said[1]


@newer
async def test_a_token_is_delegated(arc: Stack, client_for: ClientFor) -> None:
    assert await client_for(token="bob").delegate_token((arc.given / "token-bob").read_text())


async def test_queues(client_for: ClientFor) -> None:
    (queue,) = read_queues(await client_for("alice").resource())
    assert (queue.name, queue.accepting) == ("fork", True)
    assert queue.running is not None


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(("arc", "who"), REFUSED, indirect=["arc"])
async def test_who_is_in_no_group_is_told_what_to_check(client_for: ClientFor, who: dict[str, str]) -> None:
    with pytest.raises(AuthenticationFailed, match=r"assigned configuration.*authgroups.*expired"):
        await client_for(**who).jobs()


async def test_an_expired_proxy_is_called_so(arc: Stack, client_for: ClientFor) -> None:
    begun = read_holder(credential(arc, "alice")).certificate.not_valid_before_utc
    old = proxy(arc, "alice", timedelta(seconds=1), at=begun)
    with pytest.raises(AuthenticationFailed, match=r"proxy has expired\. Renew it"):
        await client_for(pem=old).jobs()


async def test_another_authority_is_not_believed(arc: Stack) -> None:
    async with ArcClient(arc.host, arc.port, tls=client_context()) as client:
        with pytest.raises(ConnectFailed, match=r"self-signed|unable to get|verify failed"):
            await client.version()


async def test_nobody_there(arc: Stack) -> None:
    async with ArcClient(arc.host, 1, tls=client_context(arc.given / "ca.pem")) as client:
        with pytest.raises(ConnectFailed):
            await client.version()


@pytest.mark.alone
async def test_the_server_goes_and_comes_back(arc: Stack, client_for: ClientFor) -> None:
    client = client_for("alice")
    await client.jobs()
    service = arc.daemon("arex-ws")
    service.stop()
    try:
        with pytest.raises(TransportError):
            await client.create(write_adl([Activity("ic-no", "/bin/true")]), 1)
        with pytest.raises(ConnectFailed):
            await client.jobs()
    finally:
        service.start()
    assert isinstance(await client.jobs(), dict)
