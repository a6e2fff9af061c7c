"""Private directories, which go with their owner however it ends. Workers import it: no more than it needs.

Each is locked for as long as the process lives that made it. Whoever finds one of the same user without a lock removes
it: a worker whose library was killed does so at once, and every start of a worker.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from intercede.errors import StorageError

__all__ = ["make", "remove", "sweep"]

_NEW, _NAME = "intercede-new-", "intercede-ce-"
_held: dict[Path, int] = {}


def make() -> Path:
    """Make a directory that nobody else can enter.

    Raises:
        StorageError: It cannot be made.
    """
    try:
        new = Path(tempfile.mkdtemp(prefix=_NEW))
        try:
            return _held_one(new)
        except OSError:
            new.rmdir()
            raise
    except OSError as error:
        said = error.strerror or str(error)
        raise StorageError("making a private directory", said, "Is TMPDIR there, with room in it?") from error


def _held_one(new: Path) -> Path:
    held = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    # a file system that has no locks has none for whoever looks for directories without one, either
    with contextlib.suppress(OSError):
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # until now it has another name, so that nobody takes it for one whose owner has gone
    path = new.with_name(_NAME + new.name.removeprefix(_NEW))
    new.rename(path)
    _held[path] = held
    return path


def remove(path: Path) -> None:
    """Remove one of ours and all that is in it; no error if it has gone."""
    shutil.rmtree(path, ignore_errors=True)
    if (held := _held.pop(path, None)) is not None:
        os.close(held)


def sweep(above: Path) -> None:
    """Remove what processes of this user that were killed left in a directory."""
    for path in above.glob(f"{_NAME}*"):
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if os.fstat(held).st_uid == os.geteuid():
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            # somebody holds it
            continue
        finally:
            os.close(held)
