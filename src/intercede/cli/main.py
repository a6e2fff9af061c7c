"""The program `intercede`."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated

import typer

from intercede.cli import jobs, places, submitting, wiring
from intercede.cli.exit_codes import EPILOG

__all__ = ["app", "main"]

app = typer.Typer(
    name="intercede",
    help="Run jobs on batch systems (Slurm, PBS, ...) or as plain processes, here or over SSH, the same way on each.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (submitting, jobs, places):
    part.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from intercede import __version__
        from intercede.cli.screen import line

        line(f"intercede {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="INTERCEDE_DEBUG", help="Show what is done, and where errors come from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    import logging

    wiring.Debugging.on = debug
    if debug:
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    else:
        # What matters is said by the commands themselves.
        logging.getLogger("intercede").addHandler(logging.NullHandler())


def _mend_streams() -> None:
    """A stream that is closed takes what is written, and no encoding refuses it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line. SIGTERM does what Ctrl-C does, so that commands on the other side end as well."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _mend_streams()
    app(prog_name="intercede")
