"""The tar stream of one submission, made while it is sent: inputs are never in memory as a whole."""

from __future__ import annotations

import os
import stat
import tarfile
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from intercede.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from intercede.model import Copy, JobDescription

__all__ = ["InputLost", "Sandbox", "collect_inputs", "secret_files"]

_BLOCK = 256 * 1024
# tar(5), GNU format: mode, owner, group, size and time; then, after checksum and type, no link and no names of owners
_FIELDS = b"%07o\0" + b"%07o\0" % 0 * 2 + b"%011o\0%011o\0"
_AFTER = tarfile.GNU_MAGIC.rjust(tarfile.LENGTH_LINK + 8, b"\0").ljust(512 - 157, b"\0")
_AFTER_SUM = sum(_AFTER) + 8 * ord(" ")


@lru_cache(256)  # most files are the same in each of a thousand sandboxes
def _header(name: str, size: int, mode: int, mtime: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    encoded = name.encode("utf-8", "surrogateescape")
    if kind == tarfile.REGTYPE and len(encoded) <= tarfile.LENGTH_NAME and size < 8**11 and 0 <= mtime < 8**11:
        # as below, ten times as quickly: there may be a small file for each of ten thousand copies
        before = encoded.ljust(tarfile.LENGTH_NAME, b"\0") + _FIELDS % (mode & 0o7777, size, mtime)
        total = sum(before) + _AFTER_SUM + kind[0]
        return b"%b%06o\0 %b%b" % (before, total, kind, _AFTER)
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime, info.type = size, mode, mtime, kind
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return b"\0" * (-size % tarfile.BLOCKSIZE)


def _walk(name: str, path: Path, field: str) -> Iterator[tuple[str, Path, os.stat_result]]:
    try:
        seen = path.stat()
        if not os.access(path, os.R_OK):
            raise ConfigurationError(field, f"{path} cannot be read", "Check its permissions.")
        yield name, path, seen
        if stat.S_ISDIR(seen.st_mode):
            for entry in sorted(os.listdir(path)):
                yield from _walk(f"{name}/{entry}", path / entry, field)
        elif not stat.S_ISREG(seen.st_mode):
            raise ConfigurationError(field, f"{path} is neither a file nor a directory")
    except OSError as error:
        raise ConfigurationError(field, f"{path}: {error.strerror}", "Give a file that can be read.") from error


def collect_inputs(description: JobDescription) -> list[tuple[str, Path, os.stat_result]]:
    """The inputs, with what is below directories; links are followed here, on the sender's side.

    Raises:
        ConfigurationError: One is missing or cannot be read; it is named, and nothing was sent.
    """
    found = []
    for name, path in description.inputs.items():
        found += _walk(name, Path(path).expanduser(), f"inputs.{name}")
    return found


def secret_files(description: JobDescription, copies: Sequence[Copy]) -> Iterator[tuple[str, bytes]]:
    """Each copy's secrets by name in the sandbox; a copy's own come before those of the description."""
    for index, copy in enumerate(copies):
        for name, secret in {**description.secrets, **copy.secrets}.items():
            yield f"secrets/{index}/{name}", secret.get_secret_value()


class InputLost(ConfigurationError):
    """An input could be read when it was looked at, and not when it was sent: what was sent is cut off."""


class Sandbox:
    """A tar stream of texts, secrets and inputs; it can be iterated again if nothing was sent the first time.

    Args:
        texts: Small files by name.
        secrets: Files of mode 0600 by name.
        inputs: As `collect_inputs` gives them; they lie below `in/`.
        executables: Names of `texts` that are programs.
    """

    def __init__(
        self,
        texts: Mapping[str, bytes],
        secrets: Sequence[tuple[str, bytes]],
        inputs: Sequence[tuple[str, Path, os.stat_result]],
        executables: Sequence[str] = (),
    ) -> None:
        self._texts = texts
        self._secrets = secrets
        self._inputs = inputs
        self._executables = executables
        # one time for all of it: a stream that is made again is the same to the byte
        self._made = int(time.time())

    @property
    def size(self) -> int:
        """Bytes of the inputs."""
        return sum(seen.st_size for _, _, seen in self._inputs)

    def __iter__(self) -> Iterator[bytes]:
        """Give the stream in pieces of about 256 KiB."""
        pieces: list[bytes] = []
        size = 0
        for piece in self._pieces():
            pieces.append(piece)
            size += len(piece)
            if size >= _BLOCK:
                yield b"".join(pieces)
                pieces, size = [], 0
        yield b"".join([*pieces, b"\0" * (2 * tarfile.BLOCKSIZE)])

    def _pieces(self) -> Iterator[bytes]:
        now = self._made
        for name, data in self._texts.items():
            mode = 0o700 if name in self._executables else 0o600
            yield _header(name, len(data), mode, now) + data + _padding(len(data))
        yield _header("secrets", 0, 0o700, now, tarfile.DIRTYPE)
        for name, data in self._secrets:
            yield _header(name, len(data), 0o600, now) + data + _padding(len(data))
        for name, path, seen in self._inputs:
            yield from self._input(name, path, seen)
        # the far side takes a stream without it for one that was cut
        yield _header("whole", 0, 0o600, now)

    def _input(self, name: str, path: Path, seen: os.stat_result) -> Iterator[bytes]:
        if stat.S_ISDIR(seen.st_mode):
            yield _header(f"in/{name}", 0, 0o700, int(seen.st_mtime), tarfile.DIRTYPE)
            return
        yield _header(f"in/{name}", seen.st_size, 0o700 if seen.st_mode & 0o100 else 0o600, int(seen.st_mtime))
        left = seen.st_size
        try:
            with path.open("rb") as file:
                while left:
                    data = file.read(min(left, _BLOCK))
                    if not data:
                        raise InputLost(f"inputs.{name}", f"{path} shrank while it was read")
                    left -= len(data)
                    yield data
        except OSError as error:
            raise InputLost(f"inputs.{name}", f"{path}: {error.strerror}", "It was there before.") from error
        yield _padding(seen.st_size)
