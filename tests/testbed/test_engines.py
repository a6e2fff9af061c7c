"""What the testbed tells its engine: what podman and docker both understand, and nothing that opens the machine."""

from __future__ import annotations

import contextlib
import re
import socket
import stat
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from testbed import images, launch, setup
from testbed import stack as stacks
from testbed.engine import Engine, find_engine
from testbed.errors import TestbedError
from testbed.manifest import DEFAULT, find_stack, load_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Of the manuals of podman 4.3 and docker 20.10: the options of each command that both have, and whether a value follows
BOTH: dict[str, dict[str, bool]] = {
    "build": {"--tag": True, "--file": True, "--build-arg": True, "--secret": True},
    "container inspect": {},
    "exec": {"--interactive": False, "--tty": False, "--user": True, "--workdir": True, "--env": True},
    "image inspect": {},
    "import": {"--change": True},
    "info": {},
    "kill": {},
    "logs": {"--tail": True},
    "network create": {"--label": True},
    "network inspect": {},
    "network ls": {"--filter": True, "--format": True},
    "network rm": {},
    "pause": {},
    "port": {},
    "ps": {"--all": False, "--quiet": False, "--no-trunc": False, "--filter": True},
    "pull": {},
    "rm": {"--force": False, "--volumes": False},
    "run": {
        "--detach": False, "--entrypoint": True, "--env": True, "--hostname": True, "--label": True, "--name": True,
        "--network": True, "--network-alias": True, "--publish": True, "--rm": False, "--security-opt": True,
        "--tmpfs": True, "--user": True, "--volume": True, "--workdir": True,
    },
    "unpause": {},
    "volume create": {"--label": True},
    "volume inspect": {},
    "volume ls": {"--filter": True, "--format": True},
    "volume rm": {"--force": False},
}  # fmt: skip
NOUNS = {"container", "image", "network", "volume"}
# Plays an engine that has no image: keeps each command, words between NUL bytes, and answers where an answer is read
PLAYED = """#!/bin/sh
{ printf '%s\\0' "$@"; echo; } >>"$0.said"
case "$*" in
"image inspect"* | pull*) exit 1 ;;
*" provision") cat >/dev/null; echo "version VERSION"; echo "ssh-ed25519 AAAA testbed" ;;
port*) echo 127.0.0.1:PORT ;;
*) echo "[]" ;;
esac
"""


