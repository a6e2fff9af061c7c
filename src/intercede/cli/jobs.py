"""The commands about jobs that were submitted: `status`, `watch`, `logs`, `output`, `cancel`, `release`, `purge`."""

from typing import Annotated

import typer

from intercede.cli.options import Access, Json, Needed, Selection
from intercede.cli.wiring import command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (status, watch, logs, output, cancel, release, purge):
        command(app, function.__name__)(function)


def status(
    access: Access,
    jobs: Selection = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every job, however many there are.")] = False,
    json: Json = False,
) -> int:
    """Say where jobs are in their lives.

    The exit status says whether the question was answered, not how the jobs fare.
    """
    from intercede.cli import asking, session

    return session.run(asking.status(access, jobs, everything=everything, as_json=json))


def watch(access: Access, jobs: Selection = None, json: Json = False) -> int:
    """Follow jobs until all of them have ended. Ctrl-C leaves them alone."""
    from intercede.cli import asking, session

    return session.run(asking.watch(access, jobs, as_json=json))


def logs(
    access: Access,
    jobs: Selection = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Its stderr instead of its stdout.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="Another file of its working directory.", metavar="FILE")
    ] = None,
    tail: Annotated[int | None, typer.Option("--tail", help="Only so many bytes of its end.", min=1)] = None,
) -> int:
    """Print what a job has written so far, just as it wrote it."""
    from intercede.cli import asking, session

    which = name or ("stderr" if stderr else "stdout")
    return session.run(asking.logs(access, jobs, which, follow=follow, tail=tail))


def output(
    access: Access,
    jobs: Selection = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Output goes to DIR/COPY/ (of several submissions: DIR/TAG/COPY/). Default: ./ic-TAG.", metavar="DIR"
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Bring stdout, stderr and the declared files of jobs. It can be repeated until they are purged."""
    from intercede.cli import fetching, session

    return session.run(fetching.output(access, jobs, to, as_json=json))


def cancel(access: Access, jobs: Needed, json: Json = False) -> int:
    """End jobs, queued or running."""
    from intercede.cli import asking, session

    return session.run(asking.order("cancel", access, jobs, as_json=json))


def release(access: Access, jobs: Needed, json: Json = False) -> int:
    """Let held jobs go on."""
    from intercede.cli import asking, session

    return session.run(asking.order("release", access, jobs, as_json=json))


def purge(access: Access, jobs: Needed, json: Json = False) -> int:
    """Remove what ended jobs have left on their resource."""
    from intercede.cli import asking, session

    return session.run(asking.order("purge", access, jobs, as_json=json))
