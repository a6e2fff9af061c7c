import asyncio
import subprocess
import sys
from contextlib import aclosing

import pytest

import intercede
from intercede import registry
from intercede.answers import JobState, Outcome
from intercede.elements.batch import BatchElement
from intercede.elements.group import ElementGroup
from intercede.errors import ConfigurationError, ConnectFailed, IntercedeError, UnsupportedError
from intercede.model import JobDescription, JobRef
from intercede.urls import BUILT_IN
from tests.cli.fake import FakeElement, Site

TABLES = {
    "resources": {"a": {"url": "slurm:"}, "b": {"url": "ssh+slurm://alice@b.example.org:2222"}, "bad": {"urll": "x"}}
}
HELLO = JobDescription(executable="hello")


def test_an_element_is_made_of_its_scheduler_and_its_transport():
    element = registry.open_element("b", config=TABLES)
    assert isinstance(element, BatchElement)
    assert (element.id, type(element.scheduler).__name__, type(element.transport).__name__) == (
        "b", "Slurm", "SSHTransport",
    )  # fmt: skip
    element = registry.open_element()
    assert isinstance(element, BatchElement)
    assert (element.id, type(element.scheduler).__name__, type(element.transport).__name__) == (
        "local", "Process", "LocalTransport",
    )  # fmt: skip


def test_settings_with_an_unknown_scheduler_are_refused():
    settings = registry.open_element("a", config=TABLES).settings.model_copy(update={"scheduler": "slrum"})
    with pytest.raises(ConfigurationError, match="Did you mean 'slurm'"):
        registry.open_element(settings)


async def test_many_resources_are_opened_by_name_or_url():
    async with intercede.open_elements(TABLES) as sites:
        assert list(sites) == ["a", "b", "bad", *BUILT_IN]
        assert sites["a"].id == "a"
        assert sites["a"] is sites["a"]
        assert sites["ssh+slurm://other.example.org"].id == "ssh+slurm://other.example.org"
        with pytest.raises(ConfigurationError, match="urll"):
            sites["bad"]


async def test_chosen_resources_are_the_only_ones():
    async with intercede.open_elements(TABLES, names=["a"]) as sites:
        assert list(sites) == ["a"]
        with pytest.raises(ConfigurationError, match="not among"):
            sites["b"]
    with pytest.raises(ConfigurationError, match="aa"):
        intercede.open_elements(TABLES, names=["aa"])


@pytest.fixture
def sites():
    return {"a": Site(), "b": Site()}


@pytest.fixture
async def group(sites):
    def opener(name):
        if name not in sites:
            raise ConfigurationError(f"resource {name!r}", "no such")
        return FakeElement(sites[name], name)

    async with ElementGroup(opener, sites, retry=0.01) as group:
        yield group


async def submit(group, name, copies=2):
    return (await group[name].submit(HELLO, copies, tag=f"t-{name}")).refs


async def test_the_third_program_runs_as_it_is_written(group, sites, tmp_path):
    unfinished = [*await submit(group, "a"), *await submit(group, "b")]
    seen = []
    async with group as these:
        async for changes in these.watch(unfinished):
            seen += [(ref, status.state) for ref, status in changes.items()]
            ended = [ref for ref, status in changes.items() if status.state.is_final]
            await these.fetch_output(ended, into=tmp_path)
            await these.purge(ended)
    assert {ref for ref, state in seen if state is JobState.SUCCEEDED} == set(unfinished)
    assert (tmp_path / "t-a" / "1" / "stdout").read_bytes() == b"hello\n"
    assert [site.closed for site in sites.values()] == [1, 1]


async def test_answers_come_in_the_order_asked(group):
    a, b = await submit(group, "a"), await submit(group, "b")
    asked = [b[1], a[0], b[0], a[1], b[1]]
    assert list(await group.status(asked)) == asked[:4]
    assert await group.cancel(asked) == dict.fromkeys(asked, Outcome.DONE)
    assert await group.release(asked) == dict.fromkeys(asked, Outcome.NOT_NEEDED)
    assert await group.status([]) == {}


