"""A list of an ARC CE that lacks a job which is there: so it does, now and then, while the job's state changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from intercede.answers import JobState, Outcome
from intercede.arc.documents import Answer
from intercede.arc.job import Label
from intercede.elements import arc_book, arc_orders, arc_status
from intercede.elements.arc_book import Book
from intercede.errors import CommandError
from intercede.model import JobRef

if TYPE_CHECKING:
    from intercede.arc.client import ArcClient

RESOURCE, TAG = "ce", "a-tag"


class Ce:
    """A server that gives one answer after the other, the last one for ever; of all else it says that there is none."""

    def __init__(self, lists: list[dict[str, str]], words: dict[str, str] | None = None) -> None:
        self.lists, self.words, self.asked = lists, words or {}, 0
        self.kills: list[list[str]] = []
        self.codes: list[int] = []

    async def jobs(self) -> dict[str, str]:
        self.asked += 1
        return self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]

    async def diagnose(self, ident: str, what: str) -> str:
        return self.words.get(ident, "") if what == "status" else ""

    async def kill(self, idents: list[str]) -> dict[str, Answer]:
        self.kills.append(idents)
        return {ident: Answer(ident, self.codes.pop(0), "said") for ident in idents}

    async def about(self, idents: list[str]) -> dict[str, Any]:
        return {}

    async def read(self, *_: object, **__: object) -> bytes:
        return b"{}"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arc_book, arc_orders):
        monkeypatch.setattr(module, "MOMENT", 0)


def known(*natives: str) -> Book:
    book = Book(RESOURCE)
    for copy, native in enumerate(natives):
        book.learn(native, Label(TAG, RESOURCE, "d", copy, len(natives), str(copy), 0))
        book.arrived(native)
    return book


async def state(ce: Ce) -> JobState:
    ref = JobRef(RESOURCE, TAG, 0, "j0")
    answer = await arc_status.ask(cast("ArcClient", ce), known("j0"), [ref], set())
    return answer.queue["j0"].state if "j0" in answer.queue else JobState.UNKNOWN


@pytest.mark.parametrize(
    ("lists", "words", "wanted", "asked"),
    [
        pytest.param([{"j0": "PREPARING"}], {}, JobState.QUEUED, 1, id="it-is-there"),
        pytest.param([{}], {"j0": "PENDING:PREPARING\n"}, JobState.QUEUED, 1, id="its-own-file-says-it"),
        pytest.param([{}, {"j0": "SUBMITTING"}], {}, JobState.QUEUED, 2, id="both-in-one-moment"),
        pytest.param([{}, {}, {"j0": "SUBMITTING"}], {}, JobState.QUEUED, 3, id="two-moments"),
        # and once more, for what was purged of its submission
        pytest.param([{}], {}, JobState.UNKNOWN, 4, id="there-is-none"),
    ],
)
async def test_what_a_list_lacks_is_asked_for_again(
    lists: list[dict[str, str]], words: dict[str, str], wanted: JobState, asked: int
) -> None:
    ce = Ce(lists, words)
    assert (await state(ce), ce.asked) == (wanted, asked)


async def test_a_submission_is_looked_for_until_all_of_it_is_there() -> None:
    """Or a second job would be made for a copy that has one."""
    ce = Ce([{"j0": "PREPARING"}, {"j0": "SUBMITTING"}, {"j1": "PREPARING"}])
    found = await known("j0", "j1").submission(cast("ArcClient", ce), TAG)
    assert found is not None
    assert found.natives == {0: "j0", 1: "j1"}


@pytest.mark.parametrize(
    ("lists", "wanted", "asked"),
    [
        ([{"j0": "PREPARING"}, {"j0": "PREPARING", "j1": "SUBMITTING"}], {"j0", "j1"}, 2),
        (
            [{"j0": "PREPARING"}, {"j0": "PREPARING"}, {"j0": "PREPARING"}, {"j0": "SUBMITTING", "j1": "SUBMITTING"}],
            {"j0", "j1"},
            4,
        ),
        ([{"j0": "PREPARING"}], {"j0"}, 4),
    ],
    ids=["a-moment", "a-long-one", "it-was-removed"],
)
async def test_all_submissions_are_listed(lists: list[dict[str, str]], wanted: set[str], asked: int) -> None:
    ce, book = Ce(lists, {}), known("j0", "j1")
    (found,) = await book.submissions(cast("ArcClient", ce))
    assert (set(found.natives.values()), ce.asked) == (wanted, asked)
    # what is not there any more is not looked for again
    before = ce.asked
    await book.submissions(cast("ArcClient", ce))
    assert ce.asked == before + 2


@pytest.mark.parametrize(
    ("codes", "wanted", "kills"),
    [
        pytest.param([202, 202], {Outcome.DONE}, 1, id="taken"),
        pytest.param([500, 202, 202], {Outcome.DONE}, 2, id="refused-in-a-moment"),
        pytest.param([202, 404, 202], {Outcome.DONE}, 2, id="not-there-for-a-moment"),
        pytest.param([202, 404, 404, 404], {Outcome.DONE, Outcome.NOT_NEEDED}, 3, id="not-there"),
        pytest.param([404, 202, 404, 404], {Outcome.DONE, CommandError}, 3, id="in-the-list-and-not-there"),
        pytest.param([202, 500, 500, 500], {Outcome.DONE, CommandError}, 3, id="refused"),
    ],
)
async def test_an_order_that_is_refused_is_given_again(codes: list[int], wanted: set[object], kills: int) -> None:
    ce = Ce([{"j0": "PREPARING"}])
    ce.codes = codes
    refs = [JobRef(RESOURCE, TAG, copy, f"j{copy}") for copy in range(2)]
    answers = await arc_orders.cancel(cast("ArcClient", ce), known("j0", "j1"), refs, set())
    assert {each if isinstance(each, Outcome) else type(each) for each in answers.values()} == wanted
    assert len(ce.kills) == kills
