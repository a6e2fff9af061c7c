"""Running cells: what is printed, kept and returned."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tools import results, run_cells
from tools.cells import Cell

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "print('noise\\n' * 20 + '=== 5 passed, 2 deselected in 1.00s ===')"
BAD = """
print("==> slurmctld.log <==", "fatal: no way", sep="\\n")
print("FAILED tests/x.py::test_x - oh", "=== 1 failed in 1.00s ===", sep="\\n")
exit(1)
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def begin(programs: dict[str, str], *words: str) -> int:
        def command(_: run_cells.Runner, cell: Cell) -> tuple[list[str], dict[str, str]]:
            return [sys.executable, "-c", programs[cell.name]], dict(os.environ)

        cells = {name: Cell(name, "") for name in programs}
        monkeypatch.setattr(run_cells.Runner, "_command", command)
        monkeypatch.setattr(run_cells, "choose", lambda names, **_: [cells[name] for name in names or cells])
        monkeypatch.setattr(run_cells, "LOGS", tmp_path / "logs")
        monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
        monkeypatch.setattr(run_cells, "generate", (tmp_path / "generated").touch)
        monkeypatch.setattr(sys, "argv", ["run_cells", *words])
        return run_cells.main()

    return begin


def test_of_good_cells_the_sum_is_printed(run: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run({"one": GOOD, "two": GOOD}) == 0
    said = capsys.readouterr().out
    assert "noise" not in said
    assert "== cell one: 5 passed, " in said
    assert " 10 passed in " in said.splitlines()[-1]
    assert "noise" in (tmp_path / "logs" / "two.log").read_text()
    assert not (tmp_path / "results").exists()


def test_of_a_bad_cell_all_is_printed(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run({"one": BAD, "two": GOOD}) == 1
    said = capsys.readouterr().out
    assert "fatal: no way" in said
    assert said.splitlines()[-2] == "FAILED tests/x.py::test_x - oh"
    assert " 1 failed, 5 passed in " in said.splitlines()[-1]


def test_a_cell_that_says_nothing_is_a_failure(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run({"one": "exit(5)"}) == 1
    assert "FAILED one" in capsys.readouterr().out
    assert run({"one": "exit(5)", "two": GOOD}, "--pytest=-k walltime") == 0


def test_it_goes_on_where_it_was_stopped(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--record", "--resume")
    assert run({"one": GOOD, "two": BAD}, *words) == 1
    capsys.readouterr()
    assert run({"one": "exit(1)", "two": GOOD}, *words) == 0
    said = capsys.readouterr()
    assert "cell one is done: 5 passed" in said.err
    assert " 5 passed in " in said.out.splitlines()[-1]
    assert run({"one": BAD, "two": BAD}, *words) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_results_come_into_the_repository_when_all_is_over(run: Any, tmp_path: Path) -> None:
    look = f"import pathlib; assert not pathlib.Path({str(tmp_path / 'results')!r}).exists();"
    assert run({"one": GOOD, "two": look + GOOD, "three": look + BAD}, "--record", "--jobs=1") == 1
    assert set(results.load_results()) == {"one", "two", "three"}
    assert [result.good for result in results.load_results().values()] == [True, False, True]
    assert (tmp_path / "generated").exists()


def test_an_interrupt_ends_what_runs_and_what_is_done_counts(run: Any, tmp_path: Path) -> None:
    flag = tmp_path / "cleared"
    wait = f"""
import os, pathlib, signal, time
try:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(100)
except KeyboardInterrupt:
    pathlib.Path({str(flag)!r}).touch()
"""
    assert run({"one": GOOD, "two": wait, "three": GOOD}, "--jobs=1", "--record") == 130
    assert flag.exists()
    assert set(results.load_results()) == {"one"}
