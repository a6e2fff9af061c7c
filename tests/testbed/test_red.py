"""A daemon that fails turns a run red, and what it said is in the output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from testbed.manifest import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.stack(name=DEFAULT), pytest.mark.timeout(600)]


def test_a_daemon_that_was_ended(project: Callable) -> None:
    session = project(
        """
        def test_the_queue_answers(slurm):
            slurm.daemon("slurmctld").stop()
            slurm.exec(["sinfo"], user="alice", env={"SLURM_CONF": "/etc/slurm/slurm.conf"})
        """
    )
    said = session.end()
    assert session.process.returncode == 1, said
    assert "FAILED test_it.py::test_the_queue_answers" in said
    assert "Unable to contact slurm controller" in said
    assert f"logs of {DEFAULT}" in said
    log = re.search(r"==> \S*slurmctld\.log <==\n(.*?)(?=\n==> |\n[-=]{9}|\ntestbed: )", said, re.DOTALL)
    assert log is not None, said
    assert re.search(r"Terminate signal|Saving all slurm state|shutting down|finished", log[1]), log[1]
    kept = list((session.folder / "test-results" / DEFAULT).glob("*.log"))
    assert len(kept) == 1
    assert log[1].splitlines()[-1] in kept[0].read_text()


def test_a_daemon_that_does_not_start(project: Callable) -> None:
    session = project(
        """
        def test_the_queue_answers(slurm):
            slurm.exec(["sinfo"], user="alice")
        """,
        conftest="""
        import dataclasses
        import testbed.launch as launch

        find_stack = launch.find_stack
        launch.find_stack = lambda name: dataclasses.replace(find_stack(name), shape="broken")
        """,
    )
    said = session.end()
    assert session.process.returncode == 1, said
    assert "ERROR test_it.py::test_the_queue_answers" in said
    assert f"{DEFAULT} did not come up" in said
    assert "shapes/broken.sh: No such file or directory" in said
    assert session.runs() == []