async def test_a_resource_that_fails_does_not_stop_the_others(group, sites, tmp_path):
    a, b = await submit(group, "a"), await submit(group, "b")
    lost = JobRef(resource="gone", submission="t", copy_index=0, native="1")
    sites["b"].fail = dict.fromkeys(("status", "purge", "fetch_output"), ConnectFailed("b", "no route"))
    statuses = await group.status([*a, *b, lost])
    assert [statuses[ref].state for ref in a] == [JobState.QUEUED] * 2
    assert [statuses[ref].state for ref in [*b, lost]] == [JobState.UNKNOWN] * 3
    assert statuses[b[0]].detail == "b: no route"
    assert set(group.errors) == {"b", "gone"}
    answers = await group.purge([*a, *b, lost])
    assert answers[a[0]] is Outcome.DONE
    assert isinstance(answers[b[0]], ConnectFailed)
    assert isinstance(answers[lost], ConfigurationError)
    assert isinstance((await group.fetch_output([b[0]], tmp_path))[b[0]], ConnectFailed)
    sites["b"].fail = {}
    await group.status(b)
    assert set(group.errors) == {"gone"}


class Outage(dict):
    """What fails so many times, and then no more."""

    def __init__(self, name: str, error: Exception, times: int) -> None:
        super().__init__({name: error})
        self.left = times

    def __getitem__(self, name):
        error = super().__getitem__(name)
        self.left -= 1
        if not self.left:
            self.clear()
        return error


async def test_a_watch_outlives_an_outage(group, sites, caplog):
    a, b = await submit(group, "a", 1), await submit(group, "b", 1)
    lost = JobRef(resource="gone", submission="t", copy_index=0, native="1")
    sites["b"].fail = Outage("watch", ConnectFailed("b", "no route"), 3)
    states: dict[JobRef, list[JobState]] = {a[0]: [], b[0]: [], lost: []}
    async for changes in group.watch([*a, *b, lost]):
        for ref, status in changes.items():
            states[ref].append(status.state)
    assert states[a[0]][-1] is JobState.SUCCEEDED
    assert states[b[0]] == [JobState.UNKNOWN, JobState.SUCCEEDED], "said once, however often it was tried"
    assert states[lost] == [JobState.UNKNOWN]
    assert sites["b"].calls.count("watch") == 4
    assert len([each for each in caplog.records if "no route" in each.message]) == 1


async def test_what_changes_while_the_caller_is_busy_is_merged(group):
    refs = await submit(group, "a", 3)
    seen = []
    async for changes in group.watch(refs):
        await asyncio.sleep(0.05)
        seen.append(changes)
    assert [seen[-1][ref].state for ref in refs] == [JobState.SUCCEEDED] * 3


async def test_a_watch_that_is_left_leaves_nothing_behind(group, sites):
    refs = await submit(group, "a")
    sites["a"].ends = False
    async with aclosing(group.watch(refs)) as watching:
        await anext(watching)
    waiting = asyncio.create_task(anext(group.watch(refs)))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    forgotten = group.watch(refs)
    await anext(forgotten)
    await group.aclose()
    assert [task for task in asyncio.all_tasks() if "_watch_one" in repr(task)] == []
    await forgotten.aclose()


async def test_an_error_that_is_none_of_ours_is_not_hidden(group, sites):
    refs = await submit(group, "a")
    sites["a"].fail = {"watch": ZeroDivisionError(), "status": ZeroDivisionError()}
    with pytest.raises(ZeroDivisionError):
        await group.status(refs)
    with pytest.raises(ZeroDivisionError):
        async for _ in group.watch(refs):
            pass


async def test_a_capability_that_is_absent_is_an_error_of_those_jobs():
    class Watcher:
        async def aclose(self):
            pass

    ref = JobRef(resource="a", submission="t", copy_index=0, native="1")
    async with ElementGroup(lambda _: Watcher()) as group:
        answers = await group.purge([ref])
        assert isinstance(answers[ref], UnsupportedError)
        assert isinstance(answers[ref], IntercedeError)


async def test_a_route_tells_apart_what_has_the_same_name(sites):
    routes = {}
    async with ElementGroup(lambda name: FakeElement(sites[name], "same"), route=lambda ref: routes[ref]) as group:
        for name in sites:
            for ref in await submit(group, name, 1):
                routes[ref] = name
        sites["a"].jobs = {ref: job._replace(state=JobState.HELD) for ref, job in sites["a"].jobs.items()}
        assert {status.state for status in (await group.status(routes)).values()} == {JobState.HELD, JobState.QUEUED}


def test_importing_the_package_costs_next_to_nothing():
    code = "import sys, intercede; print([m for m in ('pydantic', 'asyncio', 'asyncssh', 'typer') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
