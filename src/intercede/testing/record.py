"""Record what a Slurm says in the situations that its parsers must read, from a real one.

    python -m intercede.testing.record --on ssh+slurm://alice@host --into tests/transcripts/slurm-24.11

Each situation is a file. Jobs are small, bounded, and taken away at the end. Times, numbers of jobs, nonces and the
name of the host are made alike (see `Likeness`), so that a difference between two recordings is one of the daemons.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from intercede.answers import JobState
from intercede.config import resolve
from intercede.errors import IntercedeError
from intercede.model import JobDescription, JobRef, Resources
from intercede.registry import batch_element
from intercede.steps import Command
from intercede.testing.likeness import Likeness
from intercede.testing.recording import RecordingTransport

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from intercede.answers import JobStatus
    from intercede.elements.batch import BatchElement

__all__ = ["Recorder", "main", "record"]

ENDINGS = "case $INTERCEDE_COPY in 0) ;; 1) exit 7 ;; 2) kill -KILL $$ ;; 3) exit 137 ;; esac"
# Not a child of the shell, which might be told of the child's end before its own
SLEEP = "exec sleep 300"
FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
NOWHERE = Path("/dev/null")
SACCT = ("-o", "JobID,State,ExitCode,JobName,Partition,NodeList,Submit,Start,End,Timelimit")
# What the first job of a Slurm in the testbed can never be called
STRANGER = "4000000"
JSON_STATE = """squeue --json -t all | tr -d ' \\n' | grep -o '"job_state":[^,]*FAILED[^,]*,' | head -n 1"""
JSON_EXIT = """sacct -X --json -j "$1" | tr -d ' \\n' | grep -o '"exit_code":{[^}]*}' | head -n 1"""
ENVIRONMENT = (
    'd=$(mktemp -d "$HOME/record.XXXXXX") && cd "$d" && sbatch --wait --parsable --export=NIL -o out '
    '--wrap "env | cut -d= -f1 | grep -v ^SLURM | sort" >/dev/null && cat out; rm -rf "$d"'
)


def shell(text: str, **more: object) -> JobDescription:
    """A job that runs a line of shell.

    It has a walltime: one without gets 365 days where backfill starts it, and none where the main scheduler does.
    """
    fields = {"executable": "sh", "arguments": ("-c", text), "resources": {"walltime": "1h"}, **more}
    return JobDescription.model_validate(fields)


class Recorder:
    """Plays the situations on an element, each into a file of its own.

    Args:
        element: A Slurm, with a work area of its own.
        transport: Its transport.
        into: The directory of the files.
    """

    def __init__(self, element: BatchElement, transport: RecordingTransport, into: Path) -> None:
        self.element = element
        self.into = into
        self.transport = transport
        self.refs: list[JobRef] = []
        self.begins: list[int] = []

    async def begin(self, name: str) -> None:
        """Write what follows to a new file; it begins with a second in which nothing else was."""
        begin = int(time.time()) + 2
        await asyncio.sleep(begin - time.time())
        self.begins.append(begin)
        self.transport.path = self.into / f"{name}.txt"

    async def submit(self, description: JobDescription, copies: int, tag: str) -> list[JobRef]:
        """Submit, and remember what to take away."""
        refs = (await self.element.submit(description, copies, tag=tag)).refs
        self.refs += refs
        return refs

    async def until(self, refs: Sequence[JobRef], states: Iterable[JobState]) -> None:
        """Wait for states, without writing that down.

        Raises:
            TimeoutError: They did not come within five minutes.
        """
        wanted = set(states)
        statuses: dict[JobRef, JobStatus] = {}
        with self.unwritten():
            for _ in range(600):
                statuses = await self.element.status(refs)
                if all(status.state in wanted for status in statuses.values()):
                    return
                await asyncio.sleep(0.5)
        raise TimeoutError(f"the jobs did not become {sorted(wanted)}: {statuses}")

    @contextlib.contextmanager
    def unwritten(self) -> Generator[None]:
        """Do something without writing it down."""
        path, self.transport.path = self.transport.path, NOWHERE
        try:
            yield
        finally:
            self.transport.path = path

    async def asked_anew(self, refs: Sequence[JobRef]) -> None:
        """Ask for jobs as an element would that knows nothing of them."""
        self.element.forget(refs)
        await self.element.status(refs)

    async def command(self, *words: str) -> str:
        """Run a command of Slurm's own, and give what it prints."""
        (answer,) = await self.transport.run((Command(words),))
        return answer.text

    async def run(self) -> None:
        """Play all situations."""
        await self.begin("versions")
        await self.command("sbatch", "--version")
        # OpenSSH 8.4 has no -V, and tells its version all the same
        await self.command("sh", "-c", '/usr/sbin/sshd -V 2>&1 | grep -o "OpenSSH_[^ ,]*"', "sh")
        await self.begin("submit")
        ended = await self.submit(shell(ENDINGS), 4, "rec-ended")
        await self.submit(shell(ENDINGS), 4, "rec-ended")
        limited = await self.submit(shell(SLEEP, resources={"walltime": "1m"}), 1, "rec-walltime")
        await self.until(ended, FINAL)
        await self.until(limited, {JobState.RUNNING})
        held, running = await self._waiting_and_running()
        await self._refused()
        await self._one_of_two()
        await self._ranges("stepped", 60, 2)
        await self._ranges("ranges", 60, 3)
        await self.begin("ended")
        await self.asked_anew(ended)
        await self.begin("cancelled")
        await self.element.cancel([*held, *running])
        await self.until([*held, *running], FINAL)
        await self.asked_anew([*held, *running])
        await self.begin("unknown")
        await self.asked_anew([ended[0]._replace(native=f"{STRANGER}_0")])
        await self.begin("commands")
        await self._commands(ended[1], limited[0])
        await self.begin("walltime")
        await self.until(limited, FINAL)
        await self.asked_anew(limited)
        await self.begin("find")
        await self.element.find("rec-ended")
        await self.begin("list")
        await self.element.list()
        await self.begin("sacct")
        await self._accounting([ended[0], held[0], running[0], limited[0]])

    async def _waiting_and_running(self) -> tuple[list[JobRef], list[JobRef]]:
        await self.begin("held")
        held = await self.submit(shell("true", native={"slurm": ["--hold"]}), 3, "rec-held")
        await self.asked_anew(held)
        await self.begin("running")
        running = await self.submit(shell(SLEEP), 1, "rec-running")
        await self.until(running, {JobState.RUNNING})
        await self.asked_anew(running)
        await self.begin("capacity")
        await self.element.capacity()
        return held, running

    async def _refused(self) -> None:
        """What is refused, and what some versions refuse and others leave waiting: more cores than a node has."""
        await self.begin("refused")
        for queue, more in (("nosuch", {}), ("short", {"walltime": "2h"}), (None, {"memory": "100T"})):
            with contextlib.suppress(IntercedeError):
                await self.submit(shell("true", resources=Resources(queue=queue, **more)), 1, "rec-refused")
        await self.begin("too-large")
        with contextlib.suppress(IntercedeError):
            large = await self.submit(shell("true", resources={"cores": 33, "walltime": "1h"}), 1, "rec-too-large")
            await self.asked_anew(large)
            with self.unwritten():
                await self.element.cancel(large)
                await self.until(large, FINAL)

    async def _one_of_two(self) -> None:
        """Two tasks that wait for different reasons."""
        await self.begin("one-of-two")
        tasks = await self.submit(shell("true", native={"slurm": ["--begin=now+1hour"]}), 2, "rec-one-of-two")
        await self.command("scontrol", "hold", tasks[1].native)
        with self.unwritten():
            for _ in range(60):  # until the scheduler has looked at it
                if "BeginTime" in await self.command("squeue", "-h", "-r", "-j", tasks[0].native, "-o", "%r"):
                    break
                await asyncio.sleep(1)
        await self.command("squeue", "-h", "-j", number(tasks[0]), "-o", "%i|%T|%r")
        await self.asked_anew(tasks)
        with self.unwritten():
            await self.element.cancel(tasks)
            await self.until(tasks, FINAL)

    async def _ranges(self, name: str, copies: int, step: int) -> None:
        """An array whose every second task is gone, or every third: then squeue does not show all unless told to."""
        await self.begin(name)
        tasks = await self.submit(shell("true", native={"slurm": ["--hold"]}), copies, f"rec-{name}")
        with self.unwritten():
            await self.element.cancel(tasks[1::step])
            await self.until(tasks[1::step], FINAL)
        await self.asked_anew(tasks)
        await self.command("squeue", "-h", "-j", number(tasks[0]), "-o", "%i|%T|%r")
        with self.unwritten():
            await self.element.cancel(tasks)
            await self.until(tasks, FINAL)

    async def _commands(self, failed: JobRef, runs: JobRef) -> None:
        """What the library does not use, and why; `failed` ended with exit code 7, `runs` runs."""
        await self.command("sh", "-c", JSON_STATE, "sh")
        await self.command("sh", "-c", JSON_EXIT, "sh", failed.native)
        await self.command("sh", "-c", ENVIRONMENT, "sh")
        await self.command("squeue", "-h", "-j", number(failed), "-o", "%i|%T")
        await self.command("squeue", "-h", "-j", STRANGER, "-o", "%i|%T")
        await self.command("squeue", "-h", "-j", f"{STRANGER},{number(runs)}", "-o", "%T")
        await self.command("scancel", STRANGER)
        await self.command("scancel", failed.native)

    async def _accounting(self, refs: Sequence[JobRef]) -> None:
        """What sacct says of jobs, which is asked only when squeue has forgotten them."""
        bases = ",".join(dict.fromkeys(number(ref) for ref in refs))
        asked = ("sacct", "-n", "-P", "-X", "-j")
        # slurmdbd is told with a delay
        with self.unwritten():
            for _ in range(60):
                states = (await self.command(*asked, bases, "-o", "State")).split("\n")[:-1]
                if len(states) >= 7 and not {"RUNNING", "PENDING"} & set(states):
                    break
                await asyncio.sleep(1)
        await self.command(*asked, bases, *SACCT)
        await self.command(*asked, STRANGER, *SACCT)

    async def clean(self) -> None:
        """Take everything away."""
        self.transport.path = NOWHERE
        await self.element.cancel(self.refs)
        await self.until(self.refs, FINAL)
        await self.element.purge(self.refs)


