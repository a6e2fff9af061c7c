"""Files: what is shipped, what comes back, what must not, and what can be read while the job runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobOutput
from intercede.errors import ConfigurationError, IntercedeError, LimitExceeded, NotFound
from intercede.model import Copy
from intercede.testing.contract.place import local_copy
from intercede.testing.contract.select import lacks, needs
from intercede.testing.contract.steps import PATIENCE, fetch_one, final, run, script, waiting_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.model import JobRef
    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["NAMES", "TestBounds", "TestInputs", "TestLinks", "TestLogs", "TestOutputs"]

NAMES: tuple[str, ...] = (
    "plain", "two  words", " x ", "it's", 'say "x"', "$HOME", "`id`", "a\nb", "\n", "*", "[x]", "-rf", "--", "a;b",
    "a\\b", "\\", "#x", "%a", "\t", "ü€", "\udcff\udc80", "{a,b}", "a=b", "(", "~", "!", ".hidden", "..x",
    "x" * 200, "a'b\nc",
)  # fmt: skip

BINARY = bytes(range(256)) * 40


def contents(directory: Path) -> dict[str, bytes]:
    """What is in all files below a directory, links followed."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class TestInputs:
    """What is shipped with a submission."""

    async def test_files_directories_modes(self, ce: Element, tmp_path: Path) -> None:
        big = os.urandom(3_000_000)
        tree = tmp_path / "tree"
        local_copy(tree / "deep" / "er" / "f", b"f")
        local_copy(tree / "run me", b"#!/bin/sh\necho ran\n", executable=True)
        (tree / "empty").mkdir()
        (tree / "link").symlink_to("deep/er/f")
        inputs = {
            "big": local_copy(tmp_path / "1", big),
            "empty": local_copy(tmp_path / "2", b""),
            "tree": tree,
            "in/side": local_copy(tmp_path / "3", b"side"),
        }
        text = 'cp -RL big empty tree in out/; ls -A tree >ls; "tree/run me"'
        refs = list(await run(ce, script(f"mkdir out; {text}", inputs=inputs, outputs=("out", "ls"))))
        output = await fetch_one(ce, refs[0], tmp_path / "back")
        got = {name: path.read_bytes() for name, path in output.files.items()}
        assert got == {
            "ls": b"deep\nempty\nlink\nrun me\n",
            "out/big": big,
            "out/empty": b"",
            "out/in/side": b"side",
            "out/tree/deep/er/f": b"f",
            "out/tree/link": b"f",
            "out/tree/run me": b"#!/bin/sh\necho ran\n",
        }
        assert output.stdout is not None
        assert output.stdout.read_bytes() == b"ran\n"
        assert os.access(output.files["out/tree/run me"], os.X_OK)
        assert not os.access(output.files["out/big"], os.X_OK)

    async def test_names(self, ce: Element, tmp_path: Path) -> None:
        inputs = {name: local_copy(tmp_path / str(i), name.encode("utf-8", "surrogateescape") + BINARY)
                  for i, name in enumerate(NAMES)}  # fmt: skip
        text = 'mkdir "$1"; for f in * .h* ..x; do [ -d "$f" ] || cp -- "$f" "$1/"; done'
        refs = list(await run(ce, script(text, "o u't", inputs=inputs, outputs=("o u't",))))
        output = await fetch_one(ce, refs[0], tmp_path / "back")
        got = {name.removeprefix("o u't/"): path.read_bytes() for name, path in output.files.items()}
        assert got == {name: path.read_bytes() for name, path in inputs.items()}


