"""Places at the stacks of the testbed that are shaped like sites which users meet."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from intercede.schedulers.slurm import Slurm
from intercede.testing.contract.place import Place, Spot, spot_at, traits_of

if TYPE_CHECKING:
    from testbed.stack import Stack

SpotAt = Callable[..., Awaitable[Spot]]


def settings_for(stack: Stack, user: str = "alice", **more: Any) -> dict[str, Any]:
    """The settings that lead a user to the Slurm of a stack."""
    ssh = {
        "host": stack.host, "port": stack.ssh_port, "user": user, "identity_files": [str(stack.key())],
        "known_hosts": str(stack.known_hosts), "config_file": "", "agent": False,
    }  # fmt: skip
    return {"id": f"ssh+slurm://{stack.host}:{stack.ssh_port}", "scheduler": "slurm", "ssh": ssh, **more}


@pytest.fixture
async def spot_on(stack_factory: Callable[[str], Stack]) -> AsyncIterator[SpotAt]:
    """A work area for this test alone: `await spot_on("slurm-24.11-tight", "bob", **settings)`."""
    async with contextlib.AsyncExitStack() as closing:

        async def make(name: str, user: str = "alice", **settings: Any) -> Spot:
            place = Place(
                name, traits_of(Slurm), settings_for(stack_factory(name), user, **settings), f"/home/{user}/shapes"
            )
            return await closing.enter_async_context(spot_at(place, secrets.token_hex(4)))

        yield make
