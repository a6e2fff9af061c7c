"""One stand-in command of a replay shell: finds the rule that fits, and says what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(folder: str, name: str, *arguments: str) -> int:
    """Answer a command.

    Args:
        folder: Of the replay shell.
        name: Of the command.
        arguments: Its words.

    Returns:
        The exit status; 70 if no rule fits.
    """
    words = " ".join(shlex.quote(word) for word in (name, *arguments))
    _note(Path(folder) / "calls", words)
    rule = _rule(Path(folder) / "rules", words)
    if rule is None:
        _note(Path(folder) / "unanswered", words)
        sys.stderr.write(f"no recording answers {words}\n")
        return 70
    if rule["hangs"]:
        time.sleep(3600)
    if rule["starts"]:
        _start(sys.stdin.buffer.read(), rule["starts"])
    sys.stdout.buffer.write(rule["stdout"].encode("utf-8", "surrogateescape"))
    sys.stdout.flush()
    sys.stderr.buffer.write(rule["stderr"].encode("utf-8", "surrogateescape"))
    return int(rule["code"])


def _note(file: Path, words: str) -> None:
    with file.open("a") as lines:
        lines.write(words.replace("\n", " ") + "\n")


def _rule(folder: Path, words: str) -> dict[str, Any] | None:
    for path in sorted(folder.glob("*.json"), reverse=True):
        rule = json.loads(path.read_text())
        if re.fullmatch(rule["words"], words, re.DOTALL) and (not rule["times"] or _taken(path, rule["times"])):
            return rule
    return None


def _taken(rule: Path, times: int) -> bool:
    """Whether one of the uses of a rule is left; takes it."""
    for use in range(times):
        try:
            (rule.parent / f"{rule.stem}.{use}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return True
    return False


def _start(script: bytes, environments: list[dict[str, str]]) -> None:
    """Start a job for each environment, as a node does: in a session of its own, with the script on stdin."""
    kept = {key: os.environ[key] for key in ("HOME", "PATH") if key in os.environ}
    for environment in environments:
        with tempfile.TemporaryFile() as spooled:
            spooled.write(script)
            spooled.seek(0)
            quiet = subprocess.DEVNULL
            whole = {**kept, **environment}
            job = subprocess.Popen(
                ["/bin/sh"], stdin=spooled, stdout=quiet, stderr=quiet, env=whole, start_new_session=True
            )
        job.returncode = 0  # nobody waits for it here


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
