"""What is fetched from a schedd goes to the directories that it is meant for, whatever the schedd says.

A client reads in what the schedd sends where files go and how they are called. So they are fetched in a thread that the
kernel lets write nowhere else, and start no program: Landlock, landlock(7), of Linux 5.13 and later. Where there is
none (an older kernel, one with it switched off, a container that forbids it, another system), it goes on without.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["confined", "version"]

T = TypeVar("T")
# The same numbers on all architectures but Alpha
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38  # prctl(2)

# landlock(7), "Filesystem actions": a bit each
_EXECUTE, _WRITE_FILE, _TRUNCATE = 1 << 0, 1 << 1, 1 << 14
_CHANGE = sum(1 << bit for bit in range(4, 13))
"""Remove and make what is in a directory: files, links, pipes, devices, directories."""


def version() -> int:
    """Which Landlock the kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    except OSError:
        return 0


def confined(directories: Iterable[str], call: Callable[[], T]) -> T:
    """Call something in a thread that can write below some directories alone, and start no program.

    Files that are open already are not affected, nor is reading.

    Args:
        directories: They must be there.
        call: What.

    Raises:
        OSError: The kernel has Landlock, and refuses this.
    """
    found = version()
    if not found:
        return call()

    def run() -> T:
        _restrict(directories, _WRITE_FILE | _CHANGE | (_TRUNCATE if found >= 3 else 0))
        return call()

    # a thread restricts itself alone, and for ever
    with ThreadPoolExecutor(1) as own:
        return own.submit(run).result()


def _restrict(directories: Iterable[str], writing: int) -> None:
    # struct landlock_ruleset_attr; older kernels know its first member alone
    handled = struct.pack("=Q", writing | _EXECUTE)
    ruleset = _call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    try:
        for path in directories:
            _allow(ruleset, path, writing)
        _allow(ruleset, os.devnull, writing & ~_CHANGE)
        if ctypes.CDLL(None).prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError("no-new-privileges cannot be set")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # struct landlock_path_beneath_attr, which is packed
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, beneath), 0)
    finally:
        os.close(beneath)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(ctypes.c_long(number), *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
