"""What a scheduler that moves files does with them; and HTCondor's holds, removals and second starts."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from intercede.answers import JobOutput, JobState, Outcome, Reason
from intercede.errors import CommandError
from intercede.model import Copy, Resources
from intercede.testing.contract.fixtures import ce, early, spot
from intercede.testing.contract.select import needs
from intercede.testing.contract.steps import fetch_one, final, reached, script, waiting_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["ce", "early", "spot"]

HELD = {"htcondor": ("hold = true",)}


@needs("apart", "submit-host")
class TestPool:
    """Files go to a node that does not see the work area, and come back."""

    async def test_not_started_again_unless_it_may_be(self, spot: Spot, ce: Element) -> None:
        (ref,) = (await ce.submit(script('echo ran >>"$1/runs"; sleep 300', spot.home))).refs
        await spot.shell("while [ ! -s runs ]; do sleep 0.1; done")
        await reached(ce, ref, JobState.RUNNING)
        await spot.shell('condor_vacate_job -fast "$1"', ref.native)
        status = (await final(ce, [ref]))[ref]
        assert (status.state, status.reason) == (JobState.FAILED, Reason.NODE)
        assert "lost its place" in status.detail
        assert await spot.lines("runs") == ["ran"]

    async def test_removed_by_its_owner_and_by_policy(self, spot: Spot, ce: Element) -> None:
        policy = ("periodic_remove = JobStatus == 2",)
        (by_hand,) = (await ce.submit(script("sleep 300"))).refs
        (by_policy,) = (await ce.submit(script("sleep 300", native={"htcondor": policy}))).refs
        await reached(ce, by_hand, JobState.RUNNING)
        await spot.shell('condor_rm "$1"', by_hand.native)
        told = await final(ce, [by_hand, by_policy])
        assert told[by_hand].state is JobState.CANCELLED
        assert "alice" in told[by_hand].detail
        assert told[by_policy].state is JobState.FAILED
        assert "PeriodicRemove" in told[by_policy].detail

    async def test_every_other_one_of_thousands(self, ce: Element, tmp_path: Path) -> None:
        """`a || b || c` of more than 395 terms is true of no job (25.14.1), without a word."""
        refs = (await ce.submit(script(":", native=HELD), 2000, tag="thousands")).refs
        some, before = refs[::2], ce.counters.commands
        assert {each.state for each in (await ce.status(some)).values()} == {JobState.HELD}
        outputs = await ce.fetch_output(some, tmp_path)
        assert [type(each) for each in outputs.values()] == [JobOutput] * 1000
        assert await ce.cancel(some) == dict.fromkeys(some, Outcome.DONE)
        assert ce.counters.commands == before + 3
        told = await final(ce, some)
        assert {(each.state, each.source) for each in told.values()} == {(JobState.CANCELLED, "condor_history")}
        assert {each.state for each in (await ce.status(refs[1::2])).values()} == {JobState.HELD}
        await ce.cancel(refs)

    async def test_held_in_its_own_words_and_released(self, spot: Spot, ce: Element) -> None:
        text = 'echo "out"; echo f >f; exit 4'
        (ref,) = (await ce.submit(script(text, native=HELD), tag="held")).refs
        await spot.shell('mv "$1/held/job" "$1/held/job.away"', spot.store)
        assert await ce.release([ref]) == {ref: Outcome.DONE}
        status = await reached(ce, ref, JobState.HELD)
        while "(15)" in status.detail:  # its first hold, which it was submitted with
            await asyncio.sleep(0.2)
            status = await reached(ce, ref, JobState.HELD)
        assert status.reason is Reason.STAGING
        assert "No such file or directory" in status.detail
        await spot.shell('mv "$1/held/job.away" "$1/held/job"', spot.store)
        assert await ce.release([ref]) == {ref: Outcome.DONE}
        assert (await final(ce, [ref]))[ref].exit_code == 4

    async def test_held_for_its_output_keeps_the_exit_code(self, spot: Spot, ce: Element) -> None:
        text = ': >"$1/ready"; while [ ! -e "$1/go" ]; do sleep 0.1; done; echo out; exit 5'
        (ref,) = (await ce.submit(script(text, spot.home), tag="full")).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        await spot.shell('mv "$1/full/back" "$1/full/away" && : >"$1/full/back" && : >go', spot.store)
        status = await reached(ce, ref, JobState.HELD)
        assert (status.reason, status.exit_code) == (Reason.STAGING, 5)
        await ce.cancel([ref])
        assert (await final(ce, [ref]))[ref].state is JobState.CANCELLED

    async def test_output_of_what_was_ended_before_its_time(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        text = 'echo said; echo part >part; : >"$1/$2.$INTERCEDE_COPY"; while :; do sleep 0.2; done'
        limit = Resources(walltime=timedelta(seconds=3))
        timed = (await ce.submit(script(text, spot.home, "timed", outputs=("part",), resources=limit))).refs
        refs = (await ce.submit(script(text, spot.home, "ordered", outputs=("part",)), 2)).refs
        await spot.shell("while [ ! -e timed.0 ] || [ ! -e ordered.0 ] || [ ! -e ordered.1 ]; do sleep 0.1; done")
        await ce.cancel(refs)
        told = await final(ce, [*timed, *refs])
        assert [each.state for each in told.values()] == [JobState.FAILED, JobState.CANCELLED, JobState.CANCELLED]
        assert told[timed[0]].reason is Reason.WALLTIME
        for ref in told:
            output = await fetch_one(ce, ref, tmp_path)
            assert output.stdout is not None
            assert output.stdout.read_text() == "said\n"
            assert {name: path.read_text() for name, path in output.files.items()} == {"part": "part\n"}

    async def test_secrets_renewed_only_before_the_job_starts(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        text = 'cat "$INTERCEDE_SECRETS/s"; : >"$1/ready"; while [ ! -e "$1/go" ]; do sleep 0.1; done'
        (running,) = (await ce.submit(script(text, spot.home), [Copy(secrets={"s": "old"})])).refs
        held = script(text, spot.home, native=HELD)
        (waiting,) = (await ce.submit(held, [Copy(secrets={"s": "old"})])).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        answers = await ce.renew([running, waiting], {"s": "new"})
        assert isinstance(answers[running], CommandError)
        assert answers[waiting] is Outcome.DONE
        await ce.release([waiting])
        await spot.shell(": >go")
        await final(ce, [running, waiting])
        for ref, said in ((running, "old"), (waiting, "new")):
            output = await fetch_one(ce, ref, tmp_path)
            assert output.stdout is not None
            assert output.stdout.read_text() == said

    async def test_why_it_waits(self, spot: Spot, ce: Element) -> None:
        (ref,) = await waiting_jobs(spot, ce, script(":"))
        status = await reached(ce, ref, JobState.QUEUED)
        while not status.detail:
            await asyncio.sleep(0.2)
            status = await reached(ce, ref, JobState.QUEUED)
        assert "no match" in status.detail

    async def test_given_up_and_started_after_all(self, spot: Spot, ce: Element) -> None:
        """As when a submission's answer never came, its tag was given up, and the schedd had its jobs all the same."""
        held = script('echo ran >>"$1/runs"', spot.home, native=HELD)
        (ref,) = (await ce.submit(held, tag="given-up")).refs
        hide = 'cd "$1/given-up" && rm chunk/0 && touch -d "2 days ago" size'
        await spot.shell(hide, spot.store)
        assert (await ce.abandon("given-up")).refs == []
        await spot.shell('condor_release "$1"', ref.native)
        await spot.shell('until [ -n "$(condor_history "$1" -af ExitCode)" ]; do sleep 0.2; done', ref.native)
        assert await spot.lines("runs") == []

    async def test_a_thousand_copies(self, spot: Spot, ce: Element) -> None:
        copies = [Copy(environment={"I": str(index)}) for index in range(1000)]
        before = ce.counters.commands
        refs = (await ce.submit(script("exit $((I % 3))", native=dict(spot.place.native_wait)), copies)).refs
        assert len(set(refs)) == 1000
        told = await ce.status(refs)
        assert {each.state for each in told.values()} == {JobState.QUEUED}
        await ce.cancel(refs)
        assert ce.counters.commands - before == 3
        assert {each.state for each in (await final(ce, refs)).values()} == {JobState.CANCELLED}
