"""Many resources as one: a reference finds its own resource, and one that fails does not stop the others."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from intercede.answers import JobState, JobStatus
from intercede.errors import (
    CommandError,
    ConfigurationError,
    CredentialError,
    IntercedeError,
    ParseError,
    TransportError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from intercede.answers import JobOutput, Outcome
    from intercede.model import JobRef

__all__ = ["ElementGroup"]

_PASSING = (TransportError, CommandError, CredentialError, ParseError)
_log = logging.getLogger("intercede.group")


class ElementGroup:
    """The elements of many resources behind the operations that take references.

    Elements are opened when they are first needed, and closed with the group.

    Args:
        opener: Gives the element of a resource; it does no input or output.
        names: The resources to list when the group is iterated over.
        only: Whether there are no others than these.
        route: Gives the resource of a reference. Default: the one that the reference names.
        retry: Seconds after which a watch asks a resource again that had failed.
    """

    def __init__(
        self,
        opener: Callable[[str], Any],
        names: Iterable[str] = (),
        *,
        only: bool = False,
        route: Callable[[JobRef], str] | None = None,
        retry: float = 60,
    ) -> None:
        self._opener = opener
        self._names = tuple(dict.fromkeys(names))
        self._only = only
        self._route = route or (lambda ref: ref.resource)
        self._retry = retry
        self._elements: dict[str, Any] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._errors: dict[str, IntercedeError] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Any:
        """Give the element of one resource.

        Raises:
            ConfigurationError: There is no such resource, or its settings are wrong.
        """
        if name not in self._elements:
            if self._only and name not in self._names:
                chosen = ", ".join(self._names)
                raise ConfigurationError(f"resource {name!r}", f"it is not among the chosen ones ({chosen})")
            self._elements[name] = self._opener(name)
        return self._elements[name]

    @property
    def errors(self) -> dict[str, IntercedeError]:
        """The resources whose last operation failed as a whole, and how."""
        return dict(self._errors)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all elements; idempotent. Jobs go on."""
        watchers, self._watchers = self._watchers, set()
        await _end(watchers)
        elements, self._elements = self._elements, {}
        closed = await asyncio.gather(*(each.aclose() for each in elements.values()), return_exceptions=True)
        for failure in closed:
            if isinstance(failure, BaseException):
                raise failure

    async def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
        """Give the status of every job asked for, in the order asked.

        The jobs of a resource that does not answer are `UNKNOWN`, with the reason in `detail` and in `errors`.
        """
        return await self._each("status", refs, _unknown)

    async def fetch_output(
        self, refs: Iterable[JobRef], into: Path | str, *, flat: bool = False
    ) -> dict[JobRef, JobOutput | IntercedeError]:
        """Bring output back into `into/<submission>/<copy>/` (`flat`: `into/<copy>/`); an error is that job's value."""
        return await self._each("fetch_output", refs, _itself, into, flat=flat)

    async def cancel(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Order the jobs' end; an error is that job's value."""
        return await self._each("cancel", refs, _itself)

    async def release(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Let held jobs be scheduled; an error is that job's value."""
        return await self._each("release", refs, _itself)

    async def purge(self, refs: Iterable[JobRef]) -> dict[JobRef, Outcome | IntercedeError]:
        """Remove the files of ended jobs; an error is that job's value."""
        return await self._each("purge", refs, _itself)

    async def watch(self, refs: Iterable[JobRef]) -> AsyncIterator[dict[JobRef, JobStatus]]:
        """Give what changes on any of the resources, until all jobs are final.

        The jobs of a resource that does not answer turn `UNKNOWN`, once, and it is asked again later, for as long as
        the watch lasts. Those of a resource that there is not stay so. What changes while the caller is busy is
        merged: the newest status of a job is what comes.
        """
        changed = asyncio.Event()
        pending: dict[JobRef, JobStatus] = {}

        def put(changes: dict[JobRef, JobStatus]) -> None:
            pending.update(changes)
            changed.set()

        tasks = {asyncio.create_task(self._watch_one(*each, put)) for each in self._by_resource(refs).items()}
        for task in tasks:
            task.add_done_callback(lambda _: changed.set())
        self._watchers |= tasks
        try:
            while True:
                ended = all(task.done() for task in tasks)
                for task in tasks:
                    if task.done():
                        task.result()
                news = dict(pending)
                pending.clear()
                changed.clear()
                if news:
                    yield news
                elif ended:
                    return
                else:
                    await changed.wait()
        finally:
            self._watchers -= tasks
            await _end(tasks)

    async def _watch_one(
        self, resource: str, refs: list[JobRef], put: Callable[[dict[JobRef, JobStatus]], None]
    ) -> None:
        left = dict.fromkeys(refs)
        told = False
        while left:
            try:
                async with aclosing(self[resource].watch(list(left))) as watching:
                    async for changes in watching:
                        self._errors.pop(resource, None)
                        told = False
                        for ref, status in changes.items():
                            if status.state.is_final:
                                left.pop(ref, None)
                        put(changes)
                return
            except IntercedeError as error:
                self._failed(resource, error)
                if not told:
                    put({ref: _unknown(ref, error) for ref in left})
                told = True
                if not isinstance(error, _PASSING):
                    return
            await asyncio.sleep(self._retry)

    async def _each(
        self,
        verb: str,
        refs: Iterable[JobRef],
        instead: Callable[[JobRef, IntercedeError], Any],
        *args: Any,
        **options: Any,
    ) -> dict[JobRef, Any]:
        wanted = list(dict.fromkeys(refs))

        async def one(resource: str, own: list[JobRef]) -> dict[JobRef, Any]:
            try:
                operation = getattr(self[resource], verb, None)
                if operation is None:
                    raise UnsupportedError(verb, f"{resource} has no such operation")
                answers = await operation(own, *args, **options)
            except IntercedeError as error:
                self._failed(resource, error)
                return {ref: instead(ref, error) for ref in own}
            self._errors.pop(resource, None)
            return answers

        parts = await asyncio.gather(*(one(*each) for each in self._by_resource(wanted).items()))
        merged = {ref: answer for part in parts for ref, answer in part.items()}
        return {ref: merged[ref] for ref in wanted}

    def _by_resource(self, refs: Iterable[JobRef]) -> dict[str, list[JobRef]]:
        sorted_refs: dict[str, list[JobRef]] = {}
        for ref in dict.fromkeys(refs):
            sorted_refs.setdefault(self._route(ref), []).append(ref)
        return sorted_refs

    def _failed(self, resource: str, error: IntercedeError) -> None:
        if str(self._errors.get(resource, "")) != str(error):
            _log.warning("%s: %s", resource, error)
        self._errors[resource] = error


def _unknown(ref: JobRef, error: IntercedeError) -> JobStatus:
    return JobStatus(ref, JobState.UNKNOWN, detail=str(error), observed=datetime.now(UTC).replace(microsecond=0))


def _itself(_ref: JobRef, error: IntercedeError) -> IntercedeError:
    return error


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
