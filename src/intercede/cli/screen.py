"""How things look on a terminal and in a pipe."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.text import Text

    from intercede.answers import JobState, JobStatus

__all__ = ["ago", "counts", "emit", "printable", "result", "show_table", "span", "state_text"]

# Restrained: what needs no attention has no colour.
STYLES = {
    "QUEUED": "",
    "HELD": "yellow",
    "RUNNING": "cyan",
    "SUSPENDED": "yellow",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "UNKNOWN": "magenta",
}


@cache
def console(*, stderr: bool = False) -> Console:
    """The console of stdout (or stderr). It interprets no markup: text of users and of remote hosts is just text."""
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)
    # In a pipe there is no width to fit in: nothing may be cut or wrapped.
    return (
        made if made.is_terminal else Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=10_000)
    )


def is_terminal(*, stderr: bool = False) -> bool:
    """Whether a person looks at it."""
    return (sys.stderr if stderr else sys.stdout).isatty()


def printable(text: str) -> str:
    r"""Make text harmless: control characters and bytes that are no text are shown as `\x1b`."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def emit(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")


def line(text: str) -> None:
    """Print a line of data on stdout."""
    sys.stdout.write(printable(text) + "\n")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: Iterable[str] = ()) -> None:
    """Print a table on stdout: in a pipe tab separated, on a terminal aligned and without columns that are empty.

    Args:
        columns: Their headings; the last one takes what room there is.
        rows: Texts, which are made harmless here.
        right: Columns that are aligned to the right.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if not is_terminal():
        for words in (columns, *([cell.plain for cell in row] for row in cells)):
            sys.stdout.write("\t".join(words) + "\n")
        return
    used = [i for i in range(len(columns)) if i == 0 or any(row[i].plain for row in cells)]
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for i in used:
        wide = i == used[-1]
        table.add_column(
            columns[i],
            justify="right" if columns[i] in right else "left",
            no_wrap=not wide,
            overflow="fold" if wide else "ellipsis",
        )
    for row in cells:
        table.add_row(*(row[i] for i in used))
    console().print(table)


def _cell(value: str | Text) -> Text:
    from rich.text import Text

    return Text(printable(value)) if isinstance(value, str) else value


def state_text(state: JobState | str) -> Text:
    """A state in its colour."""
    from rich.text import Text

    return Text(str(state), style=STYLES.get(str(state), ""))


def result(status: JobStatus) -> str:
    """How a job ended, in a word: `exit 3`, `signal 9`."""
    if status.signal is not None:
        return f"signal {status.signal}"
    return f"exit {status.exit_code}" if status.exit_code else ""


def why(status: JobStatus) -> str:
    """The reason and the detail of a status."""
    said = result(status)
    # What the result says already is not said twice.
    detail = "" if status.detail in {said.replace("exit", "exit code"), f"ended by {said}"} else status.detail
    reason = "" if status.reason is None or status.reason in {"EXIT_CODE", "SIGNAL"} else str(status.reason)
    return ": ".join(part for part in (reason, detail) if part)


def counts(states: Iterable[JobState | str]) -> str:
    """How many jobs are in which state, in the order of a job's life: `3 RUNNING, 17 SUCCEEDED`."""
    numbers: dict[str, int] = dict.fromkeys(STYLES, 0)
    for state in states:
        numbers[str(state)] += 1
    return ", ".join(f"{number} {state}" for state, number in numbers.items() if number) or "no jobs"


def span(value: timedelta | None) -> str:
    """A span of time for people: `42s`, `1m40s`, `2h5m`, `3d4h`."""
    if value is None:
        return ""
    seconds = int(value.total_seconds())
    for unit, size, lower, lower_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // lower_size
            return f"{seconds // size}{unit}{f'{rest}{lower}' if rest else ''}"
    return f"{max(seconds, 0)}s"


def ago(moment: datetime | None) -> str:
    """A moment for people, relative to now: `5m ago`, `3d ago`."""
    if moment is None:
        return ""
    passed = int((datetime.now(UTC) - moment).total_seconds())
    for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if passed >= seconds:
            return f"{passed // seconds}{unit} ago"
    return "now"


def ran(status: JobStatus) -> str:
    """How long a job ran, or has been running, or has been waiting."""
    if status.started:
        return span((status.ended or datetime.now(UTC)) - status.started)
    return ""


def headline(parts: Sequence[str]) -> None:
    """Print what a table is about, the first part the most."""
    from rich.text import Text

    text = Text(printable(parts[0]), style="bold")
    text.append(printable("  ".join(["", *parts[1:]])), style="dim")
    console().print(text, overflow="ellipsis", no_wrap=True)


_NOTABLE = ("FAILED", "UNKNOWN", "HELD", "SUSPENDED", "CANCELLED")
_ROWS = 20


def show_jobs(statuses: Sequence[JobStatus], *, everything: bool = False, hint: str = "") -> None:
    """Print a table of jobs; of many on a terminal only those that need attention.

    Args:
        statuses: The jobs.
        everything: Show all of them, however many.
        hint: How to see those that are left out.
    """
    shown = list(statuses)
    if is_terminal() and not everything and len(shown) > _ROWS:
        shown = [status for status in statuses if status.state in _NOTABLE][:_ROWS]
    rows = [
        (
            f"{status.ref.submission}:{status.ref.copy_index}",
            state_text(status.state),
            result(status),
            ran(status),
            status.node or "",
            status.queue or "",
            why(status),
        )
        for status in shown
    ]
    if rows or not is_terminal():
        show_table(("JOB", "STATE", "RESULT", "RAN", "NODE", "QUEUE", "WHY"), rows, right=("RAN",))
    left = len(statuses) - len(shown)
    if left and (rows or hint):
        console().print(f"{'... and ' if rows else ''}{left} jobs that need no attention{hint}", style="dim")
