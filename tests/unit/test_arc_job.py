"""A job of ours as a CE runs it, without the CE: what is uploaded, run by a shell, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from intercede.answers import JobOutput
from intercede.arc.adl import write_adl
from intercede.arc.job import IN, OUT, Label, activity, read_label
from intercede.elements import arc_files, arc_submitting
from intercede.errors import LimitExceeded, NotFound, ParseError, StorageError, UnsupportedError
from intercede.model import Copy, JobDescription, JobRef, Resources
from intercede.settings import Limits, ResourceSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SETTINGS = ResourceSettings.model_validate({
    "id": "r", "scheduler": "arc",
    "endpoint": {"host": "ce.example.org", "port": 443, "containers": {"docker://debian": "ENV/DEBIAN"}},
})  # fmt: skip
LONG = "l" * 180


class Session:
    """A session directory in the place of a CE's client; counts the bytes that were read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.count = 0
        self.open = 0

    async def read(self, _: str, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        try:
            data = (self.directory / path).read_bytes()[offset:]
        except FileNotFoundError:
            raise NotFound(path) from None
        data = data if limit is None else data[:limit]
        self.count += len(data)
        return data

    async def pieces(self, ident: str, path: str, *, offset: int = 0, limit: int | None = None) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            data = await self.read(ident, path, offset=offset, limit=limit)
            for at in range(0, len(data), 1 << 18):
                yield data[at : at + (1 << 18)]
        finally:
            self.open -= 1

    async def size(self, _: str, path: str) -> int:
        return len(await self.read("", path))


def ran(tmp_path: Path, text: str, **fields: Any) -> tuple[Any, Label]:
    """Run copy 1 of a job in a session directory; gives that and the job's label."""
    description = JobDescription(executable="/bin/sh", arguments=("-c", text), **fields)
    copies = [Copy(), Copy(arguments=("'x\n",), secrets={"s": b"v4lue"}, key="ü\n")]
    order = arc_submitting.begin(description, copies, "tag", SETTINGS)
    session = tmp_path / "session"
    session.mkdir()
    (session / IN).write_bytes(b"".join(order.sandbox(1)))
    job = activity(order.labels[1], order.plan.resources)
    subprocess.run([job.program, *job.arguments], cwd=session, check=False, env={"PATH": os.environ["PATH"]})
    return Session(session), order.labels[1]


async def fetched(session: Any, label: Label, into: Path, **limits: int) -> Any:
    ref = JobRef("r", "tag", 1, "1")
    return await arc_files.fetch_one(session, ref, label, into, False, Limits(**limits))


async def test_it_finds_what_it_was_given_and_leaves_what_was_declared(tmp_path: Path) -> None:
    text = f'printf %s "$0"; cat "$INTERCEDE_SECRETS/s"; echo e >&2; echo f >{LONG}; echo no >undeclared; exit 3'
    session, label = ran(tmp_path, text, outputs=("l*",))
    record = await arc_files.read_record_of(session, label, "1")
    assert record is not None
    assert (record.exit_code, record.signal, record.flag) == (3, None, "")
    output = await fetched(session, label, tmp_path / "back")
    assert isinstance(output, JobOutput)
    assert output.stdout is not None
    assert output.stdout.read_bytes() == b"'x\nv4lue"
    assert {name: path.read_text() for name, path in output.files.items()} == {LONG: "f\n"}
    assert sorted(os.listdir(session.directory)) == [OUT, "tag"]
    assert [path for path in session.directory.rglob("*") if path.is_file() and b"v4lue" in path.read_bytes()] == [
        session.directory / OUT
    ]


async def test_what_is_beyond_the_bounds_does_not_travel(tmp_path: Path) -> None:
    session, label = ran(tmp_path, "head -c 3000000 /dev/zero; echo e >&2; for i in 1 2 3; do echo $i >f$i; done",
                         outputs=("f*",))  # fmt: skip
    found = await fetched(session, label, tmp_path / "back", output_bytes=1000)
    assert isinstance(found, LimitExceeded)
    assert isinstance(found.kept, JobOutput)
    assert (found.kept.stdout, sorted(found.kept.files)) == (None, ["f1", "f2", "f3"])
    assert session.count < 200_000
    found = await fetched(session, label, tmp_path / "few", output_files=3)
    assert isinstance(found, LimitExceeded)
    assert "f2" in str(found)


async def test_pieces_of_what_has_ended(tmp_path: Path) -> None:
    session, label = ran(tmp_path, "printf 0123456789; mkdir d; echo x >d/f", outputs=("d",))

    async def piece(name: str, offset: int, limit: int = 100) -> Any:
        return await arc_files.read_piece(session, label, "1", name, offset, limit)

    chunk = await piece("stdout", 3, 4)
    assert (chunk.data, chunk.offset, chunk.next_offset, chunk.ended) == (b"3456", 3, 7, False)
    chunk = await piece("stdout", -2)
    assert (chunk.data, chunk.next_offset, chunk.ended) == (b"89", 10, True)
    assert (await piece("d/f", 0)).data == b"x\n"
    assert await piece("stdout", 99) == (await piece("stdout", 99))
    for name in ("d", "nope", "record"):
        assert await piece(name, 0) is None


async def test_an_archive_that_was_cut(tmp_path: Path) -> None:
    session, label = ran(tmp_path, "echo f >f", outputs=("f",))
    whole = (session.directory / OUT).read_bytes()
    for length in (100, 512, 2000, len(whole.rstrip(b"\0"))):
        (session.directory / OUT).write_bytes(whole[:length])
        with pytest.raises(ParseError):
            await fetched(session, label, tmp_path / "back")
    (session.directory / OUT).write_bytes(b"no archive" * 100)
    with pytest.raises(ParseError):
        await fetched(session, label, tmp_path / "back")


def member(kind: bytes, name: str, size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("ended", [True, False])
async def test_a_full_disk_leaves_no_request_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    session, label = ran(tmp_path, "head -c 3000000 /dev/zero")
    if not ended:
        with tarfile.open(session.directory / OUT) as packed:
            packed.extractall(session.directory, filter="data")
        (session.directory / OUT).unlink()

    async def receive(_: bytes, pieces: AsyncIterator[bytes], *__: object) -> None:
        async for piece in pieces:
            if len(piece) > 100_000:
                raise StorageError("writing", "disk full")

    monkeypatch.setattr(arc_files, "receive", receive)
    with pytest.raises(StorageError) as raised:
        await fetched(session, label, tmp_path / "back")
    assert session.open == 0, raised


async def test_names_that_do_not_end(tmp_path: Path) -> None:
    session, label = ran(tmp_path, ":")
    name = member(tarfile.GNUTYPE_LONGNAME, "././@LongLink", 60_000) + b"x" * 60_000 + bytes(-60_000 % 512)
    (session.directory / OUT).write_bytes(name * 100 + member(tarfile.REGTYPE, "./tag/c/1/stdout"))
    with pytest.raises(ParseError, match="does not end"):
        await fetched(session, label, tmp_path / "back")
    assert session.count < 500_000


@pytest.mark.parametrize(("kind", "size"), [(tarfile.FIFOTYPE, 0), (tarfile.CHRTYPE, 0), (tarfile.REGTYPE, 2_000)])
async def test_what_cannot_be_brought_back_is_counted_too(tmp_path: Path, kind: bytes, size: int) -> None:
    session, label = ran(tmp_path, ":")
    members = (member(kind, f"./tag/c/1/work/f{count}", size) + bytes(-(-size // 512) * 512) for count in range(5_000))
    (session.directory / OUT).write_bytes(b"".join(members) + bytes(1024))
    found = await fetched(session, label, tmp_path / "back", output_files=100, output_bytes=1_000)
    assert isinstance(found, LimitExceeded)
    assert isinstance(found.kept, JobOutput)
    assert len(found.kept.skipped) <= 100
    assert session.count < 500_000


def test_a_label_comes_back_from_the_description() -> None:
    label = Label("tag", "arc://h", "d" * 64, 7, 9, "ü'\n\udcff", 1_790_000_000, "long", ("*.root", "a b"))
    text = write_adl([activity(label, Resources(cores=3, memory="10M"))]).decode()
    one = text[text.index("<ActivityDescription>") : text.index("</ActivityDescriptions>")]
    kept = one.replace("<ActivityDescription>", '<ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl">')
    assert read_label(kept) == label
    for other in ("", "&(executable=x)", "<a/>", kept.replace("ic-tag", "other"), kept.replace('"v":1', '"v":2')):
        assert read_label(other) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"submitted": 10**18}, {"submitted": float("inf")}, {"submitted": -1}, {"copies": 10**9}, {"copies": 7},
        {"copy": -1}, {"copies": float("nan")}, {"tag": "-x"}, {"outputs": 3}, {"queue": []},
    ],
)  # fmt: skip
def test_a_label_that_cannot_be_is_none(wrong: dict[str, Any]) -> None:
    said: dict[str, Any] = {"v": 1, "resource": "r", "digest": "d", "copy": 7, "copies": 9, "key": "k", "submitted": 0,
            "queue": None, "outputs": []} | wrong  # fmt: skip
    label = read_label(described(wrong.get("tag", "tag"), json.dumps(said)))
    assert label is None or (label.when.year, label.queue) == (1970, "[]")


def test_a_label_that_is_too_deep_is_none() -> None:
    assert read_label(described("tag", "[" * 100_000)) is None


def described(tag: str, annotation: str) -> str:
    names = f"<Name>ic-{tag}+12345678</Name><Annotation>{annotation}</Annotation>"
    return f'<ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl">{names}</ActivityDescription>'


def test_images_that_the_site_does_not_have_are_refused() -> None:
    plan = arc_submitting.plan_of(JobDescription(executable="x", container="docker://debian"), SETTINGS)
    assert (plan.runtimes, plan.needs_delegation) == (("ENV/DEBIAN",), True)
    with pytest.raises(UnsupportedError, match="container"):
        arc_submitting.plan_of(JobDescription(executable="x", container="docker://debian:12"), SETTINGS)
