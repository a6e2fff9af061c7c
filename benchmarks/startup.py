"""How long a program waits before the library does anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Entry, Times, say

IMPORT_BAR = 0.150
HELP_BAR = 0.4
_TOTAL = re.compile(r"^import time:\s*\d+ \|\s*(\d+) \| intercede$", re.MULTILINE)


def measure(repetitions: int) -> list[Entry]:
    """`import intercede` and `intercede --help`, warm, the best of several."""
    say("start-up")
    with tempfile.TemporaryDirectory() as cache:
        # Warm means compiled; whoever forbids that (CI images do) would measure the compiler
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        program = Path(sys.executable).with_name("intercede")
        ways = {
            "import intercede": (IMPORT_BAR, lambda: _import(environment)),
            "intercede --help": (HELP_BAR, lambda: _help(program, environment)),
        }
        entries = []
        for name, (bar, way) in ways.items():
            way()
            times = Times.of([way() for _ in range(max(repetitions, 5))])
            # of a start-up, the machine's other work is no part
            best = Times(times.best, times.best, times.all)
            entries.append(Entry(name, 0, best, bar=bar, load=round(os.getloadavg()[0], 2)))
        return entries


def _import(environment: dict[str, str]) -> float:
    command = [sys.executable, "-X", "importtime", "-c", "import intercede"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    found = _TOTAL.search(said)
    assert found, said[-500:]
    return int(found[1]) / 1e6


def _help(program: Path, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([program, "--help"], env=environment, capture_output=True, check=True)
    return time.perf_counter() - began
