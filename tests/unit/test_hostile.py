"""What was found by attacking it: each of these once misled, hung or drowned the client."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from intercede import config
from intercede.answers import JobState, Reason
from intercede.elements.fetching import enter, receive
from intercede.elements.following import Desk, Watchers
from intercede.elements.orders import Orders
from intercede.elements.unpack import Feed, Gathering, unpack
from intercede.elements.verdict import Memory, Sighting, judge
from intercede.errors import CommandError, ConfigurationError, ParseError
from intercede.model import JobRef
from intercede.schedulers.process import Process
from intercede.schedulers.slurm import Slurm
from intercede.workarea.operations import Known, Record, read_record
from intercede.workarea.programs import program
from intercede.workarea.scheduler import Observation, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = config.resolve("slurm:")
REF = JobRef(resource=SETTINGS.id, submission="x", copy_index=0, native="7_0")
STARTED = Record(1, NOW, None, None, None, "", None, "n")


def seen(queue: Observation, record: Record | None = None, *, cancelled: bool = False) -> Sighting:
    return Sighting(queue, None, record, cancelled, False, True, "", Slurm.sources, NOW)


@pytest.mark.parametrize("reason", [Reason.MEMORY, Reason.NODE, Reason.WALLTIME, Reason.PREEMPTED])
def test_cancel_after_the_end_changes_nothing(reason: Reason) -> None:
    queue = Observation("X", JobState.FAILED, reason, name="ic-x", ended=NOW)
    status = judge(REF, seen(queue, STARTED, cancelled=True), Memory(), SETTINGS)
    assert (status.state, status.reason) == (JobState.FAILED, reason)


async def test_renamed_job_keeps_its_files() -> None:
    queue = Observation("RUNNING", JobState.RUNNING, name="renamed")
    status = judge(REF, seen(queue), Memory(), SETTINGS)
    assert status.state is JobState.UNKNOWN
    assert "'renamed'" in status.detail

    async def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be sent")

    answers = await Orders(SETTINGS, Slurm(), never).purge({REF: status})
    assert isinstance(answers[REF], CommandError)


def test_number_of_another_submission_is_absent() -> None:
    queue = Observation("RUNNING", JobState.RUNNING, name="ic-other")
    assert "no source" in judge(REF, seen(queue), Memory(), SETTINGS).detail


@pytest.mark.parametrize("name", ["ic-other", "somebodys"])
def test_number_of_another_job_hides_no_end(name: str) -> None:
    queue = Observation("RUNNING", JobState.RUNNING, name=name)
    status = judge(REF, seen(queue, STARTED._replace(ended=NOW, exit_code=0)), Memory(), SETTINGS)
    assert (status.state, status.exit_code) == (JobState.SUCCEEDED, 0)
    assert judge(REF, seen(queue, STARTED), Memory(), SETTINGS).state is JobState.UNKNOWN


@pytest.mark.parametrize("code", ["²", "٣", "9" * 5000, "9" * 12])
@pytest.mark.parametrize("cpu", ["0minf", "0mnan", "0m-1s", f"{'9' * 400}m0", f"{'9' * 5000}m0", "²m0", "1e400m0"])
def test_numbers_that_a_job_wrote_in_place_of_ours(code: str, cpu: str) -> None:
    record = read_record(f"v1 {code} {code} {code} {code} {code} - {cpu} n o x".split())
    assert record == Record(1, None, None, None, None, "", None, "n")
    assert numbers(f"{code},3-{code},{code}-7,1") == [1]


@pytest.mark.parametrize("stamp", [10**400, float("inf"), float("nan"), -1e300, 10**15, "x", None])
def test_times_that_a_job_wrote_in_place_of_ours(stamp: object) -> None:
    assert Known("x", False, {"submitted": stamp}, "", (), ()).submitted == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["cancelled", "purged", "c/0/record", "c/0/.flag", "meta", "size", "keys", "digest"])
@pytest.mark.parametrize("verb", ["status", "collect", "list", "find", "purge", "cancel"])
def test_pipes_in_place_of_records(tmp_path: Path, name: str, verb: str) -> None:
    store = tmp_path / "process"
    home = store / "tag"
    for each in (".new", ".gone", "tag/chunk", "tag/c/0/work", "tag/log"):
        (store / each).mkdir(parents=True)
    record = "v1 1 1 - - - - - n 1/1 host.0_0\n"
    files = {"meta": "{}", "size": "1 1", "digest": "x", "chunk/0": "host.00000000", "c/0/record": record}
    for each, text in files.items():
        (home / each).write_text(text)
    (home / name).unlink(missing_ok=True)
    os.mkfifo(home / name)
    words = {"status": ("tag 0 host.00000000_0",), "collect": ("1000", "10"), "list": ("7",), "find": ("tag", "0")}.get(
        verb, ()
    )
    lines = {"collect": "tag 0\n", "purge": "tag 0\n", "cancel": "tag 0 0\n"}
    command = program(verb, Process.shell, ("nonce", str(tmp_path), "process"), *words)
    answer = subprocess.run(command.argv, input=lines.get(verb, "").encode(), capture_output=True, timeout=20)
    assert answer.returncode == 0
    assert answer.stdout.startswith(b"nonce ")


def test_long_name_is_not_read_into_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10**12
    feed = Feed()
    feed.put(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    feed.put(None)
    with pytest.raises(tarfile.ReadError, match="a name of"):
        unpack(feed, {("x", "0"): Gathering(REF, tmp_path, ("0",))}, 1000)


def header(kind: bytes, size: bytes, name: bytes = b"./x/c/0/work/a") -> bytes:
    """A header that tarfile would not write."""
    data = bytearray(tarfile.TarInfo("").tobuf(tarfile.GNU_FORMAT))
    data[: len(name)] = name
    data[124:136], data[156:157], data[148:156] = size, kind, b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


def pax(text: bytes) -> bytes:
    return header(tarfile.XHDTYPE, b"%011o\0" % len(text)) + text.ljust(512, b"\0")


EMPTY = header(tarfile.REGTYPE, b"%011o\0" % 0)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(header(tarfile.REGTYPE, b"\x80" + (2**80).to_bytes(11, "big")), id="skipped"),
        pytest.param(header(tarfile.REGTYPE, b"\x80" + (2**80).to_bytes(11, "big"), b"elsewhere"), id="of no job"),
        pytest.param(header(tarfile.REGTYPE, b"\xff" * 12), id="negative"),
        pytest.param(header(tarfile.GNUTYPE_SPARSE, b"%011o\0" % 0), id="sparse"),
        pytest.param(pax(b"25 path=./x/c/0/work/a\0b\n") + EMPTY, id="zero byte"),
        pytest.param(pax(b"22 GNU.sparse.map=1,x\n") + EMPTY, id="no number"),
        pytest.param(pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n") + EMPTY, id="sparse in pax"),
        pytest.param(pax(b"%d path=a\n" % 10**30) + EMPTY, id="overflow"),
        pytest.param(header(tarfile.GNUTYPE_LONGNAME, b"%011o\0" % 0) * 3000, id="deep"),
    ],
)
async def test_headers_that_nobody_writes(tmp_path: Path, data: bytes) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield data + bytes(1024)

    async with asyncio.timeout(10):
        with pytest.raises(ParseError):
            await receive(b"", pieces(), {("x", "0"): Gathering(REF, tmp_path, ("0",))}, 10**9)


@pytest.mark.parametrize("size", ["²", "9" * 5000, "٣", "-1", ""])
def test_sizes_that_are_none(tmp_path: Path, size: str) -> None:
    job = Gathering(REF, tmp_path, ("0",))
    enter(f"f {size} ./x/c/0/work/a", {("x", "0"): job})
    assert job.listed == []


async def test_fetches_of_many_elements_at_once(tmp_path: Path) -> None:
    """More than there are threads: each waits for its end, and the end needs a thread."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))

    async def pieces() -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        yield bytes(512)

    jobs = {("x", "0"): Gathering(REF, tmp_path, ("0",))}
    async with asyncio.timeout(10):
        await asyncio.gather(*(receive(b"", pieces(), jobs, 1000) for _ in range(8)))


