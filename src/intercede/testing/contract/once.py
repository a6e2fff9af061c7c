"""At most once: the same tag never queues twice, whoever dies, and whoever else is at it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Outcome, Submission
from intercede.errors import (
    ConfigurationError,
    ConnectFailed,
    IntercedeError,
    NotFound,
    SubmissionUnknown,
    TagConflict,
)
from intercede.model import Copy, JobDescription, JobRef
from intercede.testing.contract.select import needs
from intercede.testing.contract.steps import elsewhere, final, script
from intercede.testing.faults import Cutting

if TYPE_CHECKING:
    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["TestOnce", "TestTags"]

COUNT = 'echo "$INTERCEDE_COPY" >>"$1/runs"'


async def ran(spot: Spot) -> list[int]:
    """Which copies ran, one entry for each time."""
    return sorted(int(line) for line in await spot.lines("runs"))


async def finished(spot: Spot, refs: list[JobRef], copies: int) -> None:
    """Wait until all copies ended, and until nothing more can come; each must have run once."""
    assert len(refs) == copies
    async with spot.element() as ce:
        statuses = await final(ce, refs)
    assert [each for each in statuses.values() if each.state is not JobState.SUCCEEDED] == []
    await asyncio.sleep(0.3)
    assert await ran(spot) == list(range(copies))


async def settled(spot: Spot, description: JobDescription, copies: int, tag: str) -> None:
    """Submit again under the same tag: all copies run once. Or nobody can say: then, given up, none ever runs."""
    async with spot.element(limits={"submit_time": 8}) as ce:
        for _ in range(2):
            with contextlib.suppress(SubmissionUnknown):
                submission = await ce.submit(description, copies, tag=tag)
                assert (await ce.find(tag)).refs == submission.refs
                await finished(spot, submission.refs, copies)
                return
        given_up = await ce.abandon(tag)
        assert given_up.refs == []
        assert len(given_up.errors) == copies
    await asyncio.sleep(1)
    assert await ran(spot) == []


class TestTags:
    """What a tag is, and what becomes of it."""

    async def test_again_gives_the_same_jobs(self, spot: Spot, ce: Element) -> None:
        description = script(COUNT, spot.home)
        copies = [Copy(key="a", secrets={"s": "first"}), Copy(key="b")]
        first = await ce.submit(description, copies, tag="again")
        second = await ce.submit(description, copies, tag="again")
        # secrets are no part of what is compared: a pilot's token is minted anew for each call
        third = await ce.submit(description, [Copy(key="a", secrets={"s": "other"}), Copy(key="b")], tag="again")
        assert first == second == third
        await finished(spot, first.refs, 2)
        assert (await ce.submit(description, copies, tag="again")) == first
        assert await ran(spot) == [0, 1]

    async def test_other_content_is_a_conflict(self, spot: Spot, ce: Element) -> None:
        description, copy = script(COUNT, spot.home), Copy(arguments=("x",))
        first = await ce.submit(description, [copy], tag="conflict")
        for other, copies in (
            (description, [Copy(arguments=("y",))]),
            (description, [Copy(arguments=("x",), environment={"A": "b"})]),
            (description, [Copy(arguments=("x",), key="k")]),
            (description, [copy, copy]),
            (script(COUNT + "; :", spot.home), [copy]),
        ):
            with pytest.raises(TagConflict, match="conflict"):
                await ce.submit(other, copies, tag="conflict")
        await finished(spot, first.refs, 1)

    async def test_none_makes_one(self, ce: Element) -> None:
        first, second = [await ce.submit(script(":")) for _ in range(2)]
        assert first.tag != second.tag
        assert (await ce.find(first.tag)).refs == first.refs

    async def test_unknown_tag(self, ce: Element) -> None:
        with pytest.raises(NotFound):
            await ce.find("never-was")
        with pytest.raises(NotFound):
            await ce.abandon("never-was")
        await ce.submit(script(":"), tag="but-this-was")
        with pytest.raises(NotFound):
            await ce.find("never-was")

    async def test_bad_tag(self, spot: Spot, ce: Element) -> None:
        for tag in ("", "a/b", "../x", ".hidden", "-n", "a b", "a\n", "ü", "x" * 65, "a:b", "$x", "a*"):
            for doing in (ce.submit(script(":"), tag=tag), ce.find(tag), ce.abandon(tag)):
                with pytest.raises(ConfigurationError, match="tag"):
                    await doing
        assert ce.counters.commands == 0
        assert await spot.left() == []

    async def test_tombstone(self, spot: Spot, ce: Element) -> None:
        description = script(COUNT, spot.home)
        first = await ce.submit(description, 2, tag="stone")
        await finished(spot, first.refs, 2)
        assert set((await ce.purge(first.refs)).values()) == {Outcome.DONE}
        async with spot.element() as other:
            again = await other.submit(description, 2, tag="stone")
            assert again.refs == first.refs
            assert (await other.find("stone")).refs == first.refs
            with pytest.raises(TagConflict):
                await other.submit(description, 3, tag="stone")
        await asyncio.sleep(0.3)
        assert await ran(spot) == [0, 1]

    async def test_abandon_of_what_is_known_changes_nothing(self, spot: Spot, ce: Element) -> None:
        first = await ce.submit(script(COUNT, spot.home), 2, tag="known")
        assert await ce.abandon("known") == await ce.find("known")
        await finished(spot, first.refs, 2)

    @needs("submit-host")
    async def test_unrecorded_is_found_by_the_scheduler(self, spot: Spot, ce: Element) -> None:
        submission = await ce.submit(script(COUNT, spot.home), 2, tag="unrecorded")
        await final(ce, submission.refs)
        await spot.shell('rm "$1/unrecorded/chunk/0"', spot.store)
        async with spot.element() as other:
            assert await other.find("unrecorded") == submission
        await finished(spot, submission.refs, 2)

    @needs("submit-host")
    async def test_same_tag_in_another_work_area_is_another(self, spot: Spot, ce: Element) -> None:
        """As it is there when a submission died between its beginning and the scheduler."""
        submission = await ce.submit(script(COUNT, spot.home), 2, tag="elsewhere")
        await final(ce, submission.refs)
        other_area = f"{spot.home}/other"
        other_store = spot.store.replace(spot.area, other_area)
        began = 'mkdir -p "$2" && cp -R "$1/." "$2/" && cd "$2/elsewhere" && rm -f chunk/0 process && ls chunk'
        assert await spot.shell(began, spot.store, other_store) == b"0.began\n"
        async with spot.element(work_area=other_area) as other:
            assert (await other.find("elsewhere")).refs == []
            assert (await other.abandon("elsewhere")).refs == []


class TestOnce:
    """Races, and deaths on the way."""

    @needs("races")
    async def test_many_at_the_same_time(self, spot: Spot) -> None:
        description = script(COUNT, spot.home)
        async with contextlib.AsyncExitStack() as stack:
            elements = [await stack.enter_async_context(spot.element()) for _ in range(8)]
            told = await asyncio.gather(
                *(each.submit(description, 3, tag="race") for each in elements), return_exceptions=True
            )
            submissions = [each for each in told if isinstance(each, Submission)]
            assert [each for each in told if not isinstance(each, Submission)] == []
            assert {tuple(each.refs) for each in submissions} == {tuple(submissions[0].refs)}
        await finished(spot, submissions[0].refs, 3)

    @pytest.mark.parametrize("instant", [0.0, 0.02, 0.05, 0.1])
    @pytest.mark.slow
    async def test_killed_at_any_instant(self, spot: Spot, instant: float) -> None:
        description = script(COUNT, spot.home)
        process = await elsewhere(
            spot, "submit", wait=False, description=description.model_dump(mode="json"),
            copies=[{}] * 3, tag="killed",
        )  # fmt: skip
        process.stdin.write(b"go\n")
        await process.stdin.drain()
        await asyncio.sleep(instant)
        with contextlib.suppress(ProcessLookupError):  # it may have come to its end
            process.kill()
        await process.wait()
        await settled(spot, description, 3, "killed")

    @pytest.mark.parametrize("instant", [0.0, 0.01, 0.02, 0.04, 0.08])
    @pytest.mark.slow
    async def test_cancelled_at_any_instant(self, spot: Spot, ce: Element, instant: float) -> None:
        description = script(COUNT, spot.home, secrets={"s": "x" * 200_000})
        await ce.capacity()  # so that the instant falls into the submission, not into a handshake
        sending = asyncio.create_task(ce.submit(description, 3, tag="dropped"))
        await asyncio.sleep(instant)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, IntercedeError):
            await sending
        await settled(spot, description, 3, "dropped")

    @needs("submit-host")
    async def test_answer_lost(self, spot: Spot, ce: Element) -> None:
        description = script(COUNT, spot.home)
        async with spot.element(wrap=lambda transport: Cutting(transport, after=frozenset({1}))) as cut:
            with pytest.raises(SubmissionUnknown) as caught:
                await cut.submit(description, 3, tag="lost")
            assert caught.value.tag == "lost"
            found = await cut.find("lost")
        assert (await ce.submit(description, 3, tag="lost")).refs == found.refs
        await finished(spot, found.refs, 3)

    @needs("submit-host")
    async def test_never_sent(self, spot: Spot, ce: Element) -> None:
        description = script(COUNT, spot.home)
        async with spot.element(wrap=lambda transport: Cutting(transport, before=frozenset({1}))) as cut:
            with pytest.raises(ConnectFailed):
                await cut.submit(description, 3, tag="unsent")
        with pytest.raises(NotFound):
            await ce.find("unsent")
        await finished(spot, (await ce.submit(description, 3, tag="unsent")).refs, 3)
