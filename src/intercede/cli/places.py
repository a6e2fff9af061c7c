"""The commands about resources and what is on them: `find`, `list`, `sweep`, `queues`, `resources`."""

from typing import Annotated

import typer

from intercede.cli.options import Access, ConfigFile, Json
from intercede.cli.wiring import command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, function in (("find", find), ("list", list_), ("sweep", sweep), ("queues", queues)):
        command(app, name)(function)
    command(app, "resources")(resources)


def find(
    access: Access,
    tag: Annotated[str, typer.Argument(help="The tag of a submission.", metavar="TAG")],
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give up on parts that began and have no outcome.")
    ] = False,
    json: Json = False,
) -> int:
    """Ask a resource what got through under a tag, after a submission whose answer was lost.

    Default: the resource that the tag was submitted to from here.
    """
    from intercede.cli import session, surveying

    return session.run(surveying.find(access, tag, abandon=abandon, as_json=json))


def list_(
    access: Access,
    since: Annotated[
        str | None, typer.Option(help="Only those of the last TIME, such as 12h or 7d.", metavar="TIME")
    ] = None,
    json: Json = False,
) -> int:
    """List submissions: with --on those that the resource has, else those that were made from here."""
    from intercede.cli import session, surveying

    return session.run(surveying.submissions(access, since, as_json=json))


def sweep(
    access: Access,
    older_than: Annotated[str, typer.Option(help="Only those older than TIME, such as 7d.", metavar="TIME")],
    json: Json = False,
) -> int:
    """Purge old submissions on a resource whose jobs have all ended."""
    from intercede.cli import session, surveying

    return session.run(surveying.sweep(access, older_than, as_json=json))


def queues(access: Access, json: Json = False) -> int:
    """Show the queues of a resource, their limits, and how full they are."""
    from intercede.cli import session, surveying

    return session.run(surveying.queues(access, as_json=json))


def resources(config: ConfigFile = None, json: Json = False) -> int:
    """List the resources of intercede.toml, and those that need no configuration. Nothing is asked of them."""
    from intercede.cli import surveying

    return surveying.resources(config, as_json=json)
