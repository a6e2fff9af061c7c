"""What the suite knows of the resource that it runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from intercede.credentials import FileCredentials
from intercede.elements.batch import BatchElement
from intercede.registry import batch_element, open_element
from intercede.settings import ResourceSettings
from intercede.steps import Command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from intercede.credentials import CredentialProvider
    from intercede.model import JobRef
    from intercede.protocols import Element, Transport
    from intercede.steps import Completed
    from intercede.workarea.scheduler import Scheduler

__all__ = ["BASE", "Place", "Spot", "traits_of"]

Wrap: TypeAlias = "Callable[[Transport], Transport]"

BASE: Mapping[str, Any] = {
    "politeness": {"min_interval": 0.1, "max_interval": 0.5},
    "limits": {"command_time": 20, "submit_time": 40},
    "grace": 2,
}
"""What the suite configures everywhere, so that it need not wait."""


def traits_of(scheduler: type[Scheduler], *more: str) -> frozenset[str]:
    """What tests may be selected by: what the scheduler declares, and what the host project knows of the place.

    The suite asks for `reason:NAME` (of `Scheduler.reasons`), `reserves:FIELD` (of `Scheduler.reserves`),
    `submit-host` (there is one, with a work area on it, and all goes through commands there), and

    - `one-host`: jobs run on the submit host itself;
    - `apart`: the nodes see nothing of the work area; the scheduler moves a job's files (`Place.areas`, `Place.base`);
    - `blind`: nothing that a job writes can be seen before it has ended;
    - `nodeless`: nobody tells on which node a job runs;
    - `uncounted`: nobody tells how many cores there are;
    - `any-queue`: names of queues are passed on, and what they mean nobody tells;
    - `accounts`: jobs may be charged to an account;
    - `supervised`: jobs are processes of the submit host, and nobody but us looks after them;
    - `hold`: jobs can be held and made to wait (`Place.native_hold`, `Place.native_wait`);
    - `queues`: there are named queues, one of them with a limit (`Place.limited_queue`);
    - `races`: callers with the same tag at the same time exclude one another (always, where there is a submit host);
    - `options`: native words are options of a command, which refuses unknown ones;
    - `limits`: the scheduler tells the limits of its queues;
    - `requeue`: a running job can be started again from outside (`Place.requeue`);
    - `describe`: the scheduler shows what it was given (`Place.describe`);
    - `freeze`: its daemon can be made to hang (`Place.frozen`);
    - `small`: there is a file system with next to no space, which jobs see as well (`Place.small`);
    - `forgets`: its queue soon knows nothing of ended jobs, and it keeps no history (`Place.forgotten`);
    - `ssh`: it is reached over SSH; `sshd`: over OpenSSH's own server;
    - `stranger`: another account has a directory that is closed to ours (`Place.closed`);
    - `orders`: the scheduler itself tells jobs that were cancelled from those that were killed;
    - `told`: a payload that is cancelled gets SIGTERM first, and some time to end;
    - `memory-kill`: a job that uses more memory than it asked for is ended.
    """
    return frozenset(
        {"submit-host", "races"}
        | {f"reason:{reason}" for reason in scheduler.reasons}
        | {f"reserves:{field}" for field in scheduler.reserves}
        | set(more)
    )


@dataclass(frozen=True, slots=True)
class Place:
    """One resource, as the host project provides it in the fixture `place`.

    Attributes:
        name: In the identifiers of tests.
        traits: What it has, see `traits_of`.
        settings: Of the resource; the suite sets what `BASE` says, and `work_area`, or without a submit host the `id`.
        base: A directory of the submit host in which the suite may make its own. Payloads write there what tests wait
            for, so nodes must see it, as they need not see a work area.
        credentials: Who supplies secrets, in this process; by default what reads `files`.
        files: Secrets by the names that `FileCredentials` has for them, for this process and others.
        shell: Without a submit host: runs words, with that stdin, as the account of the jobs where `base` is.
        holding: Without a submit host: finds the files in which the system keeps those bytes, a line `MODE NAME` each.
        areas: A directory of the submit host for work areas, where nodes do not see it; below `base` by default.
        native_wait: Native words that make a job wait for longer than any test takes.
        native_hold: Native words that make a job held.
        native_last: Native words that let the jobs of other tests go first, where many would keep them waiting.
        many: How many copies are many there; fewer where others would have to wait for minutes until all were started.
        hold: The command that holds a waiting job; `{native}` is its identifier.
        requeue: The command that starts a running job again.
        describe: The command that shows all that the scheduler knows of a job.
        forgotten: The command that waits until the scheduler has forgotten a job.
        reserved: A line of shell with which a job prints how many cores, and how many megabytes in all, it was given.
        limited_queue: A queue whose limit of walltime is below an hour.
        small: A directory with next to no space.
        closed: A directory that our account must not enter.
        frozen: Makes the scheduler's daemon hang.
    """

    name: str
    traits: frozenset[str]
    settings: Mapping[str, Any]
    base: str
    credentials: CredentialProvider | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    shell: Callable[[Sequence[str], bytes], Awaitable[Completed]] | None = None
    holding: Callable[[bytes], Awaitable[str]] | None = None
    areas: str = ""
    native_wait: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    native_hold: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    native_last: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    many: int = 100
    hold: tuple[str, ...] = ()
    requeue: tuple[str, ...] = ()
    describe: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
    reserved: str = ""
    limited_queue: str = ""
    small: str = ""
    closed: str = ""
    frozen: Callable[[], AbstractContextManager[None]] | None = None

    def has(self, trait: str) -> bool:
        """Whether it has a trait."""
        return trait in self.traits

    def configured(self, **changes: Any) -> ResourceSettings:
        """Settings in which something is different."""
        merged: dict[str, Any] = {**self.settings}
        for layer in (BASE, changes):
            for name, value in layer.items():
                both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
                merged[name] = {**merged[name], **value} if both else value
        return ResourceSettings.model_validate(merged)

    def element(self, settings: ResourceSettings, wrap: Wrap | None = None) -> Element:
        """A fresh element; `wrap` may put something between it and its transport, where there is a submit host."""
        if wrap is None:
            return open_element(settings, credentials=self._provider())
        made = batch_element(settings, self._provider())
        return BatchElement(settings, wrap(made.transport), made.scheduler)

    def submit_host(self, settings: ResourceSettings) -> Transport:
        """The way to the submit host, if there is one."""
        return batch_element(settings, self._provider()).transport

    def _provider(self) -> CredentialProvider | None:
        return FileCredentials(**self.files) if self.files and self.credentials is None else self.credentials


class Spot:
    """A place, and what one test has there of its own: a work area (or a resource's name), and a directory.

    It is what the fixture `spot` gives.

    Attributes:
        place: The resource.
        home: A directory of the submit host for this test alone; it is there already.
        area: The work area, below it or apart: not there yet, and of a name that needs to be quoted.
    """

    def __init__(self, place: Place, home: str) -> None:
        self.place = place
        self.home = home
        above = f"{place.areas}/{home.rpartition('/')[2]}" if place.areas else home
        self.area = f"{above}/it's a 100% $HOME"
        self._look: Transport | None = None

    @property
    def store(self) -> str:
        """Where the scheduler's submissions are, within the work area."""
        return f"{self.area}/{self.place.settings['scheduler']}"

    def settings(self, **changes: Any) -> ResourceSettings:
        """The settings for this test."""
        if self.place.has("submit-host"):
            return self.place.configured(**{"work_area": self.area, **changes})
        return self.place.configured(**{"id": f"{self.place.settings['id']}/{self.home.rpartition('/')[2]}", **changes})

    def element(self, wrap: Wrap | None = None, **changes: Any) -> Element:
        """A fresh element, which knows of this test's jobs alone."""
        return self.place.element(self.settings(**changes), wrap)

    async def shell(self, script: str, *arguments: str, input: bytes = b"", check: bool = True) -> bytes:
        """Run a script as the same user, in `home`, and give its stdout."""
        argv = ("sh", "-c", f'mkdir -p "$1" && cd "$1" && shift && {{ {script}\n}}', "sh", self.home, *arguments)
        answer = await (self.place.shell or self._on_submit_host)(argv, input)
        if check and answer.returncode:
            raise AssertionError(f"{script!r} on {self.place.name}: {answer.returncode}, {answer.complaint}")
        return answer.stdout

    async def _on_submit_host(self, argv: Sequence[str], input: bytes) -> Completed:
        if self._look is None:
            self._look = self.place.submit_host(self.settings())
        (answer,) = await self._look.run([Command(tuple(argv), stdin=input, time_limit=100)])
        return answer

    async def native(self, words: Iterable[str], ref: JobRef) -> str:
        """Run one of the place's commands for a job."""
        argv = [word.replace("{native}", ref.native) for word in words]
        return (await self.shell('"$@" 2>&1', *argv)).decode(errors="replace")

    async def lines(self, name: str) -> list[str]:
        """The lines of a file in `home`; none if it is not there."""
        return (await self.shell('[ ! -f "$1" ] || cat "$1"', name)).decode().splitlines()

    async def left(self) -> list[str]:
        """What there is in the work area, but for what is there before any submission; nothing if there is none."""
        if not self.place.has("submit-host"):
            return []
        said = await self.shell('[ ! -d "$1" ] || { cd "$1" && find . -mindepth 1; }', self.store)
        ours = {"./.new", "./.gone", "./.layout"}
        return sorted(line for line in said.decode().splitlines() if line not in ours)

    async def holding(self, value: bytes) -> list[str]:
        """The files on the resource in which those bytes are, each as `MODE NAME`."""
        if self.place.holding is not None:
            return (await self.place.holding(value)).splitlines()
        find = 'grep -rlF -f - "$1" | while IFS= read -r f; do stat -c "%a %n" "$f" 2>/dev/null; done; :'
        return (await self.shell(find, self.area, input=value)).decode().splitlines()

    async def jobs(self) -> int:
        """How many runners of this test's submissions are alive on the submit host (not on nodes elsewhere)."""
        script = (
            "n=0; for p in /proc/[0-9]*; do "
            '{ tr "\\0" "\\n" <"$p/cmdline" | grep -qF -e "$1/" && [ "${p#/proc/}" != $$ ] && n=$((n + 1)); } '
            '2>/dev/null; done; echo "$n"'
        )
        return int(await self.shell(script, self.store))

    async def end(self) -> None:
        """End all that this test has left behind."""
        async with self.element() as ce:
            infos = await ce.list()
            refs = [ref for info in infos if not info.purged for ref in info.refs]
            if refs:
                await ce.cancel(refs)
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the way there."""
        look, self._look = self._look, None
        if look is not None:
            await look.aclose()


@asynccontextmanager
async def spot_at(place: Place, name: str) -> AsyncGenerator[Spot, None]:
    """A spot for one test.

    Args:
        place: Where.
        name: Of its directory.
    """
    spot = Spot(place, f"{place.base}/{name}")
    await spot.shell(":")
    try:
        yield spot
    finally:
        async with asyncio.timeout(60):
            await spot.end()


def local_copy(path: Path, data: bytes, *, executable: bool = False) -> Path:
    """A local file to be shipped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if executable:
        path.chmod(0o755)
    return path
