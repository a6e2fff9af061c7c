"""From functions to commands: option bundles are spread out, and errors become messages and exit statuses."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from intercede.cli.exit_codes import Exit, of_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from intercede.model import JobRef

__all__ = ["command", "say", "say_once"]


class Debugging:
    """Whether errors show where they come from."""

    on: bool = False


def command(app: typer.Typer, name: str, **more: Any) -> Callable[[Callable[..., int | None]], Callable[..., Any]]:
    """Register a function that returns its exit status.

    Parameters whose type is a dataclass become one option for each of its fields.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., Any]:
        app.command(name, help=_unwrapped(function.__doc__ or ""), **more)(_spread(function))
        return function

    return register


def _spread(function: Callable[..., int | None]) -> Callable[..., None]:
    hints = get_type_hints(function, include_extras=True)
    plain: list[inspect.Parameter] = []
    bundles: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind) and isinstance(kind, type):
            bundles[parameter.name] = kind
            plain += _parameters(kind)
        else:
            plain.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def spread(**values: Any) -> None:
        for name, kind in bundles.items():
            values[name] = kind(**{each.name: values.pop(each.name) for each in fields(kind)})
        code = _guarded(functools.partial(function, **values))
        if code:
            raise typer.Exit(code)

    spread.__dict__["__signature__"] = inspect.Signature(plain)
    spread.__annotations__ = {each.name: each.annotation for each in plain}
    return spread


def _unwrapped(text: str) -> str:
    """The paragraphs of a docstring with one line each, so that the terminal's width decides."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(each if each.startswith(" ") else each.replace("\n", " ") for each in paragraphs)


def _parameters(bundle: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(bundle, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in fields(bundle)
    ]


def _guarded(run: Callable[[], int | None]) -> int:
    try:
        code = run() or 0
        sys.stdout.flush()
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head`). Nothing may be written at exit, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE
    except Exception as error:
        if Debugging.on:
            raise
        return _explained(error)
    return code


def _explained(error: Exception) -> int:
    from intercede.errors import IntercedeError

    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, IntercedeError):
        say(str(error))
        return of_error(error)
    if isinstance(error, OSError):
        say(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        return Exit.REFUSED
    say(f"{type(error).__name__}: {error}\nThis is not your fault. `intercede --debug` shows where it comes from.")
    return Exit.BUG


def say(message: str) -> None:
    """Tell the user something that is no data, on stderr. Words of the other side cannot control the terminal."""
    from intercede.cli.screen import printable

    text = "\n".join(printable(line) for line in message.split("\n"))
    sys.stderr.write(f"intercede: {text}\n")
    sys.stderr.flush()


def say_once(said: Iterable[tuple[JobRef, str]]) -> None:
    """Tell the user something of jobs: what is true of many is said once, of the first, whatever they are called."""
    alike: dict[str, list[tuple[JobRef, str]]] = {}
    for ref, text in said:
        alike.setdefault(text.replace(str(ref), ""), []).append((ref, text))
    for (ref, text), *others in alike.values():
        more = f" and {len(others)} more" if others else ""
        say(f"{ref.submission}:{ref.copy_index}{more}: {text}")
