"""How much memory the client takes: run as a program of its own, so that nothing else of the benchmarks counts."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import floor
from benchmarks.cluster import settings_of
from benchmarks.measure import Entry, Times, say
from benchmarks.systems import SLURM
from benchmarks.work import PAYLOAD, copies, waiting
from intercede.registry import batch_element
from intercede.steps import Command

if TYPE_CHECKING:
    import testbed

BAR_MB = 150


def measure(stack: testbed.Stack, n: int) -> Entry:
    """Submit, status and output of N jobs in a process of its own."""
    say(f"  memory of {n}")
    # A shell between us: what a process was before exec, a copy of this one, counts in its peak (getrusage(2) on Linux)
    words = ["sh", "-c", '"$@"; exit "$?"', "sh"]
    words += [sys.executable, "-m", "benchmarks.memory", str(stack.directory), str(n)]
    began = time.perf_counter()
    said = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
    took = time.perf_counter() - began
    stages = json.loads(said)
    peak = max(stages.values())
    entry = Entry(f"peak memory of {n}: copies, submit, status, output", n, Times(took, took, (took,)))
    entry.notes = {"peak MB": peak, "bar MB": BAR_MB, "fits": peak <= BAR_MB, "after": stages}
    entry.load = round(os.getloadavg()[0], 2)
    return entry


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


async def main(directory: Path, n: int) -> dict[str, float]:
    """Do it; gives the peak so far, in MB, after each stage."""
    import testbed

    stages = {"imports": _peak()}
    async with batch_element(settings_of(testbed.Stack.attach(directory))) as element:
        each = copies(n)
        stages["copies"] = _peak()
        refs = (await element.submit(waiting(SLURM.name, SLURM.hold), each)).refs
        stages["submit"] = _peak()
        await element.status(refs)
        stages["status"] = _peak()
        await element.transport.run(
            [Command(("sh", "-c", floor.fabricate(SLURM.name, refs[0].submission, n, PAYLOAD)), time_limit=600)]
        )
        with tempfile.TemporaryDirectory() as into:
            await element.fetch_output(refs, Path(into))
        stages["output"] = _peak()
        await element.cancel(refs)
        await element.status(refs)
        stages["status ended"] = _peak()
    return stages


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))))
