"""The pytest plugin: stacks that come up on first use, are shared by all of pytest-xdist's workers and go at the end.

Load it with `pytest_plugins = ["testbed.plugin"]` or `-p testbed.plugin`. A stack that cannot come up fails the tests
that want it: nothing is skipped. `-k NAME` and `-m 'stack(name="NAME")'` select the tests that need a stack, and only
the stacks of tests that are run come up. With INTERCEDE_TESTBED_REUSE=1, a stack that
`python -m testbed up STACK --keep` left up is used, and left up.
"""

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from testbed.engine import find_engine
from testbed.errors import TestbedError
from testbed.images import is_built
from testbed.launch import close_run, find_reusable, start, tell
from testbed.manifest import DEFAULT, find_stack, load_manifest
from testbed.stack import Stack
from testbed.state import locked, new_run_id, private_dir, process_owner, runs_dir, set_owner

TAIL = 10
RESULTS = "test-results"
FIXTURES = {"stack_factory", "slurm"}


class Stacks:
    """The stacks of one test session, as seen by one of its processes.

    Args:
        config: pytest's. A worker of pytest-xdist finds in it which run the controller has begun.
    """

    def __init__(self, config: pytest.Config) -> None:
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._config = config
        self._is_worker = worker is not None
        self.run, self.owner = worker["testbed"] if worker else (new_run_id(), process_owner())
        self.open: dict[str, Stack] = {}
        self.item: pytest.Item | None = None

    def get(self, name: str) -> Stack:
        """Bring a stack up, or share the one that another worker has brought up.

        Raises:
            TestbedError: It does not come up, or did not when another worker tried.
        """
        if name not in self.open:
            reusable = find_reusable(name) if os.environ.get("INTERCEDE_TESTBED_REUSE") == "1" else None
            stack = self.open[name] = reusable or self._share(name)
            if reusable:
                self._note(stack, "kept up by hand")
            if stack.moved:
                self._folder().joinpath(f"{name}.moved").write_text(stack.moved)
        return self.open[name]

    def _folder(self) -> Path:
        """The run's directory, marked as ours."""
        run_dir = private_dir(runs_dir() / self.run)
        set_owner(run_dir, self.owner)
        return run_dir

    def _note(self, stack: Stack, when: str) -> None:
        """Keep, for the end of the session, what this stack was."""
        ssh = "silent sshd"
        with (
            contextlib.suppress(OSError, IndexError),
            socket.create_connection((stack.host, stack.ssh_port), timeout=10) as connection,
        ):
            ssh = connection.recv(255).decode(errors="replace").removeprefix("SSH-2.0-").split()[0]
        line = f"{stack.name} was {stack.spec.system} {stack.version}, {ssh.replace('_', ' ')}, {when}"
        self._folder().joinpath(f"{stack.name}.seen").write_text(line)

    def seen(self) -> list[str]:
        """What to say of the stacks, of all workers, that this session has used."""
        return [path.read_text() for path in sorted((runs_dir() / self.run).glob("*.seen"))]

    def moved(self) -> list[str]:
        """What to say of stacks, of all workers, that are not the version that the manifest expects."""
        return [path.read_text() for path in sorted((runs_dir() / self.run).glob("*.moved"))]

    def _share(self, name: str) -> Stack:
        run_dir = self._folder()
        self._allow_a_build(name)
        failure = run_dir / f"{name}.failure"
        with locked(run_dir / f"{name}.lock"):
            if (run_dir / name / "state.json").exists():
                return Stack.attach(run_dir / name)
            if failure.exists():
                raise TestbedError(failure.read_text())
            begun = time.monotonic()
            try:
                stack = start(name, run=self.run, owner=self.owner, say=tell)
                self._note(stack, f"up after {time.monotonic() - begun:.0f} s")
                return stack
            except TestbedError as error:
                failure.write_text(str(error))
                raise

    def _allow_a_build(self, name: str) -> None:
        """Stop pytest-timeout's clock for a test that waits while an image is built, here or by another worker."""
        has_clock = self.item is not None and self._config.pluginmanager.has_plugin("timeout")
        if has_clock and not is_built(find_engine(), find_stack(name)):
            self._config.hook.pytest_timeout_cancel_timer(item=self.item)

    def close(self) -> None:
        """Remove the session's stacks, those too that are still coming up; the controller's task, not a worker's."""
        if not self._is_worker and (runs_dir() / self.run).exists():
            close_run(self.run)


