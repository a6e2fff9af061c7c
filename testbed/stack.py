"""A stack that is up: what a test or a person does with it."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from testbed.engine import Engine, find_engine
from testbed.errors import TestbedError
from testbed.manifest import StackSpec, find_stack
from testbed.state import private_dir

HOST = "127.0.0.1"
# bash twice, then fish and tcsh with profiles that print to stdout and stderr at every login
USERS = ("alice", "bob", "carol", "dave")
NODE = "testbed-node"


@dataclass(frozen=True)
class StackState:
    """What another process needs to know to use a stack: kept as JSON in the stack's directory.

    Attributes:
        stack: Its name in the manifest.
        run: The run it belongs to.
        container: Its container's name.
        image: The image that it runs.
        ssh_port: Where its sshd is published, on 127.0.0.1.
        version: What its system says that it is.
    """

    stack: str
    run: str
    container: str
    image: str
    ssh_port: int
    version: str = ""

    def save(self, directory: Path) -> None:
        """Write it, at once and whole, to a stack's directory."""
        part = directory / "state.part"
        part.write_text(json.dumps(asdict(self)))
        part.replace(directory / "state.json")

    @classmethod
    def load(cls, directory: Path) -> "StackState | None":
        """Read it from a stack's directory; None if there is none (yet, or any more)."""
        try:
            return cls(**json.loads((directory / "state.json").read_text()))
        except FileNotFoundError:
            return None


class Daemon:
    """One daemon of a stack. Each call returns when it is done, not when the rest of the stack has noticed."""

    def __init__(self, stack: "Stack", name: str) -> None:
        self._stack = stack
        self.name = name

    def stop(self) -> None:
        """End it as an administrator would, after 20 s by force; nothing if it does not run."""
        self._do("stop")

    def start(self) -> None:
        """Start it and wait until it answers; nothing if it runs already."""
        self._do("start")

    def freeze(self) -> None:
        """Stop it where it is (SIGSTOP): connections are still accepted, nothing is answered.

        Raises:
            TestbedError: It does not run.
        """
        self._do("freeze")

    def thaw(self) -> None:
        """Let it go on (SIGCONT).

        Raises:
            TestbedError: It does not run.
        """
        self._do("thaw")

    def _do(self, what: str) -> None:
        self._stack.exec([NODE, what, self.name])


