from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from testbed import state
from testbed.engine import Engine
from testbed.launch import sweep

DEAD = "999999999:1"


class Remembered(Engine):
    """An engine that only remembers: containers by name with their labels, networks and volumes by name."""

    def __init__(self, containers: dict[str, dict[str, str]], things: dict[str, set[str]]) -> None:
        super().__init__("false")
        object.__setattr__(self, "containers", containers)
        object.__setattr__(self, "things", things)

    containers: dict[str, dict[str, str]]
    things: dict[str, set[str]]

    def labelled(self, label: str) -> list[dict[str, Any]]:
        return [
            {"Id": name, "Config": {"Labels": labels}} for name, labels in self.containers.items() if label in labels
        ]

    def remove(self, containers: Sequence[str]) -> None:
        for name in containers:
            del self.containers[name]

    def named(self, kind: str, label: str) -> list[str]:
        assert label == f"{state.ROOT_LABEL}={state.runs_dir()}"
        return sorted(self.things[kind])

    def drop(self, kind: str, names: Iterable[str]) -> None:
        self.things[kind] -= set(names)


RUNS = {"dead": DEAD, "alive": state.process_owner(), "kept": state.KEPT}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remembered:
    """Three runs with two containers each, and what is left of a fourth one whose directory is gone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    containers = {}
    for run, owner in RUNS.items():
        run_dir = state.private_dir(state.runs_dir() / run)
        state.set_owner(run_dir, owner)
        labels = {state.LABEL: run, state.OWNER_LABEL: owner, state.STATE_LABEL: str(run_dir)}
        containers |= {f"{run}-{node}": labels for node in ("login", "c1")}
    names = {state.resource_name(run, "slurm-1-wide") for run in (*RUNS, "gone")}
    return Remembered(containers, {"network": set(names), "volume": set(names)})


@pytest.mark.parametrize(
    ("kept", "everything", "left"),
    [(False, False, {"alive", "kept"}), (True, False, {"alive"}), (False, True, set())],
)
def test_what_killed_runs_left_is_removed(engine: Remembered, kept: bool, everything: bool, left: set[str]) -> None:
    assert sweep(engine, kept=kept, everything=everything) == 2 * (3 - len(left))
    assert set(engine.containers) == {f"{run}-{node}" for run in left for node in ("login", "c1")}
    for kind in ("network", "volume"):
        assert {state.run_of(name) for name in engine.things[kind]} == left
