"""The options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

_JOB, _HAVE, _PLACE = "What the job needs", "What the job gets and gives", "Where"


def _places(incomplete: str) -> list[str]:
    from intercede.cli.completing import places

    return places(incomplete)


def _submissions(incomplete: str) -> list[str]:
    from intercede.cli.completing import submissions

    return submissions(incomplete)


def _option(panel: str | None, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


On = Annotated[
    str | None,
    _option(
        _PLACE,
        "A URL such as ssh+slurm://alice@login.example.org/long, or a name of intercede.toml. Default: this machine.",
        "--on",
        metavar="WHERE",
        autocompletion=_places,
    ),
]
ConfigFile = Annotated[
    str | None, _option(_PLACE, "Read this instead of your intercede.toml.", "--config", metavar="FILE")
]
SSHConfig = Annotated[
    str | None, _option(_PLACE, "Read this instead of ~/.ssh/config.", "--ssh-config", metavar="FILE")
]
Identity = Annotated[str | None, _option(_PLACE, "Try this private key first.", "--identity", metavar="FILE")]
PasswordFile = Annotated[
    str | None,
    _option(_PLACE, "Its first line is the password of the account.", "--password-file", metavar="FILE"),
]
TokenFile = Annotated[
    str | None,
    _option(_PLACE, "Its first line is the bearer token that a CE is shown.", "--token-file", metavar="FILE"),
]
CondorTokenFile = Annotated[
    str | None,
    _option(_PLACE, "Its first line is the IDTOKEN that an HTCondor-CE is shown.", "--idtoken-file", metavar="FILE"),
]
ProxyFile = Annotated[
    str | None,
    _option(_PLACE, "The X.509 proxy (or certificate and key) that a CE is shown.", "--proxy-file", metavar="FILE"),
]

Program = Annotated[
    list[str],
    typer.Argument(
        metavar="PROGRAM [ARGS]...",
        help="What to run. A PROGRAM with a / that is a file here is sent along; else it is one of the other side.",
        show_default=False,
    ),
]
Copies = Annotated[
    int,
    _option(
        _JOB,
        "How many copies; each finds its number in INTERCEDE_COPY.",
        "-n",
        "--copies",
        min=1,
        max=1_000_000,
        metavar="N",
    ),
]
Cores = Annotated[int, _option(_JOB, "CPU cores of one job.", "--cores", min=1, metavar="N")]
Gpus = Annotated[int, _option(_JOB, "Graphics processors of one job.", "--gpus", min=0, metavar="N")]
Nodes = Annotated[int, _option(_JOB, "Nodes of one job.", "--nodes", min=1, metavar="N")]
Memory = Annotated[str | None, _option(_JOB, "Memory of one job, such as 4G.", "--memory", metavar="SIZE")]
Walltime = Annotated[
    str | None, _option(_JOB, "The longest that it may run, such as 2h or 01:30:00.", "--walltime", metavar="TIME")
]
Queue = Annotated[str | None, _option(_JOB, "The queue (partition) to wait in.", "--queue", metavar="NAME")]
Account = Annotated[str | None, _option(_JOB, "Whom the site charges.", "--account", metavar="NAME")]
BestEffort = Annotated[
    list[str],
    _option(
        _JOB,
        "Ignore this need (cores, gpus, nodes, memory, walltime) where it cannot be reserved.",
        "--best-effort",
        metavar="NEED",
        default_factory=list,
        show_default=False,
    ),
]
Container = Annotated[str | None, _option(_JOB, "Run it in this image.", "--container", metavar="IMAGE")]
Native = Annotated[
    list[str],
    _option(
        _JOB,
        "A further word for the site's submit command.",
        "--native",
        metavar="WORD",
        default_factory=list,
        show_default=False,
    ),
]
Requeue = Annotated[
    bool, _option(_JOB, "Let the scheduler start it again after a lost node or a preemption.", "--requeue")
]
Inputs = Annotated[
    list[str],
    _option(
        _HAVE,
        "A file or directory to send along, found by its own name or by NAME.",
        "-i",
        "--input",
        metavar="[NAME=]FILE",
        default_factory=list,
        show_default=False,
    ),
]
Outputs = Annotated[
    list[str],
    _option(
        _HAVE,
        "What to bring back: a name, a directory, or a quoted pattern such as 'hist_*.root'.",
        "-o",
        "--output",
        metavar="PATTERN",
        default_factory=list,
        show_default=False,
    ),
]
Environment = Annotated[
    list[str],
    _option(
        _HAVE,
        "A variable for the job; the site can read it.",
        "-e",
        "--env",
        metavar="NAME=VALUE",
        default_factory=list,
        show_default=False,
    ),
]
Inherit = Annotated[
    list[str],
    _option(
        _HAVE,
        "Give the job this variable of yours.",
        "--inherit",
        metavar="NAME",
        default_factory=list,
        show_default=False,
    ),
]
Secrets = Annotated[
    list[str],
    _option(
        _HAVE,
        "A secret file for the job, found in the directory INTERCEDE_SECRETS.",
        "--secret",
        metavar="NAME=FILE",
        default_factory=list,
        show_default=False,
    ),
]
Tag = Annotated[
    str | None,
    _option(_PLACE, "Your own key of this submission; the same tag twice never runs twice.", "--tag", metavar="TAG"),
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Selection = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[JOBS]...",
        help="@last, TAG, TAG:17, TAG:3-9, or full references ic1:...",
        show_default="@last",
        autocompletion=_submissions,
    ),
]
Needed = Annotated[
    list[str],
    typer.Argument(
        metavar="JOBS...",
        help="@last, TAG, TAG:17, TAG:3-9, or full references ic1:...",
        show_default=False,
        autocompletion=_submissions,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Access:
    """Which resource is meant, and what it takes to reach it; remembered with a submission."""

    on: On = None
    config: ConfigFile = None
    ssh_config: SSHConfig = None
    identity: Identity = None
    password_file: PasswordFile = None
    token_file: TokenFile = None
    idtoken_file: CondorTokenFile = None
    proxy_file: ProxyFile = None


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is to run, in the words of the command line."""

    copies: Copies = 1
    cores: Cores = 1
    gpus: Gpus = 0
    nodes: Nodes = 1
    memory: Memory = None
    walltime: Walltime = None
    queue: Queue = None
    account: Account = None
    best_effort: BestEffort
    container: Container = None
    native: Native
    requeue: Requeue = False
    inputs: Inputs
    outputs: Outputs
    environment: Environment
    inherit: Inherit
    secrets: Secrets
    tag: Tag = None
