"""Sessions of pytest, of their own state and owner, as another project would run them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from testbed.manifest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 300


class Session:
    """One session of pytest in a process of its own, on one small file of tests.

    Args:
        folder: Its project, with its state beside it.
        words: More words for pytest.
    """

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        environment = os.environ | {"XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(REPOSITORY)}
        for name in ("INTERCEDE_TESTBED_REUSE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "testbed.plugin",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:asyncio",
                "-c",
                "pytest.ini",
                *words,
            ],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def says(self, name: str) -> list[str]:
        """Wait for a file that the test writes, and give its lines."""
        until = time.monotonic() + PATIENCE
        path = self.folder / name
        while not path.exists():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < until, f"no {name}"
            time.sleep(0.05)
        return path.read_text().splitlines()

    def end(self) -> str:
        """Wait for its end, and give what it printed."""
        return self.process.communicate(timeout=PATIENCE)[0]

    def runs(self) -> list[Path]:
        """What there is of its runs: keys, passwords."""
        return list((self.folder / "state" / "intercede-testbed" / "runs").iterdir())


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Make a project of one file, and run it; what it has not ended itself is ended here."""
    begun: list[Session] = []

    def run(text: str, *words: str, conftest: str = "") -> Session:
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "conftest.py").write_text(textwrap.dedent(conftest))
        (tmp_path / "test_it.py").write_text(textwrap.dedent(text))
        begun.append(Session(tmp_path, *words))
        return begun[-1]

    yield run
    for session in begun:
        if session.process.poll() is None:
            session.process.terminate()
            session.process.communicate(timeout=60)
