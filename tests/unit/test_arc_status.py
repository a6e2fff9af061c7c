"""What a status of jobs on an ARC CE says where its sources disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from intercede.answers import JobState, JobStatus, Reason
from intercede.arc.documents import Answer
from intercede.arc.job import Label
from intercede.elements.arc import ArcElement
from intercede.errors import NotFound
from intercede.model import JobRef
from intercede.settings import Endpoint, ResourceSettings

if TYPE_CHECKING:
    from intercede.arc.client import ArcClient

SETTINGS = ResourceSettings(id="arc://ce", scheduler="arc", endpoint=Endpoint(host="ce", port=443))
REF = JobRef(SETTINGS.id, "t", 0, "j")
ENDED_WELL = b"v1 1 1000 1010 0 - - 1 node -\n"


class Ce:
    """A server with one job."""

    def __init__(self, state: str, *, detail: str = "", record: bytes = b"", failed: str = "", diag: str = "") -> None:
        self.state, self.detail, self.record = state, detail, record
        self.files = {"failed": failed, "diag": diag}
        self.removed: list[str] = []

    async def jobs(self) -> dict[str, str]:
        return {"j": self.state}

    async def status(self, idents: list[str]) -> dict[str, Answer]:
        return {"j": Answer("j", 200 if self.detail else 404, "", self.detail)}

    async def resource(self) -> dict[str, Any]:
        return {"ComputingService": {"ComputingManager": {"ProductName": "condor"}}}

    async def diagnose(self, _: str, what: str) -> str:
        return self.files.get(what, "")

    async def read(self, _: str, path: str, **__: Any) -> bytes:
        if path.endswith("/record") and self.record:
            return self.record
        raise NotFound(path)

    async def remove(self, _: str, path: str) -> None:
        self.removed.append(path)


class Element(ArcElement):
    """An element that asks that server."""

    ce: Ce

    async def _do(self, scopes: frozenset[str], work: Any, *, retry: bool = True) -> Any:
        client: ArcClient = self.ce  # ty: ignore[invalid-assignment]
        return await work(client)


@pytest.fixture
def element() -> Element:
    made = Element(SETTINGS)
    made._book.learn("j", Label("t", SETTINGS.id, "d", 0, 1, "0", 0))
    made._book.arrived("j")
    return made


async def status(element: Element, ce: Ce) -> JobStatus:
    element.ce = ce
    return (await element.status([REF]))[REF]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["", "QUEUING", "RUNNING"], "QUEUED QUEUED RUNNING"),
        (["ACCEPTED", "SUBMITTING", "EXECUTED"], "QUEUED QUEUED RUNNING"),
        (["FINISHED"], "RUNNING"),
        (["FAILED"], "RUNNING"),
        (["RUNNING", "", "SUBMITTING", "EXECUTED"], "RUNNING RUNNING RUNNING RUNNING"),
        (["OTHER", "", "RUNNING", "HELD", ""], "HELD HELD RUNNING SUSPENDED SUSPENDED"),
        # the batch system has taken it back
        (["RUNNING", "QUEUING", ""], "RUNNING QUEUED QUEUED"),
    ],
)
async def test_a_state_is_not_taken_back(element: Element, words: list[str], wanted: str) -> None:
    seen = [(await status(element, Ce("RUNNING", detail=word))).state.name for word in words]
    assert " ".join(seen) == wanted


@pytest.mark.parametrize(
    ("failed", "record", "reason", "code"),
    [
        ("Failed in data staging: http://se/out: refused\n", ENDED_WELL, Reason.STAGING, 0),
        ("LRMS error: (271) Job timeout", ENDED_WELL, Reason.WALLTIME, 0),
        ("", ENDED_WELL, None, 0),
        ("LRMS error: (3) Job failed", ENDED_WELL.replace(b" 0 ", b" 3 "), Reason.EXIT_CODE, 3),
        ("LRMS error: (3) Job failed", ENDED_WELL.replace(b"0 - -", b"0 - walltime"), Reason.WALLTIME, 0),
        ("LRMS error: (271) job killed: vmem", ENDED_WELL.replace(b"0 - -", b"- 15 terminated"), Reason.MEMORY, None),
        ("LRMS error: (271) job killed: vmem", ENDED_WELL.replace(b"0 - -", b"- 11 -"), Reason.SIGNAL, None),
    ],
)
async def test_why_a_job_failed_whose_payload_ended(
    element: Element, failed: str, record: bytes, reason: Reason | None, code: int
) -> None:
    found = await status(element, Ce("FAILED", failed=failed, record=record))
    assert (found.state, found.reason, found.exit_code) == (JobState.FAILED, reason, code)
    assert reason is not Reason.STAGING or found.detail == failed.strip()


@pytest.mark.parametrize(("state", "failed"), [("KILLED", ""), ("FAILED", "Job is canceled by external request.")])
@pytest.mark.parametrize(("record", "removed"), [(b"", ["intercede.in.tar"]), (ENDED_WELL, [])])
async def test_what_was_sent_to_a_job_that_never_ran_is_removed(
    element: Element, state: str, failed: str, record: bytes, removed: list[str]
) -> None:
    ce = Ce(state, failed=failed, record=record)
    assert (await status(element, ce)).state is JobState.CANCELLED
    assert ce.removed == removed
