"""One name, two login nodes: what one of them did, the other one knows."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Outcome
from intercede.credentials import from_function
from intercede.elements.batch import BatchElement
from intercede.schedulers.slurm import Slurm
from intercede.steps import Command
from intercede.testing.contract.place import Place, Spot, spot_at, traits_of
from intercede.testing.contract.steps import fetch_one, final, reached, script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from intercede.credentials import Credential, CredentialRequest
    from intercede.protocols import Element
    from testbed.stack import Stack

pytestmark = pytest.mark.testbed


@pytest.fixture(scope="session")
def pair(stack_factory: Callable[[str], Stack]) -> Stack:
    return stack_factory("slurm-24.11-round-robin")


async def nothing(request: CredentialRequest) -> Credential | None:
    return None


def place_of(pair: Stack, user: str = "alice") -> Place:
    """The place, for a connection of its own: elements with different providers share none."""
    settings = {"id": "pair", "scheduler": "slurm", "ssh": pair.ssh_settings(user)}
    return Place("pair", traits_of(Slurm), settings, f"/home/{user}", from_function(nothing))


@pytest.fixture
async def spot(pair: Stack) -> AsyncGenerator[Spot, None]:
    async with spot_at(place_of(pair), f"shape-{secrets.token_hex(3)}") as made:
        yield made


async def host_of(ce: Element) -> str:
    assert isinstance(ce, BatchElement)
    (answer,) = await ce.transport.run([Command(("uname", "-n"))])
    return answer.text.strip()


@asynccontextmanager
async def through(node: str, spot: Spot, pair: Stack, user: str = "alice") -> AsyncGenerator[Element, None]:
    """An element whose connection ends at that login node."""
    async with asyncio.timeout(60):
        while True:
            ce = place_of(pair, user).element(spot.settings(ssh=pair.ssh_settings(user)))
            if await host_of(ce) == node:
                break
            await ce.aclose()
    async with ce:
        yield ce


async def test_submitted_on_one_and_all_the_rest_through_the_other(spot: Spot, pair: Stack, tmp_path: Path) -> None:
    async with through("login1", spot, pair) as one, through("login2", spot, pair) as two:
        text = 'echo begun; until [ -e "$1" ]; do sleep 0.1; done; echo done; exit 3'
        first, second = (await one.submit(script(text, f"{spot.home}/go"), 2, tag="both")).refs
        assert (await two.find("both")).refs == [first, second]
        await reached(two, first, JobState.RUNNING)
        assert await two.cancel([second]) == {second: Outcome.DONE}
        assert (await final(one, [second]))[second].state is JobState.CANCELLED
        await spot.shell(": >go")
        status = (await final(two, [first]))[first]
        assert (status.state, status.exit_code, status.node) == (JobState.FAILED, 3, "head")
        output = await fetch_one(two, first, tmp_path)
        assert output.stdout is not None
        assert output.stdout.read_text() == "begun\ndone\n"
        assert await two.purge([first, second]) == dict.fromkeys((first, second), Outcome.DONE)
        assert [info.purged for info in await one.list() if info.tag == "both"] == [True]


async def test_the_same_tag_on_both_at_once(spot: Spot, pair: Stack) -> None:
    async with through("login1", spot, pair) as one, through("login2", spot, pair) as two:
        for number in range(5):
            description = script('echo run >>"$1"', f"{spot.home}/runs{number}")
            sent = await asyncio.gather(*(ce.submit(description, 2, tag=f"t{number}") for ce in (one, two)))
            assert sent[0].refs == sent[1].refs
            await final(one, sent[0].refs)
            assert await spot.lines(f"runs{number}") == ["run", "run"]


async def test_a_login_node_goes_away(pair: Stack) -> None:
    # bob's: no other test's connections are cut with his
    async with spot_at(place_of(pair, "bob"), f"shape-{secrets.token_hex(3)}") as spot:
        async with through("login1", spot, pair, "bob") as ce:
            (ref,) = (await ce.submit(script("sleep 1; exit 4"))).refs
            sshd = pair.daemon("sshd", node="login1")
            sshd.stop()
            try:
                pair.exec(["pkill", "-KILL", "-u", "bob", "sshd"], node="login1")
                assert (await final(ce, [ref]))[ref].exit_code == 4
                assert await host_of(ce) == "login2"
            finally:
                sshd.start()
