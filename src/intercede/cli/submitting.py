"""`run` and `submit`."""

from typing import Annotated

import typer

from intercede.cli.exit_codes import EPILOG
from intercede.cli.options import Access, Json, Program, Wishes
from intercede.cli.wiring import command

__all__ = ["register"]

# Options come before the program; whatever follows it is its own, with or without `--`.
_OWN_WORDS = {"allow_interspersed_args": False}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "run", epilog=EPILOG, context_settings=_OWN_WORDS)(run)
    command(app, "submit", context_settings=_OWN_WORDS)(submit)


def run(
    program: Program,
    access: Access,
    wishes: Wishes,
    to: Annotated[
        str | None,
        typer.Option(
            help="Where output goes, to DIR/COPY/. Default: ./ic-TAG; a single copy without -o writes nothing.",
            metavar="DIR",
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the jobs' files on the resource.")] = False,
    json: Json = False,
) -> int:
    """Run a program as a job (or many), and bring its output back.

    The output of a single copy appears while it runs. Ctrl-C cancels the jobs; a second one leaves them alone. When all
    output is here the jobs' files are removed from the resource, unless --keep.

        intercede run -n 20 -o 'hist_*.root' -i data.h5 -- ./fit.sh data.h5
    """
    from intercede.cli import running, session

    return session.run(running.run(program, wishes, access, running.Ways(to, keep, json)))


def submit(program: Program, access: Access, wishes: Wishes, json: Json = False) -> int:
    """Submit a program as a job (or many), and leave.

    Say the same --tag again after a failure: nothing is ever queued twice.
    """
    from intercede.cli import running, session

    return session.run(running.submit(program, wishes, access, as_json=json))
