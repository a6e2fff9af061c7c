"""Run cells of the test matrix, see `tools.cells`: some at a time, each with a session of pytest of its own.

What a cell printed comes when it ends, and is kept in `test-results/CELL.log`. The last lines are those of one session:
the tests that failed and the sum of all cells.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from testbed.engine import find_engine
from testbed.errors import TestbedError
from testbed.images import ensure_images, stack_image
from testbed.launch import sweep, tell
from testbed.manifest import REPOSITORY
from testbed.setup import can_install, install, setup_machine
from testbed.state import LABEL, OWNER_LABEL, STATE_LABEL, new_run_id, process_owner, runs_dir
from tools import results
from tools.cells import Cell, choose
from tools.find_tests import find_tests
from tools.results import Result, digest_of_sources, load_results, read_output

# What pytest's exit status says when no test is selected
NOTHING = 5
LOGIN_SHELLS = ("bash", "dash", "fish", "tcsh", "zsh")
LOGS = REPOSITORY / "test-results"
_TITLE = re.compile(r"^(?:FAILED|ERROR) .*", re.MULTILINE)


class Runner:
    """Runs cells.

    Args:
        workers: How many processes pytest has in each.
        words: More of pytest's words.
        record: Whether results are written into the repository.
    """

    def __init__(self, workers: int, words: list[str], *, record: bool) -> None:
        self._workers = workers
        self._words = words
        self.records = record
        self._sources = digest_of_sources()
        self._speak = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self.failures: list[str] = []
        self.tests: dict[str, dict[str, int]] = {}

    def run(self, cell: Cell) -> Result | None:
        """Run one; None if the run has been stopped."""
        if self._stopped:
            return None
        tell(f"cell {cell.name} begins")
        begun = time.monotonic()
        code, output = self._execute(cell)
        if self._stopped:
            return None
        stack = cell.stack.name if cell.stack and not cell.python else ""
        seconds = time.monotonic() - begun
        if self._words and code == NOTHING:
            code = 0
        result = read_output(cell.name, stack, output, code=code, seconds=seconds, sources=self._sources)
        self._report(cell, result, output)
        if self.records:
            result.save(LOGS)
        return result

    def _execute(self, cell: Cell) -> tuple[int, str]:
        argv, environment = self._command(cell)
        # In a session of its own: Ctrl-C comes from `stop`, once
        with subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            self._running.add(process)
            if self._stopped:
                process.send_signal(signal.SIGINT)
            output = process.communicate()[0]
            self._running.discard(process)
        return process.returncode, output

    def _command(self, cell: Cell) -> tuple[list[str], dict[str, str]]:
        tests = self.tests.get(cell.name) or {"tests": self._workers}
        workers = min(self._workers, sum(tests.values()))
        words = ["-n", str(workers), "-m", cell.marks, "--durations=20", "--durations-min=4", *self._words]
        if not cell.python:
            return [sys.executable, "-m", "pytest", *words, *tests], dict(os.environ)
        return _inside(cell, words)

    def _report(self, cell: Cell, result: Result, output: str) -> None:
        LOGS.mkdir(exist_ok=True)
        (LOGS / f"{cell.name}.log").write_text(output, encoding="utf-8")
        titles = _TITLE.findall(output) or ([] if result.good else [f"FAILED {cell.name} - see above"])
        with self._speak:
            self.failures += titles
            print(f"\n== cell {cell.name}\n{output.strip() if not result.good else _end(output)}")
            state = "" if result.good else "FAILED, "
            print(f"== cell {cell.name}: {state}{result.passed} passed, {result.seconds} s", flush=True)

    def stop(self) -> None:
        """End what is running as Ctrl-C would, and wait until it has cleared up."""
        self._stopped = True
        for process in list(self._running):
            process.send_signal(signal.SIGINT)


def _end(output: str) -> str:
    """Of a good run, what is of interest; which tests took long is in the log."""
    ends = [line for line in output.splitlines() if line.startswith(("testbed:", "SKIPPED"))]
    return "\n".join([*ends, *output.splitlines()[-1:]])


def _inside(cell: Cell, words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The quick tests in a container that is there for them alone: no daemon runs in it."""
    assert cell.stack is not None  # noqa: S101 - for the type checker
    engine = find_engine()
    image = stack_image(cell.stack)
    run = new_run_id()
    labels = {LABEL: run, OWNER_LABEL: process_owner(), STATE_LABEL: str(runs_dir() / run)}
    argv = [
        *(engine.program, "run", "--rm", "--name", f"intercede-testbed-{run}-{cell.name}"),
        *(part for name, value in labels.items() for part in ("--label", f"{name}={value}")),
        *("--volume", f"{REPOSITORY}:/src:ro", "--security-opt", "label=disable", "--volume", "/home"),
        *(
            "--user",
            "alice",
            "--workdir",
            "/home/alice",
            "--env",
            "HOME=/home/alice",
            "--env",
            "PYTHONPYCACHEPREFIX=/home/alice/.pycache",
        ),
        *("--entrypoint", "tini", image, "-g", "--", f"/opt/venv/bin/python{cell.python}", "-m", "pytest"),
        # The workbench is not in the container: git, PyYAML
        *(
            "--ignore=/src/tests/tools",
            "-p",
            "no:cacheprovider",
            "--rootdir=/src",
            "-c",
            "/src/pyproject.toml",
            *words,
            "/src/tests",
        ),
    ]
    return argv, engine.environment()


