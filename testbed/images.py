"""The images: named by the hash of what they are made of, built when that name is not there."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from testbed import setup
from testbed.engine import Engine
from testbed.manifest import IMAGES, REPOSITORY, StackSpec, content_hash, requirements
from testbed.state import locked, state_root

# "localhost/": podman's own name for what comes from no registry, and docker takes it too
PREFIX = "localhost/intercede-testbed"
Say = Callable[[str], None]


def system_image(spec: StackSpec) -> str:
    """Name the image of a stack's system, without the tools: it changes when its files do."""
    digest = content_hash([IMAGES / "common", IMAGES / spec.system], spec.suite)
    return f"{PREFIX}-{spec.system}:{spec.version}-{digest}"


def stack_image(spec: StackSpec) -> str:
    """Name the image that a stack runs: its system's, and Python with what the library and its tests depend on."""
    digest = content_hash([IMAGES / "tools"], system_image(spec), _requirements_text())
    return f"{PREFIX}-{spec.system}-tools:{spec.version}-{digest}"


def _requirements_text() -> str:
    return "".join(f"{line}\n" for line in requirements((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")))


def is_built(engine: Engine, spec: StackSpec) -> bool:
    """Say whether a stack can start without building anything."""
    return engine.has_image(stack_image(spec))


def ensure_image(engine: Engine, spec: StackSpec, say: Say, *, show: bool = False) -> str:
    """Build a stack's image unless it is there, and its base image unless a registry or this machine has it.

    Args:
        engine: Who builds.
        spec: What to build.
        say: Told what is going to take long.
        show: Let the engine's output through.

    Returns:
        The image's name.

    Raises:
        TestbedError: A build failed; the message ends with what it said.
    """
    wanted = stack_image(spec)
    if engine.has_image(wanted):
        return wanted
    with locked(state_root() / "build.lock"):
        base = system_image(spec)
        if not engine.has_image(base):
            setup.ensure_base(engine, spec.suite, say)
            say(f"building {base}")
            file = IMAGES / spec.system / "Containerfile"
            build = ("build", "--tag", base, "--file", str(file), "--build-arg", f"SUITE={spec.suite}", str(IMAGES))
            engine.run(*build, show=show)
        if not engine.has_image(wanted):
            say(f"building {wanted}")
            _build_tools(engine, base, wanted, show)
    return wanted


def _build_tools(engine: Engine, base: str, wanted: str, show: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="intercede-testbed-") as folder:
        context, private = Path(folder) / "context", Path(folder) / "private"
        shutil.copytree(IMAGES / "tools", context)
        private.mkdir(mode=0o700)
        (context / "requirements.txt").write_text(_requirements_text())
        arguments = ["--tag", wanted, "--build-arg", f"BASE={base}", "--file", str(context / "Containerfile")]
        engine.run("build", *arguments, *_pip_secrets(private), str(context), show=show)


def _pip_secrets(private: Path) -> list[str]:
    """Hand on what the host's pip is told by its environment; an index's URL may hold a password: hence secrets."""
    secrets = []
    with contextlib.suppress(KeyError):
        secrets += ["--secret", f"id=pip_cert,src={os.environ['PIP_CERT']}"]
    with contextlib.suppress(KeyError):
        conf = private / "pip.conf"
        conf.write_text(f"[global]\nindex-url = {os.environ['PIP_INDEX_URL']}\n")
        secrets += ["--secret", f"id=pip_conf,src={conf}"]
    return secrets
