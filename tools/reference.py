"""Reference pages from the code itself: the command line, the configuration, exit statuses, errors, native states."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import typer

from intercede import errors, urls
from intercede.cli import documents
from intercede.cli.exit_codes import MEANING
from intercede.cli.main import app
from intercede.model import Frozen
from intercede.schedulers import gridengine, htcondor, oar, pbs, process, slurm
from intercede.settings import Endpoint, Hop, Limits, Politeness, ResourceSettings, SSHSettings
from tools.recordings import EXCERPTS
from tools.support_table import cells, needs, reasons, support, table

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PARTS", "fill"]

_TYPES = {
    "Text": "text",
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "timedelta": "span of time",
    "Path": "path",
    "dict": "table",
}
_TABLES = {
    "": ResourceSettings,
    "ssh": SSHSettings,
    "ssh.jump": Hop,
    "endpoint": Endpoint,
    "limits": Limits,
    "politeness": Politeness,
}


def cli() -> str:
    """Every command with its options."""
    program: Any = typer.main.get_command(app)
    parts = [program.help, _options(program.params)]
    for name, command in program.commands.items():
        usage = " ".join(["intercede", name, "[OPTIONS]", *_arguments(command.params)])
        parts += [f"## {name}", f"```text\n{usage}\n```", _fenced(command.help or ""), _options(command.params)]
    return "\n\n".join(part for part in parts if part)


def _arguments(params: list[Any]) -> list[str]:
    return [each.metavar or each.name.upper() for each in params if each.param_type_name == "argument"]


def _options(params: list[Any]) -> str:
    rows = []
    for each in params:
        names = f"`{each.metavar}`" if each.param_type_name == "argument" else _names(each)
        rows.append([names, _cell(each.help or ""), _default(each)])
    return table(("Option", "What it says", "Default"), rows)


def _names(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in option.opts)


def _default(param: Any) -> str:
    default = param.default
    if isinstance(param.show_default, str):
        return f"`{param.show_default}`"
    if param.required:
        return "required"
    plain = isinstance(default, int | float | str) and not isinstance(default, bool)
    return f"`{default}`" if plain else ""


def _fenced(text: str) -> str:
    """Help with its indented examples as code."""
    return re.sub(r"(?m)^ {4}(.*)$", r"```console\n$ \1\n```", inspect.cleandoc(text))


def configuration() -> str:
    """Every key of a resource, from the models that validate them."""
    parts = []
    for prefix, model in _TABLES.items():
        title = f"`[resources.NAME{'.' + prefix if prefix else ''}]`"
        parts += [f"## {title}", _first_words(model), _keys(model)]
    return "\n\n".join(parts)


def _first_words(model: type[Frozen]) -> str:
    return inspect.cleandoc(model.__doc__ or "").split("\n\n")[0]


def _keys(model: type[Frozen]) -> str:
    said = _attributes(model)
    rows = []
    if model is ResourceSettings:
        rows.append(["`url`", "text", "", "Scheduler, host, user, port and queue at once, as on the command line."])
    for name, field in model.model_fields.items():
        if name == "id":
            continue
        default = "" if field.is_required() else _value(field.default, field.annotation)
        rows.append([f"`{name}`", _type(field.annotation), default, _cell(said.get(name, ""))])
    return table(("Key", "Type", "Default", "Meaning"), rows)


def _attributes(model: type) -> dict[str, str]:
    """The `Attributes:` of a docstring and of those it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        section = re.search(r"(?ms)^Attributes:\n(.*?)(?=^\S|\Z)", inspect.cleandoc(each.__doc__ or ""))
        for entry in re.finditer(r"(?m)^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1] if section else ""):
            found[entry[1]] = re.sub(r"\s+", " ", entry[2])
    return found


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), [each for each in get_args(annotation) if each is not type(None)]
    if origin is Union or str(origin) == "<class 'types.UnionType'>":
        return " or ".join(dict.fromkeys(_type(each) for each in inner))
    if origin in {tuple, frozenset, list}:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "table of text"
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return "table"
    if hasattr(annotation, "__metadata__"):
        return _type(annotation.__origin__)
    return _TYPES.get(getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation)))


def _value(default: Any, annotation: Any) -> str:
    if isinstance(default, Frozen):
        return "see below"
    if default is None or default in ((), "", frozenset()) or not isinstance(default, bool | int | float | str):
        return ""
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`"


def exit_codes() -> str:
    """The exit statuses of the command line."""
    return table(("Status", "Meaning"), ([f"`{code.value}`", text] for code, text in MEANING.items()))


def json_documents() -> str:
    """What `--json` prints."""
    return f"```text\n{inspect.cleandoc(documents.__doc__ or '')}\n```"


def error_tree() -> str:
    """The tree of errors."""
    found = re.search(r"```\n(.*?)```", errors.__doc__ or "", re.DOTALL)
    return f"```text\n{found[1] if found else ''}```"


def slurm_states() -> str:
    """Slurm's words and ours."""
    rows = ([f"`{word}`", f"`{state}`", f"`{why}`" if why else ""] for word, (state, why) in slurm.STATES.items())
    return table(("Slurm says", "State", "Reason"), rows)


def gridengine_states() -> str:
    """Grid Engine's letters and ours."""
    rows = ([f"`{word}`", f"`{state}`", text] for word, (state, text) in gridengine.STATES.items())
    return table(("Letter", "State", "Meaning"), rows)


def oar_states() -> str:
    """OAR's words and ours."""
    rows = ([f"`{word}`", f"`{state}`", text] for word, (state, text) in oar.STATES.items() if not state.is_final)
    return table(("OAR says", "State", "Meaning"), rows)


def htcondor_states() -> str:
    """HTCondor's numbers and words, and ours."""
    rows = ([number, f"`{word}`", f"`{state}`"] for number, (state, word) in htcondor.STATES.items())
    return table(("JobStatus", "Word", "State"), rows)


def process_states() -> str:
    """The words for plain processes and ours."""
    rows = (
        [f"`{word}`", f"`{state}`", f"`{why}`" if why else "", text]
        for word, (state, why, text) in process.STATES.items()
    )
    return table(("Word", "State", "Reason", "Meaning"), rows)


def pbs_states() -> str:
    """PBS's letters and ours."""
    ended = "`SUCCEEDED`, `FAILED` or `CANCELLED`"
    rows = ([f"`{word}`", ended if state.is_final else f"`{state}`"] for word, state in pbs.STATES.items())
    return table(("OpenPBS says", "State"), rows)


def schemes() -> str:
    """The schemes of URLs."""
    return ", ".join(f"`{each}`" for each in urls.schemes())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PARTS: dict[str, Callable[[], str]] = {
    "cells": cells,
    "cli": cli,
    "configuration": configuration,
    "errors": error_tree,
    "exit-codes": exit_codes,
    "gridengine-states": gridengine_states,
    "htcondor-states": htcondor_states,
    "json": json_documents,
    "needs": needs,
    "oar-states": oar_states,
    "pbs-states": pbs_states,
    "process-states": process_states,
    "reasons": reasons,
    "schemes": schemes,
    "slurm-states": slurm_states,
    "support": support,
    **EXCERPTS,
}
_MARK = re.compile(r"<!-- generate: (\S+) -->")


def fill(text: str) -> str:
    """Put what is generated in the place of each `<!-- generate: PART -->`.

    Raises:
        KeyError: There is no such part.
    """
    return _MARK.sub(lambda found: PARTS[found[1]](), text)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill a page of the documentation; called by MkDocs."""
    return fill(markdown)
