"""Places of the contract at an ARC CE: a stack, and what its user shows there."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from intercede.steps import Completed
from intercede.testing.contract.place import Place
from tests.arc.conftest import NEWER, STACKS, credential, proxy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from testbed.stack import Stack

# What alice shows: proxies at the newest, certificates at the others; tokens where they are taken
KINDS = {"": "certificate", "-proxy": "proxy", "-token": "token"}
PLACES = {name: name for name in STACKS} | {f"{name}-token": name for name in NEWER} | {f"{NEWER[-1]}-proxy": NEWER[-1]}
"""The stack of each place."""
TRAITS = frozenset({
    "apart", "reserves:cores", "reserves:walltime", "reason:EXIT_CODE", "reason:SIGNAL", "reason:WALLTIME",
})  # fmt: skip
OTHERS = {"TestLife", "TestSecrets", "TestPurge"}
"""What depends on who one is."""
WORDS: Mapping[str, Any] = {
    # nobody listens there, and A-REX tries again for minutes
    "native_wait": {"arc": ("input:never=http://127.0.0.1:9/never",)},
    # each costs A-REX a second
    "many": 20,
}
KEPT = "/var/spool/arc /tmp"


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
    }  # fmt: skip

    async def shell(argv: Sequence[str], stdin: bytes) -> Completed:
        # jobs have that umask of A-REX
        words = ("sh", "-c", 'umask 077; exec "$@"', "sh", *argv)
        done = await asyncio.to_thread(stack.exec, words, user="alice", input=stdin, check=False, timeout=100)
        return Completed(done.returncode, done.stdout, done.stderr)

    async def holding(value: bytes) -> str:
        find = f'grep -rlF -f - {KEPT} 2>/dev/null | while IFS= read -r f; do stat -c "%a %n" "$f"; done'
        return (await asyncio.to_thread(stack.exec, ("sh", "-c", find), input=value, check=False)).stdout.decode()

    base = f"/home/alice/contract-{secrets.token_hex(3)}"
    return Place(name, TRAITS, settings, base, files={kind: str(path)}, shell=shell, holding=holding, **WORDS)
