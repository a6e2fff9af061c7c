import os
import subprocess
import sys
from pathlib import Path

from testbed import state
from testbed.state import KEPT, Container, is_abandoned, is_alive, is_kept, leftovers, parse_containers, set_owner

DEAD = "999999999:1"


def _described(labels: dict[str, str] | None, ident: str = "c1") -> dict[str, object]:
    return {"Id": ident, "Config": {"Labels": labels}}


def _labels(run_dir: Path, owner: str = DEAD) -> dict[str, str]:
    return {state.LABEL: run_dir.name, state.OWNER_LABEL: owner, state.STATE_LABEL: str(run_dir)}


def test_this_process_is_alive_and_one_that_has_its_number_later_is_not_it() -> None:
    assert is_alive(state.process_owner())
    assert not is_alive(f"{os.getpid()}:12345")


def test_a_process_that_has_ended_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = state.process_owner(child.pid)
    assert is_alive(owner)
    child.communicate(b"\n")
    assert not is_alive(owner)


def test_nonsense_is_not_alive() -> None:
    assert not any(map(is_alive, ["", "x:1", "-1:1", KEPT, DEAD]))


def test_only_containers_of_our_own_runs_count(tmp_path: Path) -> None:
    run_dir = tmp_path / "r1"
    others = tmp_path / "elsewhere" / "r2"
    described = [
        _described(_labels(run_dir)),
        _described(_labels(others), "c2"),
        _described(None),
        _described({"a": "b"}),
    ]
    assert parse_containers(described, tmp_path) == [Container("c1", "r1", DEAD, run_dir)]


def test_leftovers_are_those_whose_owner_is_gone_unless_they_are_kept(tmp_path: Path) -> None:
    runs = {name: tmp_path / name for name in ("dead", "kept", "alive", "nothing-left")}
    for name in ("dead", "kept", "alive"):
        runs[name].mkdir()
    set_owner(runs["dead"], DEAD)
    set_owner(runs["kept"], KEPT)
    containers = [Container(name, name, DEAD, run_dir) for name, run_dir in runs.items() if name != "alive"]
    containers.append(Container("alive", "alive", state.process_owner(), runs["alive"]))
    assert [container.ident for container in leftovers(containers)] == ["dead", "nothing-left"]


def test_a_run_is_abandoned_only_if_it_says_whose_it_was(tmp_path: Path) -> None:
    assert not is_abandoned(tmp_path)
    set_owner(tmp_path, DEAD)
    assert is_abandoned(tmp_path)
    set_owner(tmp_path, KEPT)
    assert not is_abandoned(tmp_path)
    assert is_kept(tmp_path)


def test_the_state_is_private(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert state.runs_dir() == tmp_path / "state" / "intercede-testbed" / "runs"
    assert state.state_root().stat().st_mode & 0o777 == 0o700
