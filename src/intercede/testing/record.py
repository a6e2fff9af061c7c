"""Record what a Slurm says in the situations that its parsers must read, from a real one.

    python -m intercede.testing.record --on ssh+slurm://alice@host --into tests/transcripts/slurm-24.11

Each situation is a file. Jobs are small, bounded, and taken away at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from intercede.answers import JobState
from intercede.config import resolve
from intercede.errors import IntercedeError
from intercede.model import JobDescription, JobRef, Resources
from intercede.registry import open_element
from intercede.steps import Command
from intercede.testing.recording import RecordingTransport

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from intercede.elements.batch import BatchElement

__all__ = ["Recorder", "main"]

ENDINGS = "case $INTERCEDE_COPY in 0) ;; 1) exit 7 ;; 2) kill -KILL $$ ;; 3) exit 137 ;; esac"


def shell(text: str, **more: object) -> JobDescription:
    """A job that runs a line of shell."""
    return JobDescription.model_validate({"executable": "sh", "arguments": ("-c", text), **more})


class Recorder:
    """Plays the situations on an element, each into a file of its own.

    Args:
        element: A Slurm.
        transport: Its transport.
        into: The directory of the files.
    """

    def __init__(self, element: BatchElement, transport: RecordingTransport, into: Path) -> None:
        self.element = element
        self.into = into
        self.transport = transport
        self.refs: list[JobRef] = []
        self.mark = secrets.token_hex(3)  # a tag is used once

    def file(self, name: str) -> None:
        """Write what follows to a new file."""
        self.transport.path = self.into / f"{name}.txt"
        self.transport.path.unlink(missing_ok=True)

    async def submit(self, description: JobDescription, copies: int, tag: str) -> list[JobRef]:
        """Submit, and remember what to take away."""
        refs = (await self.element.submit(description, copies, tag=f"{tag}.{self.mark}")).refs
        self.refs += refs
        return refs

    async def until(self, refs: Sequence[JobRef], states: Iterable[JobState]) -> None:
        """Wait for states, without writing that down."""
        name = self.transport.path
        self.transport.path = Path("/dev/null")
        wanted = set(states)
        for _ in range(600):
            statuses = await self.element.status(refs)
            if all(status.state in wanted for status in statuses.values()):
                break
            await asyncio.sleep(0.5)
        self.transport.path = name

    async def asked_anew(self, refs: Sequence[JobRef]) -> None:
        """Ask for jobs as an element would that knows nothing of them."""
        self.element.forget(refs)
        await self.element.status(refs)

    async def run(self) -> None:
        """Play all situations."""
        final = {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
        self.file("submit")
        ended = await self.submit(shell(ENDINGS), 4, "rec-ended")
        await self.submit(shell(ENDINGS), 4, "rec-ended")
        limited = await self.submit(shell("sleep 300", resources={"walltime": "1m"}), 1, "rec-walltime")
        self.file("held")
        held = await self.submit(shell("true", native={"slurm": ["--hold"]}), 3, "rec-held")
        await self.asked_anew(held)
        self.file("running")
        running = await self.submit(shell("sleep 300"), 1, "rec-running")
        await self.until(running, {JobState.RUNNING})
        await self.asked_anew(running)
        self.file("capacity")
        await self.element.capacity()
        self.file("refused")
        for queue, more in (("nosuch", {}), ("short", {"walltime": "2h"}), (None, {"memory": "100T"})):
            with contextlib.suppress(IntercedeError):
                await self.submit(shell("true", resources=Resources(queue=queue, **more)), 1, "rec-refused")
        self.file("ended")
        await self.until(ended, final)
        await self.asked_anew(ended)
        self.file("cancelled")
        await self.element.cancel([*held, *running])
        await self.until([*held, *running], final)
        await self.asked_anew([*held, *running])
        self.file("unknown")
        await self.asked_anew([ended[0]._replace(native="4000000_0")])
        self.file("walltime")
        await self.until(limited, final)
        await self.asked_anew(limited)
        self.file("find")
        await self.element.find(f"rec-ended.{self.mark}")
        self.file("list")
        await self.element.list()
        self.file("sacct")
        await self._accounting([ended[0], held[0], running[0], limited[0]])

    async def _accounting(self, refs: Sequence[JobRef]) -> None:
        """What sacct says of jobs, which is asked only when squeue has forgotten them."""
        bases = ",".join(ref.native.split("_")[0] for ref in refs)
        fields = "JobID,State,ExitCode,JobName,Partition,NodeList,Submit,Start,End,Timelimit"
        await asyncio.sleep(3)  # slurmdbd is told with a delay
        await self.transport.run((Command(("sacct", "-n", "-P", "-X", "-j", bases, "-o", fields)),))
        await self.transport.run((Command(("sacct", "-n", "-P", "-X", "-j", "4000000", "-o", fields)),))

    async def clean(self) -> None:
        """Take everything away."""
        self.transport.path = Path("/dev/null")
        await self.element.cancel(self.refs)
        await self.until(self.refs, {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
        await self.element.purge(self.refs)


async def record(where: str, ssh_config: Path | None, into: Path) -> None:
    """Record all situations of a resource into a directory."""
    settings = resolve(where)
    if ssh_config is not None and settings.ssh is not None:
        settings = settings.model_copy(update={"ssh": settings.ssh.model_copy(update={"config_file": ssh_config})})
    async with open_element(settings) as element:
        element.transport = transport = RecordingTransport(element.transport, into / "submit.txt")
        recorder = Recorder(element, transport, into)
        try:
            await recorder.run()
        finally:
            await recorder.clean()


def main() -> None:
    """Read the command line, and record."""
    parser = argparse.ArgumentParser(prog="python -m intercede.testing.record", description=__doc__)
    parser.add_argument("--on", required=True, help="the resource: a URL, or a configured name")
    parser.add_argument("--ssh-config", type=Path, help="read this instead of ~/.ssh/config")
    parser.add_argument("--into", required=True, type=Path, help="the directory of the recordings")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    asyncio.run(record(arguments.on, arguments.ssh_config, arguments.into))


if __name__ == "__main__":
    main()
