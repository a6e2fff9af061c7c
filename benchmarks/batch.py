"""Submit, status and output of many jobs of a batch system over SSH, against raw commands."""

from __future__ import annotations

import asyncio
import shlex
import time
from typing import TYPE_CHECKING

from benchmarks import floor
from benchmarks.cluster import forget_ended_jobs
from benchmarks.measure import compare, say
from benchmarks.work import OUTPUT, PAYLOAD, RUN, Fresh, copies, tar_of, waiting
from intercede import JobOutput, JobRef, open_element

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import testbed
    from benchmarks.cluster import Raw
    from benchmarks.measure import Entry, Times
    from benchmarks.systems import System
    from intercede.elements.batch import BatchElement
    from intercede.settings import ResourceSettings

BAR = 1.5


def per_job(large: Times, n: int, small: Times, m: int) -> float:
    """The cost of each of N jobs in units of that of each of M."""
    return round((large.median / n) / (small.median / m), 2)


class Batch:
    """Measures on one cluster.

    Args:
        system: Its raw commands.
        stack: The cluster.
        settings: The same as a resource.
        host: A raw connection to it.
        scratch: A directory for what is fetched.
        repetitions: Of everything.
    """

    def __init__(
        self,
        system: System,
        stack: testbed.Stack,
        settings: ResourceSettings,
        host: Raw,
        scratch: Path,
        repetitions: int,
    ) -> None:
        self._system = system
        self._held = waiting(system.name, system.hold)
        self._stack = stack
        self._settings = settings
        self._host = host
        self._scratch = scratch
        self._repetitions = repetitions
        self._number = 0
        self.ended: list[JobRef] = []

    def _fresh(self, what: str) -> Path:
        self._number += 1
        path = self._scratch / f"{what}-{self._number}"
        path.mkdir(parents=True)
        return path

    async def _drop(self, job: str) -> None:
        """Cancel a native job, and wait until what is measured next has the system to itself.

        Files stay until the end: ext4 makes new ones slowly for a minute after a removal.
        """
        await self._host(self._system.drop.format(job))

    def _job(self, refs: list[JobRef]) -> str:
        """The native job that copies are of."""
        return self._system.number(refs[0].native)

    async def submit(self, n: int) -> tuple[Entry, list[JobRef]]:
        """Submit N copies that are held; gives the last ones, still queued."""
        each = copies(n)
        tar = await tar_of(self._settings, self._held, each)
        fresh = Fresh(self._settings)
        last: list[JobRef] = []

        async def ours() -> float:
            if last:
                await self._drop(self._job(last))

            async def work(element: BatchElement) -> None:
                last[:] = (await element.submit(self._held, each)).refs

            took = await fresh(work)
            assert len(last) == n
            return took

        async def raw(*, build: bool) -> float:
            self._number += 1
            line = self._system.submit(f"floor-{self._number}", n)
            began = time.perf_counter()
            sent = await tar_of(self._settings, self._held, each) if build else tar
            said = (await self._host(line, sent)).decode()
            took = time.perf_counter() - began
            await self._drop(self._system.number(said))
            return took

        ways = {"floor": lambda: raw(build=False), "floor that builds the tar": lambda: raw(build=True)}
        entry = await compare(f"{self._system.name} submit {n}", n, ours, ways, self._repetitions, bar=BAR)
        entry.executions = fresh.executions
        entry.notes["tar MB"] = round(len(tar) / 1e6, 2)
        return entry, last

    async def status(self, name: str, refs: list[JobRef], *, history: bool) -> Entry:
        """Ask for the status of jobs.

        Args:
            name: Of the entry, after the system's.
            refs: The jobs, of one array.
            history: Whether the floor needs the history as well.
        """
        fresh = Fresh(self._settings)

        async def work(element: BatchElement) -> None:
            assert len(await element.status(refs)) == len(refs)

        async def raw() -> float:
            began = time.perf_counter()
            found = self._system.count(await self._host.text(self._system.status(self._job(refs), history=history)))
            took = time.perf_counter() - began
            assert found == len(refs), found
            return took

        ways = {"floor": raw}
        entry = await compare(
            f"{self._system.name} {name}", len(refs), lambda: fresh(work), ways, self._repetitions, bar=BAR
        )
        entry.executions = fresh.executions
        return entry

    async def output(self, name: str, refs: list[JobRef]) -> Entry:
        """Fetch stdout, stderr and one file of jobs."""
        fresh = Fresh(self._settings)
        command = floor.tar(self._system.name, refs[0].submission, OUTPUT)

        async def ours() -> float:
            into = self._fresh("ours")

            async def work(element: BatchElement) -> None:
                got = await element.fetch_output(refs, into)
                assert all(isinstance(each, JobOutput) and len(each.files) == 1 for each in got.values())

            return await fresh(work)

        async def raw(receive: Callable) -> float:
            into = self._fresh("floor")
            began = time.perf_counter()
            await receive(self._host.connection, command, into)
            took = time.perf_counter() - began
            assert floor.count(into) == 3 * len(refs)
            return took

        async def openssh() -> float:
            into = self._fresh("openssh")
            ssh = f"ssh -F {shlex.quote(str(self._stack.ssh_config))} {self._stack.name} {shlex.quote(command)}"
            began = time.perf_counter()
            process = await asyncio.create_subprocess_shell(f"{ssh} | tar -xf - -C {shlex.quote(str(into))}")
            await process.wait()
            took = time.perf_counter() - began
            assert floor.count(into) == 3 * len(refs)
            return took

        ways = {
            "floor": lambda: raw(floor.receive_whole),
            "piped to a thread": lambda: raw(floor.receive_piped),
            "ssh | tar, connects anew": openssh,
        }
        entry = await compare(f"{self._system.name} {name}", len(refs), ours, ways, self._repetitions, bar=BAR)
        entry.executions = fresh.executions
        return entry

    async def run(self, n: int) -> list[JobRef]:
        """Run N real jobs to their end."""
        say(f"  {n} real jobs, to their end")
        async with open_element(self._settings) as element:
            submission = await element.submit(RUN, copies(n))
            while True:
                await asyncio.sleep(2)
                states = (await element.status(submission.refs)).values()
                if all(each.state.is_final for each in states):
                    assert {each.state for each in states} == {"SUCCEEDED"}
                    return submission.refs

    async def thousand(self, entries: list[Entry], n: int) -> None:
        """Add all entries for N copies, with real jobs."""
        submitted, queued = await self.submit(n)
        entries.append(submitted)
        entries.append(await self.status(f"status {n} queued", queued, history=False))
        await self._drop(self._job(queued))
        self.ended = await self.run(n)
        # the queue of Slurm knows that they ended, and not how; others do not know them any more
        entries.append(await self.status(f"status {n} ended", self.ended, history=True))
        entries.append(await self.output(f"output {n}", self.ended))

    async def many(self, entries: list[Entry], n: int) -> None:
        """Add the same for a larger N; its cost per job is compared with that of the same before."""
        before = {entry.name.replace(str(entry.n), str(n)): entry for entry in entries}
        submitted, queued = await self.submit(n)
        entries.append(submitted)
        entries.append(await self.status(f"status {n} queued", queued, history=False))
        await self._host(floor.fabricate(self._system.name, queued[0].submission, n, PAYLOAD))
        entries.append(await self.output(f"output {n}", queued))
        await self._drop(self._job(queued))
        for large in entries:
            if (small := before.get(large.name)) is not None and small is not large:
                large.notes[f"cost per job, to that at {small.n}"] = per_job(large.ours, large.n, small.ours, small.n)
                if large.floor and small.floor:
                    large.notes["and of the floor"] = per_job(large.floor, large.n, small.floor, small.n)

    async def forgotten(self, refs: list[JobRef]) -> Entry:
        """Status of ended jobs that only the history knows; changes the cluster's configuration."""
        forget_ended_jobs(self._stack)
        await self._host("while squeue -h -t all | grep -q .; do sleep 1; done")
        return await self.status(f"status {len(refs)} ended, only in the history", refs, history=True)
