"""What keeps a hostile CE, a hostile job and a shortage of this machine from doing more harm than they must."""

from __future__ import annotations

import asyncio
import errno
import io
import logging
import os
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from intercede.answers import Counters, JobStatus
from intercede.credentials import CondorToken, StaticCredentials, X509Proxy
from intercede.elements import htcondor_ce_access as access_module
from intercede.elements import htcondor_ce_files as files
from intercede.elements.following import Watchers
from intercede.elements.unpack import Gathering
from intercede.errors import CommandError, ConfigurationError, ParseError, StorageError
from intercede.htcondor_ce import client as client_module
from intercede.htcondor_ce import confine, private
from intercede.htcondor_ce.client import RemoteSchedd
from intercede.htcondor_ce.confine import confined
from intercede.htcondor_ce.credential import configuration, write_credential
from intercede.htcondor_ce.protocol import Query, Retrieve
from intercede.htcondor_ce.worker import Schedd
from intercede.model import JobRef
from intercede.settings import ResourceSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

ASK = Query("true", ("A",))
REF = JobRef("ce", "t", 0, "7.0")
KEY = "TOPSECRETKEY"
PEM = b"friendlyName: Jos\xe9\n" + KEY.encode()
WHERE = {"host": "ce.example.org", "port": 9619}
SETTINGS = ResourceSettings.model_validate({"id": "ce", "scheduler": "htcondor-ce", "endpoint": WHERE})
needs_landlock = pytest.mark.skipif(
    not confine.version(), reason="this kernel has no Landlock: what a CE makes the bindings write is confined nowhere"
)


def attempts(inside: Path, outside: Path) -> dict[str, bool]:
    """What can be done: within, and without."""
    done = {}

    def attempt(name: str, what: Any) -> None:
        try:
            what()
        except PermissionError:
            done[name] = False
        else:
            done[name] = True

    attempt("make", lambda: (inside / "new").write_text("x"))
    attempt("descend", lambda: (inside / "deep").mkdir())
    attempt("rename", lambda: (inside / "new").rename(inside / "other"))
    attempt("forget", lambda: Path(os.devnull).write_text("x"))
    attempt("look", lambda: (outside / "file").read_text())
    attempt("make elsewhere", lambda: (outside / "new").write_text("x"))
    attempt("change elsewhere", lambda: (outside / "file").write_text("x"))
    attempt("cut elsewhere", lambda: os.truncate(outside / "file", 0))
    attempt("remove elsewhere", lambda: (outside / "file").unlink())
    (inside / "link").symlink_to(outside / "file")
    attempt("follow a link", lambda: (inside / "link").write_text("x"))
    attempt("run", lambda: subprocess.run(["/bin/true"], check=True))
    return done


@pytest.fixture
def inside_and_outside(tmp_path: Path) -> tuple[Path, Path]:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "file").write_text("precious")
    return inside, outside


@needs_landlock
def test_nothing_is_written_elsewhere(inside_and_outside: tuple[Path, Path]) -> None:
    inside, outside = inside_and_outside
    done = confined([str(inside)], lambda: attempts(inside, outside))
    assert [name for name, could in done.items() if could] == ["make", "descend", "rename", "forget", "look"]
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("file", "precious")]
    # the thread alone is confined
    assert subprocess.run(["/bin/true"], check=False).returncode == 0
    (outside / "file").write_text("x")


@pytest.mark.parametrize("why", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_a_kernel_without_it(inside_and_outside: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, why: int) -> None:
    def refuse(*_: object) -> int:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr(confine, "_call", refuse)
    inside, outside = inside_and_outside
    assert all(confined([str(inside)], lambda: attempts(inside, outside)).values())


@needs_landlock
def test_what_goes_wrong_there_is_told() -> None:
    def fail() -> None:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        confined([], fail)


@needs_landlock
def test_a_schedd_that_says_another_directory(inside_and_outside: tuple[Path, Path]) -> None:
    inside, outside = inside_and_outside
    written = {"7.0": inside / "0.out", "7.1": outside / "authorized_keys"}

    def retrieve(jobs: Sequence[str]) -> None:
        for job in jobs:
            written[job].write_text("x")

    schedd = SimpleNamespace(
        query=lambda *_: [{"ClusterId": 7, "ProcId": 0}, {"ClusterId": 7, "ProcId": 1}],
        edit=lambda *_: 1,
        retrieve=retrieve,
    )
    bindings: Any = SimpleNamespace(
        Collector=lambda _: SimpleNamespace(locateAll=lambda _: [{"Name": "ce"}]),
        DaemonType=SimpleNamespace(Schedd=1), Schedd=lambda _: schedd, HTCondorException=OSError,
    )  # fmt: skip
    classad: Any = SimpleNamespace(quote=repr)
    theirs = Schedd((bindings, classad), "ce:1")
    assert theirs.perform(Retrieve({"7.0": str(inside)})) == {}
    assert (inside / "0.out").exists()
    refused = theirs.perform(Retrieve({"7.0": str(inside), "7.1": str(inside)}))
    assert list(refused) == ["7.1"]
    assert "ermission" in refused["7.1"]
    assert not (outside / "authorized_keys").exists()


def test_a_key_in_a_file_of_another_encoding(tmp_path: Path) -> None:
    write_credential(tmp_path, X509Proxy.model_validate({"pem": PEM}))
    assert (tmp_path / "proxy").read_bytes() == PEM + b"\n"


def test_only_the_named_authorities_count_and_nothing_is_in_the_clear(tmp_path: Path) -> None:
    settings = configuration(tmp_path, "/the/ca.pem", "")
    assert (settings["AUTH_SSL_CLIENT_CAFILE"], settings["AUTH_SSL_CLIENT_CADIR"]) == (
        "/the/ca.pem",
        f"{tmp_path}/none",
    )
    assert settings["AUTH_SSL_CLIENT_USE_DEFAULT_CAS"] == "False"
    needed = [settings[f"SEC_CLIENT_{each}"] for each in ("AUTHENTICATION", "ENCRYPTION", "INTEGRITY")]
    assert needed == ["REQUIRED"] * 3


async def test_a_fault_of_ours_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(_refs: object) -> dict[JobRef, JobStatus]:
        PEM.decode()
        raise AssertionError

    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError, match="UnicodeDecodeError") as raised:
        async for _ in Watchers(ask, SETTINGS).watch([REF]):
            pass
    told = f"{raised.value!r} {caplog.text}"
    assert KEY not in told
    assert "in ask" in caplog.text


