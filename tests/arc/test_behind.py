"""What is behind a CE shows through: where jobs wait and are held, and who took them away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.arc.documents import read_pairs
from intercede.errors import UnsupportedError
from intercede.model import Resources
from intercede.testing.contract.steps import PATIENCE, final, reached, script
from tests.arc.conftest import BEHIND

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercede.answers import JobStatus
    from intercede.elements.arc import ArcElement
    from intercede.model import JobRef
    from testbed.stack import Stack
    from tests.arc.conftest import ClientFor, Opener

SLURMS = [name for name, shape in BEHIND.items() if shape == "slurm"]
HTCONDORS = [name for name, shape in BEHIND.items() if shape == "htcondor"]
AWAY = {"slurm": "scancel", "htcondor": "condor_rm"}
HOLD = {"slurm": ("scontrol", "hold"), "htcondor": ("condor_hold",)}
# jobs wait there for ever
PARKED = Resources(queue="parked")

behind = pytest.mark.parametrize("arc", BEHIND, indirect=True)


async def local(client_for: ClientFor, ref: JobRef) -> str:
    """What the batch system calls a job."""
    client = client_for("alice")
    async with asyncio.timeout(PATIENCE):
        while True:
            if ident := read_pairs(await client.diagnose(ref.native, "local")).get("localid"):
                return ident.partition(".")[0]
            await asyncio.sleep(0.2)


async def until(ce: ArcElement, ref: JobRef, wanted: Callable[[JobStatus], bool]) -> JobStatus:
    """The status of a job, once it is as wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if wanted(status := (await ce.status([ref]))[ref]):
                return status
            await asyncio.sleep(0.2)


async def as_root(arc: Stack, *argv: str) -> None:
    await asyncio.to_thread(arc.exec, argv)


@behind
async def test_what_waits_there_is_queued_and_counted_and_can_be_cancelled(opened: Opener) -> None:
    ce = opened()
    refs = (await ce.submit(script(":", resources=PARKED), 3)).refs
    for ref in refs:
        status = await until(ce, ref, lambda status: status.native_state == "QUEUING")
        assert (status.state, status.queue, status.node, status.started) == (JobState.QUEUED, "parked", None, None)
    before = ce.counters.commands
    await ce.status(refs)
    # the list, and what they do there
    assert ce.counters.commands - before == 2
    now = {each.name: each for each in await ce.capacity()}
    assert now["parked"].ours_waiting >= 3
    assert not any(each.is_default for each in now.values())
    await ce.cancel(refs)
    statuses = (await final(ce, refs)).values()
    assert {(each.state, each.started, each.exit_code) for each in statuses} == {(JobState.CANCELLED, None, None)}


@behind
async def test_what_somebody_takes_away_is_cancelled(opened: Opener, client_for: ClientFor, arc: Stack) -> None:
    """By the batch system's own command, not by the CE's."""
    ce = opened()
    (running,) = (await ce.submit(script("sleep 300"))).refs
    (waiting,) = (await ce.submit(script("sleep 300", resources=PARKED))).refs
    await reached(ce, running, JobState.RUNNING)
    idents = [await local(client_for, ref) for ref in (running, waiting)]
    await as_root(arc, AWAY[BEHIND[arc.name]], *idents)
    statuses = await final(ce, [running, waiting])
    assert [each.state for each in statuses.values()] == [JobState.CANCELLED] * 2
    assert all(each.detail for each in statuses.values())


@behind
async def test_what_is_held_there(opened: Opener, client_for: ClientFor, arc: Stack) -> None:
    """A-REX tells of HTCondor alone, and calls it OTHER."""
    ce = opened()
    held, other = (await ce.submit(script(":", resources=PARKED), 2)).refs
    await until(ce, held, lambda status: status.native_state == "QUEUING")
    await as_root(arc, *HOLD[BEHIND[arc.name]], await local(client_for, held))
    if BEHIND[arc.name] == "slurm":
        await asyncio.sleep(5)
        assert (await ce.status([held]))[held].state is JobState.QUEUED
    else:
        status = await reached(ce, held, JobState.HELD)
        assert (status.native_state, status.detail) == ("OTHER", "held in HTCondor")
    assert (await ce.status([other]))[other].state is JobState.QUEUED


@pytest.mark.parametrize("arc", SLURMS, indirect=True)
async def test_a_queues_limit_is_known_before_jobs_fail(opened: Opener) -> None:
    ce = opened(queue="short")
    with pytest.raises(UnsupportedError, match=r"short has a time limit of 0:10:00") as caught:
        await ce.submit(script(":", resources=Resources(walltime="11m")), 300)
    assert caught.value.field == "resources.walltime"
    # one for the version, one for the information document, and none for the second time
    assert ce.counters.commands == 2
    with pytest.raises(UnsupportedError):
        await ce.submit(script(":", resources=Resources(walltime="11m")))
    assert ce.counters.commands == 2


@pytest.mark.slow
@pytest.mark.parametrize("arc", SLURMS[:1], indirect=True)
async def test_what_slurm_refuses_is_rejected(opened: Opener) -> None:
    """More nodes than there are: so the number arrives. A-REX tries for a while, and does not say why it failed."""
    ce = opened()
    (ref,) = (await ce.submit(script(":", resources=Resources(cores=2, nodes=2)))).refs
    (status,) = (await final(ce, [ref], 2 * PATIENCE)).values()
    assert (status.state, status.reason) == (JobState.FAILED, Reason.REJECTED)


@pytest.mark.parametrize("arc", HTCONDORS, indirect=True)
async def test_htcondor_gives_a_job_one_machine(opened: Opener) -> None:
    ce = opened()
    with pytest.raises(UnsupportedError, match="HTCondor behind ARC cannot reserve") as caught:
        await ce.submit(script(":", resources=Resources(cores=2, nodes=2)))
    assert caught.value.field == "resources.nodes"
    assert await ce.list() == []


@pytest.mark.parametrize("arc", HTCONDORS, indirect=True)
async def test_htcondor_ends_a_job_that_takes_more_memory_than_it_asked_for(opened: Opener) -> None:
    """What a job takes is looked at every few seconds."""
    text = "head -c 400000000 /dev/zero | tail -c 400000000 | { sleep 15; cat >/dev/null; }"
    ce = opened()
    (ref,) = (await ce.submit(script(text, resources=Resources(memory="50M")))).refs
    (status,) = (await final(ce, [ref])).values()
    assert (status.state, status.reason, status.exit_code) == (JobState.FAILED, Reason.MEMORY, None)
    assert "job killed: vmem" in status.detail
    assert status.node
