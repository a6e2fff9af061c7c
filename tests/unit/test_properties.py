"""What must hold for any input."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercede.elements.sandbox import Sandbox
from intercede.errors import CommandError, ConfigurationError, InvalidReference, NotFound, ParseError
from intercede.model import Copy, JobDescription, JobRef, parse_memory, parse_walltime
from intercede.schedulers.gridengine import GridEngine
from intercede.schedulers.htcondor import HTCondor
from intercede.schedulers.oar import OAR
from intercede.schedulers.process import Process
from intercede.schedulers.slurm import Slurm
from intercede.settings import ResourceSettings
from intercede.steps import Completed, replay
from intercede.workarea import jobfile
from intercede.workarea.operations import Area, read_record
from intercede.workarea.scheduler import Scheduler, numbers, ranges

DUMP = """
import os, sys
words = [os.environb[b"A"], os.environb[b"B"], *map(os.fsencode, sys.argv[1:])]
sys.stdout.buffer.write(b"\\0".join(words))
"""
SHELLS = sorted({os.path.realpath(found) for each in ("sh", "dash", "bash") if (found := shutil.which(each))})
ANYTHING = st.binary(max_size=300)
WORDS = st.binary(min_size=1, max_size=60).map(lambda data: data.replace(b"\0", b"0")).map(os.fsdecode)
LINES = st.lists(st.text(alphabet="0123456789_[]-,|:ACDEFGILNOPRTUabc %+.", max_size=60), max_size=8).map("\n".join)
# as many columns as some scheduler's rows have
COLUMNS = st.lists(st.text(alphabet="0123456789.-:TZtrue_ undefied()", max_size=6), min_size=8, max_size=16)
ROWS = st.lists(st.builds(lambda number, rest: f"{number}.0|{'|'.join(rest)}", st.integers(0, 9), COLUMNS), max_size=4)


@pytest.mark.parametrize("scheduler", [Slurm(), Process(), GridEngine(), OAR(), HTCondor()], ids=lambda each: each.name)
@given(text=st.one_of(LINES, ROWS.map("\n".join), ANYTHING.map(os.fsdecode)))
def test_any_text_of_a_queue_or_history_is_read(scheduler: Scheduler, text: str) -> None:
    for observed in (scheduler.read_queue(text), scheduler.read_history(text)):
        assert all(isinstance(native, str) for native in observed)


@given(
    body=ANYTHING,
    words=st.lists(
        st.sampled_from(
            [
                "queue",
                "queued 0",
                "records",
                "history",
                "historied 1",
                "chunk 0 1",
                "submission t here",
                "here 1",
                "keys",
                "end",
                "nothing",
            ]
        )
    ),
)
def test_any_answer_is_read_or_refused(body: bytes, words: list[str]) -> None:  # fmt: skip
    text = b"".join(b"N0 %s\n%s\n" % (word.encode(), body) for word in words)
    area = Area("a", Slurm(), "N0")
    for steps in (area.status([], 1), area.find("t", 1), area.listing(1, 1), area.submit("t", "d", 1, (), b"", 1)):
        try:
            replay(steps, [(Completed(0, text),)])
        except (ParseError, NotFound, CommandError, ConfigurationError):
            continue


@given(text=st.one_of(ANYTHING.map(os.fsdecode), LINES))
def test_a_record_is_read_or_is_none(text: str) -> None:
    record = read_record(("v1 " + text).split())
    assert record is None or record.attempt >= 0


@given(text=st.text(max_size=80))
def test_a_reference_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"ic1:{text}", f"ic1:slurm:{text}:0:1_0"):
        try:
            ref = JobRef.parse(candidate)
        except InvalidReference:
            continue
        assert JobRef.parse(str(ref)) == ref
        assert len(str(ref)) <= 255
        assert "/" not in ref.submission


@given(
    copy=st.integers(0, 9_999_999),
    number=st.integers(0, 10**9),
    tag=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
)
def test_a_reference_survives_its_text(copy: int, number: int, tag: str) -> None:
    ref = JobRef(resource="ssh+slurm://h.example.org:2222", submission=tag, copy_index=copy, native=f"{number}_{copy}")
    assert JobRef.parse(str(ref)) == ref


@given(st.lists(st.integers(0, 3000), max_size=50))
def test_ranges_are_read_back(wanted: list[int]) -> None:
    assert numbers(ranges(wanted)) == sorted(set(wanted))


@pytest.mark.slow
@settings(max_examples=25)
@given(arguments=st.lists(WORDS, max_size=4), value=WORDS, own=st.lists(WORDS, max_size=3), other=WORDS)
def test_any_words_reach_the_payload_through_a_real_shell(
    arguments: list[str], value: str, own: list[str], other: str
) -> None:
    description = JobDescription(
        executable=sys.executable,
        arguments=("-c", DUMP, *arguments),
        environment={"A": value},
    )  # fmt: skip
    copies = [Copy(key="k"), Copy(environment={"B": other}, arguments=tuple(own))]
    job = jobfile.job_text(description, ResourceSettings(id="r", scheduler="process"), "t", {})
    line = jobfile.copies_text(copies).split(b"\n")[1]
    script = b"ic_nl='\n'; ic_env=env; ic_copy=1; ic_secrets=s; set --\n" + job + line + b'\nic_payload "$@"\n'
    for shell in SHELLS:
        done = subprocess.run([shell], input=script, capture_output=True, check=True)
        assert done.stdout.split(b"\0") == [os.fsencode(each) for each in (value, other, *arguments, *own)], shell


@settings(max_examples=50)
@given(
    secrets=st.dictionaries(st.from_regex(r"[a-z][^/\0]{0,80}", fullmatch=True), st.binary(max_size=2000), max_size=5)
)
def test_a_sandbox_is_a_tar_of_what_went_in(secrets: dict[str, bytes]) -> None:
    sandbox = Sandbox({"job": b"x"}, [(f"secrets/0/{name}", data) for name, data in secrets.items()], [])
    stream = b"".join(sandbox)
    assert stream == b"".join(sandbox), "it can be sent again"
    with tarfile.open(fileobj=io.BytesIO(stream), errors="surrogateescape") as tar:
        found = {each.name: each for each in tar}
        assert list(found)[-1] == "whole"
        for name, data in secrets.items():
            member = found[f"secrets/0/{name}"]
            file = tar.extractfile(member)
            assert file is not None
            assert file.read() == data
            assert member.mode == 0o600


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("90s", 90), ("10m", 600), ("1d12h", 129600), ("01:30:00", 5400), ("1-12:00:00", 129600), ("05:00", 18000)],
)
def test_walltimes(text: str, wanted: int) -> None:
    assert parse_walltime(text) == timedelta(seconds=wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("4G", 4 << 30), ("4GiB", 4 << 30), ("4GB", 4 * 10**9), ("1.5k", 1536), ("17", 17), ("3 M", 3 << 20)],
)
def test_memories(text: str, wanted: int) -> None:
    assert parse_memory(text) == wanted


def test_importing_costs_nothing_heavy() -> None:
    code = "import sys, intercede; print(*[m for m in ('pydantic', 'asyncssh', 'typer', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
