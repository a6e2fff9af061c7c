"""From the words of the command line to a description of the job."""

from __future__ import annotations

import os
import re
import secrets
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from intercede.errors import ConfigurationError
from intercede.model import JobDescription, Resources, make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from intercede.cli.options import Wishes
    from intercede.settings import ResourceSettings

__all__ = ["describe", "new_tag", "warnings"]

_OF_THE_SYSTEM = ("/bin/", "/sbin/", "/usr/", "/cvmfs/")
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"


def new_tag(program: str) -> str:
    """Make a tag that says what it was: `fit-k3x9q2`."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", Path(program).stem.encode("ascii", "replace").decode()).strip("-_")[:30]
    return f"{stem or 'job'}-{''.join(secrets.choice(_LETTERS) for _ in range(6))}"


def describe(program: Sequence[str], wishes: Wishes, settings: ResourceSettings) -> JobDescription:
    """Build the description; files that shall be sent along must be there.

    Raises:
        ConfigurationError: A file is missing, or a word means nothing.
    """
    executable, inputs = _shipped(program[0], dict(_input(each) for each in wishes.inputs))
    needs = make(
        Resources,
        "the job's needs",
        **{
            name: getattr(wishes, name) for name in ("cores", "gpus", "nodes", "memory", "walltime", "queue", "account")
        },
        best_effort=frozenset(wishes.best_effort),
    )
    return make(
        JobDescription,
        "the job",
        executable=executable,
        arguments=tuple(program[1:]),
        environment=dict(_pair(each, "-e", "NAME=VALUE") for each in wishes.environment),
        inherit=tuple(wishes.inherit),
        secrets={name: _secret(path) for name, path in (_pair(s, "--secret", "NAME=FILE") for s in wishes.secrets)},
        inputs={name: path.absolute() for name, path in inputs.items()},
        outputs=tuple(wishes.outputs),
        resources=needs,
        container=wishes.container,
        native={settings.language: tuple(wishes.native)} if wishes.native else {},
        requeue=wishes.requeue,
    )


def warnings(program: Sequence[str], wishes: Wishes, *, here: bool) -> list[str]:
    """What is probably a mistake: an argument names a file of this machine that the job will not find.

    Args:
        program: The program and its arguments.
        wishes: The options.
        here: Whether the job runs on this machine, where an absolute path is found.
    """
    sent = {os.path.realpath(path): name for name, path in map(_input, wishes.inputs)}
    said = []
    for argument in program[1:]:
        path = argument.partition("=")[2] if argument.startswith("-") and "=" in argument else argument
        if path in {"", ".", ".."} or (os.path.isabs(path) and (here or not os.path.isfile(path))):
            continue
        if not os.path.exists(path) or any(fnmatchcase(path, pattern) for pattern in wishes.outputs):
            continue
        name = sent.get(os.path.realpath(path))
        if name is None:
            said.append(f"warning: {path} is a file here, and is not sent along. If the job needs it: -i {path}")
        elif name != os.path.normpath(path):
            said.append(f"warning: the job finds {path} under the name {name}")
    return said


def _shipped(program: str, inputs: dict[str, Path]) -> tuple[str, dict[str, Path]]:
    """The executable for the description, and the inputs with the program among them if it is sent along."""
    if not _is_shipped(program):
        return program, inputs
    path = Path(program)
    if not os.access(path, os.X_OK):
        raise ConfigurationError(f"program {program!r}", "it is not executable", f"chmod +x {program}")
    if inputs.get(path.name, path) != path:
        raise ConfigurationError(f"-i {path.name}", "the program has the same name", "Give it another: -i NAME=FILE.")
    return f"./{path.name}", inputs | {path.name: path}


def _is_shipped(program: str) -> bool:
    if "/" not in program or program.startswith(_OF_THE_SYSTEM):
        return False
    if os.path.isfile(program):
        return True
    if os.path.isabs(program):
        return False
    what = "it is a directory" if os.path.isdir(program) else "there is no such file here"
    raise ConfigurationError(f"program {program!r}", what, "A program of the other side is written without a /.")


def _input(text: str) -> tuple[str, Path]:
    name, equals, source = text.partition("=")
    if not equals or os.path.lexists(text):
        name, source = "", text
    path = Path(source)
    if not path.exists():
        raise ConfigurationError(f"-i {text}", f"there is no file {source!r} here")
    return os.path.normpath(name) if name else Path(os.path.abspath(path)).name, path


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        # The text is not shown: it may be half of a secret.
        advice = "A variable of yours is passed on with --inherit NAME." if option == "-e" else ""
        raise ConfigurationError(option, f"it does not read {form}", advice)
    return name, value


def _secret(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--secret {path}", error.strerror or str(error)) from None
