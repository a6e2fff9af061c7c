"""The cells of the matrix, and what is kept of their runs."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.errors import TestbedError
from testbed.manifest import load_manifest
from tools import results
from tools.cells import BRISK, QUICK, choose, load_cells, parse_cells
from tools.find_tests import find_tests
from tools.results import digest_of_sources, load_results, read_output

MANIFEST = """
[stacks]
"x-9" = { system = "x", suite = "bookworm", version = "9.1" }
"x-10" = { system = "x", suite = "trixie", version = "10.2" }
"x-9-odd" = { system = "x", suite = "bookworm", version = "9.1", shape = "odd" }
[pythons]
"3.14" = "x-10"
[systems.x]
scheme = "ecks"
daemons = ["sshd"]
"""
OUTPUT = """
============================= test session starts ==============================
platform linux -- Python 3.11.2, pytest-8.4.2, pluggy-1.6.0
FAILED tests/x.py::test_one - assert 10 passed in 3s
testbed: x-10 was ecks 10.2, OpenSSH 10.0p2, up after 4 s
testbed: x-9 was ecks 9.1, OpenSSH 9.2p1, up after 4 s
====== 2 failed, 31 passed, 1 skipped, 300 deselected, 1 error in 61.20s (0:01:01) ======
"""


def test_cells_are_the_quick_tests_each_stack_and_each_python() -> None:
    cells = parse_cells(MANIFEST)
    assert list(cells) == ["quick", "x-9", "x-10", "x-9-odd", "python-3.14"]
    assert cells["x-9"].marks == 'stack(name="x-9")'
    assert (cells["quick"].marks, cells["python-3.14"].marks) == (QUICK, BRISK)
    assert cells["python-3.14"].stack is cells["x-10"].stack


def test_every_day_has_the_newest_of_each_system_and_each_shape() -> None:
    assert [cell.name for cell in parse_cells(MANIFEST).values() if cell.daily] == [
        "quick", "x-10", "x-9-odd", "python-3.14",
    ]  # fmt: skip


def test_a_python_of_a_stack_that_is_not_there_is_refused() -> None:
    with pytest.raises(TestbedError, match=r"Python 3\.14.*no such stack"):
        parse_cells(MANIFEST.replace('= "x-10"', '= "x-11"'))


def test_an_unknown_cell_is_answered_with_those_there_are() -> None:
    with pytest.raises(TestbedError, match=r"no cell slow.*quick.*python-3\.14"):
        choose(["quick", "slow"], everything=False)
    assert [cell.name for cell in choose([], everything=True)] == list(load_cells())
    assert [cell.name for cell in choose(["python-3.13"], everything=False)] == ["python-3.13"]


def test_every_stack_of_the_manifest_is_a_cell_and_some_test_needs_it() -> None:
    stacks = load_manifest()
    found = find_tests(stacks)
    assert set(found) == set(stacks)
    assert {name: load_cells()[name].stack for name in stacks} == stacks
    assert "tests/contract/test_contract.py" in found["slurm-20.11"]
    assert not any(path.startswith("tests/unit") for paths in found.values() for path in paths)


def test_what_pytest_prints_becomes_a_result() -> None:
    result = read_output("x-10", "x-10", OUTPUT, code=1, seconds=70.4, sources="abc")
    assert (result.passed, result.failed, result.skipped, result.seconds) == (31, 3, 1, 70)
    assert (result.version, result.openssh, result.python) == ("10.2", "10.0p2", "3.11.2")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result.date)
    assert not result.good


@pytest.mark.parametrize("output", ["", "INTERNALERROR", OUTPUT.replace("2 failed, ", "").replace(", 1 error", "")])
def test_an_exit_status_alone_is_a_failure(output: str) -> None:
    assert read_output("x", "", output, code=3, seconds=1, sources="").failed == 1


def test_without_failures_it_is_good() -> None:
    result = read_output(
        "quick", "", OUTPUT.replace("2 failed, ", "").replace(", 1 error", ""), code=0, seconds=1, sources=""
    )
    assert result.good
    assert (result.version, result.openssh) == ("", "")


def test_results_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    result = read_output("x-10", "x-10", OUTPUT, code=1, seconds=70.4, sources="abc")
    result.save(tmp_path / "results")
    later = replace(result, passed=34, failed=0)
    later.save(tmp_path / "results")
    assert load_results() == {"x-10": later}


def test_the_recorded_results_are_of_cells_that_there_are() -> None:
    assert set(load_results()) <= set(load_cells())
    assert all(name == result.cell for name, result in load_results().items())


def test_the_digest_changes_with_the_sources_and_not_with_the_results(tmp_path: Path) -> None:
    assert digest_of_sources(tmp_path) == ""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name in ("src/a.py", "testbed/results/x.json", "tests/guide.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    first = digest_of_sources(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{12}", first)
    (tmp_path / "testbed/results/x.json").write_text("2")
    (tmp_path / "tests/guide.md").write_text("2")
    assert digest_of_sources(tmp_path) == first
    (tmp_path / "src/a.py").write_text("2")
    assert digest_of_sources(tmp_path) != first