STACKS: pytest.StashKey[Stacks] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run, or join the controller's; make SIGTERM end the session as Ctrl-C does."""
    config.addinivalue_line("markers", "stack(name): needs this stack of the testbed")
    config.addinivalue_line("markers", "testbed: needs a container of the testbed")
    config.stash[STACKS] = Stacks(config)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist which run it is part of."""
    stacks = node.config.stash[STACKS]
    node.workerinput["testbed"] = (stacks.run, stacks.owner)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests with the stacks that they need, before they are selected by marks and keywords.

    A test needs those that its marks `stack` name, those that it bears as keywords, those that it is parametrized with
    and takes from `stack_factory`, and the default one if it takes the fixture `slurm`.
    """
    stacks = load_manifest().keys()
    for item in items:
        fixtures, callspec = getattr(item, "fixturenames", ()), getattr(item, "callspec", None)
        named = {mark.kwargs["name"] for mark in item.iter_markers("stack")}
        found = stacks & set(item.extra_keyword_matches)
        if callspec and "stack_factory" in fixtures:
            found |= stacks & set(map(str, callspec.params.values()))
        if "slurm" in fixtures:
            found.add(DEFAULT)
        for name in found - named:
            item.add_marker(pytest.mark.stack(name=name))
        if found := found | named:
            item.add_marker("testbed")
            item.extra_keyword_matches |= found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say at the end, where it is seen, what the stacks were, and which are not what the manifest expects."""
    for words in config.stash[STACKS].seen():
        terminalreporter.write_line(f"testbed: {words}")
    moved = config.stash[STACKS].moved()
    if moved:
        terminalreporter.section("a release has moved", red=True, bold=True)
        for words in moved:
            terminalreporter.write_line(words)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's stacks, however the session ended."""
    config.stash[STACKS].close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember which test is waiting for a stack."""
    item.config.stash[STACKS].item = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the daemons said: the end of it to the report, all of it to `test-results/STACK/`."""
    report = yield
    if report.failed and FIXTURES.intersection(getattr(item, "fixturenames", ())):
        for stack in item.config.stash[STACKS].open.values():
            try:
                report.sections.append(
                    (f"logs of {stack.name} (all of them are in {RESULTS}/{stack.name}/)", stack.logs(TAIL))
                )
                _save_logs(stack, item)
            # Whatever goes wrong here must not hide how the test failed
            except Exception as error:
                report.sections.append((f"no logs of {stack.name}", repr(error)))
    return report


def _save_logs(stack: Stack, item: pytest.Item) -> None:
    folder = Path(item.config.rootpath) / RESULTS / stack.name
    folder.mkdir(parents=True, exist_ok=True)
    # A file name may have 255 bytes; the end of a test's name tells more than its start
    (folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', item.nodeid)[-200:]}.log").write_text(stack.logs())


@pytest.fixture(scope="session")
def stack_factory(pytestconfig: pytest.Config) -> Callable[[str], Stack]:
    """Bring up any stack of the manifest: `stack_factory("slurm-24.11")`; the session's own, shared by all workers."""
    return pytestconfig.stash[STACKS].get


@pytest.fixture(scope="session")
def slurm(stack_factory: Callable[[str], Stack]) -> Stack:
    """A Slurm cluster that is up, shared by the whole session: leave it as it was found."""
    return stack_factory(DEFAULT)
