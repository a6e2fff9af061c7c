"""What is sent of a job to a remote schedd, run by a real shell as a node would run it, and what comes back of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from intercede.answers import Counters, JobOutput
from intercede.elements import htcondor_ce_files as files
from intercede.elements import htcondor_ce_submitting as submitting
from intercede.elements.unpack import Gathering
from intercede.errors import CommandError, LimitExceeded, ParseError
from intercede.htcondor_ce.description import back_of
from intercede.model import Copy, JobDescription, JobRef
from intercede.settings import ResourceSettings

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.errors import IntercedeError

BACK = back_of(1)
REF = JobRef("ce", "t-1", 1, "7.1")
AD = "NumJobStarts = {}\n"


class Node:
    """A directory with what HTCondor brings there for the second of two copies."""

    def __init__(self, above: Path, text: str, **fields: Any) -> None:
        self.home, self.sent = above / "node", above / "sent"
        self.home.mkdir()
        self.sent.mkdir()
        self.settings = ResourceSettings(id="ce", scheduler="htcondor-ce", **fields.pop("settings", {}))
        description = JobDescription(executable="/bin/sh", arguments=("-c", text, "sh"), **fields)
        copies = [Copy(arguments=("first",)), Copy(arguments=("a\r 'b",), secrets={"s": "geheim"})]
        order = submitting.begin(description, copies, "t-1", self.settings)
        self.outputs = order.label.outputs
        self.items = submitting._write(self.sent, order)
        shutil.copy2(self.sent / "runner", self.home)
        shutil.copy2(self.items[1]["ic_own"], self.home)

    def run(self, starts: int = 0) -> int:
        (self.home / "ad").write_text(AD.format(starts))
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "_CONDOR_JOB_AD": str(self.home / "ad")}
        words = [str(self.home / "runner"), "t-1", "1"]
        return subprocess.run(words, cwd=self.home, env=environment, check=False, timeout=60).returncode

    async def back(self, into: Path) -> JobOutput | IntercedeError:
        job = Gathering(REF, into, ("1",), patterns=self.outputs)
        access: Any = SimpleNamespace(counters=Counters())
        return await files._unpacked(job, self.home / BACK, self.settings, access)


async def test_it_runs_and_comes_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"input")
    text = 'printf %s "$1"; cat data "$INTERCEDE_SECRETS/s" >r.dat; stat -c %a "$INTERCEDE_SECRETS/s" >&2; exit 3'
    node = Node(tmp_path, text, inputs={"data": data}, outputs=("*.dat", "none"))
    assert (node.sent / "1.own").stat().st_mode & 0o777 == 0o600
    assert b"geheim" not in (node.sent / "runner").read_bytes()
    assert node.items[0]["ic_back"] == "0.out,0.own"
    assert node.run() == 3
    # it takes the place of what the CE keeps
    assert (node.home / "1.own").read_bytes() == b""
    output = await node.back(tmp_path / "into")
    assert isinstance(output, JobOutput)
    assert output.stdout is not None
    assert output.stderr is not None
    assert (output.stdout.read_bytes(), output.stderr.read_bytes()) == (b"a\r 'b", b"600\n")
    assert {name: path.read_bytes() for name, path in output.files.items()} == {"r.dat": b"inputgeheim"}
    assert output.missing == ("none",)


async def test_what_breaks_the_bounds_stays_there(tmp_path: Path) -> None:
    node = Node(tmp_path, "head -c 9000 /dev/zero >big; echo x >small", outputs=("big", "small"),
                settings={"limits": {"output_bytes": 1000}})  # fmt: skip
    assert node.run() == 0
    assert (node.home / BACK).stat().st_size < 15_000
    found = await node.back(tmp_path / "into")
    assert isinstance(found, LimitExceeded)
    assert isinstance(found.kept, JobOutput)
    assert list(found.kept.files) == ["small"]


async def test_bounds_of_now_hold_as_well(tmp_path: Path) -> None:
    node = Node(tmp_path, "head -c 9000 /dev/zero >big; echo x >small", outputs=("big", "small"))
    assert node.run() == 0
    node.settings = ResourceSettings.model_validate(
        {"id": "ce", "scheduler": "htcondor-ce", "limits": {"output_bytes": 1000}}
    )
    found = await node.back(tmp_path / "into")
    assert isinstance(found, LimitExceeded)
    assert "big (9000 bytes)" in str(found)
    assert not (tmp_path / "into" / "1" / "big").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "code"),
    [("sleep 30", -signal.SIGXCPU), ("trap 'exit 5' TERM; sleep 30 & wait", -signal.SIGXCPU),
     ("trap 'exit 0' TERM; sleep 30 & wait", 0), ("exit 5", 5)],
)  # fmt: skip
async def test_the_end_of_its_walltime(tmp_path: Path, text: str, code: int) -> None:
    node = Node(tmp_path, f"echo said; {text}", resources={"walltime": "1s"})
    assert node.run() == code
    output = await node.back(tmp_path / "into")
    assert isinstance(output, JobOutput)
    assert output.stdout is not None
    assert output.stdout.read_text() == "said\n"


@pytest.mark.parametrize(("requeue", "starts", "code"), [(False, 0, 4), (False, 1, -signal.SIGVTALRM), (True, 1, 4)])
async def test_started_again(tmp_path: Path, requeue: bool, starts: int, code: int) -> None:
    node = Node(tmp_path, f"echo ran >{tmp_path}/ran; exit 4", requeue=requeue)
    assert node.run(starts) == code
    assert (tmp_path / "ran").exists() == (code == 4)


@pytest.mark.parametrize(
    "content", [b"x\n", b"\n", b"99999999999\n", b"10\nf 1 ./t-1/c/1/stdout\nno archive" + b"x" * 600]
)
async def test_what_comes_back_may_be_anything(tmp_path: Path, content: bytes) -> None:
    node = Node(tmp_path, ":")
    (node.home / BACK).write_bytes(content)
    with pytest.raises(ParseError):
        await node.back(tmp_path / "into")


async def test_a_link_a_pipe_or_nothing_is_not_read(tmp_path: Path) -> None:
    node = Node(tmp_path, ":")
    back = node.home / BACK
    for make in (lambda: back.symlink_to("/etc/passwd"), lambda: os.mkfifo(back), back.touch, lambda: None):
        make()
        with pytest.raises(CommandError):
            await node.back(tmp_path / "into")
        back.unlink(missing_ok=True)


@pytest.mark.parametrize("instant", [0.0, 0.002, 0.02, 0.2])
async def test_who_gives_up_while_it_is_sent_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: float
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    where = {"host": "ce.example.org", "port": 9619}
    settings = ResourceSettings.model_validate({"id": "ce", "scheduler": "htcondor-ce", "endpoint": where})
    copies = [Copy(secrets={"s": "geheim"})] * 200
    order = submitting.begin(JobDescription(executable="true"), copies, None, settings)
    never = asyncio.Event()

    async def ask(*_: object) -> None:
        await never.wait()

    access: Any = SimpleNamespace(endpoint=settings.endpoint, ask=ask)
    book: Any = None
    sending = asyncio.ensure_future(submitting.submit(access, book, order, settings))
    await asyncio.sleep(instant)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert sending.cancelled()
    assert os.listdir(tmp_path) == []
