"""What a resource's configuration may say, validated. `config.py` fills it from files and URLs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from intercede.model import BestEffort, Frozen, Memory, Name, Span, Text, Variable

__all__ = ["Endpoint", "Hop", "Limits", "Politeness", "ResourceSettings", "SSHSettings", "WorkArea"]


def _work_area(value: object) -> str:
    text = str(value)
    if not re.fullmatch(r"(~/|/)?[^\0\n\\]+", text) or ".." in text.split("/") or text in {"/", "~"}:
        msg = f"{text!r} is no directory for a work area (absolute, or below the home directory; no '..', no backslash)"
        raise ValueError(msg)
    return text


def _host(value: str) -> str:
    # such a name is no question to put to DNS, and libraries raise what is nobody's error
    if ":" not in value and any(not 1 <= len(label) <= 63 for label in value.removesuffix(".").split(".")):
        msg = f"{value!r} is no host: each part between two dots has 1 to 63 characters"
        raise ValueError(msg)
    return value


WorkArea = Annotated[str, PlainValidator(_work_area)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:][A-Za-z0-9._:%-]*$", max_length=253), AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Hop(Frozen):
    """One SSH server on the way: a jump host, or the submit host itself.

    Attributes:
        host: Name or address, or an alias of the user's OpenSSH configuration.
        port: Default: what the OpenSSH configuration says, else 22.
        user: Default: what the OpenSSH configuration says, else the local user.
        identity_files: Private keys to try, before those of the OpenSSH configuration.
        host_keys: Pinned keys (`ssh-ed25519 AAAA…`). If given, no known_hosts file is consulted for this hop.
        known_hosts: The file to check against instead of the OpenSSH configuration's.
    """

    host: Host
    port: Port | None = None
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+$-]*$", max_length=64)] | None = None
    identity_files: tuple[Path, ...] = ()
    host_keys: tuple[str, ...] = ()
    known_hosts: Path | None = None


class SSHSettings(Hop):
    """How to reach the submit host.

    Attributes:
        jump: Hosts to pass through, the first one first, each with its own identity. Default: ProxyJump of the
            OpenSSH configuration.
        config_file: The OpenSSH configuration to honour. Default: `~/.ssh/config`; an empty path is none.
        agent: Whether an agent may be asked; `agent_path` or SSH_AUTH_SOCK (read by `config.py`) say where it is.
        agent_path: The agent's socket.
        connect_timeout: Seconds for one connection, authentication included.
        keepalive: Seconds between keep-alives; three missed ones mean that the connection is lost.
        max_channels: Commands at once on one connection; what the server refuses beyond that is learned.
    """

    jump: tuple[Hop, ...] | None = None
    config_file: Path | None = None
    agent: bool = True
    agent_path: Path | None = None
    connect_timeout: Seconds = 30
    keepalive: Seconds = 15
    max_channels: Annotated[int, Field(ge=1, le=1000)] = 8


class Endpoint(Frozen):
    """A service of its own that takes jobs over the network, such as a CE.

    Attributes:
        host: Its name; certificates are checked against it.
        port: Where it listens.
        ca: The certificates of the authorities to trust: a file, or a directory as grids have it (hashed names, with
            revocation lists beside them). Default: `/etc/grid-security/certificates` if it is there, else the system's.
        retention: For HTCondor: how long an ended job is kept there with what it left.
        proxy_with_jobs: For HTCondor: whether each job is given a proxy, which the provider is asked for besides what
            is shown to the CE; the payload finds it by `X509_USER_PROXY`.
        containers: For ARC: by image, the runtime environment of the site that runs payloads in that very image.
    """

    host: Host
    port: Port
    ca: Path | None = None
    retention: Span = Field(default="7d", validate_default=True)
    proxy_with_jobs: bool = False
    containers: dict[Text, Text] = Field(default_factory=dict)


class Limits(Frozen):
    """Bounds on what a job may send back, and on how long anything may take.

    Attributes:
        output_bytes: Per job and fetch; what is larger stays behind and is named.
        output_files: Per job and fetch.
        output_time: Seconds for one fetch of any number of jobs.
        log_bytes: Per `read_log` call.
        command_time: Seconds for one execution that asks.
        submit_time: Seconds for one execution that submits; a second more for each megabyte of inputs.
    """

    output_bytes: Memory = 1024**3
    output_files: Annotated[int, Field(ge=1)] = 10_000
    output_time: Seconds = 3600
    log_bytes: Memory = 1024**2
    command_time: Seconds = 60
    submit_time: Seconds = 120


class Politeness(Frozen):
    """How hard a host may be worked, shared by all elements of an event loop.

    Attributes:
        concurrent: Commands at once on the host.
        min_interval: Least seconds between two queries of a watch.
        max_interval: The longest that a watch waits between two queries when nothing changes.
    """

    concurrent: Annotated[int, Field(ge=1, le=100)] = 4
    min_interval: Seconds = 1
    max_interval: Seconds = 30


class ResourceSettings(Frozen):
    """Everything that a site needs said about one resource.

    Attributes:
        id: The stable name in references: the configured name, else scheme, host and port.
        scheduler: Its command language, such as `process` or `slurm`; of a service, its protocol.
        ssh: How to reach it. Default: it is this machine.
        endpoint: Where the service is, for what is no batch system that is reached by commands.
        work_area: A directory of the submit host, ours alone, mode 0700; nodes see it as well, but for HTCondor's.
        queue: The queue of jobs that name none.
        account: Whom the site charges, for jobs that name none.
        native: Words for every submit command.
        preamble: Shell lines that every job runs before its payload (`module load …`). It is code: keep the
            configuration file as safe as your shell's profile.
        environment: Variables of every payload, below the description's.
        container_launcher: Words that start a payload in an image: `{image}` is the image, `{directory}` the working
            directory, `{inputs}` the directory that the inputs in it are links to, `{secrets}` that of the secrets.
        container_universe: For HTCondor, in place of a launcher: its own container universe runs the job in the image,
            on slots that have `HasContainer`.
        parallel_environment: For Grid Engine: the parallel environment that gives a job several cores of one node.
        memory_resource: For Grid Engine: the resource, counted per slot, that stands for memory.
        slots: For `process`: cores that jobs may use at once. Default: all that the host has.
        best_effort: Resources that may be ignored where the system cannot reserve them.
        grace: Seconds that a job may be invisible (fresh, or between two sources) before it is `UNKNOWN`.
        lost_after: How long a job may be unknown, with all sources answering, until it is final: `FAILED`, `LOST`.
        tombstone: How long a purged submission's tag is remembered at least; on a submit host in whole days, and until
            the next `list` or `sweep` after that. Of an HTCondor-CE, its history decides.
        patience: Seconds for which a watch bears with a resource that does not answer.
        limits: Bounds.
        politeness: Bounds on load.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_/\[\]:-]*$", max_length=120)]
    scheduler: str
    ssh: SSHSettings | None = None
    endpoint: Endpoint | None = None
    work_area: WorkArea = "~/.intercede"
    queue: Name | None = None
    account: Name | None = None
    native: tuple[Text, ...] = ()
    preamble: Text = ""
    environment: dict[Variable, Text] = Field(default_factory=dict)
    container_launcher: tuple[Text, ...] = ()
    container_universe: bool = False
    parallel_environment: Name = "smp"
    memory_resource: Name = "h_vmem"
    slots: Annotated[int, Field(ge=1, le=100_000)] | None = None
    best_effort: BestEffort = frozenset()
    grace: Seconds = 90
    lost_after: Span = Field(default="1d", validate_default=True)
    tombstone: Span = Field(default="7d", validate_default=True)
    patience: Seconds = 600
    limits: Limits = Limits()
    politeness: Politeness = Politeness()

    @property
    def language(self) -> str:
        """Whose words `native` has: those for an HTCondor-CE are HTCondor's."""
        return "htcondor" if self.scheduler == "htcondor-ce" else self.scheduler

    @model_validator(mode="after")
    def _one_way_into_an_image(self) -> ResourceSettings:
        if self.container_universe and self.container_launcher:
            msg = "container_universe: there is a container_launcher as well"
            raise ValueError(msg)
        if self.container_universe and self.language != "htcondor":
            msg = f"container_universe: {self.scheduler} has none"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _launcher_names_the_image(self) -> ResourceSettings:
        if self.container_launcher and not any("{image}" in word for word in self.container_launcher):
            msg = "container_launcher: no word of it says {image}"
            raise ValueError(msg)
        return self