def words_of(command: list[str]) -> tuple[str, dict[str, list[str]]]:
    """A command's name, and its options with their values; fails at one that not both engines have."""
    name = " ".join(command[:2]) if command[0] in NOUNS else command[0]
    assert name in BOTH, f"{name}: is that a command of both engines?"
    rest = iter(command[len(name.split()) :])
    found: dict[str, list[str]] = {}
    for word in rest:
        if not word.startswith("-"):
            break
        assert word in BOTH[name], f"{name} {word}: do both engines have that?"
        found.setdefault(word, []).append(next(rest) if BOTH[name][word] else "")
    return name, found


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where something says that it speaks SSH."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    with server.accept()[0] as connection:
                        connection.sendall(b"SSH-2.0-test\r\n")
                except OSError:
                    return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def record(port: int, tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that the engine is told in the life of a stack, from an empty machine on."""
    folder = tmp_path_factory.mktemp("engine")
    program = folder / "engine"
    program.write_text(PLAYED.replace("PORT", str(port)).replace("VERSION", find_stack(DEFAULT).version))
    bootstrap = folder / "mmdebstrap"
    bootstrap.write_text("#!/bin/sh\n")
    for path in (program, bootstrap):
        path.chmod(stat.S_IRWXU)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_STATE_HOME", str(folder))
        monkeypatch.setenv("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt")
        monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
        monkeypatch.setattr(setup.shutil, "which", lambda name: f"{folder}/{name}")
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        engine = Engine(str(program))
        for module in (launch, stacks):
            monkeypatch.setattr(module, "find_engine", lambda: engine)
        live(engine)
    return (folder / "engine.said").read_text()


def live(engine: Engine) -> None:
    """The life of a stack of one container, and of one of several."""
    engine.run("info")
    for name in (DEFAULT, next(name for name, spec in load_manifest().items() if len(spec.layout.nodes) > 1)):
        stack = launch.start(name)
        stack.exec(["true"], user="alice", env={"A": "1"})
        stack.logs(10)
        assert list(launch.running()) == []
        stack.close()
        launch.close_run(stack.state.run)
    launch.sweep(engine, everything=True)


@pytest.fixture
def said(record: str) -> list[tuple[str, dict[str, list[str]]]]:
    """The same as options by command."""
    return [words_of(command.split("\0")) for command in record.split("\0\n") if command]


def test_it_is_told_what_both_engines_understand(said: list[tuple[str, dict[str, list[str]]]]) -> None:
    assert {
        "build",
        "container inspect",
        "exec",
        "image inspect",
        "import",
        "kill",
        "port",
        "ps",
        "pull",
        "rm",
        "run",
    } <= {name for name, _ in said}
    builds = [options for name, options in said if name == "build"]
    assert len(builds) >= 2
    assert any("--secret" in options for options in builds)


def test_it_publishes_on_loopback_and_asks_for_no_privilege(said: list[tuple[str, dict[str, list[str]]]]) -> None:
    runs = [options for name, options in said if name == "run"]
    assert runs
    for options in runs:
        for where in options.get("--publish", []):
            assert where.startswith("127.0.0.1:")
        assert options["--security-opt"] == ["label=disable"]
        labels = {label.partition("=")[0] for label in options["--label"]}
        assert {launch.LABEL, launch.OWNER_LABEL, launch.STATE_LABEL} <= labels
        assert all(
            re.search(r"^/home$|:ro$", volume) or "/" not in volume.partition(":")[0] for volume in options["--volume"]
        )


def test_secrets_are_not_in_an_argument(said: list[tuple[str, dict[str, list[str]]]], record: str) -> None:
    assert images.PREFIX in "".join(tag for _, options in said for tag in options.get("--tag", []))
    assert "PRIVATE KEY" not in record
    assert "ssh-ed25519" not in record


@pytest.mark.stack(name=DEFAULT)
def test_the_engine_here_has_all_of_them() -> None:
    engine = find_engine()
    for command, options in BOTH.items():
        help_text = subprocess.run(
            [engine.program, *command.split(), "--help"],
            env=engine.environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        missing = [option for option in options if not re.search(rf"{option}\b", help_text)]
        assert not missing, f"{engine.program} {command} lacks {missing}"


# Stumbles as often as the file beside it has lines
STUMBLES = """#!/bin/sh
echo "$*" >>"$0.said"
case $1 in image) exit 1 ;; build) ;; *) echo "[]"; exit ;; esac
[ -s "$0.times" ] || exit 0
sed -i 1d "$0.times"
echo "Temporary failure resolving a mirror" >&2
exit 100
"""


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_build_that_fails_is_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(setup, "ensure_base", lambda *_: None)
    program = tmp_path / "engine"
    program.write_text(STUMBLES)
    program.chmod(stat.S_IRWXU)
    (tmp_path / "engine.times").write_text("x\n" * times)
    told: list[str] = []
    with contextlib.nullcontext() if times < 2 else pytest.raises(TestbedError, match="resolving a mirror"):
        images.ensure_image(Engine(str(program)), find_stack(DEFAULT), told.append)
    builds = [line for line in (tmp_path / "engine.said").read_text().splitlines() if line.startswith("build ")]
    assert len(builds) == 2 + (times == 1)
    assert sum(line.endswith(" once more") for line in told) == (times > 0)
    assert times == 0 or any("resolving a mirror" in line for line in told)
