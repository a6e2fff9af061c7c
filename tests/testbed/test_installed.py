"""The testbed as other projects have it: installed from its wheel, with no repository around it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from typing import TYPE_CHECKING

import pytest

from testbed.manifest import DEFAULT, REPOSITORY, load_manifest

if TYPE_CHECKING:
    from pathlib import Path

TEST = """
import subprocess
from pathlib import Path

import testbed
from testbed.images import SOURCE


def test_a_job_of_ours(slurm):
    assert "site-packages" in testbed.__file__
    assert SOURCE is None
    argv = ["ssh", "-F", str(slurm.ssh_config), slurm.name, "sbatch", "--parsable", "--wait", "--wrap", "'echo hello'"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    out = slurm.exec(["cat", f"slurm-{done.stdout.strip()}.out"], user="alice").stdout
    assert out == b"hello\\n"
    assert slurm.exec(["test", "-e", "/src"], check=False).returncode == 1
"""


def run(*argv: str | Path, cwd: Path) -> str:
    hidden = {"INTERCEDE_TESTBED_REUSE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTHONPATH", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["XDG_STATE_HOME"] = str(cwd / "state")
    done = subprocess.run(
        argv, cwd=cwd, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.stack(name=DEFAULT)
@pytest.mark.timeout(600)
def test_another_project_uses_it(tmp_path: Path) -> None:
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    run(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY / "testbed", cwd=tmp_path)
    (wheel,) = tmp_path.glob("intercede_testbed-*.whl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run(python, *pip, "install", wheel, cwd=tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    (project / "conftest.py").write_text('pytest_plugins = ["testbed.plugin"]\n')
    (project / "test_ours.py").write_text(TEST)
    said = run(python, "-m", "pytest", "-W", "error", project, cwd=project)
    assert "1 passed" in said
    assert re.search(rf"testbed: {re.escape(DEFAULT)} was slurm \d+\.\d+\.\d+, OpenSSH \d", said), said
    assert not list((project / "state" / "intercede-testbed" / "runs").iterdir())
    listed = run(home / "bin" / "intercede-testbed", "list", cwd=project)
    assert [line.split()[0] for line in listed.splitlines()] == list(load_manifest())


def test_both_packages_are_of_one_version() -> None:
    ours, its = (tomllib.loads((path / "pyproject.toml").read_text()) for path in (REPOSITORY, REPOSITORY / "testbed"))
    for key in ("version", "license", "requires-python"):
        assert ours["project"][key] == its["project"][key]
