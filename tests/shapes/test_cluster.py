"""A cluster as sites have it: a login node that runs no job, compute nodes, one home; and nodes that fail."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.model import Copy, Resources
from intercede.schedulers.slurm import Slurm
from intercede.testing.contract.place import Place, Spot, spot_at, traits_of
from intercede.testing.contract.steps import fetch_one, final, reached, run, script
from testbed.state import locked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from pathlib import Path

    from testbed.stack import Node, Stack

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(300)]
# A node is given up after ten seconds, and its job waits for fifteen before it is started again
SLOW = 120.0
BACK = 'until [ "$(sinfo -h -n c3 -o %T)" = idle ]; do sleep 0.2; done'


@pytest.fixture(scope="session")
def cluster(stack_factory: Callable[[str], Stack]) -> Stack:
    return stack_factory("slurm-24.11-cluster")


@pytest.fixture
async def spot(cluster: Stack) -> AsyncGenerator[Spot, None]:
    settings = {"id": "cluster", "scheduler": "slurm", "ssh": cluster.ssh_settings()}
    place = Place("cluster", traits_of(Slurm), settings, "/home/alice")
    async with spot_at(place, f"shape-{secrets.token_hex(3)}") as made:
        yield made


@pytest.fixture
def c3(cluster: Stack) -> Generator[Node]:
    """The node that is there to be broken, for one test at a time; the queue `fragile` prefers it."""
    node = cluster.node("c3")
    with locked(cluster.directory / "c3.lock"):
        cluster.exec(["sh", "-c", BACK])
        try:
            yield node
        finally:
            node.thaw()


async def test_jobs_run_on_compute_nodes(spot: Spot, cluster: Stack, tmp_path: Path) -> None:
    # each takes more than half of a node, and waits for the other one: so both nodes are used
    text = ': >"$1/$INTERCEDE_COPY"; until [ -e "$1/0" ] && [ -e "$1/1" ]; do sleep 0.1; done; uname -n'
    async with spot.element() as ce:
        statuses = await run(ce, script(text, spot.home, resources=Resources(cores=20)), 2)
        assert {status.node for status in statuses.values()} == {"c1", "c2"}
        for ref, status in statuses.items():
            output = await fetch_one(ce, ref, tmp_path)
            assert output.stdout is not None
            assert output.stdout.read_text() == f"{status.node}\n"
    assert cluster.exec(["hostname"]).stdout == b"login\n"
    assert b"slurmd" not in cluster.exec(["ps", "-eo", "comm"]).stdout.split()


async def test_two_nodes_are_two_nodes(spot: Spot, tmp_path: Path) -> None:
    async with spot.element() as ce:
        (status,) = (await run(ce, script("srun uname -n | sort", resources=Resources(cores=2, nodes=2)))).values()
        assert (status.state, status.node) == (JobState.SUCCEEDED, "c1")
        output = await fetch_one(ce, status.ref, tmp_path)
        assert output.stdout is not None
        assert output.stdout.read_text() == "c1\nc2\n"


async def test_a_job_ends_with_its_node(spot: Spot, cluster: Stack, c3: Node) -> None:
    async with spot.element() as ce:
        (ref,) = (await ce.submit(script("sleep 600", resources=Resources(queue="fragile")))).refs
        assert (await reached(ce, ref, JobState.RUNNING)).node == "c3"
        c3.freeze()
        status = (await final(ce, [ref], SLOW))[ref]
        assert (status.state, status.reason, status.node) == (JobState.FAILED, Reason.NODE, "c3")
        assert (status.exit_code, status.attempt) == (None, 1)
        c3.thaw()
        cluster.exec(["sh", "-c", BACK])
        for element in (ce, spot.element()):
            async with element:
                again = (await element.status([ref]))[ref]
            assert (again.state, again.reason, again.node) == (JobState.FAILED, Reason.NODE, "c3")


async def test_a_job_that_may_be_requeued_survives_its_node(
    spot: Spot, cluster: Stack, c3: Node, tmp_path: Path
) -> None:
    text = 'uname -n | tee -a "$1/runs"; until [ -e "$1/go" ]; do sleep 0.2; done; cat "$INTERCEDE_SECRETS/token"'
    description = script(text, spot.home, requeue=True, resources=Resources(queue="fragile"))
    async with spot.element() as ce:
        (ref,) = (await ce.submit(description, [Copy(secrets={"token": "sesame"})], tag="survivor")).refs
        assert (await reached(ce, ref, JobState.RUNNING)).node == "c3"
        await spot.shell("until [ -s runs ]; do sleep 0.1; done")
        c3.freeze()
        async with asyncio.timeout(SLOW):
            while (status := (await ce.status([ref]))[ref]).node != "c1":
                assert not status.state.is_final, status
                await asyncio.sleep(0.2)
        await spot.shell('until [ "$(wc -l <runs)" = 2 ]; do sleep 0.1; done')
        # the first node wakes up, with the job still on it, and is told to end it
        c3.thaw()
        cluster.exec(["sh", "-c", "while pgrep -u alice >&2; do sleep 0.1; done"], node="c3")
        kept = f"{spot.store}/survivor"
        assert await spot.shell('ls "$1/c/0/.flag" 2>/dev/null || cat "$1/secrets/0/token"', kept) == b"sesame"
        await spot.shell(": >go")
        status = (await final(ce, [ref]))[ref]
        assert (status.state, status.node, status.attempt) == (JobState.SUCCEEDED, "c1", 2)
        output = await fetch_one(ce, ref, tmp_path)
        assert output.stdout is not None
        assert output.stdout.read_text() == "c1\nsesame"
    assert await spot.lines("runs") == ["c3", "c1"]
    assert await spot.shell('ls "$1/secrets"', kept) == b""
