"""What a live OpenPBS 23.06.06 said, and the same jobs in the other form that its qstat writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from intercede.steps import Completed
from intercede.testing.replay import Transcript, read_transcript

WHERE = Path(__file__).parent.parent / "transcripts" / "pbs"
NOBODY = Transcript("", Completed(0, b"", b""))


def said(name: str) -> Transcript:
    """A recording."""
    return read_transcript(WHERE / f"{name}.txt")


def jobs(name: str) -> dict[str, dict[str, Any]]:
    """The jobs of a recording in JSON."""
    return json.loads(said(name).answer.stdout, strict=False)["Jobs"]


def text(recorded: dict[str, dict[str, Any]]) -> str:
    """Jobs as `qstat -f -w` writes them; a test compares it with what qstat itself wrote of the same job."""
    lines: list[str] = []
    for native, attributes in recorded.items():
        lines.append(f"Job Id: {native}")
        for key, value in attributes.items():
            if key == "Variable_List":
                value = ",".join(f"{name}={each}" for name, each in value.items())
            several = value.items() if isinstance(value, dict) else [("", value)]
            lines += (f"    {key}{'.' if inner else ''}{inner} = {each}" for inner, each in several)
        lines.append("")
    return "".join(f"{line}\n" for line in lines)


def shown(recording: str, *natives: str, name: str, **changes: object) -> Transcript:
    """Some jobs of a recording in JSON as text: under the name that we gave them, and with attributes changed."""
    found = {native: {**jobs(recording)[native], "Job_Name": name, **changes} for native in natives}
    return Transcript("qstat -f -w", Completed(0, text(found).encode(), b""))


def array(recording: str, number: str, *, name: str) -> Transcript:
    """An array and its jobs as text."""
    return shown(recording, *(native for native in jobs(recording) if native.startswith(f"{number}[")), name=name)
