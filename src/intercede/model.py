"""What the caller says: descriptions of jobs, copies, and references to jobs.

Everything here comes from outside, so it is validated, and frozen from then on. Text may hold any bytes but NUL:
bytes that are not UTF-8 are carried as `surrogateescape`, as Python does for arguments and file names.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretBytes,
    ValidationError,
    model_validator,
)

from intercede.errors import ConfigurationError, InvalidReference

__all__ = [
    "Copy",
    "JobDescription",
    "JobRef",
    "Resources",
    "Text",
    "check_tag",
    "explain",
    "parse_memory",
    "parse_walltime",
]

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b?)\s*\Z", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d{1,2})(?::(\d{1,2}))?\Z")
_SPAN = re.compile(r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\Z", re.IGNORECASE)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        msg = f"text is wanted, not {type(value).__name__}"
        raise ValueError(msg)
    if "\0" in value:
        msg = "no process can be given a NUL byte"
        raise ValueError(msg)
    return value


def _variable(value: object) -> str:
    name = _text(value)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        msg = f"{name!r} is no name of an environment variable (letters, digits and _, no digit first)"
        raise ValueError(msg)
    return name


def _file_name(value: object) -> str:
    name = _text(value)
    if name in {"", ".", ".."} or "/" in name or len(name.encode("utf-8", "surrogateescape")) > 255:
        msg = f"{name!r} is not a plain file name of at most 255 bytes"
        raise ValueError(msg)
    return name


def _inner_path(value: object) -> str:
    text = _text(value)
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
        msg = f"{text!r} does not stay inside the job's working directory"
        raise ValueError(msg)
    return str(path)


def _image(value: object) -> str:
    text = _text(value)
    if not text or text.startswith("-"):
        msg = f"{text!r} is no image: a launcher would take it for an option"
        raise ValueError(msg)
    return text


def _reservable(names: frozenset[str]) -> frozenset[str]:
    if unknown := names - {"cores", "gpus", "nodes", "memory", "walltime"}:
        msg = f"{', '.join(sorted(unknown))} cannot be reserved by any system"
        raise ValueError(msg)
    return names


def parse_memory(value: object) -> object:
    """Read an amount of memory.

    Args:
        value: Bytes, or text such as `4G`, `4GiB` (both 4 x 1024^3, as Slurm and PBS mean it) or `4GB` (4 x 1000^3).

    Returns:
        Bytes, rounded up; anything else is handed back for the caller's validation to refuse.
    """
    if not isinstance(value, str):
        return value
    found = _MEMORY.match(value)
    if not found:
        msg = f"{value!r} is no amount of memory (such as 500M, 4G, 4GB)"
        raise ValueError(msg)
    number, unit, suffix = found.groups()
    base = 1000 if suffix.lower() == "b" and unit else 1024
    return -int(-float(number) * base ** " kmgt".index(unit.lower() or " ") // 1)


def parse_walltime(value: object) -> object:
    """Read a span of time.

    Args:
        value: A `timedelta`, seconds, or text such as `90s`, `10m`, `1d12h`, `01:30:00` or `1-12:00:00`.

    Returns:
        The `timedelta`; anything else is handed back for the caller's validation (ISO 8601 is read there).
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if (found := _CLOCK.match(text)) or (found := _SPAN.match(text)):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not text.startswith("P"):
        msg = f"{value!r} is no span of time (such as 90s, 10m, 1d12h, 01:30:00)"
        raise ValueError(msg)
    return text


def _positive_span(value: timedelta) -> timedelta:
    if value.total_seconds() < 1:
        msg = f"{value} is not at least one second"
        raise ValueError(msg)
    return value


