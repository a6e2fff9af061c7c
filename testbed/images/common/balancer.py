"""Hands each new connection on port 22 to the next of several hosts: `balancer.py PIDFILE HOST...`."""

import asyncio
import contextlib
import itertools
import os
import sys
from pathlib import Path

PORT = 22
PIECE = 65536
SILENT = 5.0


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until they end, and the end as well."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


async def serve(hosts: list[str]) -> None:
    """Take connections for ever; a host that does not take one is passed over."""
    turns = itertools.cycle(range(len(hosts)))

    async def reach() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        first = next(turns)
        for host in [*hosts[first:], *hosts[:first]]:
            with contextlib.suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(host, PORT), SILENT)
        raise ConnectionRefusedError

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            there, back = await reach()
            with contextlib.closing(back):
                await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(handle, port=PORT)
    await server.serve_forever()


if __name__ == "__main__":
    # What the testbed looks at to tell that it runs
    Path("/proc/self/comm").write_text("balancer")
    Path(sys.argv[1]).write_text(str(os.getpid()))
    asyncio.run(serve(sys.argv[2:]))
