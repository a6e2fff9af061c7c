import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from testbed import engine as engines
from testbed.engine import Engine
from testbed.errors import TestbedError
from testbed.launch import check_version
from testbed.manifest import REPOSITORY, find_stack
from testbed.stack import Stack, StackState, discard, write_ssh_files
from testbed.state import run_of

STATE = replace(StackState.planned(find_stack("slurm-24.11"), "r1", "localhost/image:1"), ssh_port=40022)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(find_stack("slurm-24.11"), STATE, tmp_path, Engine("false"))


def test_its_state_passes_through_a_file_to_another_process(tmp_path: Path) -> None:
    assert StackState.load(tmp_path) is None
    STATE.save(tmp_path)
    assert StackState.load(tmp_path) == STATE


def test_it_says_where_it_is(stack: Stack) -> None:
    assert stack.url() == "ssh+slurm://alice@127.0.0.1:40022"
    assert stack.url("bob") == "ssh+slurm://bob@127.0.0.1:40022"


def test_another_version_is_an_error_unless_its_release_moves(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.state = replace(STATE, version=stack.spec.version)
    check_version(stack)
    stack.state = replace(STATE, version="1.0")
    with pytest.raises(TestbedError, match=r"slurm-24\.11 is 24\.11\.\d+, but it is 1\.0"):
        check_version(stack)
    assert capsys.readouterr().err == ""
    moving = Stack(replace(stack.spec, suite="sid", moves=True), stack.state, tmp_path, Engine("false"))
    check_version(moving)
    assert moving.version == "1.0"
    assert re.search(r"WARNING: .*but it is 1\.0.*sid has moved", capsys.readouterr().err)


def test_openssh_understands_the_files(stack: Stack) -> None:
    write_ssh_files(stack, {"testbed": ["ssh-ed25519 AAAA root@testbed"]})
    assert stack.known_hosts.read_text() == "[127.0.0.1]:40022 ssh-ed25519 AAAA\n"
    argv = ["ssh", "-G", "-F", str(stack.ssh_config), "slurm-24.11"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    wanted = {"hostname 127.0.0.1", "port 40022", "user alice", f"identityfile {stack.key()}"}
    assert wanted <= set(said)
    assert f"userknownhostsfile {stack.known_hosts}" in said


@pytest.fixture
def hidden(tmp_path: Path) -> Stack:
    spec = find_stack("slurm-24.11-gateway")
    return Stack(spec, replace(StackState.planned(spec, "r1", "i"), ssh_port=40022), tmp_path, Engine("false"))


def test_each_container_of_several_is_named_after_its_node(hidden: Stack) -> None:
    assert STATE.containers == {"testbed": "intercede-testbed-r1-slurm-24.11"}
    assert STATE.network == ""
    assert hidden.nodes == ("login", "bastion")
    assert hidden.container() == "intercede-testbed-r1-slurm-24.11-gateway-login"
    assert hidden.container("bastion") == "intercede-testbed-r1-slurm-24.11-gateway-bastion"
    assert run_of(hidden.state.network) == "r1"
    with pytest.raises(ValueError, match=r"c9.*login, bastion"):
        hidden.daemon("sshd", node="c9")


def test_the_way_through_a_jump_host(hidden: Stack) -> None:
    write_ssh_files(hidden, {"login": ["ssh-ed25519 AAAA root@login"], "bastion": ["ssh-ed25519 BBBB root@bastion"]})
    assert hidden.known_hosts.read_text() == "[127.0.0.1]:40022 ssh-ed25519 BBBB\nlogin ssh-ed25519 AAAA\n"
    assert hidden.url() == "ssh+slurm://alice@login"
    settings = hidden.ssh_settings()
    assert (settings["host"], settings["port"]) == ("login", 22)
    assert [(hop["host"], hop["port"]) for hop in settings["jump"]] == [("127.0.0.1", 40022)]
    argv = ["ssh", "-G", "-F", str(hidden.ssh_config), "slurm-24.11-gateway"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    assert {"hostname login", "proxyjump slurm-24.11-gateway-bastion", "user alice"} <= set(said)


def test_a_state_of_another_release_is_none(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"stack": "slurm-24.11", "container": "x"}')
    assert StackState.load(tmp_path) is None


def test_unknown_users_and_daemons_are_named_in_the_error(stack: Stack) -> None:
    with pytest.raises(ValueError, match=r"mallory.*alice"):
        stack.key("mallory")
    with pytest.raises(ValueError, match=r"pbs_server.*slurmctld"):
        stack.daemon("pbs_server")


def test_an_unknown_stack_is_answered_with_those_there_are() -> None:
    with pytest.raises(TestbedError, match=r"slurm-24\.11"):
        find_stack("slurm-1.0")


def test_without_an_engine_the_message_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("INTERCEDE_TESTBED_ENGINE", raising=False)
    engines.find_engine.cache_clear()
    with pytest.raises(TestbedError, match=r"podman is not installed.*python -m testbed setup"):
        engines.find_engine()


def test_an_engine_that_fails_is_quoted(tmp_path: Path) -> None:
    program = tmp_path / "engine"
    program.write_text("#!/bin/sh\necho no space left >&2\nseq 30\nexit 125\n")
    program.chmod(stat.S_IRWXU)
    with pytest.raises(TestbedError, match=r"(?s)failed \(125\)\n.*no space left$"):
        Engine(str(program)).run("build")


def test_a_discarded_stack_takes_its_run_along_only_when_nothing_else_is_there(tmp_path: Path) -> None:
    run_dir = tmp_path / "r1"
    for name in ("one", "two"):
        (run_dir / name).mkdir(parents=True)
    (run_dir / "owner").write_text("1:1")
    discard(run_dir / "one")
    assert [path.name for path in sorted(run_dir.iterdir())] == ["owner", "two"]
    discard(run_dir / "two")
    assert not run_dir.exists()


def test_a_reader_may_have_enough_of_its_lines(tmp_path: Path) -> None:
    engine = tmp_path / "podman"
    engine.write_text("#!/bin/sh\n")
    engine.chmod(0o755)
    read, write = os.pipe()
    os.close(read)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "XDG_STATE_HOME": str(tmp_path)}
    words = [sys.executable, "-m", "testbed", "list"]
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
