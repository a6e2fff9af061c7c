"""Writing what came back to the local disk. What the far side sends is hostile until it is proven harmless.

Every name must be one that was asked for; every directory is opened without following links, every file is made new
and renamed into place, and nothing is written outside the job's own directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import stat
import tarfile
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from intercede.answers import JobOutput
from intercede.errors import IntercedeError, LimitExceeded, StorageError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import IO

    from intercede.model import JobRef

__all__ = ["Feed", "Gathering", "Listed", "unpack"]

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG}
_LONGEST_NAME = 64 * 1024
_ENDS = 16
# What tarfile makes of headers that nobody writes
_CONFUSED = (ValueError, ArithmeticError, LookupError, RecursionError)
_NAMES = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
_PLAIN = {tarfile.REGTYPE, tarfile.AREGTYPE}
_KINDS = {"p": "a pipe", "s": "a socket", "b": "a device", "c": "a device", "l": "a link that leads nowhere allowed"}


class Listed(NamedTuple):
    """One file that the far side has: find's letter for its type (or the bound that it broke), its size, its name."""

    kind: str
    size: int
    name: str


@dataclass(slots=True)
class Gathering:
    """What is being brought back of one job.

    Attributes:
        ref: The job.
        into: The caller's directory.
        place: The parts of the job's own directory below it.
        directory: Where its files go.
        listed: What the far side has of it, within its working directory or stdout and stderr.
        patterns: The outputs that were declared.
        inputs: What matches them and is only the way to an input that was sent along.
    """

    ref: JobRef
    into: Path
    place: tuple[str, ...]
    directory: Path = field(init=False)
    listed: list[Listed] = field(default_factory=list)
    patterns: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    logs: dict[str, Path] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)
    bytes: int = 0
    error: IntercedeError | None = None

    def __post_init__(self) -> None:
        self.directory = self.into.joinpath(*self.place)

    def bound(self, most_bytes: int, most_files: int) -> None:
        """Hold what was listed against bounds, where the far side had other ones."""
        used = count = 0
        for at, each in enumerate(self.listed):
            if each.kind not in {"f", "d", "l"}:
                continue
            count += 1
            size = each.size if each.kind == "f" else 0
            if count > most_files or used + size > most_bytes:
                self.listed[at] = each._replace(kind="files" if count > most_files else "bytes")
            else:
                used += size

    def output(self, limits: str) -> JobOutput | IntercedeError:
        """What came of it."""
        too_much = []
        for each in self.listed:
            short = each.name.removeprefix("work/")
            if each.kind in {"bytes", "files"}:
                too_much.append(f"{short} ({each.size} bytes)")
            elif each.kind in _KINDS and short not in self.files and short not in self.inputs:
                self.skipped.setdefault(short, _KINDS[each.kind])
            elif each.kind == "f" and short not in self.files and each.name not in self.logs:
                self.skipped.setdefault(short, "it vanished, or its name cannot be carried")
        names = [each.name.removeprefix("work/") for each in self.listed if each.name.startswith("work/")]
        missing = tuple(each for each in self.patterns if not any(_matches(each, name) for name in names))
        found = JobOutput(
            self.ref,
            self.directory,
            self.logs.get("stdout"),
            self.logs.get("stderr"),
            self.files,
            self.skipped,
            missing,
        )
        if self.error is not None:
            return self.error
        if too_much:
            asked = f"output of {self.ref}"
            said = f"{', '.join(too_much[:10])} exceed {limits} and stayed there"
            return LimitExceeded(asked, said, "Raise limits.output_bytes or limits.output_files.", kept=found)
        return found


def _matches(pattern: str, name: str) -> bool:
    if pattern == name:
        return True
    parts = PurePosixPath(pattern).parts
    inner = PurePosixPath(name).parts[: len(parts)]
    return len(inner) == len(parts) and all(fnmatchcase(a, b) or a == b for a, b in zip(inner, parts, strict=True))


