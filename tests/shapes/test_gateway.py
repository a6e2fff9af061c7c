"""A cluster behind a bastion, with servers that allow little at once: all passes, slower."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING

import pytest

from intercede.credentials import from_function
from intercede.schedulers.slurm import Slurm
from intercede.testing.contract.place import Place, Spot, spot_at, traits_of
from intercede.testing.contract.steps import run, script
from testbed.engine import find_engine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from intercede.credentials import Credential, CredentialRequest
    from testbed.stack import Stack

pytestmark = pytest.mark.testbed
EAGER = {"min_interval": 0.1, "max_interval": 0.5, "concurrent": 50}


@pytest.fixture(scope="session")
def gateway(stack_factory: Callable[[str], Stack]) -> Stack:
    return stack_factory("slurm-24.11-gateway")


@pytest.fixture
def place(gateway: Stack) -> Place:
    ssh = {**gateway.ssh_settings(), "max_channels": 50}
    return Place("gateway", traits_of(Slurm), {"id": "gateway", "scheduler": "slurm", "ssh": ssh}, "/home/alice")


@pytest.fixture
async def spot(place: Place) -> AsyncGenerator[Spot, None]:
    async with spot_at(place, f"shape-{secrets.token_hex(3)}") as made:
        yield made


def test_only_the_bastion_is_published(gateway: Stack) -> None:
    described = find_engine().inspect([gateway.container(node) for node in ("login", "bastion")])
    inner, outer = (
        {name: given for name, given in each["NetworkSettings"]["Ports"].items() if given} for each in described
    )
    assert inner == {}
    assert [each["HostIp"] for each in outer["22/tcp"]] == ["127.0.0.1"]


async def test_fifty_calls_at_once(spot: Spot, gateway: Stack) -> None:
    async with spot.element(politeness=EAGER) as ce:
        (ref,) = await run(ce, script("echo said"))
        chunks = await asyncio.gather(*(ce.read_log(ref) for _ in range(50)))
        assert {chunk.data for chunk in chunks} == {b"said\n"}
        # the bastion's and the login node's
        assert ce.counters.connections <= 2
    assert "no more sessions" in gateway.logs(node="login")


async def test_many_connections_at_once(spot: Spot, gateway: Stack) -> None:
    async def nothing(request: CredentialRequest) -> Credential | None:
        return None

    async with contextlib.AsyncExitStack() as stack:
        # elements with providers of their own share no connection
        places = [Place("g", spot.place.traits, spot.place.settings, "", from_function(nothing)) for _ in range(12)]
        elements = [await stack.enter_async_context(each.element(spot.settings(politeness=EAGER))) for each in places]
        queues = await asyncio.gather(*(ce.capacity() for ce in elements))
        assert all([queue.name for queue in each] == ["debug", "long", "short"] for each in queues)
    assert "maxstartups" in gateway.logs(node="bastion").lower()
