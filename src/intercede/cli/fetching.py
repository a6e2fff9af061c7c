"""Bringing output back, for `output` and `run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from intercede.cli import documents, screen
from intercede.cli.exit_codes import of_errors
from intercede.cli.following import Progress
from intercede.cli.memory import Memory
from intercede.cli.session import Session
from intercede.cli.wiring import say_once
from intercede.errors import ConfigurationError, IntercedeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from intercede.answers import JobOutput
    from intercede.cli.options import Access
    from intercede.model import JobRef

__all__ = ["collect", "complain", "failures", "output"]

_AT_ONCE = 100
"""Jobs whose output is fetched in one go; between two the progress moves."""


async def output(access: Access, names: Sequence[str] | None, to: str | None, *, as_json: bool) -> int:
    """Fetch the output of jobs."""
    async with Session(access, Memory()) as session:
        chosen = await session.choose(names)
        flat = len({each.tag for each in chosen}) == 1
        into = to or (f"ic-{chosen[0].tag}" if flat else ".")
        refs = [ref for each in chosen for ref in each.refs]
        _apart(refs)
        outputs = await collect(session.group, refs, into, flat=flat)
        complain(outputs)
        if as_json:
            jobs = [
                documents.ref_document(ref) | {"output": documents.output_document(each)}
                for ref, each in outputs.items()
            ]
            screen.emit({"directory": into, "jobs": jobs})
        else:
            here = len(outputs) - len(failures(outputs))
            screen.line(f"output of {here} {'job' if here == 1 else 'jobs'} in {into}/")
        return of_errors([*failures(outputs), *session.doubts])


def _apart(refs: Sequence[JobRef]) -> None:
    """See that no two jobs have the same directory, which is named for tag and copy."""
    resource_of: dict[str, str] = {}
    for ref in refs:
        other = resource_of.setdefault(ref.submission, ref.resource)
        if other != ref.resource:
            asked = f"output of {ref.submission}"
            answer = f"it is the tag of submissions to {other} and to {ref.resource}"
            raise ConfigurationError(asked, answer, "Fetch them one after the other, each --to a directory of its own.")


async def collect(
    source: Any, refs: Sequence[JobRef], into: str, *, flat: bool = True
) -> dict[JobRef, JobOutput | IntercedeError]:
    """Fetch the output of jobs from an element or a group, showing how far it is."""
    outputs: dict[JobRef, JobOutput | IntercedeError] = {}
    with Progress("output", len(refs)) as progress:
        for first in range(0, len(refs), _AT_ONCE):
            some = refs[first : first + _AT_ONCE]
            try:
                outputs |= await source.fetch_output(some, into, flat=flat)
            except IntercedeError as error:
                outputs |= dict.fromkeys(some, error)
            progress.count(len(outputs))
    return outputs


def failures(outputs: Mapping[JobRef, JobOutput | IntercedeError]) -> list[IntercedeError]:
    """The errors among outputs."""
    return [each for each in outputs.values() if isinstance(each, IntercedeError)]


def complain(outputs: Mapping[JobRef, JobOutput | IntercedeError]) -> None:
    """Say what was not brought back, the same complaint about many jobs once."""
    said: list[tuple[JobRef, str]] = []
    for ref, each in outputs.items():
        if isinstance(each, IntercedeError):
            said.append((ref, str(each)))
            continue
        said += [(ref, f"{what} was left behind: {reason}") for what, reason in each.skipped.items()]
        if each.missing:
            said.append((ref, f"nothing matches {', '.join(each.missing)}"))
    say_once(said)
