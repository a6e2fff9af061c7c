"""Processes of this machine against `xargs -P` and plain files; for information."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.measure import Entry, compare, say
from benchmarks.work import OUTPUT, PAYLOAD, RUN, Fresh, copies
from intercede import JobRef, open_element
from intercede.settings import ResourceSettings

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.elements.batch import BatchElement

# What a job of `xargs` does: its own environment and secret from files, its output into files of its own directory
_ONE = f'cd "$1" && BENCH_COPY=$1 && export BENCH_COPY && {{ {PAYLOAD}; }} >stdout 2>stderr; echo $? >code'


def _xargs(directory: Path, n: int) -> None:
    """Make the files of N jobs and run them all."""
    directory.mkdir(parents=True)
    for index in range(n):
        home = directory / str(index)
        home.mkdir()
        (home / "token").write_bytes(b"%0100d" % index)
    names = "\n".join(str(index) for index in range(n)).encode()
    words = ["xargs", "-P", str(os.cpu_count()), "-n", "1", "sh", "-c", _ONE, "sh"]
    subprocess.run(words, cwd=directory, input=names, check=True)


def _codes(directory: Path, n: int) -> list[int]:
    return [int((directory / str(index) / "code").read_text()) for index in range(n)]


def _copy(source: Path, target: Path, n: int) -> None:
    for index in range(n):
        home = target / str(index)
        home.mkdir(parents=True)
        for name in ("stdout", "stderr", OUTPUT):
            shutil.copyfile(source / str(index) / name, home / name)


async def measure(entries: list[Entry], scratch: Path, n: int, repetitions: int) -> None:
    """Run N processes to their end, ask for their status, fetch their output."""
    say("local processes")
    settings = ResourceSettings(id="local", scheduler="process", work_area=str(scratch / "area"))
    fresh = Fresh(settings)
    refs: list[JobRef] = []
    number = 0

    async def run(element: BatchElement) -> None:
        refs[:] = (await element.submit(RUN, copies(n))).refs

    async def to_the_end() -> float:
        began = time.perf_counter()
        await fresh(run)
        async with open_element(settings) as element:
            async for _ in element.watch(refs):
                pass
        return time.perf_counter() - began

    async def xargs() -> float:
        nonlocal number
        number += 1
        began = time.perf_counter()
        await asyncio.to_thread(_xargs, scratch / f"xargs-{number}", n)
        return time.perf_counter() - began

    few = max(1, repetitions // 3)
    entries.append(await compare(f"local: run {n} to the end", n, to_the_end, {"floor": xargs}, few))
    plain = scratch / f"xargs-{number}"

    async def status(element: BatchElement) -> None:
        assert len(await element.status(refs)) == n

    async def codes() -> float:
        began = time.perf_counter()
        assert not any(_codes(plain, n))
        return time.perf_counter() - began

    entries.append(
        await compare(f"local: status of {n} ended", n, lambda: fresh(status), {"floor": codes}, repetitions)
    )
    entries[-1].executions = fresh.executions

    def place(what: str) -> Path:
        nonlocal number
        number += 1
        return scratch / f"{what}-{number}"

    async def fetch(element: BatchElement) -> None:
        assert len(await element.fetch_output(refs, place("ours"))) == n

    async def copy() -> float:
        began = time.perf_counter()
        _copy(plain, place("copy"), n)
        return time.perf_counter() - began

    entries.append(await compare(f"local: output of {n}", n, lambda: fresh(fetch), {"floor": copy}, repetitions))
    entries[-1].executions = fresh.executions
