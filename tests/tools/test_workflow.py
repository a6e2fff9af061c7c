"""The hosted CI: what it runs is there, and a user can run it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.run_cells import LOGIN_SHELLS

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"
ACTIONS = {"actions/checkout@v4", "actions/setup-python@v5", "actions/upload-artifact@v4"}
JOB_KEYS = {"env", "if", "name", "needs", "outputs", "permissions", "runs-on", "steps", "strategy", "timeout-minutes"}
STEP_KEYS = {"env", "id", "if", "name", "run", "uses", "with"}


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    return yaml.safe_load(WORKFLOW.read_text())


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_it_has_the_shape_of_a_workflow(workflow: dict[Any, Any]) -> None:
    # YAML 1.1 reads the key `on` as true
    assert set(workflow) == {"name", True, "permissions", "concurrency", "jobs"}
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert set(job) <= JOB_KEYS
        assert {"runs-on", "steps", "timeout-minutes"} <= set(job)
    for step in steps(workflow):
        assert set(step) <= STEP_KEYS
        assert ("run" in step) != ("uses" in step)
        assert step.get("uses") in ACTIONS | {None}


def test_what_jobs_need_of_one_another_is_there(workflow: dict[Any, Any]) -> None:
    jobs = workflow["jobs"]
    for job in jobs.values():
        needed = job.get("needs", [])
        assert {needed} if isinstance(needed, str) else set(needed) <= set(jobs)
    for where, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", WORKFLOW.read_text()):
        assert output in jobs[where]["outputs"]
    for job in jobs.values():
        known = {step["id"]: step for step in job["steps"] if "id" in step}
        for value in job.get("outputs", {}).values():
            step, name = re.findall(r"steps\.(\w+)\.outputs\.(\w+)", value)[0]
            assert f"{name}=" in known[step]["run"]


def test_every_target_and_module_that_it_runs_is_there(workflow: dict[Any, Any]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    ran = "\n".join(step["run"] for step in steps(workflow) if "run" in step)
    for line in re.findall(r"apt-get .*install .*", ran):
        assert set(LOGIN_SHELLS) <= {*line.split(), "bash"}
    targets = [word for line in re.findall(r"make ([^$\n]+)", ran) for word in line.split() if "=" not in word]
    assert sorted(set(targets)) == ["cells", "docs", "lint"]
    for target in targets:
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target
    for name in re.findall(r"make \S+ (\w+)=", ran):
        assert re.search(rf"^{name} \?=", makefile, re.MULTILINE), name
    modules = re.findall(r"python -m (\S+)", ran)
    assert modules == ["tools.cells"]
    assert (ROOT / "tools" / "cells.py").is_file()


@pytest.mark.parametrize("words", [[], ["--all"]])
def test_the_matrix_is_printed_without_anything_installed(words: list[str]) -> None:
    argv = [sys.executable, "-I", "-S", "-c", "import runpy, sys; sys.path.insert(0, '.'); sys.argv[0] = 'cells'; "
            "runpy.run_module('tools.cells', run_name='__main__')", "--json", *words]  # fmt: skip
    said = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert said.count("\n") == 1
    cells = json.loads(said)
    assert "quick" in cells
    assert "slurm-24.11" in cells
    assert ("slurm-20.11" in cells) == bool(words)
