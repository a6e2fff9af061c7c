"""A site whose slurmctld limits requests: it says nothing to who asks too often, and lets him wait."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobOutput, JobState
from intercede.testing.contract.steps import final, script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.stack import Stack
    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "slurm-24.11-rate-limited"


def limited(stack: Stack, user: str) -> int:
    """How often slurmctld has told a user to back off."""
    ident = stack.exec(["id", "-u", user]).stdout.decode().strip()
    return len(re.findall(rf"rate limit exceeded by uid {ident}\b", stack.logs(), re.IGNORECASE))


def requests(stack: Stack, user: str) -> int:
    """How many requests slurmctld has had from a user."""
    text = stack.exec(["sdiag"]).stdout.decode().partition("by user")[2]
    found = re.search(rf"^\s+{user}\s*\(\s*\d+\)\s+count:(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.timeout(400)
async def test_five_hundred_jobs(spot_on: SpotAt, stack_factory: Callable[[str], Stack], tmp_path: Path) -> None:
    stack = stack_factory(STACK)
    stack.exec(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do squeue -h; done"], user="bob")
    assert limited(stack, "bob") > 0  # or there would be nothing to see here
    spot = await spot_on(STACK)
    async with spot.element(politeness={"min_interval": 1, "max_interval": 30}, limits={"command_time": 60}) as ce:
        asked, held_off, commands = requests(stack, "alice"), limited(stack, "alice"), ce.counters.commands
        submission = await ce.submit(script('echo "$INTERCEDE_COPY"; exit $((INTERCEDE_COPY % 2))'), 500)
        assert len(submission.refs) == 500
        statuses = await final(ce, submission.refs, 300)
        outputs = await ce.fetch_output(submission.refs, tmp_path)
        asked, held_off, commands = (
            requests(stack, "alice") - asked, limited(stack, "alice") - held_off, ce.counters.commands - commands,
        )  # fmt: skip
        assert ce.counters.retries == 0
    logging.getLogger(__name__).info("%d executions, %d requests, held off %d times", commands, asked, held_off)
    assert [each.exit_code for each in statuses.values()] == [0, 1] * 250
    assert {each.state for each in statuses.values()} == {JobState.SUCCEEDED, JobState.FAILED}
    texts = [each.stdout.read_text() for each in outputs.values() if isinstance(each, JobOutput) and each.stdout]
    assert texts == [f"{i}\n" for i in range(500)]
    # a poll a second would be far beyond all of these
    assert commands <= 40
    assert asked <= 4 * commands
    assert held_off <= commands
