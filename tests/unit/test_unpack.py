"""Whatever the far side sends, nothing is written outside the job's own directory."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercede.answers import JobOutput
from intercede.elements.unpack import Feed, Gathering, Listed, unpack
from intercede.errors import IntercedeError
from intercede.model import JobRef

LIMIT = 10_000
PARTS = st.one_of(
    st.sampled_from(["", ".", "..", "a", "b", "stdout", "stderr", "work", "c", "0", "1", "tag", "x" * 255, "x" * 300]),
    st.binary(min_size=1, max_size=6).map(lambda data: os.fsdecode(data.replace(b"\0", b"0"))),
)
NAMES = st.one_of(
    st.lists(PARTS, min_size=1, max_size=7).map("/".join),
    st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/".join(["./tag/c/0/work", *parts])),
    st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/".join(["./tag/c/0", *parts])),
)
KINDS = st.sampled_from([
    tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
])  # fmt: skip


@dataclass(frozen=True)
class Member:
    name: str
    kind: bytes
    target: str
    data: bytes
    mode: int


MEMBERS = st.builds(Member, NAMES, KINDS, NAMES, st.binary(max_size=3000), st.integers(0, 0o7777))


def stream(members: list[Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.mode, info.linkname = member.kind, member.mode, member.target
            info.size = len(member.data) if member.kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(member.data))
    return buffer.getvalue()


def planted(top: Path) -> Path:
    """A destination where links lead out, beside what they lead to."""
    outside, into = top / "outside", top / "into"
    (outside / "sub").mkdir(parents=True)
    (outside / "file").write_text("precious")
    (into / "tag" / "0").mkdir(parents=True)
    (into / "tag" / "0" / "a").symlink_to(outside)
    (into / "tag" / "0" / "b").symlink_to(outside / "file")
    (into / "tag" / "1").symlink_to(outside / "sub")
    return into


def tree(top: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in top.rglob("*")}


@pytest.mark.slow
@settings(max_examples=120)
@given(members=st.lists(MEMBERS, max_size=8), cut=st.one_of(st.none(), st.integers(0, 20_000)))
def test_nothing_is_written_outside(members: list[Member], cut: int | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        into = planted(top)
        before = tree(top / "outside")
        jobs = {
            ("tag", copy): Gathering(
                JobRef(resource="r", submission="tag", copy_index=int(copy), native=f"1_{copy}"), into, ("tag", copy)
            )
            for copy in ("0", "1")
        }
        feed = Feed()
        feed.put(stream(members)[:cut])
        feed.put(None)
        try:
            unpack(feed, jobs, LIMIT)
        except (IntercedeError, tarfile.TarError):
            pass
        assert tree(top / "outside") == before
        assert {path.name for path in into.iterdir()} == {"tag"}
        assert {path.name for path in (into / "tag").iterdir()} == {"0", "1"}
        for job in jobs.values():
            said = job.output("limits")
            output = said if isinstance(said, JobOutput) else None
            for path in (*job.files.values(), *job.logs.values(), *(output.files.values() if output else ())):
                assert path.is_relative_to(into / "tag" / str(job.ref.copy_index))
                assert not path.is_symlink()
        whole = sum(
            path.stat().st_size for path in (into / "tag" / "0").rglob("*") if path.is_file() and not path.is_symlink()
        )
        assert whole <= LIMIT + len("precious")


def test_what_is_in_the_way_is_that_jobs_own_error() -> None:
    with tempfile.TemporaryDirectory() as directory:
        into = planted(Path(directory))
        jobs = {}
        for copy in ("0", "1", "2"):
            ref = JobRef(resource="r", submission="tag", copy_index=int(copy), native=f"1_{copy}")
            jobs["tag", copy] = Gathering(ref, into, ("tag", copy), [Listed("f", 1, "stdout")])
        feed = Feed()
        feed.put(stream([Member(f"./tag/c/{copy}/stdout", tarfile.REGTYPE, "", b"x", 0o600) for _, copy in jobs]))
        feed.put(None)
        unpack(feed, jobs, LIMIT)
        outputs = [job.output("limits") for job in jobs.values()]
        assert [isinstance(each, JobOutput) for each in outputs] == [True, False, True]
        assert "symbolic links" in str(outputs[1]) or "directory" in str(outputs[1])
