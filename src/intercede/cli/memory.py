"""What this user's command line has submitted: a small database in the user's state directory."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec

from intercede.cli.options import Access
from intercede.cli.wiring import say
from intercede.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from pathlib import Path

__all__ = ["Begun", "Job", "Memory", "Remembered"]

P = ParamSpec("P")

_VERSION = 1
_TABLES = """
CREATE TABLE submissions (
    id INTEGER PRIMARY KEY, tag TEXT NOT NULL, access TEXT NOT NULL, resource TEXT NOT NULL, program TEXT NOT NULL,
    copies INTEGER NOT NULL, created REAL NOT NULL, settled INTEGER NOT NULL DEFAULT 0, UNIQUE (tag, access)
);
CREATE TABLE jobs (
    submission INTEGER NOT NULL REFERENCES submissions ON DELETE CASCADE, copy INTEGER NOT NULL, ref TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT '{}', purged INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (submission, copy)
) WITHOUT ROWID;
CREATE INDEX jobs_by_ref ON jobs (ref);
"""
_KEPT = 180 * 86400
"""Seconds for which a submission is remembered of which nothing is left on its resource."""


@dataclass(frozen=True)
class Job:
    """One job: its reference, what was last seen of it (a document), and whether its files are gone."""

    ref: str
    status: dict[str, Any]
    purged: bool


@dataclass(frozen=True)
class Remembered:
    """One submission.

    Attributes:
        id: Its number here.
        tag: Its tag.
        access: Where it went, and how that is reached.
        resource: The resource as in its references.
        program: What runs, for people.
        copies: How many.
        created: When, in seconds since 1970.
        settled: Whether the outcome is known; if not, the resource is to be asked.
        jobs: By index of the copy.
    """

    id: int
    tag: str
    access: Access
    resource: str
    program: str
    copies: int
    created: float
    settled: bool
    jobs: dict[int, Job] = field(default_factory=dict)


class Begun(NamedTuple):
    """A submission that was noted before anything is sent.

    Attributes:
        number: Its number.
        created: When, which tells it from a later one with its tag.
        before: Whether the outcome of an earlier one with its tag was known; None if there was none.
    """

    number: int
    created: float
    before: bool | None


def _advisory(
    method: Callable[Concatenate[Memory, P], None],
) -> Callable[Concatenate[Memory, P], None]:
    """What is noted after the resource has done it: if it cannot be noted that is said, once, and is no failure."""

    @wraps(method)
    def advisory(self: Memory, *args: P.args, **more: P.kwargs) -> None:
        try:
            method(self, *args, **more)
        except ConfigurationError as error:
            if not self.complained:
                say(f"warning: what became of the jobs could not be noted: {error}")
            self.complained = True

    return advisory


class Memory:
    """The database. Any number of processes may use it at once; no lock is held between two calls.

    Only what is noted before something is sent, and what is asked for, must succeed.

    Args:
        path: The file; default: in the user's state directory. It is made when something is written first.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            import platformdirs

            path = platformdirs.user_state_path("intercede") / "submissions.sqlite3"
        self.path = path
        self.complained = False

    def begin(self, tag: str, access: Access, resource: str, program: str, copies: int) -> Begun:
        """Note a submission before anything is sent; its tag may have been used before."""
        now = time.time()
        key = json.dumps(asdict(access), sort_keys=True)
        with self._open() as database:
            database.execute(
                "DELETE FROM submissions WHERE created < ? AND settled "
                "AND NOT EXISTS (SELECT 1 FROM jobs WHERE submission = id AND NOT purged)",
                (now - _KEPT,),
            )
            found = database.execute(
                "SELECT id, settled FROM submissions WHERE tag = ? AND access = ?", (tag, key)
            ).fetchone()
            if found:
                database.execute("UPDATE submissions SET created = ?, settled = 0 WHERE id = ?", (now, found[0]))
                return Begun(found[0], now, bool(found[1]))
            made = database.execute(
                "INSERT INTO submissions (tag, access, resource, program, copies, created) VALUES (?, ?, ?, ?, ?, ?)",
                (tag, key, resource, program, copies, now),
            )
            return Begun(int(made.lastrowid or 0), now, None)

    @_advisory
    def settle(self, number: int, refs: Mapping[int, str], *, complete: bool = True) -> None:
        """Note the references that came of a submission, by index of the copy; a new one is another job."""
        with self._open() as database:
            database.executemany(
                "INSERT INTO jobs (submission, copy, ref) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET ref = excluded.ref, status = '{}', purged = 0 WHERE ref != excluded.ref",
                [(number, copy, ref) for copy, ref in refs.items()],
            )
            # what was settled stays so: a part that was given up is never known
            database.execute("UPDATE submissions SET settled = settled OR ? WHERE id = ?", (complete, number))

    @_advisory
    def learn(
        self, tag: str, access: Access, resource: str, copies: int, refs: Mapping[int, str], *, complete: bool
    ) -> None:
        """Note a submission that was made elsewhere."""
        self.settle(self.begin(tag, access, resource, "", copies).number, refs, complete=complete)

    @_advisory
    def describe(self, number: int, program: str, copies: int) -> None:
        """Note what a tag stands for now: its resource took this content, whatever the tag stood for earlier."""
        with self._open() as database:
            database.execute("UPDATE submissions SET program = ?, copies = ? WHERE id = ?", (program, copies, number))
            database.execute("DELETE FROM jobs WHERE submission = ? AND copy >= ?", (number, copies))

    @_advisory
    def forget(self, begun: Begun) -> None:
        """Forget a submission of which nothing was queued, unless its tag is in use again."""
        with self._open() as database:
            mine = (begun.number, begun.created)
            if begun.before is None:
                database.execute("DELETE FROM submissions WHERE id = ? AND created = ? AND NOT settled", mine)
            elif begun.before:
                database.execute("UPDATE submissions SET settled = 1 WHERE id = ? AND created = ?", mine)

    @_advisory
    def saw(self, statuses: Mapping[str, Mapping[str, Any]]) -> None:
        """Note what was seen of jobs, by reference."""
        with self._open() as database:
            database.executemany(
                "UPDATE jobs SET status = ? WHERE ref = ?", [(json.dumps(each), ref) for ref, each in statuses.items()]
            )

    @_advisory
    def purged(self, refs: Iterable[str]) -> None:
        """Note that nothing is left of jobs on their resource."""
        with self._open() as database:
            database.executemany("UPDATE jobs SET purged = 1 WHERE ref = ?", [(ref,) for ref in refs])

    def newest(self, limit: int = -1, since: float = 0) -> list[Remembered]:
        """Submissions, the newest first."""
        return self._find("created >= ? ORDER BY created DESC, id DESC LIMIT ?", since, limit)

    def with_tag(self, tag: str) -> list[Remembered]:
        """The submissions with a tag (on several resources there may be several), the newest first."""
        return self._find("tag = ? ORDER BY created DESC, id DESC", tag)

    def with_ref(self, ref: str) -> Remembered | None:
        """The submission that a reference belongs to."""
        return next(iter(self._find("id IN (SELECT submission FROM jobs WHERE ref = ?)", ref)), None)

    def _find(self, condition: str, *values: object) -> list[Remembered]:
        if not self.path.exists():
            return []
        with self._open() as database:
            rows = database.execute(
                "SELECT id, tag, access, resource, program, copies, created, settled FROM submissions "  # noqa: S608
                f"WHERE {condition}",  # one of the literals above
                values,
            ).fetchall()
            return [_remembered(database, row) for row in rows]

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite would give it the mode of the umask; its journal has the mode of the file.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            # The plain journal, not WAL: home directories are often on NFS, where WAL does not work.
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as database:
                database.execute("PRAGMA foreign_keys = ON")
                database.execute("BEGIN IMMEDIATE")
                self._migrate(database)
                yield database
                database.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            advice = "Make its directory writable, or set XDG_STATE_HOME to one that is."
            raise ConfigurationError(f"the memory of submissions {self.path}", str(error), advice) from error

    def _migrate(self, database: sqlite3.Connection) -> None:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise ConfigurationError(str(self.path), "it was written by a newer release", "Update intercede.")
        if version == 0:
            for statement in filter(str.strip, _TABLES.split(";")):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {_VERSION}")


def _remembered(database: sqlite3.Connection, row: tuple[Any, ...]) -> Remembered:
    jobs = database.execute("SELECT copy, ref, status, purged FROM jobs WHERE submission = ? ORDER BY copy", (row[0],))
    return Remembered(
        id=row[0],
        tag=row[1],
        access=Access(**json.loads(row[2])),
        resource=row[3],
        program=row[4],
        copies=row[5],
        created=row[6],
        settled=bool(row[7]),
        jobs={copy: Job(ref, json.loads(status), bool(purged)) for copy, ref, status, purged in jobs},
    )
