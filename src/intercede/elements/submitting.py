"""Submitting, and finding submissions again."""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import TYPE_CHECKING

from intercede.answers import Submission, SubmissionInfo
from intercede.elements.sandbox import InputLost, Sandbox, collect_inputs, secret_files
from intercede.errors import (
    CommandError,
    ConfigurationError,
    ConnectionLost,
    IntercedeError,
    LimitExceeded,
    NotFound,
    ParseError,
    QueueFull,
    StorageError,
    SubmissionUnknown,
    TagConflict,
    UnsupportedError,
)
from intercede.model import Copy, JobRef, check_tag
from intercede.workarea import jobfile
from intercede.workarea.programs import runner_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from intercede.elements.orders import Run
    from intercede.model import JobDescription
    from intercede.settings import ResourceSettings
    from intercede.workarea.operations import Chunk, Known, SubmitAnswer
    from intercede.workarea.scheduler import Scheduler

__all__ = ["SLOWEST", "Submitting", "copies_of", "new_tag"]


SLOWEST = 1_000_000  # bytes a second that a transfer is given time for


def check_container(description: JobDescription, settings: ResourceSettings) -> None:
    """Refuse an image where nothing is configured that runs jobs in one.

    Raises:
        UnsupportedError: The description asks for one.
    """
    if description.container is not None and not settings.container_launcher and not settings.container_universe:
        advice = 'Configure container_launcher, such as ["apptainer", "exec", "{image}"].'
        raise UnsupportedError("container", f"{settings.id} has no container launcher", advice)