async def test_a_directory_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StorageError, match="No such file"):
        await RemoteSchedd("ce:1").ask(ASK, None)
    with pytest.raises(StorageError, match="No such file"):
        await files.fetch([REF], tmp_path, True, SETTINGS, ended_job())


def ended_job() -> Any:
    label = {"IntercedeTag": "t", "IntercedeResource": "ce", "IntercedeDigest": "d", "IntercedeCopies": 1,
             "IntercedeSubmitted": 1, "IntercedeKey": "0", "IntercedeOutputs": ""}  # fmt: skip

    async def ask(request: Query, *_: object) -> Any:
        ad = dict.fromkeys(request.attributes) | label | {"ClusterId": 7, "ProcId": 0, "JobStatus": 4}
        return [ad]

    return SimpleNamespace(ask=ask, counters=Counters())


def test_what_comes_in_place_of_a_file_is_an_error_of_its_job(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/proc/self/fd")
    for name in ("directory", "empty", "link", "pipe", "nothing"):
        with pytest.raises(CommandError, match="output of ic1"):
            files._opened(tmp_path / name, REF)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EAGAIN, errno.ENOSPC])
async def test_a_shortage_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    ce = RemoteSchedd("ce:1")
    with pytest.raises(StorageError, match=os.strerror(code)):
        await ce.ask(ASK, None)
    assert os.listdir(tmp_path) == []


def test_a_private_directory_that_cannot_be_held_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(private.os, "open", refuse)
    with pytest.raises(StorageError, match=os.strerror(errno.EMFILE)):
        private.make()
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


async def test_an_answer_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(client_module, "_LONGEST_ANSWER", 1000)
    words = "import sys, time; sys.stdout.buffer.write(b'\\0\\0\\3\\351'); sys.stdout.flush(); time.sleep(1000)"
    ce = RemoteSchedd("ce:1", worker=("-c", words))
    with pytest.raises(ParseError, match="1001 bytes"):
        await ce.ask(ASK, None)
    assert os.listdir(tmp_path) == []


class FakeSchedd:
    """A schedd whose worker lives from the first question to the close."""

    alive: set[FakeSchedd]

    def __init__(self, *_: object, **__: object) -> None:
        self.turn = asyncio.Lock()

    async def ask(self, *_: object) -> str:
        async with self.turn:
            self.alive.add(self)
            await asyncio.sleep(0.01)
        return "answer"

    async def aclose(self) -> None:
        async with self.turn:
            self.alive.discard(self)


async def test_no_worker_of_an_identity_that_had_to_go_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Minting(StaticCredentials):
        count = 0

        async def get(self, request: object) -> CondorToken:
            del request
            self.count += 1
            return CondorToken.model_validate({"token": f"{self.count % 4}"})

    FakeSchedd.alive = set()
    monkeypatch.setattr(access_module, "RemoteSchedd", FakeSchedd)
    access = access_module.Access(SETTINGS, Minting(), Counters())
    assert await asyncio.gather(*(access.ask(ASK) for _ in range(20))) == ["answer"] * 20
    assert len(FakeSchedd.alive) <= 2
    late = asyncio.ensure_future(access.ask(ASK))
    await asyncio.sleep(0)
    await access.aclose()
    await late
    assert FakeSchedd.alive == set()


@pytest.mark.parametrize(
    ("lines", "most"), [(b"f 1 ./t/c/0/work/a\n" * 11, 10), (b"f 1 ./t/c/0/work/" + b"a" * 70_000 + b"\n", 10)]
)
def test_a_list_without_end(tmp_path: Path, lines: bytes, most: int) -> None:
    job = Gathering(REF, tmp_path, ("0",))
    with pytest.raises(ParseError, match="more files than 10"):
        files._list(io.BytesIO(b"%d\n" % len(lines) + lines), job, most)


def test_a_list_to_its_end(tmp_path: Path) -> None:
    job = Gathering(REF, tmp_path, ("0",))
    lines = b"f 1 ./t/c/0/work/a\n" * 9 + b"f 2 ./t/c/0/work/last"
    file = io.BytesIO(b"%d\n" % len(lines) + lines + b"archive")
    files._list(file, job, 10)
    assert ([each.size for each in job.listed], file.read()) == ([1] * 9 + [2], b"archive")
