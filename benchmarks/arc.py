"""An ARC CE: many copies at once, against the same documents and files in raw requests over as many connections.

A-REX itself is stopped while submissions are measured, its web service is not: jobs that are prepared, run and looked
after beside it would be measured as well.
"""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import arc_memory
from benchmarks.arc_raw import created, credential, lines, named, opened, spread
from benchmarks.measure import Entry, Times, compare, say
from benchmarks.work import copies
from intercede import JobDescription
from intercede.arc import http
from intercede.arc.adl import write_adl
from intercede.arc.client import ArcClient
from intercede.arc.job import IN, OUT, activity
from intercede.arc.tls import client_context
from intercede.elements import arc_submitting
from intercede.elements.arc_files import packed

if TYPE_CHECKING:
    import testbed
    from benchmarks.arc_raw import Line
    from intercede import JobRef
    from intercede.elements.arc import ArcElement

STACK = "arc-7.2"
REQUEST_BAR, SUBMIT_BAR, SINGLES_BAR, OUTPUT_BAR = 0.0015, 1.3, 0.2, 1.5
MOST_POSTS, MOST_ASKED = 5, 2
FEW, FETCHED, FILES = 250, 200, ("a.dat", "b.dat", "c.dat")
SIZES = {"record": 60, "stdout": 1000, "stderr": 100}
JOB = JobDescription(executable="/bin/true", outputs=FILES)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a submission sends: documents, and a file for each job."""

    documents: list[bytes]
    sizes: list[int]
    files: list[bytes]

    @classmethod
    def of(cls, ce: ArcElement, n: int, part: int) -> Sent:
        """The very bytes that the library would send."""
        order = arc_submitting.begin(JOB, copies(n), None, ce.settings)
        made = [activity(label, order.plan.resources) for label in order.labels]
        parts = [made[at : at + part] for at in range(0, n, part)]
        files = [packed(order.sandbox(copy)) for copy in range(n)]
        whole = [each for each in files if isinstance(each, bytes)]
        return cls([write_adl(each) for each in parts], [len(each) for each in parts], whole)

    async def over(self, connections: list[Line], *, files: bool = True) -> float:
        """Send it raw; gives the seconds."""
        idents: dict[int, list[str]] = {}
        began = time.perf_counter()

        async def part(line: Line, number: int) -> None:
            idents[number] = created(await line("POST", "/jobs?action=new", self.documents[number]))

        async def upload(line: Line, number: int) -> None:
            await line("PUT", f"/jobs/{flat[number]}/session/{IN}", self.files[number])

        await spread(part, len(self.documents), connections)
        flat = [ident for number in sorted(idents) for ident in idents[number]]
        if files:
            await spread(upload, len(flat), connections)
        return time.perf_counter() - began


async def measure(entries: list[Entry], stack: testbed.Stack, scratch: Path, n: int, repetitions: int) -> None:
    """All of it, on a CE of our own that nobody uses afterwards."""
    await asyncio.to_thread(scratch.mkdir)
    few = max(3, repetitions // 3)
    await asyncio.to_thread(stack.daemon("arex").stop)
    entries.append(await _request(stack))
    async with opened(stack, scratch) as ce, lines(stack, ce.settings.politeness.concurrent) as connections:
        refs = (await ce.submit(JOB, copies(n), tag="first")).refs
        entries.append(await _status(ce, refs, connections[0], repetitions))
        entries.append(await _lookup(stack, scratch, n))
        entries.append(await _submit(ce, connections, n, few))
        entries.append(await _output(ce, refs[:FETCHED], connections, scratch, few))
    entries.append(await _singles(stack, scratch, few))
    entries.append(await asyncio.to_thread(arc_memory.measure, stack))


async def _request(stack: testbed.Stack) -> Entry:
    """The time of one small request on a connection that is kept; and what it is without prompt acknowledgements."""
    say(f"  {STACK}: one request")

    async def once(count: int) -> Times:
        tls = client_context(stack.given / "certificates", credential(stack))
        async with ArcClient(stack.host, stack.port, tls=tls, connections=1) as client:
            took = []
            for _ in range(count + 5):
                began = time.perf_counter()
                await client.jobs()
                took.append(time.perf_counter() - began)
            return Times.of(took[5:])

    entry = Entry(f"{STACK}: one request, kept connection", 0, await once(300), bar=REQUEST_BAR)
    prompt, http._QUICKACK = http._QUICKACK, None
    try:
        entry.beside["without quick acknowledgement"] = await once(30)
    finally:
        http._QUICKACK = prompt
    entry.load = round(os.getloadavg()[0], 2)
    return entry


async def _submit(ce: ArcElement, connections: list[Line], n: int, repetitions: int) -> Entry:
    sent = Sent.of(ce, n, arc_submitting._MOST)
    before = ce.counters.commands

    async def ours() -> float:
        nonlocal before
        each, before = copies(n), ce.counters.commands
        began = time.perf_counter()
        await ce.submit(JOB, each)
        return time.perf_counter() - began

    ways = {"floor": lambda: sent.over(connections), "POSTs alone": lambda: sent.over(connections, files=False)}
    entry = await compare(f"{STACK}: submit, a secret each", n, ours, ways, repetitions, bar=SUBMIT_BAR)
    posts = ce.counters.commands - before - n
    entry.executions = posts + n
    entry.notes = {"POSTs": posts, "at most": MOST_POSTS, "fits": posts <= MOST_POSTS}
    return entry


async def _singles(stack: testbed.Stack, scratch: Path, repetitions: int) -> Entry:
    """Against one request a job, one after the other, on a connection that waits for acknowledgements."""
    async with opened(stack, scratch) as ce, lines(stack, 1, prompt=False) as stalled:
        single = Sent.of(ce, FEW, 1)

        async def ours() -> float:
            each = copies(FEW)
            began = time.perf_counter()
            await ce.submit(JOB, each)
            return time.perf_counter() - began

        ways = {"floor": lambda: single.over(stalled)}
        name = f"{STACK}: submit, beside one request a job"
        return await compare(name, FEW, ours, ways, repetitions, bar=SINGLES_BAR)


async def _status(ce: ArcElement, refs: list[JobRef], line: Line, repetitions: int) -> Entry:
    async def ours() -> float:
        ce.forget(refs)
        began = time.perf_counter()
        await ce.status(refs)
        return time.perf_counter() - began

    states = "ACCEPTING,ACCEPTED,PREPARING,SUBMITTING,RUNNING,FINISHED,FAILED"

    async def floor() -> float:
        began = time.perf_counter()
        answer = created(await line("GET", f"/jobs?state={states}"))
        assert len(answer) >= len(refs)
        return time.perf_counter() - began

    async def details() -> float:
        began = time.perf_counter()
        await line("POST", "/jobs?action=status", named(ref.native for ref in refs), "application/json")
        return time.perf_counter() - began

    ways = {"floor": floor, "action=status": details}
    entry = await compare(f"{STACK}: status", len(refs), ours, ways, repetitions)
    before = ce.counters.commands
    await ours()
    entry.executions = ce.counters.commands - before
    entry.notes = {"at most": MOST_ASKED, "fits": entry.executions <= MOST_ASKED}
    return entry


async def _lookup(stack: testbed.Stack, scratch: Path, n: int) -> Entry:
    """Looking for a tag among so many jobs, by an element that knows none of them; no part of the ratios."""
    say(f"  {STACK}: find a tag")
    async with opened(stack, scratch) as ce:
        began = time.perf_counter()
        found = await ce.find("first")
        first = time.perf_counter() - began
        assert len(found.refs) == n
        before, began = ce.counters.commands, time.perf_counter()
        await ce.find("first")
        again = Times.of([time.perf_counter() - began])
        entry = Entry(f"{STACK}: find a tag, by a new element", n, Times.of([first]), beside={"again": again})
        entry.notes = {"requests again": ce.counters.commands - before}
        entry.executions = before
    entry.load = round(os.getloadavg()[0], 2)
    return entry


def packed_by_a_job(ref: JobRef) -> bytes:
    """What a job with three files of 4 kB leaves."""
    made = io.BytesIO()
    home = f"./{ref.submission}/c/{ref.copy_index}"
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, size in (*SIZES.items(), *((f"work/{each}", 4096) for each in FILES)):
            info = tarfile.TarInfo(f"{home}/{name}")
            info.size = size
            tar.addfile(info, io.BytesIO(b"0" * size))
    return made.getvalue()


def _unpacked(data: bytes, into: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            path = into / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read() if file else b"")


async def _output(
    ce: ArcElement, refs: list[JobRef], connections: list[Line], scratch: Path, repetitions: int
) -> Entry:
    """Beside one request a file; and beside one for each archive, which is unpacked."""
    archives = [packed_by_a_job(ref) for ref in refs]
    for ref, data in zip(refs, archives, strict=True):
        await connections[0]("PUT", f"/jobs/{ref.native}/session/{OUT}", data)
        for name in FILES:
            await connections[0]("PUT", f"/jobs/{ref.native}/session/loose/{name}", b"0" * 4096)

    async def ours() -> float:
        with tempfile.TemporaryDirectory(dir=scratch) as into:
            began = time.perf_counter()
            found = await ce.fetch_output(refs, into)
            took = time.perf_counter() - began
        assert all(len(getattr(each, "files", ())) == len(FILES) for each in found.values())
        return took

    async def floor() -> float:
        with tempfile.TemporaryDirectory(dir=scratch) as into:

            async def one(line: Line, number: int) -> None:
                data = await line("GET", f"/jobs/{refs[number].native}/session/{OUT}")
                await asyncio.to_thread(_unpacked, data, Path(into, str(number)))

            began = time.perf_counter()
            await spread(one, len(refs), connections)
            return time.perf_counter() - began

    async def each_file() -> float:
        with tempfile.TemporaryDirectory(dir=scratch) as into:

            async def one(line: Line, number: int) -> None:
                job, which = divmod(number, len(FILES))
                data = await line("GET", f"/jobs/{refs[job].native}/session/loose/{FILES[which]}")
                await asyncio.to_thread(Path(into, str(number)).write_bytes, data)

            began = time.perf_counter()
            await spread(one, len(refs) * len(FILES), connections)
            return time.perf_counter() - began

    ways = {"floor": each_file, "one archive each": floor}
    return await compare(f"{STACK}: output of three files", len(refs), ours, ways, repetitions, bar=OUTPUT_BAR)
