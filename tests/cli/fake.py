"""An element that lives in memory: what the command line and the facades need of one, and faults on demand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from intercede.answers import (
    Capacity,
    Counters,
    JobOutput,
    JobState,
    JobStatus,
    LogChunk,
    Outcome,
    QueueInfo,
    Reason,
    Submission,
    SubmissionInfo,
)
from intercede.model import Copy, JobDescription, JobRef

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from intercede.errors import IntercedeError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Site:
    """What is on a fake resource, and outlives the elements that are opened on it."""

    def __init__(self) -> None:
        self.jobs: dict[JobRef, JobStatus] = {}
        self.descriptions: dict[str, JobDescription] = {}
        self.fail: dict[str, Exception] = {}
        self.exit_codes: dict[int, int] = {}
        self.copy_errors: dict[int, IntercedeError] = {}
        self.calls: list[str] = []
        self.stdout = b"hello\n"
        self.stderr = b""
        self.closed = 0
        self.pause = 0.0
        self.inside = self.most_inside = 0
        self.ends = True

    def end(self, ref: JobRef) -> JobStatus:
        code = self.exit_codes.get(ref.copy_index, 0)
        status = self.jobs[ref]._replace(
            state=JobState.FAILED if code else JobState.SUCCEEDED,
            reason=Reason.EXIT_CODE if code else None,
            exit_code=code,
            node="node7",
            started=NOW,
            ended=NOW + timedelta(seconds=100),
        )
        if self.jobs[ref].state in {JobState.QUEUED, JobState.RUNNING}:
            self.jobs[ref] = status
        return self.jobs[ref]


class FakeElement:
    def __init__(self, site: Site, resource: str = "local") -> None:
        self.site = site
        self.id = resource
        self.counters = Counters()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self.site.closed += 1

    async def _called(self, name: str) -> None:
        self.site.calls.append(name)
        self.site.inside += 1
        self.site.most_inside = max(self.site.most_inside, self.site.inside)
        try:
            await asyncio.sleep(self.site.pause)
        finally:
            self.site.inside -= 1
        if name in self.site.fail:
            raise self.site.fail[name]

    async def submit(
        self, description: JobDescription, copies: int | Iterable[Copy] = 1, *, tag: str | None = None
    ) -> Submission:
        await self._called("submit")
        tag = tag or "made"
        number = copies if isinstance(copies, int) else len(list(copies))
        self.site.descriptions[tag] = description
        results: list[Any] = []
        for i in range(number):
            ref = JobRef(resource=self.id, submission=tag, copy_index=i, native=str(100 + i))
            self.site.jobs.setdefault(ref, JobStatus(ref, JobState.QUEUED, source="fake", observed=NOW, submitted=NOW))
            results.append(self.site.copy_errors.get(i, ref))
        return Submission(tag, tuple(str(i) for i in range(number)), tuple(results))

    async def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        await self._called("status")
        return {ref: self.site.jobs.get(ref, JobStatus(ref, JobState.UNKNOWN, source="fake")) for ref in refs}

    async def watch(self, refs: Iterable[JobRef]) -> AsyncIterator[dict[JobRef, JobStatus]]:
        await self._called("watch")
        refs = list(refs)
        yield {ref: self.site.jobs[ref] for ref in refs}
        while not self.site.ends:
            await asyncio.sleep(0.01)
            if all(self.site.jobs[ref].state.is_final for ref in refs):
                break
        changes = {ref: self.site.end(ref) for ref in refs}
        if changes:
            yield changes

    async def fetch_output(self, refs: Iterable[JobRef], into: Path | str, *, flat: bool = False) -> dict[JobRef, Any]:
        await self._called("fetch_output")
        outputs = {}
        for ref in refs:
            directory = Path(into) / ("" if flat else ref.submission) / str(ref.copy_index)
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "stdout").write_bytes(self.site.stdout)
            outputs[ref] = self.site.copy_errors.get(ref.copy_index) or JobOutput(
                ref, directory, directory / "stdout", missing=("x*",) if ref.copy_index == 3 else ()
            )
        return outputs

    async def read_log(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> LogChunk:
        await self._called("read_log")
        content = self.site.stderr if name == "stderr" else self.site.stdout
        offset = max(0, len(content) + offset) if offset < 0 else offset
        data = content[offset : offset + 4]
        return LogChunk(data, offset, offset + len(data), ended=offset + len(data) >= len(content))

    async def follow(self, ref: JobRef, name: str = "stdout", offset: int = 0) -> AsyncIterator[LogChunk]:
        while True:
            chunk = await self.read_log(ref, name, offset)
            yield chunk
            offset = chunk.next_offset
            if chunk.ended:
                return

    async def cancel(self, refs: Iterable[JobRef]) -> dict[JobRef, Any]:
        await self._called("cancel")
        answers: dict[JobRef, Any] = {}
        for ref in refs:
            answers[ref] = Outcome.NOT_NEEDED if self.site.jobs[ref].state.is_final else Outcome.DONE
            if answers[ref] is Outcome.DONE:
                self.site.jobs[ref] = self.site.jobs[ref]._replace(state=JobState.CANCELLED)
        return answers

    async def release(self, refs: Iterable[JobRef]) -> dict[JobRef, Any]:
        await self._called("release")
        return dict.fromkeys(refs, Outcome.NOT_NEEDED)

    async def purge(self, refs: Iterable[JobRef]) -> dict[JobRef, Any]:
        await self._called("purge")
        return {ref: self.site.copy_errors.get(ref.copy_index, Outcome.DONE) for ref in refs}

    async def capacity(self) -> Capacity:
        await self._called("capacity")
        return Capacity((QueueInfo("long", is_default=True, max_walltime=timedelta(days=2), waiting=3, running=1),))

    async def find(self, tag: str) -> Submission:
        await self._called("find")
        refs = tuple(ref for ref in self.site.jobs if ref.submission == tag)
        results = tuple(self.site.copy_errors.get(ref.copy_index, ref) for ref in refs)
        return Submission(tag, tuple(str(ref.copy_index) for ref in refs), results)

    async def abandon(self, tag: str) -> Submission:
        await self._called("abandon")
        return await self.find(tag)

    async def list(self, since: datetime | None = None) -> Sequence[SubmissionInfo]:
        await self._called("list")
        tags = dict.fromkeys(ref.submission for ref in self.site.jobs)
        return [SubmissionInfo(tag, NOW, len((await self.find(tag)).refs), ()) for tag in tags]

    async def sweep(self, older_than: timedelta) -> Sequence[str]:
        await self._called("sweep")
        return list(dict.fromkeys(ref.submission for ref in self.site.jobs))