def new_tag() -> str:
    """A tag that nobody else has: the time, for people, and chance."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


class Submitting:
    """Submits, at most once a tag and part.

    Args:
        settings: What the site needs said.
        scheduler: Its command language.
        run: What drives the steps.
    """

    def __init__(self, settings: ResourceSettings, scheduler: Scheduler, run: Run) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._run = run

    async def submit(self, description: JobDescription, copies: int | Iterable[Copy], tag: str | None) -> Submission:
        """Submit; see `BatchElement.submit`."""
        each = copies_of(copies)
        fresh, tag = tag is None, new_tag() if tag is None else check_tag(tag)
        check_container(description, self._settings)
        words = self._scheduler.words(description, self._settings)
        inherited = {name: os.environ[name] for name in description.inherit if name in os.environ}
        digest = jobfile.digest(self._settings.id, description, each, inherited)
        texts = self._texts(description, each, tag, digest, inherited)
        sandbox = Sandbox(
            texts, list(secret_files(description, each)), collect_inputs(description), ("runner", "supervisor")
        )
        for _ in range(3):
            try:
                answer = await self._send(tag, digest, len(each), words, sandbox)
            except InputLost as error:
                # where parts of that tag are there already, the others may have been queued without a look at the files
                if fresh:
                    raise
                raise SubmissionUnknown(tag, str(error)) from error
            fresh = False
            if answer.verdict == "conflict":
                said = "it was used here for another description, other copies, or by another resource"
                raise TagConflict(f"tag {tag}", said, "Choose another tag; nothing was queued.")
            # somebody's submission of the same tag was refused and taken away while we waited for it: our turn
            if answer.verdict == "gone" or not any(chunk.fate == "never" for chunk in answer.chunks):
                break
        else:
            raise StorageError(f"submit {tag}", "the work area could not be written", "Free space there.")
        keys = tuple(copy.key if copy.key is not None else str(i) for i, copy in enumerate(each))
        return self._results(tag, keys, answer.chunks)

    async def find(self, tag: str, *, abandon: bool = False) -> Submission:
        """Find; see `BatchElement.find`."""
        check_tag(tag)
        seconds = self._settings.limits.command_time
        known = await self._run(lambda area: area.find(tag, seconds, abandon=abandon))
        if known.resource != self._settings.id:
            said = f"it belongs to {known.resource}, this is {self._settings.id}"
            raise NotFound(f"submission {tag}", said, "Open that resource.")
        keys = jobfile.read_keys(known.keys, known.copies)
        return Submission(tag, keys, tuple(self._of(tag, known.chunks, known.copies)))

    async def listing(self, since: datetime | None) -> list[SubmissionInfo]:
        """List; see `BatchElement.list`."""
        seconds = self._settings.limits.command_time
        found = await self._run(lambda area: area.listing(self._settings.tombstone.days, seconds))
        infos = [self._info(each) for each in found if each.resource == self._settings.id]
        return sorted((info for info in infos if since is None or info.submitted >= since), key=lambda i: i.submitted)

    def _info(self, known: Known) -> SubmissionInfo:
        results = self._of(known.tag, known.chunks, known.copies)
        gone = set(known.purged_copies)
        refs = tuple(each for each in results if isinstance(each, JobRef) and each.copy_index not in gone)
        complete = not any(chunk.fate == "unknown" for chunk in known.chunks)
        return SubmissionInfo(known.tag, known.submitted, known.copies, refs, known.purged, complete)

    def _texts(
        self, description: JobDescription, copies: Sequence[Copy], tag: str, digest: str, inherited: dict[str, str]
    ) -> dict[str, bytes]:
        meta = {
            "v": 1,
            "resource": self._settings.id,
            "submitted": int(time.time()),
            "outputs": list(description.outputs),
        }
        texts = {
            "digest": digest.encode() + b"\n",
            "meta": json.dumps(meta).encode() + b"\n",
            "runner": runner_text(self._scheduler.job_shell),
            "job": jobfile.job_text(description, self._settings, tag, inherited),
            "outputs": jobfile.outputs_text(description),
            "copies": jobfile.copies_text(copies),
            "keys": jobfile.keys_text(copies),
            "requeue": b"1\n" if description.requeue else b"",
            **self._scheduler.files(),
        }
        if description.resources.walltime:
            texts["walltime"] = b"%d\n" % int(description.resources.walltime.total_seconds())
        return {name: text for name, text in texts.items() if text}

    async def _send(self, tag: str, digest: str, copies: int, words: Sequence[str], sandbox: Sandbox) -> SubmitAnswer:
        seconds = self._settings.limits.submit_time + sandbox.size / SLOWEST
        try:
            return await self._run(lambda area: area.submit(tag, digest, copies, words, sandbox, seconds), retry=False)
        except (ConnectionLost, ParseError, LimitExceeded) as error:
            raise SubmissionUnknown(tag, f"the answer was lost: {error}") from error
        except CommandError as error:
            # no shell to run it, or no place to write to; one that was killed may have been so after it had submitted
            if isinstance(error, StorageError) or error.returncode in {126, 127}:
                raise
            raise SubmissionUnknown(tag, str(error)) from error

    def _results(self, tag: str, keys: tuple[str, ...], chunks: Sequence[Chunk]) -> Submission:
        """One result a copy; raises where nothing got in."""
        results = self._of(tag, chunks, len(keys))
        refs = [each for each in results if isinstance(each, JobRef)]
        errors = [each for each in results if isinstance(each, IntercedeError)]
        unknown = next((each for each in errors if isinstance(each, SubmissionUnknown)), None)
        if unknown is not None and not any(chunk.fate == "abandoned" for chunk in chunks):
            raise SubmissionUnknown(tag, unknown.answer, refs=refs)
        if errors and not refs:
            raise errors[0]
        for error in errors:
            if isinstance(error, QueueFull) and not error.accepted:
                error.accepted = tuple(refs)
                error.answer = f"{error.answer.strip()} ({len(refs)} of {len(keys)} copies got in)"
        return Submission(tag, keys, tuple(results))

    def _of(self, tag: str, chunks: Sequence[Chunk], copies: int) -> list[JobRef | IntercedeError]:
        results: list[JobRef | IntercedeError] = []
        refused: IntercedeError | None = None
        for chunk in sorted(chunks, key=lambda each: each.first):
            if chunk.fate == "known":
                results += [self._ref(tag, chunk, index) for index in range(chunk.count)]
                continue
            error = self._error(tag, chunk)
            refused = error if chunk.fate == "refused" else refused
            results += [error] * chunk.count
        # parts after a refused one were not tried
        rest = refused or SubmissionUnknown(tag, "this part was never sent", "Submit again with the same tag.")
        return results + [rest] * (copies - len(results))

    def _ref(self, tag: str, chunk: Chunk, index: int) -> JobRef | IntercedeError:
        try:
            native = self._scheduler.native(chunk.answer, index)
        except ParseError as error:
            return SubmissionUnknown(tag, str(error))
        return JobRef(resource=self._settings.id, submission=tag, copy_index=chunk.first + index, native=native)

    def _error(self, tag: str, chunk: Chunk) -> IntercedeError:
        if chunk.fate == "refused":
            return self._scheduler.refusal(chunk.answer, chunk.returncode)
        if chunk.fate == "abandoned":
            return SubmissionUnknown(tag, "this part was abandoned", "Submit under another tag.")
        if chunk.fate == "never":
            asked = f"copies {chunk.first} to {chunk.first + chunk.count - 1} of submission {tag}"
            return NotFound(asked, "they were never queued", "Submit again with the same tag, unless it was purged.")
        return SubmissionUnknown(tag, chunk.answer or "it began, and no answer of the scheduler is recorded")


def copies_of(copies: int | Iterable[Copy]) -> list[Copy]:
    """The copies that are asked for, at least one.

    Raises:
        ConfigurationError: None, too many, or two with the same key.
    """
    each = [Copy()] * copies if isinstance(copies, int) else list(copies)
    if not each:
        asked = copies if isinstance(copies, int) else 0
        raise ConfigurationError("copies", f"{asked} were asked for", "Ask for 1 or more.")
    if len(each) > 1_000_000:
        raise ConfigurationError("copies", f"{len(each)} are too many for one call", "Split it.")
    keys = [copy.key for copy in each if copy.key is not None]
    if len(set(keys)) != len(keys):
        raise ConfigurationError("copies", "two have the same key", "Give each its own.")
    return each
