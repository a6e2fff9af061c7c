"""Submitting to an ARC CE at most once, whatever fails on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede.elements import arc_book, arc_orders
from intercede.errors import CommandError, ConnectionLost, NotFound, SubmissionUnknown
from tests.unit.arc_ce import JOB, Ce, failing, opened

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arc_book, arc_orders):
        monkeypatch.setattr(module, "MOMENT", 0)


@pytest.fixture
def ce() -> Ce:
    return Ce()


class TestSubmitting:
    """What fails for one job is told of all of them."""

    async def test_a_refused_upload(self, ce: Ce) -> None:
        ce.faults["write"] = failing(CommandError("upload", "500"), "j7")
        with pytest.raises(SubmissionUnknown, match="1 jobs have not got their files") as caught:
            await opened(ce).submit(JOB, 100)
        assert len(caught.value.refs) == 100
        assert len(ce.ran) == 99
        ce.faults.clear()
        again = await opened(ce).submit(JOB, 100, tag=caught.value.tag)
        assert again.refs == list(caught.value.refs)
        assert sorted(ce.ran) == sorted(ce.jobs_)

    async def test_a_refused_part(self, ce: Ce) -> None:
        ce.faults["create"] = failing(CommandError("create", "500"), times=1)
        with pytest.raises(SubmissionUnknown) as caught:
            await opened(ce).submit(JOB, 100)
        assert len(caught.value.refs) == len(ce.ran) == 75
        ce.faults.clear()
        assert len((await opened(ce).submit(JOB, 100, tag=caught.value.tag)).refs) == len(ce.ran) == 100

    async def test_an_input_that_is_gone_by_then(self, ce: Ce, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.write_text("x")

        def removed(native: str, _: str) -> None:
            if native == "j5":
                data.unlink()

        ce.faults["write"] = removed
        with pytest.raises(SubmissionUnknown, match="No such file") as caught:
            await opened(ce).submit(JOB.model_copy(update={"inputs": {"data": data}}), 30)
        assert len(caught.value.refs) == 30
        assert 0 < len(ce.ran) < 30

    async def test_a_server_that_is_no_ce(self, ce: Ce) -> None:
        ce.faults["version"] = failing(NotFound("versions", "404"))
        with pytest.raises(NotFound):
            await opened(ce).submit(JOB, 2)


class TestDuplicates:
    """Of two jobs of one copy, the one runs that has its files: ADR 0009."""

    async def two(self, ce: Ce) -> None:
        """The job of a lost answer appears when another was made."""
        ce.faults["write"] = failing(ConnectionLost("upload", "lost"))
        with pytest.raises(SubmissionUnknown):
            await opened(ce).submit(JOB, tag="t")
        ce.faults.clear()
        ce.hidden = [{"j1"}] * 3
        second = await opened(ce).submit(JOB, tag="t")
        assert [ref.native for ref in second.refs] == ce.ran == ["j2"]

    @pytest.mark.parametrize("word", ["KILLING", "FINISHING", "EXECUTED", "FAILED", "KILLED"])
    async def test_one_that_is_being_ended(self, ce: Ce, word: str) -> None:
        await self.two(ce)
        third = await opened(ce).submit(JOB, tag="t")
        assert ce.jobs_["j1"].word == "KILLING"
        ce.jobs_["j1"].word = word
        fourth = await opened(ce).submit(JOB, tag="t")
        assert [ref.native for ref in (*third.refs, *fourth.refs)] == ["j2", "j2"]
        assert ce.jobs_["j2"].word == "RUNNING"
        await opened(ce).abandon("t")
        assert list(ce.jobs_) == ["j2"]

    async def test_one_that_is_missing_in_its_moment(self, ce: Ce) -> None:
        await self.two(ce)
        ce.hidden = [{"j2"}]
        assert [ref.native for ref in (await opened(ce).submit(JOB, tag="t")).refs] == ["j2"]
        assert ce.ran == ["j2"]

    async def test_one_that_was_ended_and_one_that_waits(self, ce: Ce) -> None:
        await self.two(ce)
        ce.jobs_["j1"].word, ce.jobs_["j2"].word, ce.jobs_["j2"].arrived = "KILLED", "PREPARING", False
        assert [ref.native for ref in (await opened(ce).submit(JOB, tag="t")).refs] == ["j2"]
