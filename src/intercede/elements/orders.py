"""Orders to jobs: cancel, release, purge, renew; one execution for any number."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Protocol, TypeVar

from intercede.answers import JobState, JobStatus, Outcome
from intercede.elements.sandbox import Sandbox
from intercede.errors import CommandError, ConfigurationError, IntercedeError, NotFound, StorageError
from intercede.workarea.operations import Area
from intercede.workarea.scheduler import ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from intercede.model import JobRef
    from intercede.settings import ResourceSettings
    from intercede.steps import Steps
    from intercede.workarea.scheduler import Scheduler

__all__ = ["Orders", "Run", "check_names"]

T = TypeVar("T")
Answers = dict["JobRef", "Outcome | IntercedeError"]
_SLICE = 100  # submissions in one execution: each costs commands, one after the other, and all have one time limit


class Run(Protocol):
    """Drives steps on the element's transport."""

    async def __call__(self, steps: Callable[[Area], Steps[T]], *, retry: bool = True) -> T:
        """Drive them; `retry` if a lost answer may be asked for again."""
        ...


class Orders:
    """What is ordered for jobs that exist.

    Args:
        settings: Bounds.
        scheduler: Whose jobs they are.
        run: What drives the steps.
    """

    def __init__(self, settings: ResourceSettings, scheduler: Scheduler, run: Run) -> None:
        self._limits = settings.limits
        self._scheduler = scheduler
        self._run = run

    async def cancel(self, refs: Iterable[JobRef], ended: set[JobRef]) -> Answers:
        """Cancel jobs; those that are known to have ended need it no more."""
        refs = list(refs)
        wanted = [ref for ref in refs if ref not in ended]
        lines = {}
        for (tag, first), group in self._parts(wanted).items():
            copies = ranges(ref.copy_index for ref in group)
            lines[tag, str(first)] = " ".join([tag, str(first), copies, *self._scheduler.order_words(group)])
        answers = await self._order("cancel", lines, wanted)
        return {ref: answers.get(ref, Outcome.NOT_NEEDED) for ref in refs}

    async def release(self, refs: Iterable[JobRef]) -> Answers:
        """Release held jobs."""
        wanted = list(refs)
        lines = {
            (tag, str(first)): " ".join([tag, str(first), *self._scheduler.order_words(group)])
            for (tag, first), group in self._parts(wanted).items()
        }
        return await self._order("release", lines, wanted)

    async def purge(self, statuses: Mapping[JobRef, JobStatus]) -> Answers:
        """Remove the files of jobs that have ended or are unknown."""
        answers: Answers = {}
        tags: dict[str, list[JobRef]] = {}
        for ref, status in statuses.items():
            if status.state.is_final or (status.state is JobState.UNKNOWN and not self._is_shown(status)):
                tags.setdefault(ref.submission, []).append(ref)
            else:
                said = f"it is {status.state}" + (f" ({status.detail})" if status.detail else "")
                answers[ref] = CommandError(f"purge of {ref}", said, "Cancel it, or wait for its end.")
        if tags:
            lines = [f"{tag} {ranges(ref.copy_index for ref in group)}" for tag, group in tags.items()]
            said = await self._run(lambda area: area.order("purge", lines, self._limits.command_time))
            for tag, group in tags.items():
                verdict, text = said.get((tag,), ("nothing", ""))
                for ref in group:
                    answers[ref] = _purged(ref, verdict, text)
        return {ref: answers[ref] for ref in statuses}

    async def purge_rest(self, tag: str) -> bool:
        """Remove what is kept of copies that were never queued, and then cannot be; gives whether nothing is left."""
        said = await self._run(lambda area: area.order("purge", [f"{tag} rest"], self._limits.command_time))
        return said.get((tag,), ("", ""))[0] in {"0", "gone"}

    async def renew(self, refs: Iterable[JobRef], secrets: Mapping[str, bytes | str]) -> Answers:
        """Replace secrets by name."""
        files = []
        wanted = list(refs)
        check_names(secrets)
        for name, secret in secrets.items():
            data = secret.encode() if isinstance(secret, str) else secret
            files += [(f"{ref.submission}/{ref.copy_index}/{name}", data) for ref in wanted]
        if not files:
            return dict.fromkeys(wanted, Outcome.NOT_NEEDED)
        sandbox = Sandbox({}, files, [])
        done = await self._run(lambda area: area.renew(sandbox, self._limits.command_time))
        return {ref: _renewed(ref, done.get((ref.submission, ref.copy_index))) for ref in wanted}

    def _is_shown(self, status: JobStatus) -> bool:
        """Whether the queue shows a job without our knowing what that means: it may well run."""
        queue, history = self._scheduler.sources
        # where there is no history, what is missing has the queue as its source as well
        told = bool(history) or (bool(status.native_state) and status.reason is None)
        return status.source == queue and told

    def _parts(self, refs: Iterable[JobRef]) -> dict[tuple[str, int], list[JobRef]]:
        def part(ref: JobRef) -> tuple[str, int]:
            return ref.submission, self._scheduler.first_of(ref)

        return {key: list(group) for key, group in groupby(sorted(refs, key=part), part)}

    async def _order(self, name: str, lines: Mapping[tuple[str, str], str], refs: list[JobRef]) -> Answers:
        said: dict[tuple[str, ...], tuple[str, str]] = {}
        every = list(lines.values())
        for start in range(0, len(every), _SLICE):
            some = every[start : start + _SLICE]
            said |= await self._run(partial(Area.order, name=name, lines=some, seconds=self._limits.command_time))
        answers: Answers = {}
        for ref in refs:
            verdict, text = said.get((ref.submission, str(self._scheduler.first_of(ref))), ("", "no answer"))
            if verdict in {"0", "gone"}:
                answers[ref] = Outcome.DONE if verdict == "0" else Outcome.NOT_NEEDED
            else:
                answers[ref] = CommandError(name, text, returncode=int(verdict) if verdict.isdigit() else None)
        return answers


def check_names(secrets: Iterable[str]) -> None:
    """Refuse names of secrets that are no names of files.

    Raises:
        ConfigurationError: One is none.
    """
    for name in secrets:
        if name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise ConfigurationError(f"secrets.{name}", f"{name!r} is not a plain file name")


def _renewed(ref: JobRef, seen: bool | None) -> Outcome | IntercedeError:
    if seen is False:
        said = "it is not known to wait: where it has started, its node keeps the files that it started with"
        return CommandError(f"renew of {ref}", said, "Give the job secrets that last as long as it does.")
    return Outcome.NOT_NEEDED if seen is None else Outcome.DONE


def _purged(ref: JobRef, verdict: str, text: str) -> Outcome | IntercedeError:
    if verdict == "0":
        return Outcome.DONE
    if verdict == "gone":
        return Outcome.NOT_NEEDED
    if verdict == "nothing":
        return NotFound(f"purge of {ref}", "the resource keeps nothing of it")
    return StorageError(f"purge of {ref}", text)
