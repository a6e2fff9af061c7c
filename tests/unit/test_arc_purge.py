"""Purging and cancelling on an ARC CE: what was purged never runs again, what may run is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from intercede.answers import JobState, Outcome
from intercede.arc.job import OUT
from intercede.elements import arc_book, arc_orders
from intercede.errors import CommandError, ConnectionLost, QueueFull, SubmissionUnknown
from tests.unit.arc_ce import JOB, SETTINGS, Ce, failing, opened

if TYPE_CHECKING:
    from intercede.model import JobRef


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arc_book, arc_orders):
        monkeypatch.setattr(module, "MOMENT", 0)


@pytest.fixture
def ce() -> Ce:
    return Ce()


async def ended(ce: Ce, copies: int = 3) -> list[JobRef]:
    refs = (await opened(ce).submit(JOB, copies, tag="t")).refs
    ce.end()
    return refs


class TestPurging:
    """What was purged never runs again."""

    async def test_a_first_job_that_came_later(self, ce: Ce) -> None:
        ce.full = 1
        one = opened(ce)
        first = await one.submit(JOB, 3, tag="t")
        assert isinstance(first.results[0], QueueFull)
        ce.end()
        assert set((await one.purge(first.refs)).values()) == {Outcome.DONE}
        for _ in range(3):
            again = await opened(ce).submit(JOB, 3, tag="t")
            assert (again.refs[1:], len(ce.ran)) == (first.refs, 3)
        ce.end()
        (info,) = await opened(ce).list()
        assert (info.complete, list(info.refs)) == (True, again.refs[:1])
        assert set((await opened(ce).purge(again.refs)).values()) <= {Outcome.DONE, Outcome.NOT_NEEDED}
        assert (await opened(ce).find("t")).refs == again.refs
        assert list(ce.jobs_) == [again.refs[0].native]

    async def test_a_first_job_that_came_later_and_was_not_told(self, ce: Ce) -> None:
        ce.full = 1
        first = await opened(ce).submit(JOB, 3, tag="t")
        ce.end()
        await opened(ce).purge(first.refs)
        ce.faults["write"] = failing(ConnectionLost("upload", "lost"))
        with pytest.raises(SubmissionUnknown):
            await opened(ce).submit(JOB, 3, tag="t")
        ce.faults.clear()
        assert (await opened(ce).submit(JOB, 3, tag="t")).refs[1:] == first.refs
        assert len(ce.ran) == 3

    async def test_two_at_once(self, ce: Ce) -> None:
        refs = await ended(ce)
        one = opened(ce)
        await asyncio.gather(one.purge(refs[1:2]), one.purge(refs[2:]))
        assert (await opened(ce).submit(JOB, 3, tag="t")).refs == refs
        assert len(ce.ran) == 3

    async def test_its_age_is_that_of_the_purge(self, ce: Ce, monkeypatch: pytest.MonkeyPatch) -> None:
        now = arc_book.time.time()
        refs = await ended(ce)

        def at(days: float) -> None:
            monkeypatch.setattr("time.time", lambda: now + days * 86400)

        at(8)
        await opened(ce).purge(refs)
        assert [info.purged for info in await opened(ce).list()] == [True]
        assert await opened(ce).sweep(timedelta(0)) == []
        assert (await opened(ce).submit(JOB, 3, tag="t")).refs == refs
        at(14.9)
        assert [info.purged for info in await opened(ce).list()] == [True]
        at(15.1)
        assert await opened(ce).list() == []
        assert ce.jobs_ == {}

    @pytest.mark.parametrize("spoilt", [b"", b"[]", b'{"at": Infinity, "copies": {}}', b"[" * 100_000,
                                        b'{"at": 1, "copies": {"0": ["j 1", "k"]}}'])  # fmt: skip
    async def test_a_record_that_the_job_has_spoilt(self, ce: Ce, spoilt: bytes) -> None:
        refs = await ended(ce)
        ce.jobs_["j1"].files["intercede.purged"] = spoilt
        (info,) = await opened(ce).list()
        assert (info.purged, list(info.refs)) == (False, refs)

    async def test_what_may_run_is_kept(self, ce: Ce) -> None:
        refs = await ended(ce)
        one = opened(ce)
        await one.status(refs)
        ce.jobs_["j2"].word = "SUSPENDING"
        for element in (one, opened(ce)):
            answers = await element.purge(refs[1:2])
            assert "SUSPENDING" in str(answers[refs[1]]) or "UNKNOWN" in str(answers[refs[1]])
            assert isinstance(answers[refs[1]], CommandError)
        assert "j2" in ce.jobs_
        assert (await opened(ce).find("t")).refs == refs

    async def test_a_removal_that_was_lost(self, ce: Ce) -> None:
        refs = await ended(ce)
        ce.faults["clean"] = failing(ConnectionLost("clean", "lost"), times=1)
        await opened(ce).purge(refs)
        assert list(ce.jobs_) == ["j1"]
        assert OUT not in ce.jobs_["j1"].files

    async def test_a_removal_that_was_refused(self, ce: Ce) -> None:
        refs = await ended(ce)
        ce.stubborn = {"j2"}
        one = opened(ce)
        answers = await one.purge(refs)
        assert [isinstance(answer, CommandError) for answer in answers.values()] == [False, True, False]
        assert (await one.status(refs))[refs[1]].state is JobState.SUCCEEDED
        ce.stubborn = set()
        assert await one.purge(refs[1:2]) == {refs[1]: Outcome.DONE}
        assert await opened(ce).purge(refs[1:]) == dict.fromkeys(refs[1:], Outcome.NOT_NEEDED)
        assert list(ce.jobs_) == ["j1"]

    async def test_what_another_process_purged_is_not_lost(self, ce: Ce) -> None:
        refs = await ended(ce)
        other = opened(ce)
        other.settings = SETTINGS.model_copy(update={"lost_after": timedelta(0)})
        await opened(ce).purge(refs)
        for _ in range(3):
            status = (await other.status(refs))[refs[2]]
            assert (status.state, status.detail) == (
                JobState.UNKNOWN,
                "its files were purged, and the system has forgotten it",
            )
        ce.asked.clear()
        await other.status(refs[2:])
        assert ce.asked == []

    async def test_what_is_remembered_is_bounded(self, ce: Ce, monkeypatch: pytest.MonkeyPatch) -> None:
        refs = await ended(ce, 30)
        one = opened(ce)
        await one.purge(refs)
        await one.list()
        book = one._book
        assert (book._labels.keys() | book._names.keys() | book._arrived.keys()) <= ce.jobs_.keys()
        monkeypatch.setattr(arc_book, "REMEMBERED", 10)
        assert len((await opened(ce).submit(JOB, 20, tag="u")).refs) == 20
        one = opened(ce)
        assert len((await one.find("u")).refs) == len((await one.submit(JOB, 20, tag="u")).refs) == 20
        assert len(ce.ran) == 50
        await one._book.read(cast("Any", ce), [])
        assert len(one._book._labels) == 10
        book = arc_book.Book("ce")
        book.forget(f"k{number}" for number in range(30))
        assert list(book._gone) == [f"k{number}" for number in range(20, 30)]


class TestCancelling:
    """A job that is there is ended, whatever can be read of it in a moment."""

    async def test_a_description_that_cannot_be_read_for_a_moment(self, ce: Ce) -> None:
        (ref,) = (await opened(ce).submit(JOB, tag="t")).refs
        text, ce.jobs_["j1"].description = ce.jobs_["j1"].description, ""
        ce.hidden = [{"j1"}]

        def back(*_: object) -> None:
            if ce.asked.count("jobs") == 2:
                ce.jobs_["j1"].description = text

        ce.asked.clear()
        ce.faults["jobs"] = back
        assert await opened(ce).cancel([ref]) == {ref: Outcome.DONE}
        assert ce.jobs_["j1"].word == "KILLING"

    async def test_one_that_stays_unread_is_an_error(self, ce: Ce) -> None:
        (ref,) = (await opened(ce).submit(JOB, tag="t")).refs
        ce.jobs_["j1"].description = ""
        answers = await opened(ce).cancel([ref])
        assert isinstance(answers[ref], CommandError)

    async def test_one_that_is_not_there_needs_none(self, ce: Ce) -> None:
        (ref,) = (await opened(ce).submit(JOB, tag="t")).refs
        ce.jobs_.clear()
        assert await opened(ce).cancel([ref]) == {ref: Outcome.NOT_NEEDED}
