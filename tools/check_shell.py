"""Run shellcheck on every shell script: those of the testbed and the tools, and those that the library sends away.

The library's `.sh` files are fragments. What runs is several of them joined, so they are joined as the library does
before they are checked, with the comments that it leaves out: directives for shellcheck are among them.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

from intercede.arc.job import JOB_SHELL as ARC_JOB_SHELL
from intercede.htcondor_ce.description import JOB_SHELL as CE_JOB_SHELL
from intercede.urls import SCHEDULERS

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "src" / "intercede"

ALLOWED = {
    "SC1090": "the job's own file is sourced, and its place is known at run time only",
    "SC1091": "as SC1090",
    "SC2034": "what the job's file uses is not seen here",
    "SC2088": "`~/` is matched as text: the home directory is put in its place",
    "SC2115": "tags are never empty: their form is checked before they are sent",
    "SC2209": "`ic_env=env` names a command that runs later",
    "SC3045": "`ulimit -c` is no POSIX, and dash, bash, ksh, zsh and busybox have it",
}
SKIPPED_FOLDERS = {".git", ".venv", "site", "node_modules"}


def programs() -> dict[str, str]:
    """Join the fragments of the library: by name, all programs of the work area with one scheduler, and its runner."""
    areas = sorted((LIBRARY / "workarea").glob("*.sh"), key=lambda path: (path.stem != "prelude", path.stem))
    texts = [path.read_text() for path in areas if path.stem not in {"runner", "pack"}]
    runner = (LIBRARY / "workarea" / "runner.sh").read_text()
    found: dict[str, str] = {}
    for name, place in SCHEDULERS.items():
        module, _, kind = place.partition(":")
        scheduler = getattr(importlib.import_module(module), kind)
        found[name] = "\n".join([texts[0], scheduler.shell, *texts[1:]])
        found[f"{name}_job"] = "\n".join([scheduler.job_shell, runner])
    found["arc_job"] = "\n".join([ARC_JOB_SHELL, runner])
    found["ce_job"] = "\n".join(["ic_skip=0", CE_JOB_SHELL, runner])
    return found


def single_files() -> dict[str, list[Path]]:
    """Find the scripts that run as they are, by dialect."""
    found: dict[str, list[Path]] = {"sh": [], "bash": []}
    joined = {
        path for folder in ("workarea", "schedulers", "arc", "htcondor_ce") for path in (LIBRARY / folder).glob("*.sh")
    }
    alone = {path for path in joined if path.stem.partition("_")[2] not in {"", "job"}}
    for path in ROOT.rglob("*"):
        if SKIPPED_FOLDERS & set(path.relative_to(ROOT).parts) or not path.is_file() or path in joined - alone:
            continue
        if path in alone:
            found["sh"].append(path)
            continue
        with path.open("rb") as file:
            first = file.readline(80)
        if path.suffix == ".sh" or first.startswith((b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")):
            found["bash" if b"bash" in first or not first.startswith(b"#!") else "sh"].append(path)
    return found


def check(dialect: str, files: list[Path], *more: str) -> bool:
    """Run shellcheck; gives whether it is content."""
    if not files:
        return True
    sources = f"--source-path={ROOT / 'testbed' / 'images' / 'common'}"
    argv = ["shellcheck", f"--shell={dialect}", "--format=gcc", "--external-sources", sources, *more, *map(str, files)]
    return subprocess.run(argv, check=False).returncode == 0


def main() -> int:
    """Check all; the exit status is 1 if shellcheck has something to say."""
    with tempfile.TemporaryDirectory() as folder:
        joined = []
        for name, text in programs().items():
            path = Path(folder) / f"{name}.sh"
            path.write_text(text)
            joined.append(path)
        content = [check("sh", joined, "--severity=warning", f"--exclude={','.join(ALLOWED)}")]
    content += [
        check(dialect, files, "--severity=warning", f"--exclude={','.join(ALLOWED)}")
        for dialect, files in single_files().items()
    ]
    return 0 if all(content) else 1


if __name__ == "__main__":
    sys.exit(main())