async def test_question_outlives_no_desk() -> None:
    begun = asyncio.Event()
    ended = asyncio.Event()

    async def ask(_refs: object) -> dict[JobRef, object]:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return {}

    desk = Desk(ask)  # ty: ignore[invalid-argument-type]
    asking = asyncio.create_task(desk.status([REF]))
    await begun.wait()
    asking.cancel()
    await desk.aclose()
    assert ended.is_set()


async def test_whoever_asks_or_watches_learns_that_the_element_was_closed() -> None:
    begun = asyncio.Event()

    async def ask(_refs: object) -> dict[JobRef, object]:
        begun.set()
        await asyncio.sleep(60)
        return {}

    desk = Desk(ask)  # ty: ignore[invalid-argument-type]
    watchers = Watchers(desk.status, SETTINGS)

    async def watch() -> None:
        async for _ in watchers.watch([REF]):
            pass

    asking, watching, left = (asyncio.ensure_future(each) for each in (desk.status([REF]), watch(), desk.status([REF])))
    await begun.wait()
    left.cancel()
    await watchers.aclose()
    await desk.aclose()
    async with asyncio.timeout(5):
        said = await asyncio.gather(asking, watching, left, return_exceptions=True)
    assert [type(each) for each in said] == [ConfigurationError, ConfigurationError, asyncio.CancelledError]


def test_a_link_put_there_between_looking_and_opening(tmp_path: Path) -> None:
    home = tmp_path / "process" / "tag" / "c" / "0"
    home.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret\n")
    (home / "file").write_text("said\n")
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "stdout").write_text("said\n")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for kind in ("link", "file"):
                os.link(home / kind, home / "new", follow_symlinks=False)
                (home / "new").rename(home / "stdout")

    def read() -> bytes:
        words = ("tag", "0", "stdout", "0", "100")
        command = program("log", Process.shell, ("nonce", str(tmp_path), "process"), *words)
        return subprocess.run(command.argv, capture_output=True, check=True, timeout=10).stdout.partition(b"\n")[2]

    assert read() == b"said\n"
    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        assert {read() for _ in range(100)} <= {b"said\n", b""}
    finally:
        over.set()
        swapping.join()
