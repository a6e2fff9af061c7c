"""Places of the contract at an ARC CE: a stack, and what its user shows there."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from intercede.steps import Completed
from intercede.testing.contract.place import Place
from tests.arc.conftest import BEHIND, NEWER, STACKS, credential, proxy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from testbed.stack import Stack

# What alice shows: proxies at the newest, certificates at the others; tokens where they are taken
KINDS = {"": "certificate", "-proxy": "proxy", "-token": "token"}
PLACES = {name: name for name in (*STACKS, *BEHIND)} | {f"{name}-token": name for name in NEWER}
PLACES |= {f"{NEWER[-1]}-proxy": NEWER[-1]}
"""The stack of each place."""
TRAITS = frozenset({
    "apart", "reserves:cores", "reserves:walltime", "reason:EXIT_CODE", "reason:SIGNAL", "reason:WALLTIME",
})  # fmt: skip
MORE = {
    "slurm": frozenset({"reserves:memory", "reserves:nodes", "queues", "limits"}),
    "htcondor": frozenset({"reserves:memory", "reason:MEMORY"}),
}
NEWEST = {f"{NEWER[-1]}-{shape}" for shape in MORE}
OTHERS = {"TestLife", "TestSecrets", "TestPurge"}
ONLY = {name: OTHERS for name, stack in PLACES.items() if stack not in {name, NEWER[-1]}}
"""Of older ones, with a token: what depends on who one is."""
# each job costs A-REX a second of a processor: what runs every day has less of it
DAILY = {name: {"TestLife"} for name, stack in PLACES.items() if name != stack == NEWER[-1]}
DAILY |= {name: {"TestEnds", "TestLimits", "TestResources", "TestCapacity"} for name in NEWEST}
"""What depends on who one is, and on what is behind the CE."""
WORDS: Mapping[str, Any] = {
    # nobody listens there, and A-REX tries again for minutes
    "native_wait": {"arc": ("input:never=http://127.0.0.1:9/never",)},
    # each costs A-REX a second
    "many": 20,
}
BEHIND_WORDS: Mapping[str, Mapping[str, Any]] = {
    "slurm": {"limited_queue": "short", "reserved": 'echo "$SLURM_NTASKS $((SLURM_NTASKS * SLURM_MEM_PER_CPU))"'},
    "htcondor": {"reserved": "echo $(sed -n 's/^Cpus = //p; s/^Memory = //p' \"$_CONDOR_MACHINE_AD\")"},
}
# Of several queues, where jobs go that name none
QUEUES = {"slurm": "debug", "htcondor": "main"}
KEPT = "/var/spool/arc /tmp /var/lib/condor/execute"


def traits(name: str) -> frozenset[str]:
    """The traits of a place."""
    return TRAITS | MORE.get(BEHIND.get(name, ""), frozenset())


def at_arc(name: str, stack: Stack, directory: Path) -> Place:
    """A place at a CE, as alice."""
    shows = KINDS[name.removeprefix(stack.name)]
    kind, secret = {
        "certificate": ("proxy", lambda: credential(stack, "alice")),
        "proxy": ("proxy", lambda: proxy(stack, "alice", timedelta(hours=12))),
        "token": ("token", (stack.given / "token-alice").read_bytes),
    }[shows]
    path = directory / kind
    path.touch(0o600)
    path.write_bytes(secret())
    settings = {
        "id": f"arc://127.0.0.1:{stack.port}", "scheduler": "arc",
        "endpoint": {"host": stack.host, "port": stack.port, "ca": str(stack.given / "certificates")},
        "queue": QUEUES.get(stack.spec.shape),
    }  # fmt: skip
    words = {**WORDS, **BEHIND_WORDS.get(stack.spec.shape, {})}

    async def shell(argv: Sequence[str], stdin: bytes) -> Completed:
        # jobs have that umask of A-REX
        argv = ("sh", "-c", 'umask 077; exec "$@"', "sh", *argv)
        done = await asyncio.to_thread(stack.exec, argv, user="alice", input=stdin, check=False, timeout=100)
        return Completed(done.returncode, done.stdout, done.stderr)

    async def holding(value: bytes) -> str:
        find = f'grep -rlF -f - {KEPT} 2>/dev/null | while IFS= read -r f; do stat -c "%a %n" "$f"; done'
        return (await asyncio.to_thread(stack.exec, ("sh", "-c", find), input=value, check=False)).stdout.decode()

    base = f"/home/alice/contract-{secrets.token_hex(3)}"
    return Place(name, traits(name), settings, base, files={kind: str(path)}, shell=shell, holding=holding, **words)
