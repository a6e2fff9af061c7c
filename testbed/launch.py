"""Bringing stacks up, finding those that are up, and clearing away what killed runs left behind."""

import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from testbed.engine import Engine, find_engine
from testbed.errors import TestbedError
from testbed.images import SOURCE, ensure_image, stack_image
from testbed.manifest import StackSpec, find_stack
from testbed.stack import HOST, NODE, Stack, StackState, discard, stack_dir, write_ssh_files
from testbed.state import (
    LABEL,
    OWNER_LABEL,
    ROOT_LABEL,
    STATE_LABEL,
    Container,
    is_abandoned,
    is_kept,
    leftovers,
    new_run_id,
    parse_containers,
    private_dir,
    process_owner,
    run_of,
    runs_dir,
    set_owner,
)

READY_TIMEOUT = 180.0
SSH_TIMEOUT = 20.0


def _quiet(message: str) -> None:
    del message


def tell(message: str) -> None:
    """Tell a person, on stderr, what is going on."""
    print(f"testbed: {message}", file=sys.stderr, flush=True)


def start(
    name: str,
    *,
    run: str | None = None,
    owner: str | None = None,
    say: Callable[[str], None] = _quiet,
    show: bool = False,
) -> Stack:
    """Bring a stack up and wait until its scheduler answers and a trivial job has passed its accounting.

    A first start builds the image, which takes a minute or two; later ones take a few seconds.

    Args:
        name: Which stack of the manifest.
        run: The run it belongs to; one of its own by default.
        owner: Who closes it (see `process_owner`); this process by default. Once the owner is gone, the next run of
            anything here removes the stack.
        say: Told of what takes long.
        show: Let what a build prints through.

    Raises:
        TestbedError: There is no engine or no such stack, it did not come up (with its last words), or it is not the
            version that the manifest promises and its release does not move.
    """
    spec = find_stack(name)
    engine = find_engine()
    sweep(engine)
    image = ensure_image(engine, spec, say, show=show)
    run = run or new_run_id()
    directory = stack_dir(runs_dir() / run, name)
    owner = owner or process_owner()
    set_owner(directory.parent, owner)
    state = StackState.planned(spec, run, image)
    try:
        return _launch(engine, spec, state, directory, owner)
    except BaseException:
        state.remove(engine)
        discard(directory)
        raise


def _launch(engine: Engine, spec: StackSpec, state: StackState, directory: Path, owner: str) -> Stack:
    described = {LABEL: state.run, OWNER_LABEL: owner, STATE_LABEL: str(directory.parent), ROOT_LABEL: str(runs_dir())}
    labels = [part for name, value in described.items() for part in ("--label", f"{name}={value}")]
    if spec.announces:
        state = replace(state, port=_unused_port())
    if state.network:
        engine.run("network", "create", *labels, state.network)
    if spec.layout.shared:
        engine.run("volume", "create", *labels, state.network)
    for node in spec.layout.nodes:
        engine.run("run", "--detach", *labels, *_run_options(spec, state, node), state.image, timeout=READY_TIMEOUT)
    door = state.containers[spec.layout.door]
    ssh_port = _published(engine, door, 22)
    port = _published(engine, door, state.port or spec.port) if spec.port else 0
    stack = Stack(spec, replace(state, ssh_port=ssh_port, port=port), directory, engine)
    _provision(engine, stack)
    if spec.given:
        _take(stack)
    _wait_for_sshd(ssh_port)
    # Last: whoever sees it may use the stack
    stack.state.save(directory)
    return stack


def _unused_port() -> int:
    """Pick a port of this host; should somebody take it first, the stack does not come up."""
    with socket.create_server((HOST, 0)) as unused:
        return unused.getsockname()[1]


def _published(engine: Engine, container: str, port: int) -> int:
    """Say where a port is published; 0 of a container that has ended already: provisioning it says why."""
    said = engine.run("port", container, f"{port}/tcp", check=False).stdout.decode().split()
    return int(said[0].rpartition(":")[2]) if said else 0


def _take(stack: Stack) -> None:
    """Copy what the system's clients need out of the container; only this user can read it."""
    packed = stack.exec(["tar", "-C", stack.spec.given, "-c", "."]).stdout
    private_dir(stack.given)
    subprocess.run(["tar", "--no-same-owner", "-C", str(stack.given), "-x"], input=packed, check=True)
    for path in stack.given.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)


def _run_options(spec: StackSpec, state: StackState, node: str) -> list[str]:
    layout = spec.layout
    options = ["--name", state.containers[node], "--hostname", node, "--tmpfs", "/small:size=1m,mode=1777"]
    told = {"TESTBED_SHAPE": spec.shape, "TESTBED_ROLE": layout.nodes[node], "TESTBED_SHARED": layout.shared}
    told |= {"TESTBED_PORT": str(state.port)} if state.port else {}
    options += [part for name, value in told.items() for part in ("--env", f"{name}={value}")]
    if state.network:
        options += ["--network", state.network, "--network-alias", node]
    if node == layout.door:
        options += ["--publish", f"{HOST}::22"]
    if node == layout.door and spec.port:
        options += ["--publish", f"{HOST}:{state.port or ''}:{state.port or spec.port}"]
    options += [part for name in layout.capabilities for part in ("--cap-add", name)]
    if layout.shared:
        options += ["--volume", f"{state.network}:{layout.shared}"]
    if layout.shared != "/home":
        # a home is not a layer of an image anywhere: files there would take three times as long
        options += ["--volume", "/home"]
    # SELinux would hide the repository; relabelling a person's checkout is not ours to do
    return [*options, *(("--volume", f"{SOURCE}:/src:ro") if SOURCE else ()), "--security-opt", "label=disable"]


