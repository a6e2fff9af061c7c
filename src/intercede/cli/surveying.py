"""What `find`, `list`, `sweep`, `queues` and `resources` do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from intercede import config
from intercede.cli import documents, screen
from intercede.cli.exit_codes import Exit, of_errors
from intercede.cli.memory import Memory
from intercede.cli.session import Session, settings_of, worded
from intercede.cli.wiring import say
from intercede.errors import ConfigurationError, IntercedeError, SubmissionUnknown
from intercede.model import check_tag, parse_walltime
from intercede.workarea.scheduler import ranges

if TYPE_CHECKING:
    from intercede.answers import QueueInfo, Submission
    from intercede.cli.options import Access

__all__ = ["find", "queues", "resources", "submission_document", "submissions", "sweep"]


async def find(access: Access, tag: str, *, abandon: bool, as_json: bool) -> int:
    """Ask what got through under a tag."""
    async with Session(access, Memory()) as session:
        known = session.known(check_tag(tag))
        access = session.now(known.access) if known else access
        found = await session.recall(tag, access, known, abandon=abandon)
        resource = settings_of(access).id
        if as_json:
            screen.emit(submission_document(found, access.on, resource))
            return of_errors(found.errors.values())
        for ref in found.refs:
            screen.line(str(ref))
        for text in _without_a_job(found):
            say(text)
        say(f"{len(found.refs)} of {len(found.results)} jobs of {tag} got through to {resource}")
        return of_errors(found.errors.values())


def _without_a_job(found: Submission) -> list[str]:
    """What is said of the copies that are no jobs: once where it is the same of many."""
    said: dict[str, list[int]] = {}
    for copy, error in found.errors.items():
        if isinstance(error, SubmissionUnknown):
            error = worded(error, found.tag)
        said.setdefault(str(error), []).append(copy)
    return [f"{'copy' if len(each) == 1 else 'copies'} {ranges(each)}: {text}" for text, each in said.items()]


async def submissions(access: Access, since: str | None, *, as_json: bool) -> int:
    """List what the resource has, or what is remembered."""
    start = datetime.now(UTC) - _span(since, "--since") if since else None
    rows = _from_memory(start) if access.on is None else await _from_resource(access, start)
    if as_json:
        screen.emit({"submissions": rows})
        return Exit.OK
    if not rows:
        say(f"{access.on} has no submissions of ours" if access.on else "nothing was submitted from here")
        return Exit.OK
    columns = ("TAG", "JOBS", "SUBMITTED", "ON", "STATE", "PROGRAM")
    screen.show_table(columns, [_row(row) for row in rows], right=("JOBS",))
    return Exit.OK


async def sweep(access: Access, older_than: str, *, as_json: bool) -> int:
    """Purge old submissions."""
    age = _span(older_than, "--older-than")
    memory = Memory()
    async with Session(access, memory) as session:
        tags = list(await session.element().sweep(age))
    for tag in tags:
        for each in memory.with_tag(tag):
            if each.access.on == access.on:
                memory.purged(job.ref for job in each.jobs.values())
    if as_json:
        screen.emit({"purged": tags})
    else:
        for tag in tags:
            screen.line(tag)
        say(f"{len(tags)} submissions purged")
    return Exit.OK


async def queues(access: Access, *, as_json: bool) -> int:
    """Show the queues of a resource."""
    async with Session(access, Memory()) as session:
        found = list(await session.element().capacity())
    resource = settings_of(access).id
    if as_json:
        screen.emit({"resource": resource, "queues": [documents.queue_document(each) for each in found]})
        return Exit.OK
    if not found:
        say(f"{resource} has no queues")
        return Exit.OK
    numbers = ("CORES", "FREE", "WAIT", "RUN", "OUR WAIT", "OUR RUN")
    columns = ("QUEUE", "JOBS", "MAX TIME", *numbers)
    screen.show_table(columns, [_queue_row(each) for each in found], right=numbers)
    return Exit.OK


def resources(source: str | None, *, as_json: bool) -> int:
    """List the resources there are."""
    loaded = config.load(source)
    rows = [_resource(loaded, name) for name in loaded.names]
    if as_json:
        screen.emit({"resources": rows})
    else:
        columns = ("NAME", "SCHEDULER", "HOST", "QUEUE", "WORK AREA", "PROBLEM")
        keys = ("name", "scheduler", "host", "queue", "work_area", "error")
        screen.show_table(columns, [[row[key] or "" for key in keys] for row in rows])
        if not loaded.resources and screen.is_terminal():
            say(f"more can be written into {config.default_path()}; any URL does without")
    return Exit.USAGE if any(row["error"] for row in rows) else Exit.OK


def submission_document(submission: Submission, on: str | None, resource: str) -> dict[str, Any]:
    """The document of a submission."""
    jobs = []
    for copy, (key, result) in enumerate(zip(submission.keys, submission.results, strict=True)):
        error = documents.error_document(result) if isinstance(result, IntercedeError) else None
        jobs.append({"copy": copy, "key": key, "ref": None if error else str(result), "error": error})
    return {"tag": submission.tag, "on": on or "local:", "resource": resource, "copies": len(jobs), "jobs": jobs}


def _from_memory(start: datetime | None) -> list[dict[str, Any]]:
    return [
        {
            "tag": each.tag,
            "on": each.access.on or "local:",
            "program": each.program,
            "submitted": documents.when(each.created),
            "copies": each.copies,
            "complete": each.settled,
            "purged": bool(each.jobs) and all(job.purged for job in each.jobs.values()),
            "jobs": [job.ref for job in each.jobs.values()],
        }
        for each in Memory().newest(since=start.timestamp() if start else 0)
    ]


async def _from_resource(access: Access, start: datetime | None) -> list[dict[str, Any]]:
    memory = Memory()
    async with Session(access, memory) as session:
        found = await session.element().list(start)
    programs = {each.tag: each.program for each in memory.newest() if each.access.on == access.on}
    return [
        {
            "tag": each.tag,
            "on": access.on,
            "program": programs.get(each.tag, ""),
            "submitted": documents.when(each.submitted),
            "copies": each.copies,
            "complete": each.complete,
            "purged": each.purged,
            "jobs": [str(ref) for ref in each.refs],
        }
        for each in reversed(found)
    ]


def _row(row: dict[str, Any]) -> list[str]:
    state = "purged" if row["purged"] else ("" if row["complete"] else "outcome unknown: see find")
    submitted = screen.ago(datetime.fromisoformat(row["submitted"]))
    return [row["tag"], str(row["copies"]), submitted, row["on"], state, row["program"]]


def _queue_row(queue: QueueInfo) -> list[str]:
    name = queue.name + ("*" if queue.is_default else "")
    numbers = (queue.cores, queue.free_cores, queue.waiting, queue.running, queue.ours_waiting, queue.ours_running)
    limit = screen.span(queue.max_walltime) or "no limit"
    taking = "accepted" if queue.accepting else "refused"
    return [name, taking, limit, *("?" if number is None else str(number) for number in numbers)]


def _resource(loaded: config.Config, name: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("name", "scheduler", "host", "queue", "work_area", "error"))
    row["name"] = name
    try:
        settings = loaded.settings(name)
    except ConfigurationError as error:
        return row | {"error": str(error)}
    return row | {
        "scheduler": settings.scheduler,
        "host": there.host if (there := settings.ssh or settings.endpoint) else "this machine",
        "queue": settings.queue,
        "work_area": None if settings.endpoint else settings.work_area,
    }


def _span(text: str, option: str) -> timedelta:
    try:
        span = parse_walltime(text)
        if isinstance(span, timedelta):
            _ = datetime.now(UTC) - span
    except OverflowError:
        raise ConfigurationError(f"{option} {text}", "no calendar goes back so far") from None
    except ValueError as error:
        raise ConfigurationError(f"{option} {text}", str(error)) from None
    if not isinstance(span, timedelta):
        raise ConfigurationError(f"{option} {text}", "it is no span of time (such as 12h, 7d)")
    return span
