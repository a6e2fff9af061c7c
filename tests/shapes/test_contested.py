"""Jobs that compete for GPUs and cores: what each is given, and what is said of the one that loses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.errors import SubmissionRejected
from intercede.model import Resources
from intercede.testing.contract.steps import by_copy, fetch_one, final, reached, run, script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "slurm-24.11-contested"
ALL_CORES = 32
# Takes long the first time, and no time when it is started again
ONCE = "seen=$HOME/$INTERCEDE_TAG-$INTERCEDE_COPY; [ ! -e $seen ] || exit 0; touch $seen; sleep 60"


async def test_gpus_are_given_to_one_job_at_a_time(spot_on: SpotAt, tmp_path: Path) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        both = script("echo $CUDA_VISIBLE_DEVICES; sleep 60", resources=Resources(gpus=2))
        one = script("echo $CUDA_VISIBLE_DEVICES", resources=Resources(gpus=1))
        (first,) = (await ce.submit(both)).refs
        await reached(ce, first, JobState.RUNNING)
        (second,) = (await ce.submit(one)).refs
        waiting = await reached(ce, second, JobState.QUEUED)
        assert waiting.state is JobState.QUEUED
        await ce.cancel([first])
        assert (await final(ce, [second]))[second].state is JobState.SUCCEEDED
        outputs = [await fetch_one(ce, ref, tmp_path) for ref in (first, second)]
        given = [each.stdout.read_text() for each in outputs if each.stdout]
        assert given in (["0,1\n", "0\n"], ["0,1\n", "1\n"])
        with pytest.raises(SubmissionRejected, match=r"resources\.(gpus|cores)"):
            await ce.submit(script(":", resources=Resources(gpus=3)))


async def test_makes_way_for_another(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK, "carol")
    urgent = script("sleep 3", resources=Resources(queue="urgent", cores=ALL_CORES))
    async with spot.element() as ce:
        for queue, requeue, state, reason in (
            ("cheap", False, JobState.FAILED, Reason.PREEMPTED),
            ("patient", True, JobState.SUCCEEDED, None),
        ):
            submission = await ce.submit(script(ONCE, resources=Resources(queue=queue), requeue=requeue), 2)
            for ref in submission.refs:
                await reached(ce, ref, JobState.RUNNING)
            assert by_copy(await run(ce, urgent))[0].state is JobState.SUCCEEDED
            ends = (await final(ce, submission.refs, 90)).values()
            assert {(each.state, each.reason) for each in ends} == {(state, reason)}, queue
