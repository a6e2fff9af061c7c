"""What a run leaves on the machine: nothing, however it ends; and what it lets in while it is up."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from testbed.engine import find_engine
from testbed.manifest import DEFAULT
from testbed.state import LABEL, OWNER_LABEL, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.stack import Stack

pytestmark = [pytest.mark.stack(name=DEFAULT), pytest.mark.timeout(600)]

NAME = re.compile(r"intercede-testbed-[0-9a-f]{8}-slurm-24\.11")
WAITING = """
    import pathlib, time

    def test_it(slurm):
        lines = [slurm.container(), str(slurm.key()), slurm.key().read_text().splitlines()[-2], slurm.password]
        pathlib.Path("part").write_text("\\n".join(lines))
        pathlib.Path("part").rename("up")
        time.sleep(600)
"""


@pytest.mark.parametrize(("number", "words"), [(signal.SIGINT, ()), (signal.SIGINT, ("-n", "1")), (signal.SIGTERM, ())])
def test_an_interrupted_session_takes_its_stacks_down(
    project: Callable, number: signal.Signals, words: tuple[str, ...]
) -> None:
    session = project(WAITING, *words)
    container, key, *_ = session.says("up")
    assert len(find_engine().inspect([container])) == 1
    session.process.send_signal(number)
    said = session.end()
    assert session.process.returncode == 2, said
    assert "KeyboardInterrupt" in said
    assert find_engine().inspect([container]) == []
    assert session.runs() == []
    assert not session.folder.joinpath(key).exists()


def test_what_a_killed_session_leaves_is_found_and_removed_by_the_next(project: Callable) -> None:
    killed = project(WAITING)
    container, *secrets = killed.says("up")
    killed.process.kill()
    killed.end()
    assert len(find_engine().inspect([container])) == 1
    assert len(killed.runs()) == 1
    (killed.folder / "up").unlink()
    following = project(WAITING.replace("time.sleep(600)", "pass"))
    said = following.end()
    assert following.process.returncode == 0, said
    other, *others = following.says("up")
    assert find_engine().inspect([container, other]) == []
    assert following.runs() == []
    # Nothing is the same twice
    assert NAME.fullmatch(container)
    assert NAME.fullmatch(other)
    assert not {container, *secrets} & {other, *others}


def test_it_is_reached_from_this_machine_alone_and_may_do_nothing_special(slurm: Stack) -> None:
    (description,) = find_engine().inspect([slurm.container()])
    assert NAME.fullmatch(description["Name"].lstrip("/"))
    labels = description["Config"]["Labels"]
    assert labels[LABEL] == slurm.state.run
    assert is_alive(labels[OWNER_LABEL]) or slurm.directory.parent.joinpath("owner").read_text() == "kept"
    published = [each for ports in description["NetworkSettings"]["Ports"].values() for each in ports or ()]
    assert [each["HostIp"] for each in published] == ["127.0.0.1"]
    assert int(published[0]["HostPort"]) == slurm.ssh_port
    assert not description["HostConfig"]["Privileged"]
    assert not description["HostConfig"]["CapAdd"]
    assert description["HostConfig"]["NetworkMode"] != "host"
    writable = [mount["Destination"] for mount in description["Mounts"] if mount["Type"] == "bind" and mount["RW"]]
    assert writable == []


def test_its_credentials_are_for_this_user_alone(slurm: Stack) -> None:
    assert slurm.directory.stat().st_mode & 0o777 == 0o700
    for path in (slurm.key(), slurm.directory / "password"):
        assert path.stat().st_mode & 0o777 == 0o600
