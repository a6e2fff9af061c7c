"""The places where the contract is to hold.

Each plain stack of the testbed's manifest is a place. A run takes those that are run every day; another one is there
when it is asked for, by `-k slurm-22.05` or by INTERCEDE_CONTRACT, which names the places of a run:
`INTERCEDE_CONTRACT=ssh-slurm-20.11,ssh-slurm-22.05`. With `INTERCEDE_CONTRACT=local-slurm` the suite runs on the Slurm
of the machine that it runs on: `test_inside.py` does so inside the containers. Some places have a part of the suite;
some of them only while INTERCEDE_CONTRACT_WHOLE is not set.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import inspect
import os
import secrets
import threading
from typing import TYPE_CHECKING, Any

import pytest

from intercede.schedulers.gridengine import GridEngine
from intercede.schedulers.htcondor import HTCondor
from intercede.schedulers.oar import OAR
from intercede.schedulers.process import Process
from intercede.schedulers.slurm import Slurm
from intercede.testing.contract.place import Place, traits_of
from intercede.testing.contract.select import declare_markers, deselect_homeless, parametrize
from intercede.testing.ssh_server import SSHServer, ssh_server
from testbed.manifest import DEFAULT, load_manifest
from tests.contract import arc_place, ce_place
from tools.cells import load_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from testbed.stack import Stack

ON_CLUSTER = ("told", "orders", "hold", "queues", "options", "limits", "requeue", "describe", "stranger")
ON_GRIDENGINE = ("one-host", "small", "hold", "queues", "options", "limits", "requeue", "describe", "stranger")
ON_OAR = ("one-host", "small", "orders", "hold", "queues", "options", "describe", "stranger")
ON_HTCONDOR = ("apart", "accounts", "orders", "told", "small", "hold", "requeue", "describe", "stranger")
ON_SLURM = ("one-host", "small", *ON_CLUSTER)
# The command languages of the testbed, and what their stacks have
SYSTEMS: Mapping[str, tuple[type, Sequence[str]]] = {
    "slurm": (Slurm, ON_SLURM),
    "gridengine": (GridEngine, ON_GRIDENGINE),
    "oar": (OAR, ON_OAR),
    "htcondor": (HTCondor, ON_HTCONDOR),
}
# What its plain stacks may be made to hang by; while one does, nobody else is at that place
FROZEN = {"htcondor": "condor_schedd"}
CELLS = load_cells()
# Every version that the testbed has: a line of its manifest makes a place
VERSIONS = {
    f"ssh-{stack.name}": stack
    for stack in load_manifest().values()
    if stack.system in SYSTEMS and stack.shape == "plain" and stack.name != DEFAULT
}
PLACES: dict[str, frozenset[str]] = {
    "local-process": traits_of(Process, "one-host", "told", "supervised"),
    "ssh-process": traits_of(Process, "one-host", "told", "supervised", "ssh"),
    "sshd-process": traits_of(Process, "one-host", "told", "supervised", "ssh", "sshd", "small", "stranger"),
    "ssh-slurm": traits_of(Slurm, "ssh", "sshd", *ON_SLURM),
    "bare-slurm": traits_of(Slurm, "ssh", "sshd", "freeze", "forgets", *ON_SLURM),
    "cluster-slurm": traits_of(Slurm, "ssh", "sshd", *ON_CLUSTER),
    "gateway-slurm": traits_of(Slurm, "ssh", "sshd", *ON_SLURM),
    "round-robin-slurm": traits_of(Slurm, "ssh", "sshd", *ON_CLUSTER),
}
for _name, _stack in VERSIONS.items():
    _scheduler, _has = SYSTEMS[_stack.system]
    PLACES |= {_name: traits_of(_scheduler, "ssh", "sshd", *(["freeze"] if _stack.system in FROZEN else []), *_has)}
PLACES |= {_name: ce_place.traits(_name) for _name in ce_place.PLACES}
PLACES |= {_name: arc_place.traits(_name) for _name in arc_place.PLACES}
PLACES |= {f"local-{_name}": traits_of(_scheduler, *_has) for _name, (_scheduler, _has) in SYSTEMS.items()}
CONTAINED = {
    "sshd-process": DEFAULT,
    "ssh-slurm": DEFAULT,
    "bare-slurm": "slurm-24.11-no-accounting",
    "cluster-slurm": "slurm-24.11-cluster",
    "gateway-slurm": "slurm-24.11-gateway",
    "round-robin-slurm": "slurm-24.11-round-robin",
} | {name: stack.name for name, stack in VERSIONS.items()}
CONTAINED |= ce_place.PLACES
CONTAINED |= arc_place.PLACES
INSIDE = {f"local-{name}" for name in SYSTEMS}
# Where test_inside.py runs the suite
CONTAINERS = {f"inside-{stack.name}": stack.name for stack in load_manifest().values() if stack.inside}
ON_REQUEST = {name for name, stack in (CONTAINED | CONTAINERS).items() if not CELLS[stack].daily}
# of one system, one is enough for every day
ON_REQUEST |= {"inside-slurm-26.05"}
ONLY = {
    # Slurm without accounting, whose daemon may be frozen at any time: what depends on either
    "bare-slurm": {"TestEnds", "TestCancel", "TestLimits", "TestFrozen", "TestGone"},
    # what depends on the way there
    "gateway-slurm": {"TestLife", "TestOutputs", "TestCut", "TestWays"},
    # what may depend on the host that a connection ends at
    "round-robin-slurm": {"TestLife", "TestOnce", "TestTags", "TestCut", "TestLogs"},
    **arc_place.ONLY,
}
# Places that have all of it in `make test-all`, which sets that variable, and every day what differs there most
WHOLE = "INTERCEDE_CONTRACT_WHOLE"
DAILY = {
    # what may depend on the node being another host
    "cluster-slurm": {"TestLife", "TestEnds", "TestCancel", "TestOutputs", "TestSecrets", "TestLogs", "TestPurge"},
    # what does not go through the transport alone; see test_inside.py for who has all of it
    "local-gridengine": {"TestCancel", "TestHeld", "TestCapacity"},
    "local-oar": {"TestCancel", "TestHeld", "TestCapacity"},
    "local-htcondor": {"TestCancel", "TestHeld", "TestCapacity"},
    **ce_place.DAILY,
    **arc_place.DAILY,
}
# Slurm would wait for two minutes before it starts the job again; within the same second, it fails to
REQUEUE = (
    'scontrol requeue "$1"; until [ "$(squeue -h -r -j "$1" -o %r)" = BeginTime ]; do sleep 0.1; done; '
    'scontrol update JobId="$1" StartTime=now+2'
)
# slurmctld looks once a minute for what is older than MinJobAge
FORGOTTEN = 'while squeue -h -t all -j "$1" 2>/dev/null | grep -q .; do sleep 1; done'
SLURM: Mapping[str, Any] = {
    "native_wait": {"slurm": ("--begin=now+1hour",)},
    "native_hold": {"slurm": ("--hold",)},
    "hold": ("scontrol", "hold", "{native}"),
    "requeue": ("sh", "-c", REQUEUE, "sh", "{native}"),
    "describe": ("scontrol", "show", "job", "{native}"),
    "forgotten": ("sh", "-c", FORGOTTEN, "sh", "{native}"),
    "reserved": 'echo "$SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE"',
    "limited_queue": "short",
}
# qmod gives no job back before it has ended on its node
GRIDENGINE: Mapping[str, Any] = {
    "native_wait": {"gridengine": ("-a", "203001010000")},
    "native_hold": {"gridengine": ("-h",)},
    "hold": ("qhold", "{native}"),
    "requeue": ("qmod", "-rj", "{native}"),
    "describe": ("sh", "-c", 'qstat -j "${1%.*}"', "sh", "{native}"),
    "reserved": 'echo "$NSLOTS $(($(ulimit -v) / 1024))"',
    "limited_queue": "short",
}
ELEMENT = "array_id = ${1%.*} AND array_index = ${1#*.}"
OAR_SAYS: Mapping[str, Any] = {
    "native_wait": {"oar": ("-t", "postpone=2030-01-01")},
    "native_hold": {"oar": ("--hold",)},
    # it starts some four jobs a second
    "many": 40,
    "hold": ("sh", "-c", f'oarhold --sql "{ELEMENT}"', "sh", "{native}"),
    "describe": ("sh", "-c", f'oarstat -f --sql "{ELEMENT}"', "sh", "{native}"),
    "limited_queue": "short",
}
HTCONDOR: Mapping[str, Any] = {
    "native_wait": {"htcondor": ("requirements = false",)},
    "native_hold": {"htcondor": ("hold = true",)},
    "native_last": {"htcondor": ("priority = -10",)},
    "hold": ("condor_hold", "{native}"),
    "requeue": ("condor_vacate_job", "-fast", "{native}"),
    "describe": ("condor_q", "-long", "{native}"),
    "reserved": "echo $(sed -n 's/^Cpus = //p; s/^Memory = //p' \"$_CONDOR_MACHINE_AD\")",
    "areas": f"/home/alice/areas-{secrets.token_hex(3)}",
}
BATCH: Mapping[str, Mapping[str, Any]] = {
    "slurm": SLURM,
    "gridengine": GRIDENGINE,
    "htcondor": HTCONDOR,
    "oar": OAR_SAYS,
}
CONTAINER: Mapping[str, Any] = {"small": "/small", "closed": "/home/bob/closed"}


def chosen(config: pytest.Config) -> set[str]:
    """The names of the places of this run."""
    asked = os.environ.get("INTERCEDE_CONTRACT")
    if not asked:
        words = " ".join([config.option.keyword, config.option.markexpr, *config.args])
        wanted = {name for name in ON_REQUEST if name in words or {**CONTAINED, **CONTAINERS}[name] in words}
        return set(PLACES) - INSIDE - ON_REQUEST | set(CONTAINERS) - ON_REQUEST | wanted
    return set(asked.split(","))


def pytest_configure(config: pytest.Config) -> None:
    declare_markers(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = chosen(metafunc.config)
    parametrize(metafunc, {name: PLACES[name] for name in PLACES if name in names})
    if "container" in metafunc.fixturenames:
        here = [pytest.param(CONTAINERS[name], id=name) for name in CONTAINERS if name in names]
        metafunc.parametrize("container", here or [pytest.param("", marks=pytest.mark.nowhere, id="nowhere")])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if unknown := chosen(config) - set(PLACES) - set(CONTAINERS):
        raise pytest.UsageError(f"INTERCEDE_CONTRACT: no place {', '.join(sorted(unknown))}")
    deselect_homeless(config, items)
    items.sort(key=_turn)
    for item in list(items):
        name = getattr(item, "callspec", None) and item.callspec.params.get("place")  # ty: ignore[missing-attribute]
        wanted = ONLY.get(name) or (None if WHOLE in os.environ else DAILY.get(name))
        if wanted is not None and item.parent is not None and item.parent.name not in wanted:
            items.remove(item)
            config.hook.pytest_deselected(items=[item])
        elif name in CONTAINED:
            item.add_marker("testbed")
            item.extra_keyword_matches.add(CONTAINED[name])
        if _needs(item, "freeze"):
            item.add_marker("alone")


def _needs(item: pytest.Item, trait: str) -> bool:
    return any(trait in mark.args for mark in item.iter_markers("needs"))


def _turn(item: pytest.Item) -> int:
    """The longest first, while other workers do the rest; last what waits for jobs sent early."""
    if item.get_closest_marker("first"):
        return 0
    return 2 if isinstance(item, pytest.Function) and "early" in inspect.signature(item.function).parameters else 1


@pytest.fixture(autouse=True)
def alone_on_the_small_disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One test at a time: what one of them leaves free is what another one fills."""
    if not _needs(request.node, "small"):
        yield
        return
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with (tmp_path_factory.getbasetemp().parent / f"small-{run}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def place(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    stack_factory: Callable[[str], Stack],
) -> Iterator[Place]:
    """The place of that name."""
    name = request.param
    with contextlib.ExitStack() as stack:
        if name in ce_place.PLACES:
            yield ce_place.at_ce(name, stack_factory(CONTAINED[name]), tmp_path_factory.mktemp(name))
        elif name in arc_place.PLACES:
            yield arc_place.at_arc(name, stack_factory(CONTAINED[name]), tmp_path_factory.mktemp(name))
        elif name in CONTAINED:
            yield contained(name, stack_factory(CONTAINED[name]))
        elif name == "ssh-process":
            server = stack.enter_context(running_server(tmp_path_factory.mktemp(name)))
            settings = {"id": name, "scheduler": "process", "slots": 4, "ssh": way_to(server)}
            yield Place(name, PLACES[name], settings, str(server.home / "contract"))
        elif name in INSIDE:
            system = name.removeprefix("local-")
            above = "/meet" if "apart" in PLACES[name] else os.path.expanduser("~")
            home = f"{above}/contract-{secrets.token_hex(3)}"
            settings = {"id": system, "scheduler": system}
            extras: dict[str, Any] = {**BATCH[system], **CONTAINER}
            yield Place(name, PLACES[name], settings, home, **extras)
        else:
            settings = {"id": "local", "scheduler": "process", "slots": 4}
            yield Place(name, PLACES[name], settings, str(tmp_path_factory.mktemp(name)))


