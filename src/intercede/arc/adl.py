"""Descriptions of jobs for A-REX, in EMI's ADL: the one language that every version reads.

A-REX writes the words of a command into a shell script, in double quotes: `$` and backquotes are expanded there, and
line ends vanish (seen on 7.0.0). So a document refuses such words, and `carried` puts any script at all into words that
nothing happens to.
"""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from intercede.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

__all__ = ["MOST_CARRIED", "Activity", "carried", "write_adl"]

_ADL = "http://www.eu-emi.eu/es/2010/12/adl"
_NADL = "http://www.nordugrid.org/es/2011/12/nordugrid-adl"
# What XML 1.0 can hold is more than what arrives
_CHANGED = re.compile(r"[$`]")
_NOT_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# Linux takes 128 KiB a word; base64 makes four bytes of three, and the words around it need some
MOST_CARRIED = 96_000


@dataclass(frozen=True, slots=True)
class Activity:
    """One job as A-REX is told of it.

    Attributes:
        name: The job's name.
        program: A path; relative ones are in the session directory.
        arguments: Its words, without `$`, backquotes and control characters.
        annotation: Words that stay with the job, and mean nothing to A-REX.
        stdout: The file in the session directory.
        stderr: The file in the session directory.
        uploads: Files that the client will upload, and whether they are programs. The job waits for all of them.
        fetched: Files that the CE fetches from URLs.
        kept: Files, directories (`d/`) or everything (`/`) that stay until the job is cleaned; others are removed at
            its end.
        sent: Files that the CE sends to URLs at the end.
        queue: Where to; the CE's own choice by default.
        cores: In total.
        nodes: Over how many.
        memory: Bytes, of each core.
        walltime: At most.
        runtimes: Names of runtime environments.
        delegation: The identifier of the delegated credential for staging.
    """

    name: str
    program: str
    arguments: Sequence[str] = ()
    annotation: str = ""
    stdout: str = "stdout"
    stderr: str = "stderr"
    uploads: Mapping[str, bool] = field(default_factory=dict)
    fetched: Mapping[str, str] = field(default_factory=dict)
    kept: Sequence[str] = ()
    sent: Mapping[str, str] = field(default_factory=dict)
    queue: str | None = None
    cores: int = 1
    nodes: int = 1
    memory: int | None = None
    walltime: timedelta | None = None
    runtimes: Sequence[str] = ()
    delegation: str | None = None


def carried(script: bytes) -> tuple[str, tuple[str, ...]]:
    """Give a program and arguments that run a shell script of any bytes in the job's session directory.

    Raises:
        UnsupportedError: It has more than `MOST_CARRIED` bytes.
    """
    if len(script) > MOST_CARRIED:
        answer = f"{len(script)} bytes of environment and arguments, and an ARC job can be given {MOST_CARRIED}"
        raise UnsupportedError("arguments", answer, "Ship them as a file.")
    text = base64.b64encode(script).decode("ascii")
    return "/bin/sh", ("-c", f"echo {text} | base64 -d >.intercede-job && exec /bin/sh .intercede-job")


def write_adl(activities: Sequence[Activity]) -> bytes:
    """Write one document of one or more jobs.

    Raises:
        UnsupportedError: A word would not reach the job as it is; `field` says whose.
    """
    root = ET.Element("ActivityDescriptions", {"xmlns": _ADL, "xmlns:nadl": _NADL})
    for each in activities:
        root.append(_activity(each))
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _add(parent: ET.Element, name: str, text: str | None = None, *, asked: str = "") -> ET.Element:
    element = ET.SubElement(parent, name)
    if text is not None:
        if found := _NOT_TEXT.search(text):
            raise UnsupportedError(asked, f"an ARC job cannot be given {found[0]!r}")
        element.text = text
    return element


def _word(parent: ET.Element, name: str, text: str, asked: str) -> None:
    if found := _CHANGED.search(text):
        raise UnsupportedError(asked, f"A-REX expands {found[0]!r} in {text[:80]!r}")
    _add(parent, name, text, asked=asked)


def _activity(job: Activity) -> ET.Element:
    root = ET.Element("ActivityDescription")
    identity = _add(root, "ActivityIdentification")
    _add(identity, "Name", job.name, asked="name")
    if job.annotation:
        _add(identity, "Annotation", job.annotation, asked="annotation")
    application = _add(root, "Application")
    executable = _add(application, "Executable")
    _word(executable, "Path", job.program, "executable")
    for word in job.arguments:
        _word(executable, "Argument", word, "arguments")
    _word(application, "Output", job.stdout, "stdout")
    _word(application, "Error", job.stderr, "stderr")
    root.append(_resources(job))
    root.append(_staging(job))
    return root


def _resources(job: Activity) -> ET.Element:
    resources = ET.Element("Resources")
    if job.memory is not None:
        _add(resources, "IndividualPhysicalMemory", str(job.memory))
    if job.walltime is not None:
        _add(resources, "WallTime", str(-int(-job.walltime.total_seconds() // 1)))
    for name in job.runtimes:
        _add(_add(resources, "RuntimeEnvironment"), "Name", name, asked="container")
    slots = _add(resources, "SlotRequirement")
    _add(slots, "NumberOfSlots", str(job.cores))
    if job.nodes > 1:
        _add(slots, "SlotsPerHost", str(-(-job.cores // job.nodes)))
    if job.queue is not None:
        _add(resources, "QueueName", job.queue, asked="resources.queue")
    return resources


def _staging(job: Activity) -> ET.Element:
    staging = ET.Element("DataStaging")
    if job.delegation is not None:
        # in EMI's own namespace it is not looked at
        _add(staging, "nadl:DelegationID", job.delegation, asked="delegation")
    for name, is_program in job.uploads.items():
        entry = _add(staging, "InputFile")
        _add(entry, "Name", name, asked="inputs")
        _add(entry, "IsExecutable", "true" if is_program else "false")
    for name, url in job.fetched.items():
        entry = _add(staging, "InputFile")
        _add(entry, "Name", name, asked="inputs")
        _add(_add(entry, "Source"), "URI", url, asked="inputs")
    for name in (job.stdout, job.stderr, *job.kept):
        _add(_add(staging, "OutputFile"), "Name", name, asked="outputs")
    for name, url in job.sent.items():
        entry = _add(staging, "OutputFile")
        _add(entry, "Name", name, asked="outputs")
        _add(_add(entry, "Target"), "URI", url, asked="outputs")
    return staging