def _have_shells(cells: list[Cell]) -> None:
    """The tests without a container need all login shells on this machine; where we may not, they say so themselves."""
    missing = [shell for shell in LOGIN_SHELLS if shutil.which(shell) is None]
    if missing and any(cell.stack is None for cell in cells) and can_install():
        tell(f"installing {', '.join(missing)} with apt-get")
        install(missing)


def _make_images(cells: list[Cell]) -> None:
    specs = {cell.stack.name: cell.stack for cell in cells if cell.stack}
    if specs:
        begun = time.monotonic()
        engine = setup_machine(tell)
        sweep(engine)
        ensure_images(engine, list(specs.values()), tell)
        print(f"== images of {len(specs)} stacks: {time.monotonic() - begun:.0f} s", flush=True)


def _fresh(cells: list[Cell], words: list[str]) -> list[Cell]:
    """Those without a good result for what is there now."""
    sources, known = digest_of_sources(), load_results() | load_results(LOGS)
    left = []
    for cell in cells:
        last = known.get(cell.name)
        if words or not sources or last is None or not last.good or last.sources != sources:
            left.append(cell)
        else:
            tell(f"cell {cell.name} is done: {last.passed} passed on {last.date} ({last.commit})")
    return left


def _longest_first(cells: list[Cell]) -> list[Cell]:
    """As they took when they were recorded, so that no long one is left for the end; first those that never were."""
    known = load_results()
    return sorted(cells, key=lambda cell: known[cell.name].seconds if cell.name in known else 10**6, reverse=True)


def main() -> int:
    """Run the cells; the exit status is 1 if one of them failed, 130 after an interrupt."""
    arguments = _parser().parse_args()
    # Ctrl-C may come ignored, as from `nohup ... &`; what is tested here hears it
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    begun = time.monotonic()
    words = shlex.split(arguments.pytest)
    if arguments.all:
        # tests/contract/conftest.py: what every day is looked at in part
        os.environ["INTERCEDE_CONTRACT_WHOLE"] = "1"
    try:
        chosen = choose(arguments.cell, everything=arguments.all)
        left = _longest_first(_fresh(chosen, words) if arguments.resume else chosen)
        _have_shells(left)
        _make_images(left)
    except TestbedError as error:
        tell(f"error: {error}")
        return 2
    runner = Runner(arguments.workers, words, record=arguments.record and not words)
    runner.tests = find_tests(cell.name for cell in left if cell.stack and not cell.python)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        waiting = [pool.submit(runner.run, cell) for cell in left]
        try:
            ran = [each.result() for each in waiting]
        except KeyboardInterrupt:
            # Once is enough: timeout(1) says it twice
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            tell("stopping")
            runner.stop()
            ran = None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if runner.records:
        _publish()
    if ran is None:
        return 130
    return _sum([each for each in ran if each], runner.failures, time.monotonic() - begun)


def _publish() -> None:
    """Put the results that are beside the logs into the repository, and into the pages that are made of them."""
    for result in load_results(LOGS).values():
        result.save(results.RESULTS)
        (LOGS / f"{result.cell}.json").unlink()
    generate()


def generate() -> None:
    """Make the generated parts of README anew."""
    subprocess.run([sys.executable, "-m", "tools.generate"], cwd=REPOSITORY, check=True)


def _sum(ran: list[Result], failures: list[str], seconds: float) -> int:
    print()
    for title in failures:
        print(title)
    passed, failed, skipped = (sum(getattr(each, name) for each in ran) for name in ("passed", "failed", "skipped"))
    bad = any(not each.good for each in ran)
    counts = {"failed": failed, "passed": passed, "skipped": skipped}
    said = ", ".join(f"{number} {word}" for word, number in counts.items() if number) or "nothing to do"
    print(f"{f' {said} in {seconds:.2f}s, {len(ran)} cells ':=^100}", flush=True)
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.run_cells", description="Run cells of the test matrix.")
    parser.add_argument("cell", nargs="*", help="which; by default those of every day")
    parser.add_argument("--all", action="store_true", help="every one of them")
    parser.add_argument("--record", action="store_true", help="write the results into testbed/results")
    parser.add_argument("--resume", action="store_true", help="leave out what is recorded as good for the same sources")
    parser.add_argument("--jobs", type=int, default=2, help="how many cells at a time (2)")
    parser.add_argument("--workers", type=int, default=2, help="how many processes of pytest in each (2)")
    parser.add_argument("--pytest", default="", help="more words for pytest; nothing is recorded then")
    return parser


if __name__ == "__main__":
    sys.exit(main())