def number(ref: JobRef) -> str:
    """Slurm's number of the array that a job is in."""
    return ref.native.partition("_")[0]


def replace(into: Path, made: Path, likeness: Likeness) -> None:
    """Put recordings, made alike, in the place of those that are there."""
    into.mkdir(parents=True, exist_ok=True)
    for old in into.glob("*.txt"):
        old.unlink()
    for new in made.glob("*.txt"):
        text = new.read_text(encoding="utf-8", errors="surrogateescape")
        (into / new.name).write_text(likeness.of(text), encoding="utf-8", errors="surrogateescape")


async def record(where: str, ssh_config: Path | None, into: Path) -> None:
    """Record all situations of a resource into a directory, in place of the recordings that are there."""
    mark = secrets.token_hex(3)
    area = f"~/.intercede.{mark}"
    settings = resolve(where).model_copy(update={"id": "recorded", "work_area": area})
    if ssh_config is not None and settings.ssh is not None:
        settings = settings.model_copy(update={"ssh": settings.ssh.model_copy(update={"config_file": ssh_config})})
    with tempfile.TemporaryDirectory(prefix="intercede-record-") as folder:
        async with batch_element(settings) as element:
            element.transport = transport = RecordingTransport(element.transport, NOWHERE)
            recorder = Recorder(element, transport, Path(folder))
            host = (await recorder.command("uname", "-n")).strip()
            try:
                await recorder.run()
            finally:
                await recorder.clean()
                await recorder.command("sh", "-c", 'rm -rf "$HOME/$1"', "sh", area.removeprefix("~/"))
        jobs = [number(ref) for ref in recorder.refs]
        likeness = Likeness(recorder.begins, jobs, {host: "submit-host", area: "~/.intercede"})
        replace(into, Path(folder), likeness)


def main() -> None:
    """Read the command line, and record."""
    parser = argparse.ArgumentParser(prog="python -m intercede.testing.record", description=__doc__)
    parser.add_argument("--on", required=True, help="the resource: a URL, or a configured name")
    parser.add_argument("--ssh-config", type=Path, help="read this instead of ~/.ssh/config")
    parser.add_argument("--into", required=True, type=Path, help="the directory of the recordings")
    arguments = parser.parse_args()
    asyncio.run(record(arguments.on, arguments.ssh_config, arguments.into))


if __name__ == "__main__":
    main()
