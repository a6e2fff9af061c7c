"""A site with small arrays and few jobs a user: what is too much for one job is split, what does not fit is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobOutput, JobState, Outcome, Reason
from intercede.errors import NotFound, QueueFull
from intercede.model import Copy, JobRef, Resources
from intercede.testing.contract.steps import by_copy, final, script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "slurm-24.11-tight"
HELD = {"slurm": ("--hold",)}


def jobs_of(refs: list[JobRef]) -> list[int]:
    """How many of the references belong to each native job."""
    jobs = [ref.native.partition("_")[0] for ref in refs]
    return [jobs.count(job) for job in dict.fromkeys(jobs)]


async def test_as_many_as_fit_are_three_jobs(spot_on: SpotAt, tmp_path: Path) -> None:
    spot = await spot_on(STACK)
    copies = [Copy(key=f"k{i}", arguments=(str(i),), environment={"E": f"e{i}"}) for i in range(120)]
    async with spot.element() as ce:
        before = ce.counters.commands
        submission = await ce.submit(script('echo "$1 $E $INTERCEDE_COPY"; exit $(($1 % 3))'), copies, tag="fits")
        assert ce.counters.commands - before == 1
        refs = submission.refs
        assert [ref.copy_index for ref in refs] == list(range(120))
        assert jobs_of(refs) == [50, 50, 20]
        statuses = by_copy(await final(ce, refs, 150))
        assert [each.exit_code for each in statuses] == [i % 3 for i in range(120)]
        before = ce.counters.commands
        outputs = await ce.fetch_output(refs, tmp_path)
        assert ce.counters.commands - before == 1
    texts = [each.stdout.read_text() for each in outputs.values() if isinstance(each, JobOutput) and each.stdout]
    assert texts == [f"{i} e{i} {i}\n" for i in range(120)]
    async with spot.element() as fresh:
        found = await fresh.find("fits")
        again = await fresh.submit(script('echo "$1 $E $INTERCEDE_COPY"; exit $(($1 % 3))'), copies, tag="fits")
        assert (found.refs, again.refs) == (refs, refs)
        assert found.keys == tuple(copy.key for copy in copies)
        await fresh.purge(refs)


async def test_cancelling_some_of_every_part(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK, "dave")
    async with spot.element() as ce:
        refs = (await ce.submit(script(":", native=HELD), 120)).refs
        before = ce.counters.commands
        assert await ce.cancel(refs[::2]) == dict.fromkeys(refs[::2], Outcome.DONE)
        assert ce.counters.commands - before == 1
        await final(ce, refs[::2])
        async with spot.element() as fresh:
            told = await fresh.status(refs)
        assert [told[ref].state for ref in refs] == 60 * [JobState.CANCELLED, JobState.HELD]


async def test_what_does_not_fit_is_told_and_completed_later(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK, "bob")
    waiting = script("exit $((INTERCEDE_COPY % 2))", native=HELD)
    async with spot.element() as ce:
        submission = await ce.submit(waiting, 150, tag="full")
        refs = submission.refs
        # a part gets in as a whole or not at all
        assert jobs_of(refs) == [50, 50]
        assert [ref.copy_index for ref in refs] == list(range(100))
        assert {type(each) for each in submission.results[100:]} == {QueueFull}
        full = submission.results[149]
        assert isinstance(full, QueueFull)
        assert "AssocMaxSubmitJobLimit" in str(full)
        assert "100 of 150 copies got in" in str(full)
        assert full.accepted == tuple(refs)
    async with spot.element() as fresh:
        found = await fresh.find("full")
        assert found.refs == refs
        assert {type(each) for each in found.results[100:]} == {NotFound}
        # there is no room yet: the same again
        again = await fresh.submit(waiting, 150, tag="full")
        assert again.refs == refs
        assert {type(each) for each in again.results[100:]} == {QueueFull}
        # nothing of another submission gets in, and its tag stays free
        with pytest.raises(QueueFull, match="AssocMaxSubmitJobLimit") as caught:
            await fresh.submit(waiting, 50, tag="other")
        assert caught.value.accepted == ()
        with pytest.raises(NotFound):
            await fresh.find("other")
        await fresh.cancel(refs[:30])
        await final(fresh, refs[:30])
        complete = await fresh.submit(waiting, 150, tag="full")
        assert complete.errors == {}
        assert complete.refs[:100] == refs
        assert jobs_of(complete.refs) == [50, 50, 50]
        assert set((await fresh.release(complete.refs[30:])).values()) == {Outcome.DONE}
        statuses = by_copy(await final(fresh, complete.refs, 150))
        assert [each.exit_code for each in statuses] == [None] * 30 + [0, 1] * 60


async def test_a_limit_of_a_qos(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK, "carol")
    async with spot.element(native=("--qos=narrow",)) as ce:
        held = script(":", native=HELD)
        refs = (await ce.submit(held, 10)).refs
        with pytest.raises(QueueFull, match="QOSMaxSubmitJobPerUserLimit"):
            await ce.submit(held)
        await ce.cancel(refs[:1])
        await final(ce, refs[:1])
        assert len((await ce.submit(held)).refs) == 1


async def test_more_memory_than_it_asked_for(spot_on: SpotAt, tmp_path: Path) -> None:
    """Without cgroups Slurm says that a signal ended it, and why only to the job's own log (24.11)."""
    spot = await spot_on(STACK)
    # it keeps what it has taken: slurmd looks once a second
    text = "echo begun; { head -c 400000000 /dev/zero; exec sleep 60; } | tail -c 400000000 >/dev/null"
    async with spot.element() as ce:
        submission = await ce.submit(script(text, resources=Resources(memory="50M")), tag="hungry")
        statuses = await final(ce, submission.refs)
        (status,) = statuses.values()
        assert (status.state, status.reason, status.signal) == (JobState.FAILED, Reason.SIGNAL, 9)
        (output,) = (await ce.fetch_output(submission.refs, tmp_path)).values()
        assert isinstance(output, JobOutput)
        assert output.stdout is not None
        assert output.stdout.read_text() == "begun\n"
        assert b"exceeded memory limit" in await spot.shell('cat "$1/hungry/log/"*', spot.store)
        assert await ce.status(submission.refs) == statuses
