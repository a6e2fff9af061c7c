"""One answer of the sources, read for many jobs: those that are alike share the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercede.answers import JobStatus
from intercede.elements.verdict import Memory, Sighting, alive, is_alive, judge

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from intercede.model import JobRef
    from intercede.settings import ResourceSettings
    from intercede.workarea.operations import StatusAnswer
    from intercede.workarea.scheduler import Observation

__all__ = ["Reading"]

_NEW = tuple.__new__  # as a named tuple makes itself, without the call in between


class Reading:
    """What one answer says of jobs.

    Args:
        answer: What the sources said.
        sources: The names of queue and history.
        settings: Of the resource.
        now: When it was said.
    """

    def __init__(
        self, answer: StatusAnswer, sources: tuple[str, str], settings: ResourceSettings, now: datetime
    ) -> None:
        self._answer = answer
        self._sources = sources
        self._settings = settings
        self._now = now
        # Statuses without the reference. Of jobs that wait or run, by what the queue says and what was known (None: it
        # does neither, or is another's); of others that the element sees for the first time, by what all sources say.
        self._living: dict[object, tuple | None] = {}
        self._judged: dict[object, tuple] = {}

    def statuses(self, refs: Iterable[JobRef], memories: dict[JobRef, Memory]) -> dict[JobRef, JobStatus]:
        """Say where jobs are, in the order asked, and remember it."""
        queue, living, found = self._answer.queue, self._living, {}
        for ref in refs:
            memory = memories.get(ref)
            if memory is None:
                memory = memories[ref] = Memory()
            before, queued, rest = memory.status, queue.get(ref.native), None
            if queued is not None:
                known = None if before is None else (before.attempt, before.state.is_final)
                key = (id(queued), ref.submission, known)
                rest = living[key] if key in living else living.setdefault(key, self._alive(ref, queued, memory))
            if rest is None:
                status = self._judge(ref, queued, memory)
            else:
                if known is not None:
                    memory.seen()
                status = _NEW(JobStatus, (ref, *rest))
            memory.status = found[ref] = status
        return found

    def _alive(self, ref: JobRef, queued: Observation, memory: Memory) -> tuple | None:
        return alive(ref, queued, self._sources[0], self._now, memory)[1:] if is_alive(queued, ref) else None

    def _judge(self, ref: JobRef, queued: Observation | None, memory: Memory) -> JobStatus:
        answer, job = self._answer, (ref.submission, ref.copy_index)
        if queued is None:
            # squeue shows an array of which no task ever started by its own number, even with -r (seen on 24.11)
            queued = answer.queue.get(ref.native.rpartition("_")[0])
        past, record = answer.history.get(ref.native), answer.records.get(job)
        cancelled, purged = job in answer.cancelled, job in answer.purged
        first = memory.status is None
        key = (ref.submission, id(queued), id(past), id(record), cancelled, purged)
        if first and (rest := self._judged.get(key)) is not None:
            return _NEW(JobStatus, (ref, *rest))
        told = (answer.history_answers, answer.complaint, self._sources)
        status = judge(ref, Sighting(queued, past, record, cancelled, purged, *told, self._now), memory, self._settings)
        if first and status.state.is_final and answer.history_answers:
            self._judged[key] = status[1:]
        return status
