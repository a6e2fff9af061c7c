"""The container engine: podman's or docker's command line, whichever is there.

Only arguments that both take are used, so that nothing above this module knows which one it is.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from testbed.errors import TestbedError
from testbed.podman import configure

# A build that is interrupted must be allowed to remove its intermediate container
GRACE = 10.0
SETUP_HINT = "run `python -m testbed setup` (as root on Debian it installs podman), or install podman or docker"


@dataclass(frozen=True)
class Engine:
    """A container engine's command line.

    Attributes:
        program: "podman" or "docker".
        env: What is added to the environment of its commands.
    """

    program: str
    env: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float | None = None,
        show: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command of the engine.

        Args:
            arguments: After the program's name.
            stdin: What it reads; nothing by default.
            check: Whether a failure is an error.
            timeout: In seconds; None waits for ever.
            show: Let stdout and stderr through to the terminal instead of capturing them.

        Raises:
            TestbedError: `check`, and it failed; the message ends with the last lines it printed.
            subprocess.TimeoutExpired: It took longer than `timeout`; it has been ended.
        """
        pipe = None if show else subprocess.PIPE
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        argv = [self.program, *arguments]
        with subprocess.Popen(argv, stdin=source, stdout=pipe, stderr=pipe, env=self.environment()) as process:
            try:
                out, err = process.communicate(stdin, timeout=timeout)
            except BaseException:
                _end(process)
                raise
        result = subprocess.CompletedProcess(argv, process.returncode, out or b"", err or b"")
        if check and result.returncode:
            raise TestbedError(_failure(result))
        return result

    def environment(self) -> dict[str, str]:
        """Say in which environment the engine's program must run."""
        return {**os.environ, **self.env}

    def has_image(self, image: str) -> bool:
        """Say whether an image is there, without asking any registry."""
        return self.run("image", "inspect", image, check=False).returncode == 0

    def inspect(self, containers: Sequence[str]) -> list[dict[str, Any]]:
        """Describe those of the containers that still exist."""
        if not containers:
            return []
        out = self.run("container", "inspect", *containers, check=False).stdout
        return json.loads(out or b"[]")

    def labelled(self, label: str) -> list[dict[str, Any]]:
        """Describe the containers, also those that have ended, with a label (`KEY` or `KEY=VALUE`)."""
        out = self.run("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}").stdout
        return self.inspect(out.decode().split())

    def remove(self, containers: Sequence[str]) -> None:
        """Remove containers at once, with their volumes; those that are gone already do not matter."""
        if containers:
            # Killed first: rm would politely wait ten seconds for it to end
            self.run("kill", *containers, check=False)
            self.run("rm", "--force", "--volumes", *containers, check=False)

    def named(self, kind: str, label: str) -> list[str]:
        """Name what has a label, `KEY=VALUE`.

        Args:
            kind: "network" or "volume".
            label: Which.
        """
        return self.run(kind, "ls", "--format", "{{.Name}}", "--filter", f"label={label}").stdout.decode().split()

    def drop(self, kind: str, names: Iterable[str]) -> None:
        """Remove networks or volumes; those that are gone already, or are still in use, do not matter."""
        for name in names:
            self.run(kind, "rm", name, check=False)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _failure(result: subprocess.CompletedProcess[bytes]) -> str:
    # what went wrong is on stderr, and so it comes last
    said = (result.stdout + result.stderr).decode(errors="replace").strip().splitlines()[-20:]
    return "\n".join([f"`{' '.join(result.args[:3])} ...` failed ({result.returncode})", *said])


def _podman() -> Engine:
    return Engine("podman", configure())


@cache
def find_engine() -> Engine:
    """Find the engine to use: podman if it is installed, else docker; INTERCEDE_TESTBED_ENGINE overrides.

    Raises:
        TestbedError: There is none, or it does not answer; the message says what to do.
    """
    wanted = os.environ.get("INTERCEDE_TESTBED_ENGINE")
    complaints = []
    for engine in (_podman(), Engine("docker", {"DOCKER_BUILDKIT": "1"})):
        if wanted not in (None, engine.program):
            continue
        if shutil.which(engine.program) is None:
            complaints.append(f"{engine.program} is not installed")
            continue
        answer = engine.run("info", check=False, timeout=60)
        if answer.returncode == 0:
            return engine
        complaints.append(f"{engine.program} does not work: {answer.stderr.decode(errors='replace').strip()[-300:]}")
    raise TestbedError(f"no container engine ({'; '.join(complaints)}): {SETUP_HINT}")
