"""From the words of `run` and `submit` to jobs, and to the end of them."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intercede.answers import JobState, JobStatus, Reason
from intercede.cli import documents, fetching, screen, surveying
from intercede.cli.describing import describe, new_tag, warnings
from intercede.cli.exit_codes import Exit, of_errors
from intercede.cli.following import Interrupts, Progress, cancel_all, clean_up, end, stream
from intercede.cli.memory import Memory
from intercede.cli.session import Session, absolute, by_copy, settings_of
from intercede.cli.wiring import say
from intercede.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectFailed,
    CredentialError,
    IntercedeError,
    QueueFull,
    SchedulerUnavailable,
    StorageError,
    SubmissionRejected,
    SubmissionUnknown,
    TagConflict,
    UnsupportedError,
)
from intercede.model import check_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercede.answers import Submission
    from intercede.cli.options import Access, Wishes
    from intercede.model import JobRef
    from intercede.settings import ResourceSettings

__all__ = ["Ways", "run", "submit"]

_NOTHING_QUEUED = (
    ConfigurationError,
    UnsupportedError,
    CredentialError,
    ConnectFailed,
    AuthenticationFailed,
    SubmissionRejected,
    QueueFull,
    # an element says this only where nothing came of it; else it is SubmissionUnknown
    SchedulerUnavailable,
    StorageError,
    TagConflict,
)


@dataclass(frozen=True)
class Ways:
    """How `run` ends.

    Attributes:
        to: Where output goes.
        keep: Whether the jobs' files stay on the resource.
        json: Whether a document is printed.
    """

    to: str | None = None
    keep: bool = False
    json: bool = False


async def submit(program: Sequence[str], wishes: Wishes, access: Access, *, as_json: bool) -> int:
    """Submit, and say how to go on."""
    async with Session(access, Memory()) as session:
        submission, settings = await _submit(session, program, wishes)
        if as_json:
            screen.emit(surveying.submission_document(submission, access.on, settings.id))
        else:
            _tell(submission, settings)
        return of_errors(submission.errors.values())


async def run(program: Sequence[str], wishes: Wishes, access: Access, ways: Ways) -> int:
    """Submit, follow, collect."""
    async with Session(access, Memory()) as session:
        with Interrupts() as interrupts:
            submitting = asyncio.create_task(_submit(session, program, wishes))
            if not await interrupts.until(submitting):
                say("waiting for the submission, then cancelling it (Ctrl-C again leaves it alone)")
                if not await interrupts.until(submitting):
                    await end(submitting)
                    return Exit.INTERRUPTED
                submission, _ = submitting.result()
                return await cancel_all(session, submission.refs, interrupts, keep=ways.keep)
            submission, settings = submitting.result()
            for error in submission.errors.values():
                say(str(error))
            if not submission.refs:
                return of_errors(submission.errors.values())
            running = asyncio.create_task(_follow(session, submission, settings, wishes, ways))
            if not await interrupts.until(running):
                await end(running)  # it would collect and purge what is being cancelled
                return await cancel_all(session, submission.refs, interrupts, keep=ways.keep)
            return max(running.result(), of_errors(submission.errors.values()))


async def _submit(session: Session, program: Sequence[str], wishes: Wishes) -> tuple[Submission, ResourceSettings]:
    settings = settings_of(session.access)
    description = describe(program, wishes, settings)
    for warning in warnings(program, wishes, here=not (settings.ssh or settings.endpoint)):
        say(warning)
    tag = check_tag(wishes.tag) if wishes.tag else new_tag(program[0])
    words = screen.printable(shlex.join(program))[:500]
    element = session.element()
    # The tag is noted before anything is sent: whatever happens to us now, the jobs can be found again.
    memory = session.memory
    begun = memory.begin(tag, absolute(session.access), settings.id, words, wishes.copies)
    try:
        submission = await element.submit(description, wishes.copies, tag=tag)
    except _NOTHING_QUEUED:
        memory.forget(begun)
        raise
    except asyncio.CancelledError:
        say(f"it is not known what got through: intercede find {tag}")
        raise
    except SubmissionUnknown as error:
        memory.describe(begun.number, words, wishes.copies)
        memory.settle(begun.number, by_copy(error.refs), complete=False)
        raise SubmissionUnknown(
            tag, error.answer, f"`intercede find {tag}` tells what got through; the same --tag again is safe."
        ) from error
    memory.describe(begun.number, words, wishes.copies)
    memory.settle(begun.number, by_copy(submission.refs))
    return submission, settings


async def _follow(
    session: Session, submission: Submission, settings: ResourceSettings, wishes: Wishes, ways: Ways
) -> int:
    refs = submission.refs
    alone = wishes.copies == 1 and not ways.json
    element = session.element()
    statuses = await (_stream(session, refs[0], keep=ways.keep) if alone else _watch(element, refs, submission.tag))
    session.memory.saw({str(ref): documents.job_document(status) for ref, status in statuses.items()})
    writes = bool(ways.to or wishes.outputs or not alone)
    into = ways.to or f"ic-{submission.tag}"
    outputs = await fetching.collect(element, refs, into) if writes else {}
    complete = all(not isinstance(each, IntercedeError) and not each.skipped for each in outputs.values())
    purged = not ways.keep and complete and await _purge(session, refs)
    fetching.complain(outputs)
    if not complete:
        say(f"what is missing is still on the resource: intercede output {submission.tag} --to DIR")
    if ways.json:
        head = surveying.submission_document(submission, session.access.on, settings.id)
        jobs = [
            documents.job_document(statuses[ref]) | {"output": documents.output_document(outputs[ref])} for ref in refs
        ]
        screen.emit(head | {"directory": into, "purged": purged, "jobs": jobs})
    elif not alone:
        screen.show_jobs(list(statuses.values()))
        said = screen.counts(status.state for status in statuses.values())
        say(f"{submission.tag}: {said}; output in {into}/")
    failures = fetching.failures(outputs)
    if alone:
        return _own_status(statuses[refs[0]]) or of_errors(failures)
    bad = any(status.state is not JobState.SUCCEEDED for status in statuses.values())
    return max(Exit.JOB_FAILED if bad else Exit.OK, of_errors(failures))


async def _stream(session: Session, ref: JobRef, *, keep: bool) -> dict[JobRef, JobStatus]:
    try:
        return {ref: await stream(session.element(), ref)}
    except BrokenPipeError:
        # As in any pipe: nobody reads what is written, so it need not be written.
        await clean_up(session, [ref], purge=not keep, unwanted=True)
        raise


async def _watch(element: Any, refs: Sequence[JobRef], tag: str) -> dict[JobRef, JobStatus]:
    statuses: dict[JobRef, JobStatus] = {}
    with Progress(tag, len(refs)) as progress:
        async for changes in element.watch(refs):
            statuses |= changes
            progress.show(statuses.values())
    return statuses


async def _purge(session: Session, refs: Sequence[JobRef]) -> bool:
    try:
        gone = await session.element().purge(refs)
    except IntercedeError as error:
        say(f"the jobs' files are still on the resource: {error}")
        return False
    failed = [error for error in gone.values() if isinstance(error, IntercedeError)]
    for error in failed[:1]:
        say(f"the files of {len(failed)} jobs are still on the resource: {error}")
    session.memory.purged(str(ref) for ref, error in gone.items() if not isinstance(error, IntercedeError))
    return not failed


def _tell(submission: Submission, settings: ResourceSettings) -> None:
    number = len(submission.refs)
    screen.line(submission.tag)
    for copy, error in submission.errors.items():
        say(f"copy {copy}: {error}")
    say(f"{number} {'job' if number == 1 else 'jobs'} submitted to {settings.id}")
    if number and screen.is_terminal(stderr=True):
        say(f"go on with: intercede status {submission.tag} (or watch, logs, output, cancel)")


def _own_status(status: JobStatus) -> int:
    """The exit status of the job itself, as ssh would give it; what it cannot say is said."""
    if status.state is JobState.SUCCEEDED:
        return 0
    if status.state is JobState.FAILED and status.exit_code and status.reason in {None, Reason.EXIT_CODE}:
        return status.exit_code
    said = [str(status.state), screen.result(status), screen.why(status)]
    say(", ".join(part for part in said if part))
    return 128 + status.signal if status.signal else status.exit_code or Exit.JOB_FAILED
