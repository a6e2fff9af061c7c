"""What podman cannot do without on some machines."""

import os
import resource
from pathlib import Path

from testbed.state import state_root

CAP_SYS_RESOURCE = 24
# podman raises its own limit of processes to kernel.pid_max and cannot ask for more than that afterwards
MAX_PROCESSES = 30000
MAX_FILES = 20000


def containers_conf() -> Path:
    """Where podman's own configuration for the testbed is."""
    return state_root() / "containers.conf"


def configure() -> dict[str, str]:
    """Write that configuration where this machine needs one, and give the environment that makes podman read it."""
    text = podman_conf()
    if not text:
        return {}
    conf = containers_conf()
    if not conf.exists() or conf.read_text() != text:
        conf.write_text(text)
    return {"CONTAINERS_CONF": str(conf)}


def podman_conf() -> str:
    """Write what podman cannot do without on this machine: nothing on most.

    Seen on a virtual machine whose root has no CAP_SYS_RESOURCE (podman raises limits by default, and fails), with
    cgroups v1 and v2 mixed (crun 1.8 refuses them, runc does not) and no systemd (what manages cgroups and events by
    default).
    """
    containers, engine = [], []
    if os.geteuid() == 0 and not _has_capability(CAP_SYS_RESOURCE):
        files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], MAX_FILES)
        containers.append(f'default_ulimits = ["nofile={files}:{files}", "nproc={MAX_PROCESSES}:{MAX_PROCESSES}"]')
    if Path("/sys/fs/cgroup/unified").exists():
        engine.append('runtime = "runc"')
    if not Path("/run/systemd/system").exists():
        engine += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    sections = [("[containers]", containers), ("[engine]", engine)]
    return "".join(f"{line}\n" for head, lines in sections if lines for line in (head, *lines))


def _has_capability(number: int) -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return True
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> number & 1)
