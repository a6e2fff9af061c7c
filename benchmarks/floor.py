"""The same work by raw commands: what nothing can be faster than, nor as careless."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import tarfile
from typing import IO, TYPE_CHECKING

from benchmarks.cluster import PACKET, WINDOW

if TYPE_CHECKING:
    from pathlib import Path

    import asyncssh

_STORE = "$HOME/.intercede"


def tar(scheduler: str, tag: str, output: str) -> str:
    """A line that sends stdout, stderr and one file of all jobs of a submission."""
    return f'cd "{_STORE}/{scheduler}/{tag}" && tar -cf - c/*/stdout c/*/stderr c/*/work/{output}'


def fabricate(scheduler: str, tag: str, n: int, payload: str) -> str:
    """A line that writes what N jobs would have left."""
    names = {"stdout": "a", "stderr": "b", "work/result.txt": "c", "record": "d"}
    writing = "; ".join(f'printf %s "${variable}" >$i/{name}' for name, variable in names.items())
    record = "v1 1 1700000000 1700000001 0 - - 0m0.01s,0m0.01s node - 1"
    return (
        f'cd "{_STORE}/{scheduler}/{tag}" && mkdir one && (cd one && {{ {payload}; }} >stdout 2>stderr) && '
        f"a=$(cat one/stdout) b=$(cat one/stderr) c=$(cat one/result.txt) d='{record}' && rm -r one && cd c && "
        f'seq 0 {n - 1} | sed "s,$,/work," | xargs mkdir -p && i=0 && '
        f"while [ $i -lt {n} ]; do {writing}; i=$((i + 1)); done"
    )


async def receive_whole(connection: asyncssh.SSHClientConnection, command: str, into: Path) -> None:
    """Receive the stream into memory, then write it to disk by a plain loop."""
    done = await connection.run(command, encoding=None, check=True, window=WINDOW, max_pktsize=PACKET)
    assert isinstance(done.stdout, bytes)
    _extract(io.BytesIO(done.stdout), into, "r:")


async def receive_piped(connection: asyncssh.SSHClientConnection, command: str, into: Path) -> None:
    """Pass the stream through a pipe to a thread that writes it to disk by a plain loop."""
    reading, writing = os.pipe()

    def extract() -> None:
        with os.fdopen(reading, "rb") as file:
            _extract(file, into, "r|")

    thread = asyncio.ensure_future(asyncio.to_thread(extract))
    async with connection.create_process(
        command, encoding=None, stdout=writing, window=WINDOW, max_pktsize=PACKET
    ) as process:
        await process.wait(check=True)
    await thread


def _extract(file: IO[bytes], into: Path, mode: str) -> None:
    """Write members as they come; a name is believed."""
    with tarfile.open(fileobj=file, mode=mode) as stream:  # ty: ignore[no-matching-overload]
        for member in stream:
            path = f"{into}/{member.name}"
            source = stream.extractfile(member)
            assert source is not None
            try:
                target = open(path, "wb")
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path))
                target = open(path, "wb")
            with target:
                shutil.copyfileobj(source, target)


def count(directory: Path) -> int:
    """How many files there are below a directory."""
    return sum(len(files) for _, _, files in os.walk(directory))