class Stack:
    """A running stack: one or more daemons, users who may log in, and where all of it is reached.

    Attributes:
        spec: Its line of the manifest.
        state: Its run, container, image and port.
        directory: Where its keys and its `ssh_config` are; private to this user, gone when it is closed.
    """

    host = HOST
    users = USERS

    def __init__(self, spec: StackSpec, state: StackState, directory: Path, engine: Engine) -> None:
        self.spec = spec
        self.state = state
        self.directory = directory
        self._engine = engine

    @classmethod
    def attach(cls, directory: Path) -> "Stack":
        """Use a stack that is up already, whoever started it.

        Raises:
            TestbedError: Nothing is (or is any more) in that directory.
        """
        state = StackState.load(directory)
        if state is None:
            raise TestbedError(f"no stack in {directory}")
        return cls(find_stack(state.stack), state, directory, find_engine())

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return self.spec.name

    @property
    def version(self) -> str:
        """The version its system reports, such as "24.11.5"; until then that of the manifest."""
        return self.state.version or self.spec.version

    @property
    def moved(self) -> str:
        """What to say of a system that is not the version of the manifest; empty if it is."""
        if self.version == self.spec.version:
            return ""
        said = f"the manifest says that {self.name} is {self.spec.version}, but it is {self.version}"
        return f"{said} (Debian {self.spec.suite} has moved: change stacks.toml)" if self.spec.moves else said

    @property
    def ssh_port(self) -> int:
        """Where its sshd listens on `host`."""
        return self.state.ssh_port

    def key(self, user: str = "alice") -> Path:
        """Say which private key lets a user log in.

        Raises:
            ValueError: It has no such user.
        """
        if user not in self.users:
            raise ValueError(f"no user {user!r}: {', '.join(self.users)}")
        return self.directory / "id_ed25519"

    @cached_property
    def password(self) -> str:
        """Alice's password; the others have none."""
        return (self.directory / "password").read_text()

    @property
    def known_hosts(self) -> Path:
        """The file with its host keys."""
        return self.directory / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """An OpenSSH client configuration in which the stack is a host of its own name."""
        return self.directory / "ssh_config"

    def url(self, user: str = "alice") -> str:
        """Say where a user reaches its scheduler, such as `ssh+slurm://alice@127.0.0.1:40022`."""
        return f"ssh+{self.spec.scheme}://{user}@{self.host}:{self.ssh_port}"

    def exec(
        self,
        argv: Sequence[str],
        *,
        user: str = "root",
        input: bytes = b"",
        check: bool = True,
        timeout: float | None = 60.0,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside, with no login shell and no SSH.

        Args:
            argv: The command.
            user: As whom.
            input: Its stdin.
            check: Whether a nonzero exit status is an error.
            timeout: In seconds; None waits for ever. It ends the waiting, not always the command inside.
            env: What is added to its environment.
            workdir: Where; the user's home by default.

        Raises:
            TestbedError: `check`, and it failed.
            subprocess.TimeoutExpired: It took longer than `timeout`.
        """
        home = "/root" if user == "root" else f"/home/{user}"
        options = ["--interactive", "--user", user, "--workdir", workdir or home]
        options += [part for name, value in (env or {}).items() for part in ("--env", f"{name}={value}")]
        arguments = ("exec", *options, self.state.container, *argv)
        return self._engine.run(*arguments, stdin=input, check=check, timeout=timeout)

    def daemon(self, name: str) -> Daemon:
        """Take hold of one of its daemons.

        Raises:
            ValueError: It has no such daemon.
        """
        if name not in self.spec.daemons:
            raise ValueError(f"no daemon {name!r} in {self.name}: {', '.join(self.spec.daemons)}")
        return Daemon(self, name)

    def logs(self, lines: int | None = None) -> str:
        """Read the logs of all its daemons, each below a line `==> FILE <==`.

        Args:
            lines: Only so many of the last lines of each; all by default.
        """
        first = "+1" if lines is None else str(lines)
        return self.exec([NODE, "logs", first]).stdout.decode(errors="replace")

    def close(self) -> None:
        """Remove it and its credentials; it may be gone already."""
        self._engine.remove([self.state.container])
        discard(self.directory)


def write_ssh_files(stack: Stack, host_keys: Sequence[str]) -> None:
    """Write `known_hosts` and `ssh_config` into the stack's directory."""
    entries = [f"[{stack.host}]:{stack.ssh_port} {' '.join(key.split()[:2])}\n" for key in host_keys]
    stack.known_hosts.write_text("".join(entries))
    settings = {
        "HostName": stack.host,
        "Port": stack.ssh_port,
        "User": stack.users[0],
        "IdentityFile": f'"{stack.key()}"',
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": f'"{stack.known_hosts}"',
        "StrictHostKeyChecking": "yes",
    }
    lines = [f"Host {stack.name}", *(f"    {name} {value}" for name, value in settings.items())]
    stack.ssh_config.write_text("\n".join(lines) + "\n")


def stack_dir(run_dir: Path, name: str) -> Path:
    """Make, in a run's directory, that of one of its stacks."""
    return private_dir(run_dir / name)


def discard(directory: Path) -> None:
    """Remove a stack's directory, and its run's unless something else of that run is there."""
    shutil.rmtree(directory, ignore_errors=True)
    if {path.name for path in directory.parent.glob("*")} <= {"owner"}:
        shutil.rmtree(directory.parent, ignore_errors=True)
