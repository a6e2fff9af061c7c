"""Where the testbed keeps its state, who owns a run, and which containers nobody owns any more."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABEL = "intercede-testbed"
OWNER_LABEL = "intercede-testbed.owner"
# Where the run's directory is: other users of the engine, and other state directories, are none of our business
STATE_LABEL = "intercede-testbed.state"
# Where all runs of this state directory are: by this one networks and volumes are found
ROOT_LABEL = "intercede-testbed.root"
PREFIX = "intercede-testbed-"
# In the run's file `owner` once `up --keep` has left it running: until somebody takes it down
KEPT = "kept"


def private_dir(path: Path) -> Path:
    """Make a directory that only this user can read, and those above it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def state_root() -> Path:
    """Say where this user's state is: `$XDG_STATE_HOME/intercede-testbed`, `~/.local/state/...` by default."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return private_dir(Path(base).expanduser() / "intercede-testbed")


def runs_dir() -> Path:
    """Say where the runs are, a directory each, with one for each stack inside."""
    return private_dir(state_root() / "runs")


def new_run_id() -> str:
    """Make up the name of a run."""
    return secrets.token_hex(4)


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold a file's lock; whoever wants it too waits, in this process or another. A killed holder lets go."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def process_owner(pid: int | None = None) -> str:
    """Name a process so that a later one with the same number is not taken for it (on Linux)."""
    pid = pid or os.getpid()
    return f"{pid}:{_start_time(pid)}"


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # Field 22 of proc(5); the second, the program's name, may itself hold blanks and parentheses
    return stat.rpartition(")")[2].split()[19]


def is_alive(owner: str) -> bool:
    """Say whether the process that owns a run is still there."""
    number, _, started = owner.partition(":")
    if not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but there
    return _start_time(int(number)) == started


@dataclass(frozen=True)
class Container:
    """What the testbed wants to know of a container.

    Attributes:
        ident: The engine's identifier.
        run: The run it belongs to.
        owner: The process that takes it down, see `process_owner`.
        state: The run's directory.
    """

    ident: str
    run: str
    owner: str
    state: Path


def parse_containers(descriptions: Iterable[dict[str, Any]], runs: Path) -> list[Container]:
    """Pick out of an engine's `inspect` what are the containers of the runs below a directory."""
    found = []
    for description in descriptions:
        labels = description.get("Config", {}).get("Labels") or {}
        state = Path(labels.get(STATE_LABEL, ""))
        if LABEL in labels and state.parent == runs:
            found.append(Container(description["Id"], labels[LABEL], labels.get(OWNER_LABEL, ""), state))
    return found


def resource_name(run: str, stack: str) -> str:
    """Name what a stack has of its own: its container, network and volume."""
    return f"{PREFIX}{run}-{stack}"


def run_of(name: str) -> str:
    """Say which run a container, network or volume of such a name belongs to."""
    return name.removeprefix(PREFIX).partition("-")[0]


def set_owner(run_dir: Path, owner: str) -> None:
    """Write down who takes a run down: a process, or `KEPT`."""
    (run_dir / "owner").write_text(owner)


def is_kept(run_dir: Path) -> bool:
    """Say whether a run is to stay up without its process."""
    return _owner_of(run_dir) == KEPT


def is_abandoned(run_dir: Path) -> bool:
    """Say whether nobody will take a run down; not (yet) of one that does not say whose it is."""
    owner = _owner_of(run_dir)
    return owner not in ("", KEPT) and not is_alive(owner)


def _owner_of(run_dir: Path) -> str:
    try:
        return (run_dir / "owner").read_text()
    except OSError:
        return ""


def leftovers(containers: Iterable[Container]) -> list[Container]:
    """Pick those whose owner was killed before it could take them down."""
    return [container for container in containers if not is_alive(container.owner) and not is_kept(container.state)]
