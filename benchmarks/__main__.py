"""`python -m benchmarks`: measures, prints JSON on stdout and a table on stderr, and keeps the JSON."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import arc, ce, local, memory, report, startup
from benchmarks.batch import Batch
from benchmarks.cluster import cluster, raw, settings_of
from benchmarks.measure import say
from benchmarks.systems import GRIDENGINE, HTCONDOR, OAR, SLURM

if TYPE_CHECKING:
    from collections.abc import Sequence

    import testbed
    from benchmarks.measure import Entry
    from benchmarks.systems import System

ON_SLURM = ("slurm", "big", "memory", "forgotten")
OTHERS = {"gridengine": GRIDENGINE, "htcondor": HTCONDOR, "oar": OAR}
GROUPS = ("startup", "local", *ON_SLURM, *OTHERS, "ce", "arc")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="GROUP", help=f"only these: {', '.join(GROUPS)}")
    parser.add_argument("-n", type=int, default=1000, help="jobs (%(default)s)")
    parser.add_argument("--big", type=int, default=10_000, help="jobs of the groups big and memory (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=9, help="of everything, after one that is not counted")
    parser.add_argument("--reuse", action="store_true", help="take the stacks that are kept up, where there are")
    parser.add_argument("--to", type=Path, default=Path("bench-results"), help="where the JSON goes (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; gives the exit status, which says nothing about the times."""
    parser = _parser()
    asked = parser.parse_args(argv)
    groups = set(asked.only or GROUPS)
    if unknown := groups - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))} (there are: {', '.join(GROUPS)})")
    entries: list[Entry] = []
    try:
        with tempfile.TemporaryDirectory(prefix="intercede-bench-") as scratch:
            _measure(entries, Path(scratch), groups, asked)
    finally:  # what was measured is not lost with what failed
        text = report.document(entries)
        print(text)
        path = report.save(text, asked.to)
        say(f"\n{report.table(entries)}\n\nwritten to {path}")
    return 0


def _measure(entries: list[Entry], scratch: Path, groups: set[str], asked: argparse.Namespace) -> None:
    if "startup" in groups:
        entries += startup.measure(asked.repetitions)
    if "local" in groups:
        asyncio.run(local.measure(entries, scratch / "local", asked.n, asked.repetitions))
    if groups.intersection(ON_SLURM):
        say(f"{SLURM.stack} over SSH")
        with cluster(SLURM.stack, reuse=asked.reuse) as stack:
            asyncio.run(_slurm(entries, stack, scratch, groups, asked))
    for name in [each for each in OTHERS if each in groups]:
        say(f"{OTHERS[name].stack} over SSH")
        with cluster(OTHERS[name].stack, reuse=asked.reuse) as stack:
            asyncio.run(_other(OTHERS[name], entries, stack, scratch, asked))
    if "ce" in groups:
        say(f"{ce.STACK}, over the network")
        with cluster(ce.STACK, reuse=asked.reuse) as stack:
            asyncio.run(ce.measure(entries, stack, scratch / "ce", asked.n, asked.repetitions))

    if "arc" in groups:
        say(f"{arc.STACK}, over the network")
        # its A-REX is stopped, and what is submitted never runs
        with cluster(arc.STACK, reuse=False) as stack:
            asyncio.run(arc.measure(entries, stack, scratch / "arc", asked.n, asked.repetitions))


async def _slurm(
    entries: list[Entry], stack: testbed.Stack, scratch: Path, groups: set[str], asked: argparse.Namespace
) -> None:
    async with raw(stack) as host:
        slurm = Batch(SLURM, stack, settings_of(stack), host, scratch / "slurm", asked.repetitions)
        if "slurm" in groups:
            await slurm.thousand(entries, asked.n)
        if "big" in groups:
            few = Batch(SLURM, stack, settings_of(stack), host, scratch / "big", max(3, asked.repetitions // 3))
            await few.many(entries, asked.big)
        if "memory" in groups:
            entries.append(await asyncio.to_thread(memory.measure, stack, asked.big))
        if "forgotten" in groups:
            entries.append(await slurm.forgotten(slurm.ended or await slurm.run(asked.n)))


async def _other(
    system: System, entries: list[Entry], stack: testbed.Stack, scratch: Path, asked: argparse.Namespace
) -> None:
    async with raw(stack) as host:
        batch = Batch(system, stack, settings_of(stack), host, scratch / system.name, asked.repetitions)
        await batch.thousand(entries, asked.n)


if __name__ == "__main__":
    sys.exit(main())
