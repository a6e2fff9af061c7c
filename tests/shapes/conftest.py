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
    """The settings that lead a user to the scheduler of a stack."""
    scheme = stack.spec.scheme
    where = f"ssh+{scheme}://{stack.host}:{stack.ssh_port}"
    return {"id": where, "scheduler": scheme, "ssh": stack.ssh_settings(user), **more}


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
