"""An ARC CE in memory, as far as submitting and purging need it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from intercede.arc.documents import Answer
from intercede.arc.job import IN, OUT
from intercede.elements.arc import ArcElement
from intercede.errors import CommandError, NotFound
from intercede.model import JobDescription
from intercede.settings import Endpoint, ResourceSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

__all__ = ["JOB", "SETTINGS", "Ce", "Job", "failing", "opened"]

SETTINGS = ResourceSettings(id="ce", scheduler="arc", endpoint=Endpoint(host="ce", port=443))
JOB = JobDescription(executable="/bin/true")
_ONE = re.compile(rb"<ActivityDescription>.*?</ActivityDescription>", re.DOTALL)
_EMI = b'<ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl">'


@dataclass
class Job:
    """A job on the CE."""

    description: str
    word: str = "PREPARING"
    files: dict[str, bytes] = field(default_factory=dict)
    arrived: bool = False


class Ce:
    """A CE in memory, with the methods of `ArcClient`.

    Attributes:
        jobs_: What is there; a job starts when it has its files.
        ran: Jobs that were given their files, in order.
        full: How many further jobs are refused.
        hidden: The jobs that each of the next lists lacks.
        faults: By method: called with its arguments, to raise what goes wrong.
        stubborn: Jobs that cannot be removed.
    """

    def __init__(self) -> None:
        self.jobs_: dict[str, Job] = {}
        self.ran: list[str] = []
        self.full = 0
        self.hidden: list[set[str]] = []
        self.faults: dict[str, Callable[..., None]] = {}
        self.stubborn: set[str] = set()
        self.asked: list[str] = []
        self.made = 0

    def _heard(self, what: str, *arguments: object) -> None:
        self.asked.append(what)
        self.faults.get(what, lambda *_: None)(*arguments)

    async def version(self) -> str:
        self._heard("version")
        return "1.1"

    async def create(self, document: bytes, count: int) -> list[Answer]:
        self._heard("create", document)
        await asyncio.sleep(0)
        found = []
        for text in _ONE.findall(document):
            if self.full:
                self.full -= 1
                found.append(Answer("", 500, "too many jobs"))
                continue
            self.made += 1
            found.append(Answer(f"j{self.made}", 201))
            self.jobs_[f"j{self.made}"] = Job(text.replace(b"<ActivityDescription>", _EMI).decode())
        return found

    async def jobs(self) -> dict[str, str]:
        self._heard("jobs")
        hidden = self.hidden.pop(0) if self.hidden else set()
        return {native: job.word for native, job in self.jobs_.items() if native not in hidden}

    async def status(self, idents: Sequence[str]) -> dict[str, Answer]:
        return {ident: Answer(ident, 200, state="RUNNING") for ident in idents}

    async def about(self, idents: Sequence[str]) -> dict[str, Answer]:
        return {}

    async def resource(self) -> dict[str, Any]:
        return {}

    async def diagnose(self, ident: str, what: str) -> str:
        self._heard(what, ident)
        job = self.jobs_.get(ident)
        if job is None:
            return ""
        return {"description": job.description, "input_status": f"/{IN}\n" if job.arrived else ""}.get(what, "")

    async def read(self, ident: str, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        self._heard("read", ident, path)
        if ident not in self.jobs_ or path not in self.jobs_[ident].files:
            raise NotFound(path)
        await asyncio.sleep(0)
        return self.jobs_[ident].files[path]

    async def write(self, ident: str, path: str, data: bytes | AsyncIterator[bytes]) -> None:
        self._heard("write", ident, path)
        await asyncio.sleep(0)
        if path == IN:
            self.jobs_[ident].arrived = True
            self.jobs_[ident].word = "RUNNING"
            self.ran.append(ident)
        else:
            self.jobs_[ident].files[path] = cast("bytes", data)

    async def remove(self, ident: str, path: str) -> None:
        self._heard("remove", ident, path)
        if self.jobs_[ident].files.pop(path, None) is None:
            raise CommandError(path, "Failed to delete")

    async def kill(self, idents: Sequence[str]) -> dict[str, Answer]:
        self._heard("kill", idents)
        for ident in idents:
            if ident in self.jobs_ and self.jobs_[ident].word not in {"FINISHED", "FAILED", "KILLED"}:
                self.jobs_[ident].word = "KILLING"
        return {ident: Answer(ident, 202 if ident in self.jobs_ else 404) for ident in idents}

    async def clean(self, idents: Sequence[str]) -> dict[str, Answer]:
        self._heard("clean", idents)
        there = {ident for ident in idents if ident in self.jobs_}
        for ident in there - self.stubborn:
            del self.jobs_[ident]
        return {
            ident: Answer(ident, 505 if ident in self.stubborn else 202 if ident in there else 404) for ident in idents
        }

    def end(self, *natives: str, word: str = "FINISHED") -> None:
        for native in natives or self.jobs_:
            self.jobs_[native].word = word
            self.jobs_[native].files[OUT] = b"packed"


def opened(ce: Ce) -> ArcElement:
    """An element of another process."""
    element = ArcElement(SETTINGS)

    async def client(_: object) -> Ce:
        return ce

    element._access.client = client  # ty: ignore[invalid-assignment]
    return element


def failing(error: Exception, native: str | None = None, times: int = 1000) -> Callable[..., None]:
    """Raise an error so often, of one job or of all."""
    left = [error] * times

    def raising(*arguments: object) -> None:
        if left and native in (None, *arguments[:1]):
            raise left.pop()

    return raising
