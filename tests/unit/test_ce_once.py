"""What is sent anew under a tag at a remote schedd, and what not; the schedd is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from intercede.elements.htcondor_ce_book import Book
from intercede.elements.htcondor_ce_submitting import abandon, begin, submit
from intercede.errors import ConnectionLost, SubmissionUnknown
from intercede.htcondor_ce.description import ANEW, LABEL
from intercede.htcondor_ce.jobs import UNSENT
from intercede.htcondor_ce.protocol import Act, History, Query, Submit, Submitted
from intercede.model import JobDescription
from intercede.settings import ResourceSettings

if TYPE_CHECKING:
    from intercede.answers import Submission
    from intercede.htcondor_ce.protocol import Ad

SETTINGS = ResourceSettings.model_validate(
    {"id": "ce", "scheduler": "htcondor-ce", "endpoint": {"host": "ce", "port": 9619}}
)
JOB = JobDescription(executable="/bin/true")
COPIES = 3
BY_USER = " (by user alice)"
WAITS = {"JobStatus": 5, "HoldReasonCode": 16}


class Schedd:
    """One cluster, of which some jobs have left the queue.

    Attributes:
        queue: What there is of jobs, by copy.
        past: The same, of the history.
        leaving: Copies that leave the queue as soon as they are removed.
        failure: What comes in place of the answer to an order, which is carried out.
    """

    def __init__(self, *jobs: dict[str, Any], gone: tuple[int, ...] = (), leaving: tuple[int, ...] = ()) -> None:
        self.queue = {copy: job for copy, job in enumerate(jobs) if copy not in gone}
        self.past = {copy: jobs[copy] for copy in gone}
        self.leaving = leaving
        self.failure: Exception | None = None
        self.sent: list[Submit] = []
        self.endpoint = SETTINGS.endpoint
        self.order = begin(JOB, COPIES, "t", SETTINGS)

    async def me(self) -> str:
        return "alice@test"

    async def ask(self, request: Any, *_: object) -> Any:
        if isinstance(request, Query):
            return [self._ad(*each) for each in (self.past if isinstance(request, History) else self.queue).items()]
        if isinstance(request, Submit):
            self.sent.append(request)
            return Submitted(8, COPIES, "")
        assert isinstance(request, Act)
        removed = {"JobStatus": 3, "RemoveReason": request.reason + BY_USER}
        done = {copy: removed for copy, job in self.queue.items() if job["JobStatus"] == 5}
        self.past |= {copy: done.pop(copy) for copy in self.leaving if copy in done}
        self.queue = {copy: job for copy, job in (self.queue | done).items() if copy not in self.past}
        if self.failure is not None:
            raise self.failure
        # what the worker was told when it asked once more
        return 0

    def _ad(self, copy: int, said: dict[str, Any]) -> Ad:
        label = self.order.label
        ad: Ad = dict.fromkeys((*LABEL, "JobStatus", "HoldReasonCode", "RemoveReason"))
        ad |= {"ClusterId": 7, "ProcId": copy, "StageInStart": 1, "QDate": 1, "ServerTime": 1000}
        ad |= {"IntercedeTag": label.tag, "IntercedeResource": label.resource, "IntercedeDigest": label.digest}
        return (
            ad | {"IntercedeCopies": COPIES, "IntercedeSubmitted": 1, "IntercedeKey": "", "IntercedeOutputs": ""} | said
        )


def removed(why: str) -> dict[str, Any]:
    return {"JobStatus": 3, "RemoveReason": why}


async def again(schedd: Schedd) -> Submission:
    access = cast("Any", schedd)
    return await submit(access, Book("ce", access), schedd.order, SETTINGS)


@pytest.mark.parametrize("why", [UNSENT, ANEW + BY_USER])
@pytest.mark.parametrize("gone", [(), (1,), (0, 1, 2)])
async def test_removed_before_their_files_came_they_are_sent_anew_while_they_leave(
    why: str, gone: tuple[int, ...]
) -> None:
    schedd = Schedd(*[removed(why)] * COPIES, gone=gone)
    assert [ref.native for ref in (await again(schedd)).refs] == ["8.0", "8.1", "8.2"]
    assert len(schedd.sent) == 1


@pytest.mark.parametrize("leaving", [(), (1,), (0, 1, 2)])
async def test_what_waits_for_its_files_is_removed_whatever_count_is_told(leaving: tuple[int, ...]) -> None:
    schedd = Schedd(*[WAITS] * COPIES, leaving=leaving)
    assert [ref.native for ref in (await again(schedd)).refs] == ["8.0", "8.1", "8.2"]
    assert len(schedd.sent) == 1


async def test_one_that_may_have_run_keeps_all() -> None:
    for other in ({"JobStatus": 2}, {"JobStatus": 4}, removed("via condor_rm" + BY_USER)):
        schedd = Schedd(removed(UNSENT), other, WAITS)
        assert [ref.native for ref in (await again(schedd)).refs] == ["7.0", "7.1", "7.2"]
        assert (schedd.sent, schedd.queue[2]) == ([], WAITS)
    # of one nothing is known any more
    schedd = Schedd(removed(UNSENT), removed(UNSENT))
    assert len((await again(schedd)).errors) == 1
    assert schedd.sent == []


async def test_an_answer_that_is_lost_while_they_are_removed() -> None:
    schedd = Schedd(*[WAITS] * COPIES)
    schedd.failure = ConnectionLost("Act", "lost")
    with pytest.raises(SubmissionUnknown, match="not known") as caught:
        await again(schedd)
    assert (caught.value.tag, schedd.sent) == ("t", [])
    schedd.failure = None
    assert [ref.native for ref in (await again(schedd)).refs] == ["8.0", "8.1", "8.2"]


@pytest.mark.parametrize("leaving", [(), (0,), (0, 1, 2)])
async def test_what_is_given_up_has_no_reference(leaving: tuple[int, ...]) -> None:
    for jobs, left in (((WAITS, WAITS, WAITS), []), ((WAITS, {"JobStatus": 2}, WAITS), ["7.1"])):
        schedd = Schedd(*jobs, leaving=leaving)
        access = cast("Any", schedd)
        book = Book("ce", access)
        known = await book.settled("t")
        assert known is not None
        done = await abandon(access, book, known)
        assert [ref.native for ref in done.refs] == left
        assert all(isinstance(error, SubmissionUnknown) for error in done.errors.values())
        assert [ref.native for ref in (await again(schedd)).refs] == left
        assert schedd.sent == []
