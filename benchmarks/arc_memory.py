"""How much memory a client of an ARC CE takes that sends a gigabyte and fetches one: a program of its own."""

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

from benchmarks.arc_raw import opened
from benchmarks.measure import Entry, Times, say
from intercede import JobDescription, JobOutput

if TYPE_CHECKING:
    import testbed

BAR_MB, BIG = 150, 1_000_000_000
# As the job itself would leave it
LEFT = """
set -e
cd /var/spool/arc/sessiondir/"$1"
mkdir -p "t/$2/c/0/work" && head -c "$3" /dev/zero >"t/$2/c/0/work/big" && : >"t/$2/c/0/stdout"
tar -C t --owner=alice -cf intercede.out.tar "./$2/c/0/stdout" "./$2/c/0/work/big"
rm -rf t && chown alice: intercede.out.tar
"""


def measure(stack: testbed.Stack) -> Entry:
    """Send and fetch in a process of its own."""
    say("  memory of a gigabyte")
    # A shell between us: what a process was before exec, a copy of this one, counts in its peak (getrusage(2) on Linux)
    words = ["sh", "-c", '"$@"; exit "$?"', "sh", sys.executable, "-m", "benchmarks.arc_memory", str(stack.directory)]
    said = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
    found = json.loads(said)
    stages, seconds = found["peaks"], found["seconds"]
    peak = max(stages.values())
    entry = Entry(f"{stack.name}: peak memory, 1 GB sent and fetched", 1, Times.of([sum(seconds)]))
    entry.notes = {"peak MB": peak, "bar MB": BAR_MB, "fits": peak <= BAR_MB, "after": stages, "seconds": seconds}
    entry.load = round(os.getloadavg()[0], 2)
    return entry


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


async def main(directory: Path, scratch: Path) -> dict[str, object]:
    """Do it; gives the peak so far, in MB, after each stage, and how long each took."""
    import testbed

    stack = testbed.Stack.attach(directory)
    peaks = {"imports": _peak()}
    async with opened(stack, scratch, limits={"output_bytes": "2G"}) as ce:
        began = time.perf_counter()
        job = JobDescription(executable="/bin/true", inputs={"big": scratch / "big"}, outputs=("big",))
        (ref,) = (await ce.submit(job)).refs
        sent = time.perf_counter() - began
        peaks["sent"] = _peak()
        words = ["sh", "-c", LEFT, "sh", ref.native, ref.submission, str(BIG)]
        await asyncio.to_thread(stack.exec, words, timeout=120)
        began = time.perf_counter()
        found = (await ce.fetch_output([ref], scratch / "out"))[ref]
        fetched = time.perf_counter() - began
        peaks["fetched"] = _peak()
    assert isinstance(found, JobOutput)
    assert found.files["big"].stat().st_size == BIG
    return {"peaks": peaks, "seconds": [round(sent, 2), round(fetched, 2)]}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        with (Path(made) / "big").open("wb") as big:
            big.truncate(BIG)
        print(json.dumps(asyncio.run(main(Path(sys.argv[1]), Path(made)))))
