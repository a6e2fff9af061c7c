"""A stack that is up: what a test or a person does with it."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from testbed.engine import Engine, find_engine
from testbed.errors import TestbedError
from testbed.manifest import StackSpec, find_stack
from testbed.state import private_dir, resource_name

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
        containers: The containers' names, by that of the node.
        image: The image that they run.
        ssh_port: Where its sshd is published, on 127.0.0.1.
        version: What its system says that it is.
        port: Where the system itself is published, on 127.0.0.1; 0 if it is reached over SSH alone.
    """

    stack: str
    run: str
    containers: Mapping[str, str]
    image: str
    ssh_port: int
    version: str = ""
    port: int = 0

    @classmethod
    def planned(cls, spec: StackSpec, run: str, image: str) -> "StackState":
        """What is going to be brought up, at a port that is not known yet."""
        base = resource_name(run, spec.name)
        nodes = spec.layout.nodes
        names = {node: f"{base}-{node}" if len(nodes) > 1 else base for node in nodes}
        return cls(spec.name, run, names, image, 0)

    @property
    def network(self) -> str:
        """The name of its network, and of the volume that its nodes share; empty if it is a single container."""
        return resource_name(self.run, self.stack) if len(self.containers) > 1 else ""

    def save(self, directory: Path) -> None:
        """Write it, at once and whole, to a stack's directory."""
        part = directory / "state.part"
        part.write_text(json.dumps(asdict(self)))
        part.replace(directory / "state.json")

    @classmethod
    def load(cls, directory: Path) -> "StackState | None":
        """Read it from a stack's directory; None if there is none (yet, or any more), or one of another release."""
        try:
            return cls(**json.loads((directory / "state.json").read_text()))
        except (FileNotFoundError, TypeError):
            return None

    def remove(self, engine: Engine) -> None:
        """Remove containers, network and volume; they may be gone already."""
        engine.remove(list(self.containers.values()))
        if self.network:
            engine.drop("network", [self.network])
            engine.drop("volume", [self.network])


class Daemon:
    """One daemon of a stack. Each call returns when it is done, not when the rest of the stack has noticed."""

    def __init__(self, stack: "Stack", name: str, node: str | None = None) -> None:
        self._stack = stack
        self.name = name
        self.node = node

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
        self._stack.exec([NODE, what, self.name], node=self.node)


class Node:
    """One container of a stack.

    Attributes:
        name: What it is called, by itself and by the others.
    """

    def __init__(self, stack: "Stack", name: str) -> None:
        self._stack = stack
        self.name = name

    def freeze(self) -> None:
        """Stop all of its processes where they are (SIGSTOP), as if the machine hung."""
        self._stack.exec([NODE, "freeze"], node=self.name)

    def thaw(self) -> None:
        """Let all of them go on (SIGCONT)."""
        self._stack.exec([NODE, "thaw"], node=self.name)


