"""Places of the contract at the stand-in for an HTCondor-CE: what its user shows makes a place."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from intercede.elements.htcondor_ce import CondorCEElement
from intercede.steps import Completed
from intercede.testing.contract.place import Place
from testbed.manifest import load_manifest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from testbed.stack import Stack

STACKS = [name for name, spec in load_manifest().items() if (spec.system, spec.shape) == ("htcondor", "ce")]
KINDS = {"": ("condor_token", "idtoken-alice"), "-scitoken": ("token", "scitoken-alice"), "-cert": ("proxy", "")}
"""What is shown, by the end of the place's name: a word of `FileCredentials`, and a file of the stack's."""
PLACES = {stack + kind: stack for stack in STACKS for kind in KINDS}
"""The stack of each place."""
TRAITS = frozenset({
    "apart", "blind", "nodeless", "uncounted", "any-queue", "orders", "told", "hold", "describe", "freeze",
    *(f"reason:{each}" for each in CondorCEElement.reasons),
    *(f"reserves:{each}" for each in CondorCEElement.reserves),
})  # fmt: skip
DAILY = {name: {"TestLife"} for name, stack in PLACES.items() if name != stack}
"""Every day: what depends on who one is."""
AT_CE = ("env", "CONDOR_CONFIG=/etc/condor-ce/condor_config")
WORDS: Mapping[str, Any] = {
    "native_wait": {"htcondor": ("requirements = false",)},
    # `hold = true` is not for what is spooled
    "native_hold": {"htcondor": ("My.JobStatusOnRelease = 5",)},
    "native_last": {"htcondor": ("priority = -10",)},
    # it has its files a moment after they were sent, and is held until then
    "hold": (*AT_CE, "sh", "-c", 'until condor_hold "$1"; do sleep 0.3; done', "sh", "{native}"),
    "describe": (*AT_CE, "condor_q", "-long", "{native}"),
    "reserved": "echo $(sed -n 's/^Cpus = //p; s/^Memory = //p' \"$_CONDOR_MACHINE_AD\")",
    "many": 60,
}
KEPT = "/var/spool/condor-ce /var/spool/condor /var/lib/condor/execute"


def traits(name: str) -> frozenset[str]:
    """The traits of a place."""
    return TRAITS if name in STACKS else TRAITS - {"freeze"}


def at_ce(name: str, stack: Stack, directory: Path) -> Place:
    """A place at a CE, as alice."""
    field, given = KINDS[name.removeprefix(stack.name)]
    path = stack.given / given
    if field == "proxy":
        path = directory / "proxy"
        path.touch(0o600)
        path.write_bytes(b"".join((stack.given / f"alice-{part}.pem").read_bytes() for part in ("cert", "key")))
    settings = {
        "id": f"htcondor-ce://localhost:{stack.port}", "scheduler": "htcondor-ce",
        "endpoint": {"host": "localhost", "port": stack.port, "ca": str(stack.given / "ca.pem")},
    }  # fmt: skip

    async def shell(argv: Sequence[str], stdin: bytes) -> Completed:
        done = await asyncio.to_thread(stack.exec, argv, user="alice", input=stdin, check=False, timeout=100)
        return Completed(done.returncode, done.stdout, done.stderr)

    async def holding(value: bytes) -> str:
        find = f'grep -rlF -f - {KEPT} 2>/dev/null | while IFS= read -r f; do stat -c "%a %n" "$f"; done'
        return (await asyncio.to_thread(stack.exec, ("sh", "-c", find), input=value, check=False)).stdout.decode()

    @contextlib.contextmanager
    def frozen() -> Generator[None]:
        daemon = stack.daemon("ce_schedd")
        daemon.freeze()
        try:
            yield
        finally:
            daemon.thaw()

    base, files = f"/home/alice/contract-{secrets.token_hex(3)}", {field: str(path)}
    return Place(name, traits(name), settings, base, files=files, shell=shell, holding=holding, frozen=frozen, **WORDS)
