"""The report: JSON for programs, a table for people."""

from __future__ import annotations

import json
import os
import platform
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Entry

HEADS = ("entry", "n", "ours", "floor", "ratio", "of best", "bar", "runs", "load", "beside")


def document(entries: list[Entry]) -> str:
    """The whole report as JSON."""
    host = {"python": platform.python_version(), "kernel": platform.release(), "cpus": os.cpu_count(),
            "load": os.getloadavg()}  # fmt: skip
    said = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": host,
        "unit": "seconds",
        "entries": [entry.as_json() for entry in entries],
    }
    return json.dumps(said, indent=1)


def save(text: str, directory: Path) -> Path:
    """Write the report to a file of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(text + "\n")
    return path


def table(entries: list[Entry]) -> str:
    """The report for a person."""
    rows = [HEADS, *(_row(entry) for entry in entries)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADS))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _row(entry: Entry) -> tuple[str, ...]:
    verdict = {None: "", True: "ok", False: "OVER"}[entry.passes]
    bar = "" if entry.bar is None else f"<= {entry.bar:g} {verdict}"
    beside = [f"{name} {_seconds(times.median)}" for name, times in entry.beside.items()]
    beside += [f"{name} {value}" for name, value in entry.notes.items()]
    return (
        entry.name,
        str(entry.n or ""),
        _seconds(entry.ours.median),
        _seconds(entry.floor.median) if entry.floor else "",
        f"{entry.ratio:.2f}" if entry.ratio is not None else "",
        f"{entry.best_ratio:.2f}" if entry.best_ratio is not None else "",
        bar,
        "" if entry.executions is None else str(entry.executions),
        f"{entry.load:.1f}",
        ", ".join(beside),
    )


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