def _provision(engine: Engine, stack: Stack) -> None:
    """Make this run's credentials, hand them over on stdin and wait for all nodes to be ready."""
    password = stack.directory / "password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(18))
    key = stack.key()
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"testbed {stack.name}", "-f", str(key)]
    subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)
    given = f"{key.with_suffix('.pub').read_text().strip()}\n{stack.password}\n".encode()
    with ThreadPoolExecutor(len(stack.nodes)) as pool:
        told = list(pool.map(lambda node: _provision_node(engine, stack, node, given), stack.nodes))
    stack.state = replace(stack.state, version=told[0][0])
    check_version(stack)
    write_ssh_files(stack, {node: keys for node, (_, keys) in zip(stack.nodes, told, strict=True)})


def _provision_node(engine: Engine, stack: Stack, node: str, given: bytes) -> tuple[str, list[str]]:
    """Hand the credentials to one node and wait for it; gives its version and its host keys."""
    done = stack.exec([NODE, "provision"], input=given, check=False, timeout=READY_TIMEOUT, node=node)
    if done.returncode:
        said = engine.run("logs", "--tail", "40", stack.container(node), check=False)
        words = (done.stderr + said.stdout + said.stderr).decode(errors="replace")
        where = f" ({node})" if len(stack.nodes) > 1 else ""
        raise TestbedError(f"{stack.name}{where} did not come up:\n{words}\n{stack.logs(20)}")
    version, *host_keys = done.stdout.decode().splitlines()
    return version.removeprefix("version "), host_keys


def check_version(stack: Stack) -> None:
    """Compare what a stack says that it is with what the manifest promises.

    Raises:
        TestbedError: It is another version, and its release does not move.
    """
    if stack.moved and not stack.spec.moves:
        raise TestbedError(stack.moved)
    if stack.moved:
        tell(f"WARNING: {stack.moved}")


def _wait_for_sshd(port: int) -> None:
    until = time.monotonic() + SSH_TIMEOUT
    while True:
        try:
            with socket.create_connection((HOST, port), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > until:
            raise TestbedError(f"no sshd answers on {HOST}:{port}")
        time.sleep(0.1)


def running() -> Iterator[Stack]:
    """Find the stacks that are up, the latest first, whoever owns them."""
    states = sorted(runs_dir().glob("*/*/state.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in states:
        if StackState.load(path.parent) is None:
            continue
        stack = Stack.attach(path.parent)
        described = find_engine().inspect([stack.container(node) for node in stack.nodes])
        if len(described) == len(stack.nodes) and all(each["State"].get("Running") for each in described):
            yield stack


def find_running(name: str) -> Stack:
    """Find the latest stack of a name that is up.

    Raises:
        TestbedError: There is none.
    """
    for stack in running():
        if stack.name == name:
            return stack
    raise TestbedError(f"{name} is not up: python -m testbed up {name} --keep")


def find_reusable(name: str) -> Stack | None:
    """Find a stack of a name that is kept up by hand and is what `start` would bring up now."""
    spec = find_stack(name)
    image = stack_image(spec)
    for stack in running():
        fits = stack.name == name and stack.state.image == image and stack.nodes == tuple(spec.layout.nodes)
        if fits and is_kept(stack.directory.parent):
            return stack
    return None


def close_run(run: str) -> None:
    """Remove every stack of a run, whether or not it came up, and its credentials."""
    engine = find_engine()
    engine.remove([container.ident for container in _ours(engine) if container.run == run])
    _drop(engine, lambda name: run_of(name) == run)
    shutil.rmtree(runs_dir() / run, ignore_errors=True)


def _ours(engine: Engine) -> list[Container]:
    return parse_containers(engine.labelled(LABEL), runs_dir())


def sweep(engine: Engine, *, kept: bool = False, everything: bool = False) -> int:
    """Remove what runs left behind whose owner is gone.

    Args:
        engine: Whose containers.
        kept: Remove also what was brought up to be kept.
        everything: Remove also what another process is using.

    Returns:
        How many containers it removed.
    """
    containers = _ours(engine)
    doomed = {container.ident for container in leftovers(containers)}
    doomed |= {c.ident for c in containers if everything or (kept and is_kept(c.state))}
    engine.remove(sorted(doomed))
    busy = {container.state for container in containers if container.ident not in doomed}

    def is_over(directory: Path) -> bool:
        return directory not in busy and (not directory.exists() or is_kept(directory) or is_abandoned(directory))

    _drop(engine, lambda name: everything or is_over(runs_dir() / run_of(name)))
    for directory in runs_dir().iterdir():
        if is_over(directory):
            shutil.rmtree(directory, ignore_errors=True)
    return len(doomed)


def _drop(engine: Engine, is_doomed: Callable[[str], bool]) -> None:
    """Remove networks and volumes of ours."""
    for kind in ("network", "volume"):
        engine.drop(kind, filter(is_doomed, engine.named(kind, f"{ROOT_LABEL}={runs_dir()}")))
