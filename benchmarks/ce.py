"""An HTCondor-CE: many spooled copies, against HTCondor's bindings alone in a process of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Entry, Times, compare, say
from intercede import Copy, FileCredentials, JobDescription, open_element

if TYPE_CHECKING:
    from pathlib import Path

    import testbed
    from intercede import JobRef
    from intercede.protocols import Element

STACK = "htcondor-ce-25.14"
SUBMIT_BAR, OUTPUT_BAR, STALL_BAR = 1.3, 1.5, 0.050
# what is submitted to be measured is held when it has its files, and removed
HELD = "My.JobStatusOnRelease = 5"
BINDINGS = """
import json, sys, time
import classad2, htcondor2
asked = json.load(sys.stdin)
schedd = htcondor2.Schedd(htcondor2.Collector(asked["address"]).locateAll(htcondor2.DaemonType.Schedd)[0])
began = time.perf_counter()
if asked["do"] == "submit":
    items = [{"own": path} for path in asked["files"]]
    done = schedd.submit(htcondor2.Submit(asked["lines"]), spool=True, itemdata=iter(items))
    schedd.spool(done)
    said = done.cluster()
elif asked["do"] == "status":
    said = len(schedd.query(f"ClusterId == {asked['cluster']}", asked["attributes"]))
else:
    schedd.edit(f"ClusterId == {asked['cluster']}", "SUBMIT_Iwd", classad2.quote(asked["directory"]))
    said = schedd.retrieve(f"ClusterId == {asked['cluster']}")
took = time.perf_counter() - began
if asked["do"] == "submit":
    schedd.act(htcondor2.JobAction.Remove, f"ClusterId == {said}")
print(json.dumps([took, said]))
"""
ATTRIBUTES = ["ClusterId", "ProcId", "JobStatus", "ExitCode", "ExitBySignal", "HoldReasonCode", "RemoveReason", "QDate"]


class Bindings:
    """HTCondor's bindings in a process of their own, as alice."""

    def __init__(self, stack: testbed.Stack, scratch: Path) -> None:
        self._stack = stack
        self._scratch = scratch
        tokens = scratch / "tokens"
        scratch.mkdir()
        tokens.mkdir(mode=0o700)
        (tokens / "token").touch(mode=0o600)
        (tokens / "token").write_bytes((stack.given / "idtoken-alice").read_bytes())
        program = scratch / "run.sh"
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
        self._environment = {
            "CONDOR_CONFIG": "ONLY_ENV", "_condor_SEC_TOKEN_DIRECTORY": str(tokens),
            "_condor_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
        }  # fmt: skip

    async def submit(self, n: int) -> float:
        """Submit so many jobs with a secret each, and send their files; the files are there before."""
        files = [self._scratch / f"{number}.own" for number in range(n)]
        for path in files:
            path.write_text("x" * 100)
        lines = (
            f"executable = {self._scratch}/run.sh\ntransfer_input_files = $(own)\nshould_transfer_files = yes\n"
            f"log =\nleave_in_queue = JobStatus == 4\n{HELD}\n"
        )
        return await self._ask(do="submit", lines=lines, files=[str(path) for path in files])

    async def status(self, cluster: str) -> float:
        return await self._ask(do="status", cluster=cluster, attributes=ATTRIBUTES)

    async def output(self, cluster: str) -> float:
        with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
            return await self._ask(do="output", cluster=cluster, directory=directory)

    async def _ask(self, **asked: Any) -> float:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BINDINGS, env=self._environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        words = json.dumps({"address": f"localhost:{self._stack.port}", **asked}).encode()
        said, _ = await process.communicate(words)
        assert process.returncode == 0
        return json.loads(said)[0]


def opened(stack: testbed.Stack, **more: Any) -> Element:
    endpoint = {"host": "localhost", "port": stack.port, "ca": str(stack.given / "ca.pem"), **more.pop("endpoint", {})}
    settings = {"id": "bench", "scheduler": "htcondor-ce", "endpoint": endpoint, **more}
    return open_element(settings, credentials=FileCredentials(condor_token=stack.given / "idtoken-alice"))


async def measure(entries: list[Entry], stack: testbed.Stack, scratch: Path, n: int, repetitions: int) -> None:
    """Submission, status and output of `n` copies, and how long a silent daemon holds up the event loop."""
    entries.append(await _stall(stack))
    floor, few = Bindings(stack, scratch), max(3, repetitions // 3)
    async with opened(stack) as ce:
        copies = [Copy(secrets={"pin": "x" * 100}) for _ in range(n)]

        async def submit() -> float:
            held = JobDescription(executable="/bin/true", native={"htcondor": (HELD,)})
            began = time.perf_counter()
            submission = await ce.submit(held, copies)
            took = time.perf_counter() - began
            await ce.cancel(submission.refs)
            return took

        ways = {"floor": lambda: floor.submit(n)}
        entries.append(await compare(f"{STACK}: submit, a secret each", n, submit, ways, few, bar=SUBMIT_BAR))
        refs = (await ce.submit(JobDescription(executable="/bin/true"), copies)).refs
        say(f"  {STACK}: waiting for {n} jobs")
        async for _ in ce.watch(refs):
            pass
        cluster = refs[0].native.partition(".")[0]
        entries.append(await _status(ce, refs, floor, cluster, repetitions))

        async def output() -> float:
            with tempfile.TemporaryDirectory(dir=scratch) as into:
                began = time.perf_counter()
                await ce.fetch_output(refs, into)
                return time.perf_counter() - began

        ways = {"floor": lambda: floor.output(cluster)}
        entries.append(await compare(f"{STACK}: output", n, output, ways, few, bar=OUTPUT_BAR))
        await ce.purge(refs)


async def _status(ce: Element, refs: list[JobRef], floor: Bindings, cluster: str, repetitions: int) -> Entry:
    async def status() -> float:
        ce.forget(refs)  # ty: ignore[missing-attribute]
        began = time.perf_counter()
        await ce.status(refs)
        return time.perf_counter() - began

    ways = {"floor": lambda: floor.status(cluster)}
    entry = await compare(f"{STACK}: status", len(refs), status, ways, repetitions)
    before = ce.counters.commands
    await status()
    entry.executions = ce.counters.commands - before
    return entry


async def _stall(stack: testbed.Stack) -> Entry:
    """The longest time for which the event loop stood still while a daemon that never answers was asked."""
    say(f"  {STACK}: event loop beside a silent daemon")
    silence, gaps = asyncio.Event(), [0.0]

    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    async def beat() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - began - 0.005)

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        where = {"port": server.sockets[0].getsockname()[1]}
        async with opened(stack, endpoint=where, limits={"command_time": 5}) as ce:
            beating = asyncio.ensure_future(beat())
            await asyncio.gather(ce.capacity(), return_exceptions=True)
            beating.cancel()
        silence.set()
    longest = Times.of([max(gaps)])
    load = round(os.getloadavg()[0], 2)
    return Entry(f"{STACK}: longest stall of the event loop", 0, longest, bar=STALL_BAR, load=load)
