"""What OAR does that others do not: orders told from limits, jobs submitted again, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.elements.batch import BatchElement
from intercede.errors import CommandError, SchedulerUnavailable
from intercede.model import Resources
from intercede.testing.contract.steps import final, reached, script
from tests.shapes.orders import ask_and_order_with_unknown_identifiers, cancel_by_halves

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.stack import Stack
    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "oar-2.6"
ELEMENT = "array_id = ${1%.*} AND array_index = ${1#*.}"


async def test_deleted_by_hand_is_told_from_walltime(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        deleted = (await ce.submit(script("sleep 300"))).refs[0]
        limited = (await ce.submit(script("sleep 300", resources=Resources(walltime="5s")))).refs[0]
        await reached(ce, deleted, JobState.RUNNING)
        await spot.shell(f'oardel --sql "{ELEMENT}"', deleted.native)
        told = await final(ce, [deleted, limited])
        assert (told[deleted].state, told[deleted].reason) == (JobState.CANCELLED, None)
        assert "User alice requested to frag the job" in told[deleted].detail
        assert (told[limited].state, told[limited].reason) == (JobState.FAILED, Reason.WALLTIME)


async def test_submitted_again_by_hand_keeps_its_name(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        text = 'echo run >>"$1/runs"; [ "$INTERCEDE_COPY" = 1 ] || exit 0; exit "$(wc -l <"$1/runs")"'
        ref = (await ce.submit(script(text, spot.home), 2)).refs[1]
        first = (await final(ce, [ref]))[ref]
        assert (first.exit_code, first.attempt) in {(1, 1), (2, 1)}
        number = f'oarstat -J --sql "{ELEMENT}" | sed -n \'s/^ *"Job_Id" : \\([0-9]*\\).*/\\1/p\''
        await spot.shell(f'oarsub --resubmit "$({number})"', ref.native)
        async with spot.element() as fresh:
            assert isinstance(fresh, BatchElement)
            for _ in range(3):  # until it is seen again, and then ended
                again = (await final(fresh, [ref]))[ref]
                if again.attempt == 2:
                    break
                fresh.forget([ref])
        assert (again.exit_code, again.attempt) == (3, 2)


async def test_unknown_and_mixed_identifiers(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        await ask_and_order_with_unknown_identifiers(ce)


async def test_many_in_one_execution_each_time(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK)
    async with spot.element() as ce:
        before = ce.counters.commands
        refs = (await ce.submit(script("sleep 300", native={"oar": ("--hold",)}), 1000)).refs
        assert {ref.native.partition(".")[0] for ref in refs} == {refs[0].native.partition(".")[0]}
        told = await ce.status(refs)
        assert {each.state for each in told.values()} == {JobState.HELD}
        assert ce.counters.commands - before == 2
        await cancel_by_halves(ce, refs)


@pytest.mark.alone
async def test_daemons_that_are_down(spot_on: SpotAt, stack_factory: Callable[[str], Stack]) -> None:
    """Without the server, jobs are queued; without the database, nothing can be said of any."""
    spot = await spot_on(STACK)
    server, database = (stack_factory(STACK).daemon(name) for name in ("Almighty", "postgres"))
    async with spot.element() as ce:
        server.stop()
        try:
            submission = await ce.submit(script("exit 5"), tag="down")
            (status,) = (await ce.status(submission.refs)).values()
            assert (status.state, status.native_state) == (JobState.QUEUED, "Waiting")
            assert await ce.submit(script("exit 5"), tag="down") == submission
            database.stop()
            try:
                for doing in (ce.status(submission.refs), ce.capacity()):
                    with pytest.raises(SchedulerUnavailable):
                        await doing
                (outcome,) = (await ce.cancel(submission.refs)).values()
                assert isinstance(outcome, CommandError)
            finally:
                database.start()
        finally:
            server.start()
        assert (await final(ce, submission.refs))[submission.refs[0]].exit_code == 5
