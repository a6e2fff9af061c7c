"""The cluster that is measured on, and a raw connection to it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import asyncssh

import testbed
from intercede.settings import Limits, ResourceSettings, SSHSettings
from testbed.launch import find_reusable, tell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

USER = "alice"
# As our own channels have them, so that the floor is not slower for the want of a window
WINDOW, PACKET = 16 * 1024 * 1024, 256 * 1024


@contextlib.contextmanager
def cluster(name: str, *, reuse: bool) -> Generator[testbed.Stack]:
    """A stack of our own, or the one that is kept up by hand.

    Args:
        name: Of the stack.
        reuse: Whether to take the one that was kept up; its limit on the number of jobs stays as it is.
    """
    kept = find_reusable(name) if reuse else None
    if kept is not None:
        yield kept
        return
    stack = testbed.start(name, say=tell, show=True)
    try:
        if stack.spec.system != "slurm":
            yield stack
            return
        # Jobs that were cancelled count against the limit for MinJobAge: many repetitions need room
        stack.exec(["sed", "-i", "s/^MaxJobCount=.*/MaxJobCount=1000000/", "/etc/slurm/slurm.conf"])
        restart(stack)
        yield stack
    finally:
        stack.close()


def restart(stack: testbed.Stack) -> None:
    """Have the controller read its configuration anew."""
    stack.daemon("slurmctld").stop()
    stack.daemon("slurmctld").start()


def forget_ended_jobs(stack: testbed.Stack) -> None:
    """Make the controller drop ended jobs from its queue, so that only the history knows them."""
    stack.exec(["sed", "-i", "s/^MinJobAge=.*/MinJobAge=2/", "/etc/slurm/slurm.conf"])
    restart(stack)


def settings_of(stack: testbed.Stack, ssh_config: Path | None = None) -> ResourceSettings:
    """The stack as a resource."""
    ssh = SSHSettings(host=stack.name, user=USER, config_file=ssh_config or stack.ssh_config, agent=False)
    limits = Limits(submit_time=600, command_time=300)
    return ResourceSettings(id="bench", scheduler=stack.spec.scheme, ssh=ssh, limits=limits)


class Raw:
    """Raw commands over one connection of the same kind as the library's.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self.connection = connection

    async def __call__(self, command: str, stdin: bytes = b"") -> bytes:
        """Execute a line, which must succeed, and give its stdout."""
        done = await self.connection.run(
            command, input=stdin, encoding=None, check=True, window=WINDOW, max_pktsize=PACKET
        )
        assert isinstance(done.stdout, bytes)
        return done.stdout

    async def text(self, command: str) -> str:
        """Execute a line and give its stdout as text."""
        return (await self(command)).decode()


@contextlib.asynccontextmanager
async def raw(stack: testbed.Stack) -> AsyncGenerator[Raw]:
    """A warm raw connection."""
    async with asyncssh.connect(
        stack.host, stack.ssh_port, username=USER, client_keys=[str(stack.key(USER))], config=None,
        known_hosts=str(stack.known_hosts), agent_path=None,
    ) as connection:  # fmt: skip
        host = Raw(connection)
        await host("true")
        yield host
