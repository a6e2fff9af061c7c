"""What `status`, `watch`, `logs`, `cancel`, `release` and `purge` do."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from intercede.answers import JobState, JobStatus
from intercede.cli import documents, screen
from intercede.cli.exit_codes import Exit, of_errors
from intercede.cli.following import Progress, copy_log
from intercede.cli.memory import Memory
from intercede.cli.session import Session
from intercede.cli.wiring import say, say_once
from intercede.errors import ConfigurationError, IntercedeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from intercede.cli.options import Access
    from intercede.cli.session import Chosen
    from intercede.model import JobRef

__all__ = ["logs", "order", "status", "watch"]


async def status(access: Access, names: Sequence[str] | None, *, everything: bool, as_json: bool) -> int:
    """Ask where jobs are."""
    async with Session(access, Memory()) as session:
        chosen = await session.choose(names)
        gone = _remembered(chosen)
        statuses = await session.group.status(_refs(chosen, gone))
        _note(session, statuses)
        known = gone | statuses
        if as_json:
            screen.emit(_status_document(session, [known[ref] for each in chosen for ref in each.refs]))
        else:
            for number, each in enumerate(chosen):
                if number and screen.is_terminal():
                    screen.line("")
                _show(each, [known[ref] for ref in each.refs], everything=everything)
        return _report(session)


async def watch(access: Access, names: Sequence[str] | None, *, as_json: bool) -> int:
    """Follow jobs to their end."""
    async with Session(access, Memory()) as session:
        chosen = await session.choose(names)
        known = _remembered(chosen)
        refs = _refs(chosen, known)
        what = chosen[0].tag if len(chosen) == 1 else "jobs"
        with Progress(what, sum(len(each.refs) for each in chosen)) as progress:
            async for changes in session.group.watch(refs):
                known |= changes
                _note(session, changes)
                progress.show(known.values())
        if as_json:
            screen.emit(_status_document(session, list(known.values())))
        else:
            for each in chosen:
                _show(each, [known[ref] for ref in each.refs if ref in known], everything=False)
        bad = any(each.state is not JobState.SUCCEEDED for each in known.values())
        return _report(session) or (Exit.JOB_FAILED if bad else Exit.OK)


async def logs(access: Access, names: Sequence[str] | None, name: str, *, follow: bool, tail: int | None) -> int:
    """Print a log of one job."""
    async with Session(access, Memory()) as session:
        chosen = await session.choose(names)
        refs = [ref for each in chosen for ref in each.refs]
        if len(refs) != 1:
            tag = chosen[0].tag
            raise ConfigurationError("logs", f"these are {len(refs)} jobs", f"Say which one, such as {tag}:0.")
        element = session.element(chosen[0].access)
        if follow:
            await copy_log(element, refs[0], name, offset=-tail if tail else 0, quiet=False)
            return Exit.OK
        offset = -tail if tail else 0
        while True:
            chunk = await element.read_log(refs[0], name, offset)
            sys.stdout.buffer.write(chunk.data)
            offset = chunk.next_offset
            if not chunk.data or chunk.ended:
                return Exit.OK


async def order(verb: str, access: Access, names: Sequence[str], *, as_json: bool) -> int:
    """Cancel, release or purge jobs."""
    async with Session(access, Memory()) as session:
        chosen = await session.choose(names)
        answers = await getattr(session.group, verb)([ref for each in chosen for ref in each.refs])
        errors = {ref: answer for ref, answer in answers.items() if isinstance(answer, IntercedeError)}
        if verb == "purge":
            session.memory.purged(str(ref) for ref in answers if ref not in errors)
        if as_json:
            screen.emit({"jobs": [_order_document(ref, answer) for ref, answer in answers.items()]})
        else:
            _show_order(verb, answers, errors)
        return of_errors([*errors.values(), *session.doubts])


def _refs(chosen: Iterable[Chosen], besides: Mapping[JobRef, JobStatus]) -> list[JobRef]:
    return [ref for each in chosen for ref in each.refs if ref not in besides]


def _remembered(chosen: Iterable[Chosen]) -> dict[JobRef, JobStatus]:
    """The last that was seen of jobs that were purged since: their resource knows nothing more."""
    known = {}
    for each in chosen:
        jobs = each.remembered.jobs if each.remembered else {}
        for ref in each.refs:
            job = jobs.get(ref.copy_index)
            if job is not None and job.ref == str(ref) and job.purged and job.status:
                known[ref] = documents.status_from(ref, job.status)
    return known


def _note(session: Session, statuses: Mapping[JobRef, JobStatus]) -> None:
    # What could not be asked is not worth more than what was seen before.
    seen = {str(ref): documents.job_document(status) for ref, status in statuses.items() if status.source}
    if seen:
        session.memory.saw(seen)


def _report(session: Session) -> int:
    errors = session.group.errors
    for resource, error in errors.items():
        say(f"{resource}: {error}")
    return of_errors([*errors.values(), *session.doubts])


def _status_document(session: Session, statuses: Iterable[JobStatus]) -> dict[str, Any]:
    return {
        "jobs": [documents.job_document(status) for status in statuses],
        "errors": {name: documents.error_document(error) for name, error in session.group.errors.items()},
    }


def _show(chosen: Chosen, statuses: Sequence[JobStatus], *, everything: bool) -> None:
    if screen.is_terminal():
        parts = [chosen.tag, screen.counts(s.state for s in statuses), f"on {chosen.access.on or 'this machine'}"]
        if known := chosen.remembered:
            parts.append(f"submitted {screen.ago(datetime.fromtimestamp(known.created, UTC))}")
            parts += ["purged"] if known.jobs and all(job.purged for job in known.jobs.values()) else []
            parts += [known.program] if known.program else []
        screen.headline(parts)
    screen.show_jobs(statuses, everything=everything, hint=f": intercede status {chosen.tag} --all")


def _order_document(ref: JobRef, answer: Any) -> dict[str, Any]:
    failed = isinstance(answer, IntercedeError)
    return documents.ref_document(ref) | {
        "outcome": None if failed else str(answer),
        "error": documents.error_document(answer) if failed else None,
    }


def _show_order(verb: str, answers: Mapping[JobRef, Any], errors: Mapping[JobRef, IntercedeError]) -> None:
    past = {"cancel": "cancelled", "release": "released", "purge": "purged"}[verb]
    done = sum(str(answer) == "DONE" for ref, answer in answers.items() if ref not in errors)
    idle = len(answers) - done - len(errors)
    parts = [f"{done} {past}"] + ([f"{idle} needed nothing"] if idle else [])
    screen.line(", ".join([*parts, *([f"{len(errors)} failed"] if errors else [])]))
    say_once((ref, str(error)) for ref, error in errors.items())