class TestOutputs:
    """What comes back."""

    async def test_declared_and_nothing_else(self, ce: Element, tmp_path: Path) -> None:
        text = (
            "mkdir -p d/e d/empty deep/er; echo one >one.txt; echo 1 >h_1.root; echo 2 >h_2.root; echo x >h.root;"
            "echo e >d/e/f; echo h >d/.h; echo r >deep/er/r; echo s >deep/er/s; echo l >'lit[1].txt'; : >none;"
            "echo not >undeclared; echo hard >hard; ln hard hard2; chmod 755 one.txt"
        )
        declared = (
            "one.txt",
            "h_*.root",
            "d",
            "deep/er/r",
            "deep/*/s",
            "lit[1].txt",
            "none",
            "hard",
            "hard2",
            "no_*",
            "nope",
        )
        refs = list(await run(ce, script(text, outputs=declared)))
        output = await fetch_one(ce, refs[0], tmp_path)
        assert {name: path.read_text() for name, path in output.files.items()} == {
            "one.txt": "one\n", "h_1.root": "1\n", "h_2.root": "2\n", "d/e/f": "e\n", "d/.h": "h\n", "deep/er/r": "r\n",
            "deep/er/s": "s\n", "lit[1].txt": "l\n", "none": "", "hard": "hard\n", "hard2": "hard\n",
        }  # fmt: skip
        assert sorted(output.missing) == ["no_*", "nope"]
        assert output.skipped == {}
        assert output.directory == tmp_path / refs[0].submission / "0"
        assert all(path.is_relative_to(output.directory) for path in output.files.values())
        assert (output.directory / "d" / "empty").is_dir()
        assert not (output.directory / "undeclared").exists()
        assert os.access(output.files["one.txt"], os.X_OK)

    @pytest.mark.parametrize(("pattern", "wanted", "skipped"), [("*", ["anew", "out"], []), ("kept", [], ["kept"])])
    async def test_inputs_are_no_outputs(
        self, ce: Element, tmp_path: Path, pattern: str, wanted: list[str], skipped: list[str]
    ) -> None:
        """Nobody misses one that matches; one that the job has written anew is a file of its own."""
        (tmp_path / "sent").write_text("sent\n")
        inputs = dict.fromkeys(("kept", "anew"), tmp_path / "sent")
        (ref,) = await run(ce, script("rm anew; echo 1 >anew; echo 1 >out", inputs=inputs, outputs=(pattern,)))
        output = await fetch_one(ce, ref, tmp_path)
        assert (sorted(output.files), list(output.skipped)) == (wanted, skipped)

    async def test_names(self, ce: Element, tmp_path: Path) -> None:
        text = 'for f; do printf "%s" "$f" >"./$f"; done; mkdir all; for f; do printf "%s" "$f" >"all/$f"; done'
        refs = list(await run(ce, script(text, *NAMES, outputs=(*NAMES, "all"))))
        output = await fetch_one(ce, refs[0], tmp_path)
        wanted = {name: name.encode("utf-8", "surrogateescape") for name in NAMES}
        wanted |= {f"all/{name}": content for name, content in wanted.items()}
        assert {name: path.read_bytes() for name, path in output.files.items()} == wanted
        assert (output.missing, output.skipped) == ((), {})

    async def test_stdout_and_stderr_are_exact(self, ce: Element, tmp_path: Path) -> None:
        blob = os.urandom(5_000_000)
        inputs = {"blob": local_copy(tmp_path / "blob", blob)}
        text = "cat blob; printf 'no end' >&2; cat blob blob | head -c 1000000 >&2"
        refs = list(await run(ce, script(text, inputs=inputs)))
        output = await fetch_one(ce, refs[0], tmp_path / "back")
        assert output.stdout is not None
        assert output.stderr is not None
        assert output.stdout.read_bytes() == blob
        assert output.stderr.read_bytes() == b"no end" + blob[:1_000_000]
        assert output.files == {}

    async def test_again_gives_the_same(self, ce: Element, tmp_path: Path) -> None:
        refs = list(await run(ce, script("echo $INTERCEDE_COPY; echo x >d.txt; exit 1", outputs=("*.txt",)), 3))
        first = await ce.fetch_output(refs, tmp_path)
        (tmp_path / refs[0].submission / "0" / "stdout").write_text("spoilt")
        again = await ce.fetch_output(refs, tmp_path)
        assert first == again
        assert list(again) == refs
        assert [each.stdout.read_text() for each in again.values() if isinstance(each, JobOutput) and each.stdout] == [
            "0\n", "1\n", "2\n",
        ]  # fmt: skip
        flat = await ce.fetch_output(refs[:1], tmp_path / "flat", flat=True)
        found = flat[refs[0]]
        assert isinstance(found, JobOutput)
        assert found.directory == tmp_path / "flat" / "0"

    async def test_of_running_and_waiting_jobs(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        running = (await ce.submit(script('echo early; : >"$1/ready"; sleep 300', spot.home))).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        waiting = await waiting_jobs(spot, ce, script("echo no"))
        outputs = await ce.fetch_output([*waiting, *running], tmp_path)
        first, second = outputs.values()
        assert isinstance(first, JobOutput)
        assert isinstance(second, JobOutput)
        assert (first.stdout, first.stderr) == (None, None)
        assert (second.stdout is None) == spot.place.has("blind")


class TestLinks:
    """Links that a payload, or somebody on the client's side, puts where files are expected."""

    async def test_links_and_pipes(self, ce: Element, tmp_path: Path) -> None:
        text = (
            "echo real >real.txt; mkdir d; ln -s /etc/passwd pw; ln -s ../../../.. up; ln -s real.txt alias;"
            "mkfifo fifo;"
            "ln -s nowhere dangling; ln -s /etc/passwd d/evil; ln -s /etc etc; ln -s ../real.txt d/alias; ln -s . here;"
            "ln -s loop loop; echo f >d/f"
        )
        declared = ("*", "etc/passwd", "here/real.txt", "up/*")
        refs = list(await run(ce, script(text, outputs=declared)))
        async with asyncio.timeout(30):
            output = await fetch_one(ce, refs[0], tmp_path)
        got = {name: path.read_text() for name, path in output.files.items()}
        assert got == {"real.txt": "real\n", "alias": "real\n", "d/f": "f\n", "d/alias": "real\n"}
        assert not any(path.is_symlink() for path in output.directory.rglob("*"))
        assert {"pw", "up", "fifo", "dangling", "d/evil", "etc", "loop", "here"} <= set(output.skipped)

    @pytest.mark.parametrize("trick", [
        "cd ..; mv work gone; ln -s /etc work",
        "cd ..; rm -rf stdout; ln -s /etc/passwd stdout",
        "cd ../..; mv $INTERCEDE_COPY .gone; ln -s /etc $INTERCEDE_COPY",
        "mkdir -p a; rmdir a; ln -s /etc a",
    ])  # fmt: skip
    @pytest.mark.slow
    async def test_directories_replaced_by_links(self, spot: Spot, ce: Element, tmp_path: Path, trick: str) -> None:
        declared = ("passwd", "a/passwd", "*", "a/*", "work/passwd")
        (ref,) = (await ce.submit(script(f"{trick}; exit 0", outputs=declared))).refs
        with contextlib.suppress(
            AssertionError
        ):  # what becomes of a job that does away with its record is its own affair
            # a service may follow links of a job that runs; what it packed at its end is another matter
            await final(ce, [ref], 5 if spot.place.has("submit-host") else PATIENCE)
        await ce.fetch_output([ref], tmp_path)
        known = (b"root:", b"daemon:")
        assert [name for name, content in contents(tmp_path).items() if content.startswith(known)] == []
        for name in ("stdout", "passwd", "a/passwd"):
            with contextlib.suppress(IntercedeError):
                assert not (await ce.read_log(ref, name)).data.startswith(known)

    async def test_planted_on_the_clients_side(self, ce: Element, tmp_path: Path) -> None:
        text = "echo out; mkdir d; echo f >d/f; echo r >r; ln -s ../r d/alias; ln -s r alias"
        refs = list(await run(ce, script(text, outputs=("d", "r", "alias")), 4))
        outside, into = tmp_path / "outside", tmp_path / "into"
        (outside / "sub").mkdir(parents=True)
        (outside / "file").write_text("precious")
        home = into / refs[0].submission
        home.mkdir(parents=True)
        (home / "0").symlink_to(outside)
        for name in ("1", "2", "3"):
            (home / name).mkdir()
        (home / "1" / "d").symlink_to(outside / "sub")
        for name in ("stdout", "r", "alias"):
            (home / "2" / name).symlink_to(outside / "file")
        (home / "3" / "d").mkdir()
        (home / "3" / "d" / "alias").symlink_to(outside / "file")
        for ref in refs:
            with contextlib.suppress(IntercedeError):
                await ce.fetch_output([ref], into)
        assert sorted(path.relative_to(outside).as_posix() for path in outside.rglob("*")) == ["file", "sub"]
        assert (outside / "file").read_text() == "precious"

    async def test_submission_planted_on_the_clients_side(self, ce: Element, tmp_path: Path) -> None:
        refs = list(await run(ce, script("echo out")))
        outside, into = tmp_path / "outside", tmp_path / "into"
        outside.mkdir()
        into.mkdir()
        (into / refs[0].submission).symlink_to(outside)
        with contextlib.suppress(IntercedeError):
            await ce.fetch_output(refs, into)
        assert list(outside.iterdir()) == []


class TestBounds:
    """Jobs that send back more than is allowed."""

    async def test_too_many_bytes(self, spot: Spot, tmp_path: Path) -> None:
        async with spot.element(limits={"output_bytes": 1_000_000}) as ce:
            text = 'echo small >s.txt; echo e >&2; [ "$1" = small ] && exit; head -c 52428800 /dev/zero'
            copies = [Copy(arguments=(word,)) for word in ("small", "large", "small")]
            refs = list(await run(ce, script(text, outputs=("*.txt",)), copies))
            before = ce.counters.bytes_received
            outputs = await ce.fetch_output(refs, tmp_path)
            assert ce.counters.bytes_received - before < 200_000
        small, large, last = outputs.values()
        assert isinstance(small, JobOutput)
        assert isinstance(last, JobOutput)
        assert isinstance(large, LimitExceeded)
        assert "stdout" in str(large)
        kept = large.kept
        assert isinstance(kept, JobOutput)
        assert kept.stdout is None
        assert kept.stderr is not None
        assert (kept.stderr.read_text(), kept.files["s.txt"].read_text()) == ("e\n", "small\n")
        assert small.files["s.txt"].read_text() == last.files["s.txt"].read_text() == "small\n"

    async def test_too_many_files(self, spot: Spot, tmp_path: Path) -> None:
        async with spot.element(limits={"output_files": 10}) as ce:
            text = "i=0; while [ $i -lt $1 ]; do : >f$i; i=$((i + 1)); done"
            copies = [Copy(arguments=(number,)) for number in ("5", "500")]
            refs = list(await run(ce, script(text, outputs=("f*",)), copies))
            few, many = (await ce.fetch_output(refs, tmp_path)).values()
        assert isinstance(few, JobOutput)
        assert len(few.files) == 5
        assert isinstance(many, LimitExceeded)
        assert len(list((tmp_path / refs[1].submission / "1").iterdir())) <= 10

    async def test_links_are_no_way_around(self, spot: Spot, tmp_path: Path) -> None:
        async with spot.element(limits={"output_bytes": 1_000_000, "output_files": 20}) as ce:
            text = "head -c 400000 /dev/zero >f0; i=1; while [ $i -lt $1 ]; do ln -s f0 f$i; i=$((i + 1)); done"
            copies = [Copy(arguments=(number,)) for number in ("10", "500")]
            refs = list(await run(ce, script(text, outputs=("f*",)), copies))
            before = ce.counters.bytes_received
            large, many = (await ce.fetch_output(refs, tmp_path)).values()
            assert ce.counters.bytes_received - before < 1_000_000
        assert isinstance(large, JobOutput)
        assert sum(path.stat().st_size for path in large.files.values()) <= 1_000_000
        assert {f"f{i}" for i in range(10)} == large.files.keys() | large.skipped.keys()
        assert isinstance(many, LimitExceeded)


async def _all_of(ce: Element, ref: JobRef) -> bytes:
    return b"".join([chunk.data async for chunk in ce.follow(ref)])


class TestLogs:
    """Reading what a job writes while it runs."""

    @lacks("blind")
    async def test_pieces(self, spot: Spot, ce: Element) -> None:
        text = (
            'printf 0123456789; printf err >&2; mkdir d; echo f >"d/a b"; : >"$1/ready";'
            'while [ ! -e "$1/go" ]; do sleep 0.1; done; echo x'
        )
        (ref,) = (await ce.submit(script(text, spot.home, outputs=("d",)))).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        whole = await ce.read_log(ref)
        assert (whole.data, whole.offset, whole.next_offset, whole.ended) == (b"0123456789", 0, 10, False)
        for offset, data in ((3, b"3456789"), (-4, b"6789"), (-99, b"0123456789"), (10, b""), (99, b"")):
            chunk = await ce.read_log(ref, offset=offset)
            assert (chunk.data, chunk.ended) == (data, False)
            assert chunk.next_offset - chunk.offset == len(data)
        assert (await ce.read_log(ref, "stderr")).data == b"err"
        if not spot.place.has("apart"):
            assert (await ce.read_log(ref, "d/a b")).data == b"f\n"
        for name in ("nope", "d", "stdout/x"):
            with pytest.raises(NotFound):
                await ce.read_log(ref, name)
        for name in ("../stdout", "/etc/passwd", "", ".", "d/../../stdout", "d//f"):
            with pytest.raises(ConfigurationError):
                await ce.read_log(ref, name)
        await spot.shell(": >go")
        await final(ce, [ref])
        last = await ce.read_log(ref, offset=10)
        assert (last.data, last.next_offset, last.ended) == (b"x\n", 12, True)
        assert (await ce.read_log(ref, "d/a b")).data == b"f\n"

    @needs("blind")
    async def test_nothing_before_the_end(self, spot: Spot, ce: Element) -> None:
        text = (
            'printf 0123456789; printf err >&2; mkdir d; echo f >"d/a b"; : >"$1/ready";'
            'while [ ! -e "$1/go" ]; do sleep 0.1; done; echo x'
        )
        (ref,) = (await ce.submit(script(text, spot.home, outputs=("d",)))).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        with pytest.raises(NotFound):
            await ce.read_log(ref)
        for name in ("../stdout", "/etc/passwd", "", ".", "d/../../stdout", "d//f"):
            with pytest.raises(ConfigurationError):
                await ce.read_log(ref, name)
        following = asyncio.ensure_future(_all_of(ce, ref))
        await spot.shell(": >go")
        assert await asyncio.wait_for(following, 60) == b"0123456789x\n"
        for offset, data in ((3, b"3456789x\n"), (-4, b"89x\n"), (-99, b"0123456789x\n"), (12, b""), (99, b"")):
            chunk = await ce.read_log(ref, offset=offset)
            assert (chunk.data, chunk.ended, chunk.next_offset - chunk.offset) == (data, True, len(data))
        assert [(await ce.read_log(ref, name)).data for name in ("stderr", "d/a b")] == [b"err", b"f\n"]
        for name in ("nope", "d", "stdout/x"):
            with pytest.raises(NotFound):
                await ce.read_log(ref, name)

    async def test_bounded(self, spot: Spot) -> None:
        async with spot.element(limits={"log_bytes": 1000}) as ce:
            (ref,) = await run(ce, script("head -c 2500 /dev/zero"))
            first = await ce.read_log(ref)
            assert (len(first.data), first.next_offset, first.ended) == (1000, 1000, False)
            pieces = [len(chunk.data) async for chunk in ce.follow(ref)]
            assert sum(pieces) == 2500

    @lacks("blind")
    async def test_followed_and_resumed_elsewhere(self, spot: Spot, ce: Element) -> None:
        text = (
            'i=0; while [ $i -lt 10 ]; do echo "line $i"; i=$((i + 1));'
            '[ $i != 5 ] || while [ ! -e "$1/go" ]; do sleep 0.1; done; done'
        )
        (ref,) = (await ce.submit(script(text, spot.home))).refs
        read, offset = b"", 0
        async with asyncio.timeout(60), contextlib.aclosing(ce.follow(ref)) as chunks:  # ty: ignore[invalid-argument-type]
            async for chunk in chunks:
                assert not chunk.ended
                read, offset = read + chunk.data, chunk.next_offset
                if read.count(b"\n") == 5:
                    break
        await spot.shell(": >go")
        async with spot.element() as other, asyncio.timeout(60):
            ended = False
            async for chunk in other.follow(ref, offset=offset):
                read, ended = read + chunk.data, chunk.ended
        assert ended
        assert read == b"".join(b"line %d\n" % i for i in range(10))

    async def test_of_a_job_that_never_wrote(self, spot: Spot, ce: Element) -> None:
        (ref,) = await waiting_jobs(spot, ce, script("echo no"))
        with pytest.raises(NotFound):
            await ce.read_log(ref)
        await ce.cancel([ref])
        await final(ce, [ref])
        with pytest.raises(NotFound):
            await asyncio.wait_for(anext(ce.follow(ref)), 30)