def contained(name: str, stack: Stack) -> Place:
    """A place in a container, over OpenSSH."""
    scheduler = "process" if name.endswith("process") else stack.spec.scheme
    where = stack.url().partition("@")[2]
    settings: dict[str, Any] = {"id": f"ssh+{scheduler}://{where}", "scheduler": scheduler, "ssh": stack.ssh_settings()}
    settings |= {"slots": 4} if scheduler == "process" else {}
    above = stack.spec.layout.shared if "apart" in PLACES[name] else "/home/alice"
    base = f"{above}/contract-{secrets.token_hex(3)}"
    extras: dict[str, Any] = {**CONTAINER, **BATCH.get(scheduler, {})}

    @contextlib.contextmanager
    def frozen() -> Generator[None]:
        daemon = stack.daemon(FROZEN.get(scheduler, "slurmctld"))
        daemon.freeze()
        try:
            yield
        finally:
            daemon.thaw()

    return Place(name, PLACES[name], settings, base, frozen=frozen, **extras)


def way_to(server: SSHServer) -> dict[str, Any]:
    """The settings that lead to a server of ours."""
    return {
        "host": server.host, "port": server.port, "user": server.user, "identity_files": [str(server.client_key)],
        "known_hosts": str(server.known_hosts), "config_file": "", "agent": False,
    }  # fmt: skip


@contextlib.contextmanager
def running_server(directory: Path) -> Generator[SSHServer]:
    """An SSH server in a thread, with an event loop of its own: the tests' loops come and go."""
    ready: list[SSHServer] = []
    begun, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with ssh_server(directory, login=("/bin/bash", "-c")) as server:
            ready.append(server)
            begun.set()
            await over.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work, name="sshd", daemon=True)
    thread.start()
    if not begun.wait(30):
        raise RuntimeError("the SSH server did not start")
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
