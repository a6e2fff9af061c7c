"""The files of one submission, as text: what the job's script reads, and what we read back.

Everything of the caller's is quoted here, and only here, for the POSIX shell that reads it on the node.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote as percent
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from intercede.model import Copy, JobDescription
    from intercede.settings import ResourceSettings

__all__ = ["copies_text", "digest", "job_text", "keys_text", "outputs_text", "quote", "read_keys"]

_PLAIN = re.compile(rb"[A-Za-z0-9_@%+=:,./-]+\Z")


def encode(text: str) -> bytes:
    """Text as the bytes that the caller meant."""
    return text.encode("utf-8", "surrogateescape")


def quote(text: str | bytes) -> bytes:
    """One word for a POSIX shell, whatever is in it but NUL."""
    data = encode(text) if isinstance(text, str) else text
    return data if _PLAIN.match(data) else b"'" + data.replace(b"'", b"'\\''") + b"'"


def _one_line(word: str) -> bytes:
    """A quoted word without a newline in it: `ic_nl` holds one when the line is evaluated."""
    return quote(word).replace(b"\n", b"'\"$ic_nl\"'")


def _launcher(settings: ResourceSettings, image: str) -> list[bytes]:
    """The launcher's words; the directories are known on the node only."""
    words = []
    for word in settings.container_launcher:
        pieces = re.split(r"(\{image\}|\{directory\}|\{inputs\}|\{secrets\})", word)
        known = {
            "{image}": quote(image),
            "{directory}": b'"$ic_here/work"',
            "{inputs}": b'"$ic_dir/in"',
            "{secrets}": b'"$ic_secrets"',
        }
        words.append(b"".join(known[piece] if piece in known else quote(piece) for piece in pieces if piece))
    return words


def job_text(description: JobDescription, settings: ResourceSettings, tag: str, inherited: Mapping[str, str]) -> bytes:
    """The file `job`: what all copies have in common.

    The order is the site's environment and preamble, what is inherited, the description's, the copy's; the later wins.
    """
    variables = {**inherited, **description.environment}
    ours = b'INTERCEDE_TAG=%s INTERCEDE_COPY="$ic_copy" INTERCEDE_SECRETS="$ic_secrets"' % quote(tag)
    pairs = b" ".join([ours, *(quote(f"{name}={value}") for name, value in variables.items())])
    words = [quote(description.executable), *(quote(word) for word in description.arguments), b'"$@"']
    if "=" in description.executable:  # env would take it for an assignment
        words = [b"sh", b"-c", b"'exec \"$@\"'", b"sh", *words]
    image = description.container if settings.container_launcher else None
    if image is not None:
        words = [*_launcher(settings, image), *words]
    # what a launcher is told to show in the image must be there
    first = b'mkdir -p -m 700 "$ic_dir/in" "$ic_secrets"; ' if image is not None else b""
    site = [b"export %s" % quote(f"{name}={value}") for name, value in settings.environment.items()]
    lines = [
        b'ic_job_vars() { exec $ic_env %s "$@"; }' % pairs,
        b'ic_vars() { ic_job_vars "$@"; }',
        b"ic_site() {",
        *site,
        *([encode(settings.preamble)] if settings.preamble else []),
        b":",
        b"}",
        b"ic_payload() { %sic_site; ic_vars %s; }" % (first, b" ".join(words)),
    ]
    return b"\n".join(lines) + b"\n"


def copies_text(copies: Sequence[Copy]) -> bytes:
    """The file `copies`: a line for each, evaluated by its job; empty if nothing differs."""
    if not any(copy.environment or copy.arguments or copy.key is not None for copy in copies):
        return b""
    lines = []
    for index, copy in enumerate(copies):
        variables = {"INTERCEDE_KEY": copy.key if copy.key is not None else str(index), **copy.environment}
        pairs = b" ".join(_one_line(f"{name}={value}") for name, value in variables.items())
        line = b'ic_vars() { ic_job_vars env %s "$@"; }' % pairs
        if copy.arguments:
            line += b"; set -- " + b" ".join(_one_line(word) for word in copy.arguments)
        lines.append(line)
    return b"\n".join(lines) + b"\n"


def outputs_text(description: JobDescription) -> bytes:
    """The file `outputs`: a function that names each declared pattern."""
    body = b"".join(b"output %s\n" % quote(pattern) for pattern in description.outputs)
    return b"ic_outputs() {\n%s:\n}\n" % body


def keys_text(copies: Sequence[Copy]) -> bytes:
    """The file `keys`: a line for each copy; empty if all are the default."""
    if all(copy.key is None for copy in copies):
        return b""
    keys = (copy.key if copy.key is not None else str(index) for index, copy in enumerate(copies))
    return "".join(percent(encode(key), safe="") + "\n" for key in keys).encode()


def read_keys(text: str, count: int) -> tuple[str, ...]:
    """Read the file `keys`; what is missing is the index."""
    lines = text.split("\n") if text else []
    keys = [unquote_to_bytes(line).decode("utf-8", "surrogateescape") for line in lines[:count]]
    return (*keys, *(str(index) for index in range(len(keys), count)))


def digest(resource: str, description: JobDescription, copies: Sequence[Copy], inherited: Mapping[str, str]) -> str:
    """What two submissions under one tag must agree in. Secrets are not part of it, nor the content of inputs."""
    shape = description.model_dump(mode="python", exclude={"secrets", "inputs"})
    shape["resources"]["best_effort"] = sorted(shape["resources"]["best_effort"])
    parts = [
        resource,
        shape,
        sorted(description.secrets),
        sorted((name, str(path)) for name, path in description.inputs.items()),
        dict(inherited),
        [(copy.key, copy.environment, copy.arguments, sorted(copy.secrets)) for copy in copies],
    ]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
