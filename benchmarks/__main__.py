"""`python -m benchmarks`: measures, prints JSON on stdout and a table on stderr, and keeps the JSON."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import local, memory, report, startup
from benchmarks.cluster import cluster, raw, settings_of
from benchmarks.measure import say
from benchmarks.slurm import Slurm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import testbed
    from benchmarks.measure import Entry

GROUPS = ("startup", "local", "slurm", "big", "memory", "forgotten")
STACK = "slurm-24.11"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="GROUP", help=f"only these: {', '.join(GROUPS)}")
    parser.add_argument("-n", type=int, default=1000, help="jobs (%(default)s)")
    parser.add_argument("--big", type=int, default=10_000, help="jobs of the groups big and memory (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=9, help="of everything, after one that is not counted")
    parser.add_argument("--reuse", action="store_true", help=f"take the {STACK} that is kept up, if there is one")
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
        text = report.document(entries, STACK)
        print(text)
        path = report.save(text, asked.to)
        say(f"\n{report.table(entries)}\n\nwritten to {path}")
    return 0


def _measure(entries: list[Entry], scratch: Path, groups: set[str], asked: argparse.Namespace) -> None:
    if "startup" in groups:
        entries += startup.measure(asked.repetitions)
    if "local" in groups:
        asyncio.run(local.measure(entries, scratch / "local", asked.n, asked.repetitions))
    if groups - {"startup", "local"}:
        say(f"{STACK} over SSH")
        with cluster(STACK, reuse=asked.reuse) as stack:
            asyncio.run(_slurm(entries, stack, scratch, groups, asked))


async def _slurm(
    entries: list[Entry], stack: testbed.Stack, scratch: Path, groups: set[str], asked: argparse.Namespace
) -> None:
    async with raw(stack) as host:
        slurm = Slurm(stack, settings_of(stack), host, scratch / "slurm", asked.repetitions)
        if "slurm" in groups:
            await slurm.thousand(entries, asked.n)
        if "big" in groups:
            few = Slurm(stack, settings_of(stack), host, scratch / "big", max(3, asked.repetitions // 3))
            await few.many(entries, asked.big)
        if "memory" in groups:
            entries.append(await asyncio.to_thread(memory.measure, stack, asked.big))
        if "forgotten" in groups:
            entries.append(await slurm.forgotten(slurm.ended or await slurm.run(asked.n)))


if __name__ == "__main__":
    sys.exit(main())