class Stack:
    """A running stack: one or more daemons, users who may log in, and where all of it is reached.

    Attributes:
        spec: Its line of the manifest.
        state: Its run, containers, image and port.
        directory: Where its keys and its `ssh_config` are; private to this user, gone when it is closed.
    """

    host = HOST

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
    def users(self) -> tuple[str, ...]:
        """Who may log in."""
        return (*USERS, *self.spec.layout.users)

    @property
    def ssh_port(self) -> int:
        """Where its sshd listens on `host`."""
        return self.state.ssh_port

    @property
    def port(self) -> int:
        """Where the system itself listens on `host`, without SSH; 0 if it does not."""
        return self.state.port

    @property
    def given(self) -> Path:
        """The directory with what its clients need, such as certificates; private, made anew for every run."""
        return self.directory / "given"

    @property
    def nodes(self) -> tuple[str, ...]:
        """What its containers are called; commands run in the first one unless another is named."""
        return tuple(self.state.containers)

    def container(self, node: str | None = None) -> str:
        """Say what the engine calls a node; the main one by default.

        Raises:
            ValueError: It has no such node.
        """
        node = node or self.nodes[0]
        if node not in self.nodes:
            raise ValueError(f"no node {node!r} in {self.name}: {', '.join(self.nodes)}")
        return self.state.containers[node]

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
        """Say where a user reaches its scheduler, such as `ssh+slurm://alice@127.0.0.1:40022`.

        Behind a jump host it is the inner name, and `ssh_config` or `ssh_settings` says how to get there. A system that
        is reached without SSH has one URL for all users, such as `arc://127.0.0.1:40443`.
        """
        if self.spec.port:
            return f"{self.spec.scheme}://{self.host}:{self.port}"
        inner = self.spec.layout.inner
        return f"ssh+{self.spec.scheme}://{user}@{inner or f'{self.host}:{self.ssh_port}'}"

    def ssh_settings(self, user: str = "alice") -> dict[str, Any]:
        """Give the `ssh` table of a resource: the whole way there, and nothing of this machine's configuration."""
        way = {"user": user, "identity_files": [str(self.key(user))], "known_hosts": str(self.known_hosts)}
        door = {"host": self.host, "port": self.ssh_port, **way}
        inner = self.spec.layout.inner
        target = {"host": inner, "port": 22, **way, "jump": [door]} if inner else door
        return {**target, "config_file": "", "agent": False}

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
        node: str | None = None,
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
            node: In which of its containers; the main one by default.

        Raises:
            TestbedError: `check`, and it failed.
            ValueError: It has no such node.
            subprocess.TimeoutExpired: It took longer than `timeout`.
        """
        home = "/root" if user == "root" else f"/home/{user}"
        options = ["--interactive", "--user", user, "--workdir", workdir or home]
        options += [part for name, value in (env or {}).items() for part in ("--env", f"{name}={value}")]
        arguments = ("exec", *options, self.container(node), *argv)
        return self._engine.run(*arguments, stdin=input, check=check, timeout=timeout)

    def daemon(self, name: str, node: str | None = None) -> Daemon:
        """Take hold of one of its daemons, on the main node by default.

        Raises:
            ValueError: It has no such daemon, or no such node.
        """
        if name not in self.spec.daemons:
            raise ValueError(f"no daemon {name!r} in {self.name}: {', '.join(self.spec.daemons)}")
        self.container(node)
        return Daemon(self, name, node)

    def node(self, name: str) -> Node:
        """Take hold of one of its containers.

        Raises:
            ValueError: It has no such node.
        """
        self.container(name)
        return Node(self, name)

    def logs(self, lines: int | None = None, node: str | None = None) -> str:
        """Read the logs of all its daemons, each below a line `==> FILE <==`.

        Args:
            lines: Only so many of the last lines of each; all by default.
            node: Only those of one node; by default those of all, each below a line `##### NODE` if there are several.
        """
        first = "+1" if lines is None else str(lines)
        nodes = (node,) if node is not None else self.nodes
        texts = []
        for each in nodes:
            said = self.exec([NODE, "logs", first], node=each, check=False)
            texts.append(f"##### {each}\n" if len(nodes) > 1 else "")
            texts.append((said.stdout + said.stderr).decode(errors="replace"))
        return "".join(texts)

    def close(self) -> None:
        """Remove it and its credentials; it may be gone already."""
        self.state.remove(self._engine)
        discard(self.directory)


def write_ssh_files(stack: Stack, host_keys: Mapping[str, Sequence[str]]) -> None:
    """Write `known_hosts` and `ssh_config` into the stack's directory.

    Args:
        stack: Whose.
        host_keys: The public keys of its nodes' servers, by node.
    """
    layout = stack.spec.layout
    doors = {f"[{stack.host}]:{stack.ssh_port}": host_keys[layout.door]}
    hosts = {stack.name: {"HostName": stack.host, "Port": str(stack.ssh_port)}}
    if layout.inner:
        doors[layout.inner] = host_keys[layout.inner]
        door = f"{stack.name}-{layout.door}"
        hosts = {stack.name: {"HostName": layout.inner, "ProxyJump": door}, door: hosts[stack.name]}
    common = {
        "User": stack.users[0],
        "IdentityFile": f'"{stack.key()}"',
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": f'"{stack.known_hosts}"',
        "StrictHostKeyChecking": "yes",
    }
    entries = [f"{name} {' '.join(key.split()[:2])}\n" for name, keys in doors.items() for key in keys]
    stack.known_hosts.write_text("".join(entries))
    lines = []
    for host, settings in hosts.items():
        lines += [f"Host {host}", *(f"    {name} {value}" for name, value in (settings | common).items())]
    stack.ssh_config.write_text("\n".join(lines) + "\n")


def stack_dir(run_dir: Path, name: str) -> Path:
    """Make, in a run's directory, that of one of its stacks."""
    return private_dir(run_dir / name)


def discard(directory: Path) -> None:
    """Remove a stack's directory, and its run's unless something else of that run is there."""
    shutil.rmtree(directory, ignore_errors=True)
    if {path.name for path in directory.parent.glob("*")} <= {"owner"}:
        shutil.rmtree(directory.parent, ignore_errors=True)
