"""A job's whole life: what is said of it on the way, and how it is found again."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobOutput, JobState, JobStatus, Outcome
from intercede.model import Copy, JobRef, Resources
from intercede.testing.contract.select import needs
from intercede.testing.contract.steps import by_copy, elsewhere, fetch_one, final, reached, run, script

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["TestCosts", "TestLife"]


class TestLife:
    """From submit to purge."""

    async def test_whole_life(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        before = datetime.now(UTC) - timedelta(seconds=5)
        description = script(
            'echo "$1"; while [ ! -e "$2" ]; do sleep 0.1; done; echo late; echo no >&2; echo x >r.dat',
            "hello", f"{spot.home}/go", outputs=("*.dat",), resources=Resources(cores=1, walltime="10m"),
        )  # fmt: skip
        submission = await ce.submit(description, tag="whole-life")
        assert (submission.tag, submission.keys) == ("whole-life", ("0",))
        (ref,) = submission.refs
        running = await reached(ce, ref, JobState.RUNNING)
        assert running.exit_code is None
        assert running.ended is None
        assert running.native_state
        await spot.shell(": >go")
        ended = (await final(ce, [ref]))[ref]
        assert (ended.state, ended.reason, ended.exit_code, ended.signal) == (JobState.SUCCEEDED, None, 0, None)
        assert ended.source
        assert ended.node or spot.place.has("nodeless")
        assert ended.started is not None
        assert ended.ended is not None
        assert before <= ended.started <= ended.ended <= datetime.now(UTC) + timedelta(seconds=5)
        assert ended.attempt == 1
        output = await fetch_one(ce, ref, tmp_path)
        assert output.stdout is not None
        assert output.stderr is not None
        assert (output.stdout.read_bytes(), output.stderr.read_bytes()) == (b"hello\nlate\n", b"no\n")
        assert {name: path.read_bytes() for name, path in output.files.items()} == {"r.dat": b"x\n"}
        assert await ce.purge([ref]) == {ref: Outcome.DONE}
        assert [line for line in await spot.left() if "whole-life" in line and ".gone/" not in line] == []

    async def test_final_state_stays(self, ce: Element) -> None:
        (first,) = (await run(ce, script("exit 3"))).values()
        again = (await ce.status([first.ref]))[first.ref]
        assert (again.state, again.exit_code, again.reason) == (first.state, first.exit_code, first.reason)

    async def test_status_in_the_order_asked_and_each_once(self, ce: Element) -> None:
        refs = (await ce.submit(script(":"), 3)).refs
        asked = [refs[2], refs[0], refs[1], refs[0]]
        assert list(await ce.status(asked)) == [refs[2], refs[0], refs[1]]
        assert await ce.status([]) == {}

    async def test_reopened_from_its_text_by_another_process(self, spot: Spot, ce: Element) -> None:
        statuses = await run(ce, script("exit $INTERCEDE_COPY"), 2)
        words = [str(ref) for ref in statuses]
        assert all(len(word) <= 255 for word in words)
        assert [JobRef.parse(word) for word in words] == list(statuses)
        told = await elsewhere(spot, "status", refs=words)
        assert [(each["ref"], each["state"], each["exit_code"]) for each in told] == [
            (words[0], "SUCCEEDED", 0),
            (words[1], "FAILED", 1),
        ]

    async def test_found_by_another_process(self, spot: Spot, ce: Element) -> None:
        copies = [Copy(key="first one"), Copy(), Copy(key="ü\n'")]
        submission = await ce.submit(script(":"), copies, tag="Find.me_1-2")
        found = await elsewhere(spot, "find", tag="Find.me_1-2")
        assert found == {"keys": ["first one", "1", "ü\n'"], "refs": [str(ref) for ref in submission.refs]}

    @pytest.mark.slow
    async def test_many_copies_each_with_its_own(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        many = spot.place.many
        copies = [
            Copy(
                key=f"k{index}",
                environment={"WHICH": f"e '{index}'"},
                secrets={"token": f"s{index}"},
                arguments=(f"a {index}",),
            )
            for index in range(many)
        ]
        text = (
            'printf "%s|%s|%s|%s|%s" "$WHICH" "$(cat "$INTERCEDE_SECRETS/token")" "$1"'
            ' "$INTERCEDE_COPY" "$INTERCEDE_KEY"'
        )
        submission = await ce.submit(script(text, native=dict(spot.place.native_last)), copies)
        assert submission.keys == tuple(f"k{index}" for index in range(many))
        statuses = await final(ce, submission.refs, 150)
        assert [each for each in statuses.values() if each.state is not JobState.SUCCEEDED] == []
        assert [ref.copy_index for ref in statuses] == list(range(many))
        outputs = await ce.fetch_output(submission.refs, tmp_path)
        said = [each.stdout.read_text() for each in outputs.values() if isinstance(each, JobOutput) and each.stdout]
        assert said == [f"e '{i}'|s{i}|a {i}|{i}|k{i}" for i in range(many)]

    async def test_elements_are_closed_twice_without_harm(self, spot: Spot) -> None:
        ce = spot.element()
        await ce.capacity()
        await ce.aclose()
        await ce.aclose()


class TestCosts:
    """How many executions on the submit host a verb takes, whatever the number of jobs."""

    @needs("submit-host")
    async def test_one_execution_a_verb(self, ce: Element, tmp_path: Path) -> None:
        costs = {}

        async def counted(name: str, doing: object) -> object:
            before = ce.counters.commands
            answer = await doing  # ty: ignore[invalid-await]
            costs[name] = ce.counters.commands - before
            return answer

        copies = [Copy(environment={"I": str(i)}, secrets={"t": str(i)}) for i in range(20)]
        await counted("submit", ce.submit(script("sleep 300"), copies, tag="costs"))
        refs = (await ce.find("costs")).refs
        await counted("status", ce.status(refs))
        await counted("cancel", ce.cancel(refs))
        await final(ce, refs)
        await counted("status of ended jobs", ce.status(refs))
        await counted("output", ce.fetch_output(refs, tmp_path))
        await counted("capacity", ce.capacity())
        await counted("submit again", ce.submit(script("sleep 300"), copies, tag="costs"))
        assert costs == dict.fromkeys(costs, 1)

    @needs("submit-host")
    async def test_questions_at_the_same_time_become_few(self, ce: Element) -> None:
        refs = (await ce.submit(script("sleep 300"), 5)).refs
        before = ce.counters.commands
        answers = await asyncio.gather(*(ce.status([ref]) for ref in refs * 4))
        assert ce.counters.commands - before <= 2
        assert [next(iter(answer)) for answer in answers] == refs * 4

    @needs("submit-host")
    @pytest.mark.slow
    async def test_watchers_share_their_queries(self, spot: Spot) -> None:
        async with spot.element(politeness={"min_interval": 0.4, "max_interval": 0.4}) as ce:
            submission = await ce.submit(script("sleep 1.5"), 2)
            before, began = ce.counters.commands, asyncio.get_running_loop().time()

            async def follow(ref: JobRef) -> list[JobStatus]:
                seen = []
                async with contextlib.aclosing(ce.watch([ref])) as changes:  # ty: ignore[invalid-argument-type]
                    async for news in changes:
                        assert list(news) == [ref]
                        # a change of the system's own word, or of the node, is told as well
                        seen.append(news[ref]._replace(observed=None))
                return seen

            told = await asyncio.gather(*(follow(ref) for ref in submission.refs for _ in range(3)))
            took = asyncio.get_running_loop().time() - began
            assert all(seen[-1].state is JobState.SUCCEEDED for seen in told)
            assert all(len(seen) == len(set(seen)) for seen in told)
            # one a interval, however many watch
            assert ce.counters.commands - before <= took / 0.4 + 2

    async def test_leaving_a_watch_ends_its_queries(self, spot: Spot) -> None:
        async with spot.element(politeness={"min_interval": 0.1, "max_interval": 0.1}) as ce:
            refs = (await ce.submit(script("sleep 300"), 1)).refs
            async with contextlib.aclosing(ce.watch(refs)) as changes:  # ty: ignore[invalid-argument-type]
                await anext(changes)
            before = ce.counters.commands
            await asyncio.sleep(0.5)
            assert ce.counters.commands == before

    async def test_watch_of_ended_jobs_ends_at_once(self, ce: Element) -> None:
        statuses = await run(ce, script("exit 5"), 2)
        async with asyncio.timeout(10):
            news = [each async for each in ce.watch(statuses)]
        assert [status.exit_code for each in news for status in by_copy(each)] == [5, 5]