class _Member(tarfile.TarInfo):
    """A header; the long names that may come before it are read into memory as a whole, so they are bounded."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        return cls._plain(buf, encoding, errors) or super().frombuf(buf, encoding, errors)

    # Where Python 3.14.10 and later read their headers
    @classmethod
    def _frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str, **words: bool) -> Self:
        found = cls._plain(buf, encoding, errors)
        return found or super()._frombuf(buf, encoding, errors, **words)  # ty: ignore[missing-attribute]

    def _proc_member(self, source: tarfile.TarFile) -> tarfile.TarInfo | None:
        if self.type in _NAMES and self.size > _LONGEST_NAME:
            raise tarfile.ReadError(f"a name of {self.size} bytes")
        return super()._proc_member(source)  # ty: ignore[missing-attribute]

    def _proc_sparse(self, *_: object) -> None:
        raise tarfile.ReadError("a sparse file, whose map of holes would be read into memory as a whole")

    _proc_gnusparse_10 = _proc_sparse

    @classmethod
    def _plain(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self | None:
        # A plain file with a short name: what tarfile reads besides takes longer than writing a small file
        if buf[156:157] == tarfile.REGTYPE and buf[257:265] == tarfile.GNU_MAGIC and buf[345:346] == b"\0":
            mode, size = buf[100:107], buf[124:135]
            with contextlib.suppress(ValueError):
                total = int(buf[148:156].strip(b" \0"), 8)
                if mode.isdigit() and size.isdigit() and sum(buf) - sum(buf[148:156]) + 256 == total:
                    found = cls(buf[: buf.index(0, 0, 101)].decode(encoding, errors))
                    found.mode, found.size = int(mode, 8), int(size, 8)
                    return found
        return None


class Feed:
    """Bytes from an event loop to a thread that reads them as a file; bounded, so a slow disk slows the sender."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue(32)
        self._rest = memoryview(b"")
        self._stopped = False
        self._empty = 0

    def put(self, piece: bytes | None) -> None:
        """Hand over a piece, None for the end; waits while too many are waiting."""
        while not self._stopped:
            try:
                self._pieces.put(piece, timeout=0.5)
            except queue.Full:
                continue
            return

    def offer(self, piece: bytes) -> bool:
        """Hand over a piece if that needs no waiting."""
        try:
            self._pieces.put_nowait(piece)
        except queue.Full:
            return False
        return True

    def stop(self) -> None:
        """Make both sides give up."""
        self._stopped = True

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; fewer only at the end."""
        found: list[memoryview | bytes] = []
        wanted = size
        while wanted:
            if not self._rest:
                piece = self._next()
                if piece is None:
                    break
                self._rest = memoryview(piece)
            taken = self._rest[:wanted]
            self._rest = self._rest[len(taken) :]
            wanted -= len(taken)
            found.append(taken)
        # tarfile passes over a member of any size by reading it
        self._empty += wanted > 0 and not found
        if self._empty > _ENDS:
            raise tarfile.ReadError("unexpected end of data")
        return b"".join(found)

    def _next(self) -> bytes | None:
        while not self._stopped:
            try:
                piece = self._pieces.get(timeout=0.5)
            except queue.Empty:
                continue
            if piece is None:
                self._pieces.put_nowait(None)
            return piece
        raise InterruptedError


class _Directories:
    """The open directories of one path at a time, made and opened without following links below `into`."""

    def __init__(self) -> None:
        self._into: Path | None = None
        self._at: tuple[Gathering, tuple[str, ...]] | None = None
        self._bottom = -1
        self._stack: list[tuple[str, int]] = []

    def enter(self, job: Gathering, inner: tuple[str, ...]) -> int:
        if self._at is not None and self._at[0] is job and self._at[1] == inner:
            return self._stack[-1][1]
        self._at = None
        if job.into != self._into:
            self.close()
            job.into.mkdir(parents=True, exist_ok=True)
            self._bottom = os.open(job.into, _FLAGS & ~os.O_NOFOLLOW)
            self._into = job.into
        parts = (*job.place, *inner)
        while tuple(name for name, _ in self._stack) != parts[: len(self._stack)]:
            os.close(self._stack.pop()[1])
        for name in parts[len(self._stack) :]:
            above = self._stack[-1][1] if self._stack else self._bottom
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=above)
            self._stack.append((name, os.open(name, _FLAGS, dir_fd=above)))
        self._at = (job, inner)
        return self._stack[-1][1]

    def close(self) -> None:
        while self._stack:
            os.close(self._stack.pop()[1])
        if self._into is not None:
            os.close(self._bottom)
        self._into = None


def unpack(feed: Feed, jobs: Mapping[tuple[str, str], Gathering], limit: int) -> None:
    """Write a tar stream of `./TAG/c/COPY/…` to the directories of the jobs.

    Args:
        feed: The stream.
        jobs: By (tag, copy); members of other jobs are left out.
        limit: Bytes of one job; what is more is left out, whatever the far side promised.

    Raises:
        StorageError: The local disk cannot be written.
        tarfile.TarError: It is no such stream.
    """
    directories = _Directories()
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", feed), mode="r|", bufsize=64 * tarfile.BLOCKSIZE,
                          errors="surrogateescape", tarinfo=_Member) as stream:  # fmt: skip
            for member in stream:
                parts = tuple(member.name.removeprefix("./").split("/"))
                job = jobs.get((parts[0], parts[2])) if len(parts) > 3 and parts[1] == "c" else None
                if job is not None and not {"", ".", ".."} & set(parts):
                    with _blamed_on(job):
                        _member(stream, member, parts[3:], job, limit, directories)
                stream.members = []  # ty: ignore[missing-attribute] # tarfile would keep them all
        for job in jobs.values():
            with _blamed_on(job):
                _resolve_links(job, limit, directories)
    except tarfile.ReadError as error:
        if "empty file" not in str(error):
            raise
    except _CONFUSED as error:
        raise tarfile.ReadError(f"{type(error).__name__}: {error}"[:200]) from error
    except OSError as error:
        if isinstance(error, InterruptedError):
            raise
        asked = f"writing output to {error.filename or 'the local disk'}"
        raise StorageError(asked, error.strerror or str(error), "Free space, or choose another directory.") from error
    finally:
        directories.close()


@contextlib.contextmanager
def _blamed_on(job: Gathering) -> Generator[None]:
    """What is in the way of one job's files (a link, a directory in the place of a file) is no other job's error."""
    try:
        yield
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        asked = f"writing output to {job.directory}"
        advice = "Choose another directory, or clear that one."
        job.error = StorageError(asked, f"{error.filename!r}: {error.strerror}", advice)


def _member(
    stream: tarfile.TarFile,
    member: tarfile.TarInfo,
    parts: tuple[str, ...],
    job: Gathering,
    limit: int,
    directories: _Directories,
) -> None:
    log = parts[0] != "work"
    inner = parts if log else parts[1:]
    name = "/".join(inner)
    if member.size < 0:
        raise tarfile.ReadError(f"a file of {member.size} bytes")
    if log and name not in {"stdout", "stderr"}:
        return
    if not inner:
        return
    if not log and inner[0] in {"stdout", "stderr"}:
        job.skipped[name] = "the job's own stdout and stderr have these names"
    elif member.issym():
        job.links[name] = member.linkname
    elif member.isdir():
        directories.enter(job, inner)
    elif member.type in _PLAIN:
        job.bytes += member.size
        if job.bytes > limit:
            job.skipped[name] = "more bytes came than were announced"
            return
        mode = 0o777 if member.mode & stat.S_IXUSR else 0o666
        # at the member's first byte, and quicker than what extractfile makes of it
        source = cast("IO[bytes]", stream.fileobj)
        _file(source, member.size, mode, directories.enter(job, inner[:-1]), inner[-1])
        (job.logs if log else job.files)[name] = job.directory.joinpath(*inner)


def _file(source: IO[bytes], size: int, mode: int, directory: int, name: str) -> None:
    """Write one file under a name of its own and rename it, so that it is whole or not there."""
    part = f".ic-{os.getpid()}-{os.urandom(6).hex()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode,
                         dir_fd=directory)  # fmt: skip
    try:
        try:
            while size:
                data = source.read(min(size, 1 << 20))
                if not data:
                    raise tarfile.ReadError("unexpected end of data")
                size -= len(data)
                while data:
                    data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)
        os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(part, dir_fd=directory)
        raise


def _resolve_links(job: Gathering, limit: int, directories: _Directories) -> None:
    """A link to another file that was brought back becomes a copy of it; all others stay behind."""
    for name, target in job.links.items():
        # unless it was declared by its very name: then its caller waits for it
        if name not in job.patterns and target.endswith(f"/in/{name}"):
            job.inputs.add(name)
            continue
        where = os.path.normpath(PurePosixPath(name).parent / target)
        if target.startswith("/") or where not in job.files:
            job.skipped[name] = f"a link to {target!r}, which is not among the files brought back"
            continue
        inner = tuple(name.split("/"))
        with job.files[where].open("rb") as source:
            seen = os.fstat(source.fileno())
            if job.bytes + seen.st_size > limit:
                job.skipped[name] = f"a link to {target!r}, too much for a copy"
                continue
            job.bytes += seen.st_size
            mode = 0o777 if seen.st_mode & stat.S_IXUSR else 0o666
            _file(source, seen.st_size, mode, directories.enter(job, inner[:-1]), inner[-1])
        job.files[name] = job.directory.joinpath(*inner)
