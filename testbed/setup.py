"""What a bare machine needs first: an engine that works, and Debian's base images where no registry answers."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from testbed.engine import Engine, find_engine
from testbed.errors import TestbedError
from testbed.state import state_root

PACKAGES = "podman buildah runc crun netavark aardvark-dns iptables uidmap catatonit mmdebstrap debian-archive-keyring"
BASE = "docker.io/library/debian"
# In seconds, for one release of 30 MB; that none answered is remembered
PULL_PATIENCE = 60.0


def setup_machine(say: Callable[[str], None]) -> Engine:
    """Make sure that a container engine works, installing and configuring podman as far as needed.

    Installs only as root, with apt-get, and only if neither podman nor docker works.

    Raises:
        TestbedError: There is no engine and none can be installed; the message says why.
    """
    if shutil.which("podman") is None and not _docker_works():
        if not can_install():
            raise TestbedError(
                "neither podman nor docker works here, and only root on Debian can have podman installed"
            )
        say("installing podman with apt-get")
        install(PACKAGES.split())
    find_engine.cache_clear()
    return find_engine()


def _docker_works() -> bool:
    docker = Engine("docker")
    return shutil.which("docker") is not None and docker.run("info", check=False).returncode == 0


def can_install() -> bool:
    """Whether packages can be installed here: as root, where there is apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str]) -> None:
    """Install packages of Debian.

    Raises:
        TestbedError: apt-get failed; the message has its words.
    """
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "-qq", *argv], env=env, capture_output=True, text=True)
        if done.returncode:
            raise TestbedError(f"apt-get {argv[0]} failed:\n{done.stderr[-2000:]}")


def ensure_base(engine: Engine, suite: str, say: Callable[[str], None]) -> None:
    """Have Debian's slim image of a release: from the registry, else made here under the same name.

    Raises:
        TestbedError: No registry answers and this user cannot make an image.
    """
    image = f"{BASE}:{suite}-slim"
    if engine.has_image(image):
        return
    silent = state_root() / "no-registry"
    if not silent.exists():
        say(f"pulling {image}")
        if _pull(engine, image):
            return
        silent.touch()
    say(f"no registry answers: making {image} from Debian's mirror")
    _bootstrap(engine, suite, image)


def _pull(engine: Engine, image: str) -> bool:
    try:
        return engine.run("pull", image, check=False, timeout=PULL_PATIENCE).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _bootstrap(engine: Engine, suite: str, image: str) -> None:
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        raise TestbedError(f"no registry gives {image}, and only root with mmdebstrap installed can make it here")
    # In memory it takes half the time
    memory = Path("/dev/shm")  # noqa: S108 - a directory of ours is made in it
    with tempfile.TemporaryDirectory(prefix="intercede-testbed-", dir=memory if memory.is_dir() else None) as folder:
        tar = Path(folder) / f"{suite}.tar"
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", *_mmdebstrap_options(), suite, str(tar)]
        done = subprocess.run(argv, env={**os.environ, "TMPDIR": folder}, capture_output=True, text=True)
        if done.returncode:
            raise TestbedError(f"mmdebstrap failed:\n{done.stderr[-2000:]}")
        engine.run("import", "--change", 'CMD ["bash"]', str(tar), image)


def _mmdebstrap_options() -> list[str]:
    # A mirror of sid may lag behind its Valid-Until; slim images have no manuals
    apt = [f"--aptopt={option}" for option in ('Acquire::Check-Valid-Until "false"', 'Acquire::Languages "none"')]
    return apt + [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("man", "locale", "doc")]