Text = Annotated[str, PlainValidator(_text)]
Variable = Annotated[str, PlainValidator(_variable)]
FileName = Annotated[str, PlainValidator(_file_name)]
SchedulerName = Literal["slurm", "htcondor", "pbs", "torque", "gridengine", "oar", "lsf", "arc", "process"]
Image = Annotated[str, PlainValidator(_image)]
InnerPath = Annotated[str, PlainValidator(_inner_path)]
Memory = Annotated[int, BeforeValidator(parse_memory), Field(gt=0)]
Span = Annotated[timedelta, BeforeValidator(parse_walltime)]
Walltime = Annotated[Span, AfterValidator(_positive_span)]
BestEffort = Annotated[frozenset[str], AfterValidator(_reservable)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$", max_length=128)]


class Frozen(BaseModel):
    """The base of all that comes from outside: strict about names, immutable once made."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Resources(Frozen):
    """What one job is given, in total, whatever the system's own units are.

    What a system cannot reserve is refused before anything is queued, unless `best_effort` names it.

    Attributes:
        cores: CPU cores; divided per node where the system wants it so, rounded up.
        gpus: Graphics processors.
        nodes: Nodes; the payload starts once, on the first.
        memory: Bytes (`4G` is read too).
        walltime: The longest that it may run (`2h`, `01:30:00` are read too); rounded up to the system's unit.
        queue: Slurm partition; PBS, LSF, OAR, ARC queue. Default: the resource's, else the site's own.
        account: Whom the site charges.
        best_effort: Names of fields above that may be ignored where the system cannot reserve them.

    Raises:
        pydantic.ValidationError: A field is wrong. It is a ValueError, no IntercedeError.
    """

    cores: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    gpus: Annotated[int, Field(ge=0, le=100_000)] = 0
    nodes: Annotated[int, Field(ge=1, le=100_000)] = 1
    memory: Memory | None = None
    walltime: Walltime | None = None
    queue: Name | None = None
    account: Name | None = None
    best_effort: BestEffort = frozenset()


class Copy(Frozen):
    """What differs between the copies of one description.

    Attributes:
        key: The caller's own identifier, given back with every reference, from `find` too. Default: the index.
        environment: Variables on top of the description's. The site can read them.
        secrets: Files by name, mode 0600, in the directory that the payload finds in `INTERCEDE_SECRETS`. They are
            never in a job's description, command line or environment.
        arguments: Words after the description's.

    Raises:
        pydantic.ValidationError: A field is wrong. It is a ValueError, no IntercedeError.
    """

    key: Annotated[Text, Field(max_length=255)] | None = None
    environment: dict[Variable, Text] = Field(default_factory=dict)
    secrets: dict[FileName, SecretBytes] = Field(default_factory=dict, repr=False)
    arguments: tuple[Text, ...] = ()


class JobDescription(Frozen):
    """What is to run, the same for all copies.

    Attributes:
        executable: A name that the site's PATH knows, an absolute path there, or `./name` of one of `inputs`.
        arguments: Its words; any bytes but NUL arrive as they are.
        environment: Variables of the payload; the site can read them.
        inherit: Names of variables of the *submitting* process that the payload gets as well. Nothing else of the
            client's environment reaches it.
        secrets: Files for every copy, like `Copy.secrets`.
        inputs: Local files or directories by the name under which the job finds them in its working directory.
            They travel once a submission. They are links there: the payload is not to write through them.
        outputs: What to bring back besides stdout and stderr: names, shell patterns, or directories, inside the
            working directory.
        resources: What the job is given.
        container: An image to run the payload in, through the resource's configured launcher.
        native: More words for the submit command, by scheduler name: `{"slurm": ["--constraint=ib"]}`. Those for
            other schedulers than the resource's are not used.
        requeue: Whether the scheduler may start the job again after a lost node or a preemption.

    Raises:
        pydantic.ValidationError: A field is wrong. It is a ValueError, no IntercedeError.
    """

    executable: Text
    arguments: tuple[Text, ...] = ()
    environment: dict[Variable, Text] = Field(default_factory=dict)
    inherit: tuple[Variable, ...] = ()
    secrets: dict[FileName, SecretBytes] = Field(default_factory=dict, repr=False)
    inputs: dict[InnerPath, Path] = Field(default_factory=dict)
    outputs: tuple[InnerPath, ...] = ()
    resources: Resources = Resources()
    container: Image | None = None
    native: dict[SchedulerName, tuple[Text, ...]] = Field(default_factory=dict)
    requeue: bool = False

    @model_validator(mode="after")
    def _executable_is_somewhere(self) -> JobDescription:
        program = self.executable
        if not program:
            msg = "executable: it is empty"
            raise ValueError(msg)
        if "/" in program and not program.startswith("/"):
            inner = _inner_path(program)
            if not any(inner == name or inner.startswith(f"{name}/") for name in self.inputs):
                msg = f"executable: {program!r} is relative, and no input of that name is shipped"
                raise ValueError(msg)
        return self


def check_tag(tag: str) -> str:
    """Give back a tag that every system can carry.

    Raises:
        ConfigurationError: It is not 1 to 64 of the letters, digits and `._-`, the first a letter or digit.
    """
    if not TAG.match(tag):
        asked = f"tag {tag!r}"
        raise ConfigurationError(
            asked,
            "a tag is 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or a digit",
            "Choose another tag.",
        )
    return tag


class _Reference(NamedTuple):
    resource: str
    submission: str
    copy_index: int
    native: str


_REFERENCE = {
    "resource": re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_/\[\]:-]{0,119}"),
    "submission": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    "copy_index": re.compile(r"0|[1-9]\d{0,6}", re.ASCII),
    "native": re.compile(r"[A-Za-z0-9][A-Za-z0-9._@\[\]-]{0,55}"),
}


class JobRef(_Reference):
    """The durable name of one submitted job: valid in another process on another day.

    `str(ref)` is `ic1:<resource>:<submission>:<copy>:<native id>`, ASCII, at most 255 characters, and holds no
    secret, path, user or queue; `JobRef.parse` reads it back. (A tuple, because there may be very many at once.)

    Attributes:
        resource: The resource's configured name, else its canonical scheme, host and port.
        submission: The tag of the submission.
        copy_index: Which copy of it, from 0.
        native: The scheduler's own identifier.

    Raises:
        InvalidReference: A part is not as it must be.
    """

    __slots__ = ()

    def __new__(cls, resource: str, submission: str, copy_index: int, native: str) -> JobRef:
        """Check the parts and put them together."""
        self = super().__new__(cls, resource, submission, copy_index, native)
        for name, part in zip(cls._fields, self, strict=True):
            if not _REFERENCE[name].fullmatch(str(part)):
                raise InvalidReference(f"job reference {str(self)[:300]!r}", f"{name}: {str(part)[:80]!r} is none")
        return self

    def __str__(self) -> str:
        return f"ic1:{self.resource}:{self.submission}:{self.copy_index}:{self.native}"

    @classmethod
    def parse(cls, text: str) -> JobRef:
        """Read a reference.

        Args:
            text: What `str(ref)` gave.

        Raises:
            InvalidReference: It is no reference, was cut or changed, or was made by a newer release.
        """
        head, _, rest = text.strip().partition(":")
        parts = rest.rsplit(":", 3)
        wrong = f"job reference {text[:300]!r}"
        if head != "ic1" and re.fullmatch(r"ic\d+", head):
            raise InvalidReference(wrong, f"its format {head} is newer than this release", "Update intercede.")
        if head != "ic1" or len(parts) != 4 or not _REFERENCE["copy_index"].fullmatch(parts[2]):
            raise InvalidReference(
                wrong, "it does not read ic1:<resource>:<submission>:<copy>:<native id>", "Was it cut?"
            )
        resource, submission, copy, native = parts
        return cls(resource, submission, int(copy), native)


def explain(error: ValidationError) -> str:
    """Say in one line which fields are wrong and why, without showing the values (they may be secret)."""
    said = []
    for entry in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in entry["loc"] if part != "[key]")
        message = entry["msg"].removeprefix("Value error, ")
        said.append(f"{field}: {message}" if field else message)
    return "; ".join(said)


def make(model: type[Frozen], asked: str, **values: Any) -> Any:
    """Build a model and turn what is wrong with it into a `ConfigurationError` that names the fields."""
    try:
        return model(**values)
    except ValidationError as error:
        raise ConfigurationError(asked, explain(error)) from None
