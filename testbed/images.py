"""The images: named by the hash of what they are made of, built when that name is not there."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed import setup
from testbed.engine import Engine
from testbed.errors import TestbedError
from testbed.manifest import IMAGES, REPOSITORY, StackSpec, content_hash, requirements
from testbed.state import locked, state_root

# "localhost/": podman's own name for what comes from no registry, and docker takes it too
PREFIX = "localhost/intercede-testbed"
Say = Callable[[str], None]
# Mounted into every container, with the tools that it needs: where the testbed is part of the library's repository, and
# not where it has been installed
SOURCE = REPOSITORY if (REPOSITORY / "pyproject.toml").is_file() else None


def system_image(spec: StackSpec) -> str:
    """Name the image of a stack's system, without the tools: it changes when its files do."""
    digest = content_hash([IMAGES / "common", IMAGES / spec.system], spec.suite)
    return f"{PREFIX}-{spec.system}:{spec.version}-{digest}"


def stack_image(spec: StackSpec) -> str:
    """Name the image that a stack runs: its system's, and Python with what the library and its tests depend on.

    Where the testbed has been installed there is no library to test inside: then it is the system's own.
    """
    if SOURCE is None:
        return system_image(spec)
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
    wanted, base = stack_image(spec), system_image(spec)
    if engine.has_image(wanted):
        return wanted
    with _alone(base):
        if not engine.has_image(base):
            with _alone(spec.suite):
                setup.ensure_base(engine, spec.suite, say)
            say(f"building {base}")
            file = IMAGES / spec.system / "Containerfile"
            words = ("--tag", base, "--file", str(file), "--build-arg", f"SUITE={spec.suite}", str(IMAGES))
            _build(engine, words, say, show)
        if not engine.has_image(wanted):
            say(f"building {wanted}")
            _build_tools(engine, base, wanted, say, show)
    return wanted


def _build(engine: Engine, words: Sequence[str], say: Say, show: bool) -> None:
    """Build, and once more if that fails: mirrors stumble now and then, and layers that were made are kept."""
    try:
        engine.run("build", *words, show=show)
    except TestbedError as error:
        say(f"{error}")
        say(f"building {words[1]} once more")
        engine.run("build", *words, show=show)


def _alone(what: str) -> contextlib.AbstractContextManager[None]:
    """Nobody else of this user makes the same thing now."""
    return locked(state_root() / f"build-{what.rpartition(':')[2]}.lock")


def ensure_images(engine: Engine, specs: Collection[StackSpec], say: Say, *, jobs: int = 2) -> dict[str, str]:
    """Build the images of several stacks, each image once, and some at the same time.

    Args:
        engine: Who builds.
        specs: What to build.
        say: Told what is going to take long.
        jobs: How many at a time: a build keeps a processor busy, and waits for a mirror a third of its time.

    Returns:
        The image's name, by the name of the stack.

    Raises:
        TestbedError: A build failed; those that had begun were ended properly.
    """
    names = {spec.name: stack_image(spec) for spec in specs}
    missing = {names[spec.name]: spec for spec in specs if not engine.has_image(names[spec.name])}
    show = len(missing) == 1
    with ThreadPoolExecutor(jobs) as pool:
        for made in [pool.submit(ensure_image, engine, spec, say, show=show) for spec in missing.values()]:
            made.result()
    return names


def _build_tools(engine: Engine, base: str, wanted: str, say: Say, show: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="intercede-testbed-") as folder:
        context, private = Path(folder) / "context", Path(folder) / "private"
        shutil.copytree(IMAGES / "tools", context)
        private.mkdir(mode=0o700)
        (context / "requirements.txt").write_text(_requirements_text())
        arguments = ["--tag", wanted, "--build-arg", f"BASE={base}", "--file", str(context / "Containerfile")]
        _build(engine, [*arguments, *_pip_secrets(private), str(context)], say, show)


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
