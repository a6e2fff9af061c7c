"""References that somebody forged, and links that somebody put in the place of our directories.

Nothing outside the work area is read, written or removed, whatever a reference says; and no job but the one that was
submitted under it is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState
from intercede.errors import ConfigurationError, IntercedeError, InvalidReference, NotFound
from intercede.model import JobRef
from intercede.testing.contract.files import contents
from intercede.testing.contract.select import needs
from intercede.testing.contract.steps import final, reached, run, script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["TestForged", "TestGone", "TestReplaced"]

PRECIOUS = b"precious"


def everything(ce: Element, ref: JobRef, into: Path) -> dict[str, object]:
    """All that can be asked for a reference, each to be awaited."""
    return {
        "status": ce.status([ref]),
        "fetch_output": ce.fetch_output([ref], into),
        "read_log": ce.read_log(ref),
        "read_log of a file": ce.read_log(ref, "stolen"),
        "renew": ce.renew([ref], {"s": "x"}),
        "cancel": ce.cancel([ref]),
        "release": ce.release([ref]),
        "purge": ce.purge([ref]),
    }


async def everything_done(ce: Element, ref: JobRef, into: Path) -> dict[str, object]:
    """What came of all that."""
    answers: dict[str, object] = {}
    for name, doing in everything(ce, ref, into).items():
        try:
            answers[name] = await doing  # ty: ignore[invalid-await]
        except IntercedeError as error:
            answers[name] = error
    return answers


@contextlib.asynccontextmanager
async def untouched(spot: Spot, into: Path) -> AsyncGenerator[str]:
    """A tree outside the work area that looks like one of ours; it must stay the same, and no byte of it come."""
    tree = f"{spot.home}/outside"
    make = (
        'mkdir -p "$1/c/0/work" "$1/secrets/0" "$1/chunk" "$1/log"; '
        "for f in stdout stderr c/0/stdout c/0/stderr c/0/work/stolen secrets/0/s stolen meta digest job outputs; "
        'do echo precious >"$1/$f"; done; echo "1 1" >"$1/size"; echo 1 >"$1/chunk/0"; '
        'echo "output stolen" >"$1/outputs"; '
        'echo \'{"outputs": ["stolen"]}\' >"$1/meta"; echo v1 1 1 2 42 - - - n - 1 >"$1/c/0/record"'
    )
    await spot.shell(make, tree)
    look = 'cd "$1" && find . -type f -exec cksum {} + | sort; find . | sort; stat -c "%n %Y" . c secrets chunk'
    before = await spot.shell(look, tree)
    yield tree
    assert await spot.shell(look, tree) == before
    assert [name for name, content in contents(into).items() if PRECIOUS in content] == []


class TestForged:
    """References that were cut, changed, or made for another resource."""

    @pytest.mark.parametrize("text", [
        "", "ic1", "ic1:", "ic1:x:y", "ic1:{r}:../../etc:0:{n}", "ic1:{r}:..:0:{n}", "ic1:{r}:a/b:0:{n}",
        "ic1:{r}:{t}:-1:{n}", "ic1:{r}:{t}:../0:{n}", "ic1:{r}:{t}:0:", "ic1:{r}:{t}:0:-rf", "ic1:{r}:{t}:0:a b",
        "ic1:{r}:{t}:00:{n}", "ic1:{r}:{t}:0:*", "ic2:{r}:{t}:0:{n}", "ic1:{r}:{t}:0:{n};reboot",
        "ic1:{r}:{t}:0:$(reboot)", "ic1:{r}:.gone:0:{n}", "ic1:{r}:{t}:1e3:{n}", "xx:{r}:{t}:0:{n}",
        "ic1:{r}:{t}:0:{n}\n{n}", "ic1:{r}:-n:0:{n}", "ic1:{r}:{t}:99999999:{n}", "ic1:{r}:{t}:0:" + "9" * 300,
    ])  # fmt: skip
    def test_that_read_as_none(self, text: str) -> None:
        with pytest.raises(InvalidReference) as caught:
            JobRef.parse(text.format(r="local", t="tag", n="1_0"))
        assert len(str(caught.value)) < 600

    async def test_of_another_resource(self, ce: Element, tmp_path: Path) -> None:
        (ref,) = (await ce.submit(script(":"))).refs
        other = ref._replace(resource="another")
        before = ce.counters.commands
        for name, answer in (await everything_done(ce, other, tmp_path)).items():
            assert isinstance(answer, InvalidReference), name
            assert "another" in str(answer)
        assert ce.counters.commands == before

    @pytest.mark.parametrize("change", ["cut", "another number", "another copy", "nonsense"])
    async def test_changed_native_identifier(self, spot: Spot, ce: Element, tmp_path: Path, change: str) -> None:
        mine = (await ce.submit(script("sleep 300"), 2, tag="mine")).refs
        other = (await ce.submit(script("sleep 300"), 2, tag="other")).refs
        for ref in (mine[0], other[0]):
            await reached(ce, ref, JobState.RUNNING)
        native = {
            "cut": mine[0].native[:-1],
            "another number": other[0].native,
            "another copy": mine[1].native,
            "nonsense": "x",
        }[change]
        forged = mine[0]._replace(native=native)
        async with spot.element() as fresh:
            answers = await everything_done(fresh, forged, tmp_path)
        assert answers.keys() == everything_keys()
        # the other submission's jobs, whose number was put in, go on, and so do the other copies
        states = await ce.status([*other, mine[1]])
        assert {status.state for status in states.values()} <= {JobState.RUNNING, JobState.QUEUED}

    async def test_of_a_submission_that_is_not_there(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        (ref,) = await run(ce, script(":"))
        async with untouched(spot, tmp_path):
            for tag in ("never-was", "outside"):
                answers = await everything_done(ce, ref._replace(submission=tag), tmp_path)
                assert isinstance(answers["read_log"], NotFound)
                assert isinstance(next(iter(answers["fetch_output"].values())), NotFound)  # ty: ignore[missing-attribute]
                (status,) = answers["status"].values()  # ty: ignore[missing-attribute]
                assert not status.state.is_final

    async def test_of_a_copy_that_is_not_there(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        (ref,) = await run(ce, script("echo out", outputs=("*",)))
        # the index is the last number in it, wherever the system counts from
        native = re.sub(r"\d+(?=\D*\Z)", lambda found: str(int(found[0]) + 7), ref.native)
        beyond = ref._replace(copy_index=7, native=native)
        async with untouched(spot, tmp_path):
            answers = await everything_done(ce, beyond, tmp_path)
        assert isinstance(answers["read_log"], NotFound)
        # what is there of the real one is there still
        assert (await ce.read_log(ref)).data == b"out\n"
        assert (await ce.find(ref.submission)).refs == [ref]


def everything_keys() -> set[str]:
    """The names of all that can be asked."""
    return {"status", "fetch_output", "read_log", "read_log of a file", "renew", "cancel", "release", "purge"}


@needs("submit-host")
class TestReplaced:
    """Links in the place of a submission's directories."""

    @pytest.mark.parametrize("what", [
        "{t}", "{t}/c", "{t}/c/0", "{t}/c/0/work", "{t}/secrets", "{t}/secrets/0", "{t}/chunk", "{t}/c/0/stdout",
        "{t}/c/0/record", "{t}/outputs", "{t}/meta", "{t}/size", "{t}/log", "{t}/digest",
    ])  # fmt: skip
    async def test_of_an_ended_job(self, spot: Spot, ce: Element, tmp_path: Path, what: str) -> None:
        (ref,) = await run(ce, script("echo out; echo mine >stolen", outputs=("stolen",)), tag="swapped")
        victim = what.format(t="swapped")
        async with untouched(spot, tmp_path) as tree:
            target = tree + victim.removeprefix("swapped")
            await spot.shell(
                'cd "$1" && mkdir -p "$(dirname "$2")" && rm -rf "$2" && ln -s "$3" "$2"', spot.store, victim, target
            )
            async with asyncio.timeout(60), spot.element() as fresh:
                await everything_done(fresh, ref, tmp_path)
                for doing in (fresh.find("swapped"), fresh.abandon("swapped"), fresh.list(), fresh.capacity()):
                    with contextlib.suppress(IntercedeError):
                        await doing
                with contextlib.suppress(IntercedeError):
                    await fresh.submit(script("echo precious too"), tag="swapped")

    async def test_tombstone(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        (ref,) = await run(ce, script("echo out"), tag="swapped")
        await ce.purge([ref])
        async with untouched(spot, tmp_path) as tree, spot.element() as fresh:
            await spot.shell('cd "$1/.gone" && rm -rf swapped && ln -s "$2" swapped', spot.store, tree)
            await everything_done(fresh, ref, tmp_path)
            for doing in (fresh.find("swapped"), fresh.list()):
                with contextlib.suppress(IntercedeError):
                    await doing

    async def test_submission_before_it_is_sent(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        await run(ce, script(":"))
        async with untouched(spot, tmp_path) as tree:
            await spot.shell('ln -s "$2" "$1/planted"', spot.store, tree)
            with pytest.raises(IntercedeError):
                await ce.submit(script("echo ran", secrets={"s": "x"}), tag="planted")

    @pytest.mark.parametrize("name", [".new", ".gone"])
    async def test_our_own_corners(self, spot: Spot, ce: Element, tmp_path: Path, name: str) -> None:
        (ref,) = await run(ce, script("echo out"), tag="corner")
        async with untouched(spot, tmp_path) as tree, spot.element() as fresh:
            await spot.shell('cd "$1" && rm -rf "$3" && ln -s "$2" "$3"', spot.store, tree, name)
            await everything_done(fresh, ref, tmp_path)
            with contextlib.suppress(IntercedeError):
                await fresh.submit(script(":"), tag="another")
            with contextlib.suppress(IntercedeError):
                await fresh.list()
            await spot.shell('cd "$1" && rm -f "$2" && mkdir "$2"', spot.store, name)


@needs("submit-host")
class TestGone:
    """A work area that somebody removed."""

    async def test_while_the_job_runs(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        # it ends by itself: without its files nothing but its scheduler can end it
        text = ': >"$1/ready"; while [ ! -e "$1/end" ]; do sleep 0.1; done'
        (ref,) = (await ce.submit(script(text, spot.home), tag="gone")).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        await spot.shell('rm -rf "$1"', spot.area)
        async with spot.element() as fresh:
            status = (await fresh.status([ref]))[ref]
            known = spot.place.has("supervised") is False
            assert status.state is (JobState.RUNNING if known else JobState.UNKNOWN)
            (output,) = (await fresh.fetch_output([ref], tmp_path)).values()
            assert isinstance(output, NotFound)
            with pytest.raises(NotFound):
                await fresh.read_log(ref)
            with contextlib.suppress(NotFound):
                await fresh.cancel([ref])
            if known:
                # our own mark is gone as well
                wanted = JobState.CANCELLED if spot.place.has("orders") else JobState.FAILED
                assert (await final(fresh, [ref]))[ref].state is wanted
        await spot.shell(": >end")

    async def test_of_a_newer_release(self, spot: Spot, ce: Element) -> None:
        (ref,) = await run(ce, script(":"))
        await spot.shell('echo 2 >"$1/.layout"', spot.store)
        for doing in (ce.status([ref]), ce.submit(script(":")), ce.list(), ce.find(ref.submission), ce.purge([ref])):
            with pytest.raises(ConfigurationError, match="newer"):
                await doing
        await spot.shell('echo 1 >"$1/.layout"', spot.store)
