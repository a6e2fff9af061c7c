"""The programs of the work area and the runner in real shells, with schedulers that are a few lines of shell."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from intercede import config
from intercede.answers import JobState, JobStatus, Outcome, SubmissionInfo
from intercede.elements.orders import Orders
from intercede.elements.shared import sweep
from intercede.elements.verdict import Memory, Sighting, judge
from intercede.errors import CommandError
from intercede.model import JobRef
from intercede.schedulers.process import Process
from intercede.schedulers.slurm import Slurm
from intercede.steps import Completed
from intercede.workarea.operations import Area
from intercede.workarea.programs import fragment, program, runner_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from intercede.steps import Command, Steps

T = TypeVar("T")
SHELLS = [words for words in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(words[0])]
in_each_shell = pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
NOW = datetime(2026, 1, 2, tzinfo=UTC)
JOB = r"""
ic_identify() { ic_dir=$1 ic_first=0 ic_index=$2 ic_attempt=1 ic_native=7 ic_owner=- ic_forward=; }
ic_admit() { sh "$ic_dir/../meanwhile"; }
ic_again() { return 1; }
ic_before() { :; }
ic_after() { echo after >>"${ic_dir%/*}/after"; }
"""


def store(area: Path, scheduler: str = "slurm", size: str = "4 2", chunks: Iterable[str] = ("0",)) -> Path:
    """A submission `t`; gives its directory."""
    home = area / scheduler / "t"
    for name in ("../.new", "../.gone", "chunk", "c", "log"):
        (home / name).mkdir(parents=True)
    for copy in range(int(size.split()[0])):
        (home / "secrets" / str(copy)).mkdir(parents=True)
        (home / "secrets" / str(copy) / "token").write_text("secret")
    for name, text in {"size": f"{size}\n", "digest": "d\n", "meta": '{"resource": "r"}\n'}.items():
        (home / name).write_text(text)
    for chunk in chunks:
        (home / "chunk" / f"{chunk}.began").mkdir()
        (home / "chunk" / chunk).write_text("7\n")
    return home


def run(command: Command, shell: Iterable[str] = ("sh",)) -> Completed:
    """Run it in a shell."""
    assert isinstance(command.stdin, bytes)
    argv = [*shell, *command.argv[1:]]
    done = subprocess.run(argv, input=command.stdin, capture_output=True, check=False, timeout=30)
    return Completed(done.returncode, done.stdout, done.stderr)


def told(name: str, functions: str, place: Path, *words: str, stdin: str = "", shell: Iterable[str] = ("sh",)) -> str:
    """What one of the programs said, without the nonce."""
    command = program(name, functions, ("nonce", str(place.parent), place.name), *words, stdin=stdin.encode())
    return run(command, shell).text.replace("nonce ", "")


def driven(steps: Steps[T]) -> T:
    """The value of steps, with each command run."""
    answer: tuple[Completed, ...] | None = None
    while True:
        try:
            commands = next(steps) if answer is None else steps.send(answer)
        except StopIteration as end:
            return end.value
        answer = tuple(run(command) for command in commands)


async def driver(area: Path, scheduler: Slurm | Process, steps: Callable[[Area], Steps[T]]) -> T:
    return driven(steps(Area(str(area), scheduler, "nonce")))


@in_each_shell
@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param("echo 0 >t/purged; rm -rf t/c/0", id="the copy"),
        pytest.param("echo 0 >t/purged; mv t dead; rm -rf dead", id="the submission"),
        pytest.param("echo 0 >t/cancelled; mv t dead; rm -rf dead", id="a cancelled submission"),
    ],
)
def test_copy_that_was_purged_while_a_second_runner_waited(tmp_path: Path, shell: list[str], meanwhile: str) -> None:
    home = store(tmp_path)
    (home / "job").write_text('ic_payload() { echo ran >"${ic_dir%/*}/ran"; }\n')
    (home / "runner").write_bytes(runner_text(JOB))
    (home.parent / "meanwhile").write_text(f"cd '{home.parent}'; {meanwhile}")
    subprocess.run([*shell, home / "runner", home, "0"], capture_output=True, check=False, timeout=30)
    assert not (home.parent / "ran").exists()
    assert (home.parent / "after").exists()
    assert home.exists() == ("dead" not in meanwhile)
    assert not (home / "c").exists() or not list((home / "c").iterdir())


def test_second_runner_of_a_copy_waits_for_no_room(tmp_path: Path) -> None:
    home = store(tmp_path, "process")
    (home / "process").write_text("1 1 0 4 host.00000000.0000000000\n")
    (home / "runner").write_bytes(runner_text(Process.job_shell))
    pool = home.parent / ".slots" / os.uname().nodename
    pool.mkdir(parents=True)
    (home / "c" / "0").mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ticks = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19]
    (pool / str(os.getpid())).write_text(f"1 {boot} {os.getpid()} {ticks}\n")
    done = subprocess.run(["sh", home / "runner", home, "0", "0"], capture_output=True, check=False, timeout=20)
    assert done.returncode == 0


@in_each_shell
@pytest.mark.parametrize(
    ("code", "fate"),
    [(1, "refused"), (127, "refused"), (170, "refused"), (254, "refused"), (137, "unknown"), (143, "unknown")],
)
def test_submit_command_that_a_signal_ended_may_have_queued(
    tmp_path: Path, shell: list[str], code: int, fate: str
) -> None:
    functions = f"""
ic_submit() {{ echo 'sbatch: error: sleeping and retrying'; return {code}; }}
ic_limit() {{ :; }}
ic_refused() {{ case $1 in *error:*) return 0 ;; esac; return 1; }}
ic_unsent() {{ return 1; }}
ic_named() {{ :; }}
"""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as files:
        for name, data in {"digest": b"d\n", "whole": b""}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            files.addfile(info, io.BytesIO(data))
    said = told(
        "submit", functions, tmp_path / "slurm", "t", "d", "1", "0", stdin=stream.getvalue().decode(), shell=shell
    )
    assert f"chunk 0 1 {fate} {code}\n" in said
    assert (tmp_path / "slurm" / "t").exists() == (fate == "unknown")


async def test_process_of_another_host(tmp_path: Path) -> None:
    home = store(tmp_path, "process", "1 1")
    ref = JobRef(resource="local", submission="t", copy_index=0, native="elsewhere.00000000.0000000000_0")
    (home / "process").write_text(f"1 1 0 1 {ref.native[:-2]}\n")
    (home / "c" / "0").mkdir()
    (home / "c" / "0" / "record").write_text("v1 1 1 - - - - - elsewhere 1/1 elsewhere.00000000\n")
    queue = driven(Area(str(tmp_path), Process(), "nonce").status([("t", 0, ref.native, False)], 60)).queue[ref.native]
    memory, settings = Memory(), config.resolve("local:")
    seen = Sighting(queue, None, None, False, False, True, "", Process.sources, NOW)
    for late in (timedelta(), settings.lost_after * 2):
        memory.status = judge(ref, seen._replace(now=NOW + late), memory, settings)
        assert (memory.status.state, memory.status.reason) == (JobState.UNKNOWN, None)
        assert "another host" in memory.status.detail

    async def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be sent")

    assert isinstance((await Orders(settings, Process(), never).purge({ref: memory.status}))[ref], CommandError)
    said = told("cancel", Process.shell, home.parent, stdin="t 0 0\n")
    assert said.startswith("cancelled t 0 1\n")
    assert "it belongs to host elsewhere" in said
    assert not (home / "cancelled").exists()
    assert (home / "secrets" / "0").exists()


def test_process_from_before_the_boot_may_be_cancelled_and_gets_lost(tmp_path: Path) -> None:
    home = store(tmp_path, "process", "1 1")
    native = f"{os.uname().nodename[:24]}.00000000.0000000000_0"
    (home / "process").write_text(f"1 1 0 1 {native[:-2]}\n")
    (home / "c" / "0").mkdir()
    (home / "c" / "0" / "record").write_text("v1 1 1 - - - - - here 1/1 x\n")
    assert (
        driven(Area(str(tmp_path), Process(), "nonce").status([("t", 0, native, False)], 60)).queue[native].word
        == "ELSEWHERE"
    )
    assert told("cancel", Process.shell, home.parent, stdin="t 0 0\n").startswith("cancelled t 0 0\n")


@in_each_shell
def test_secrets_of_an_abandoned_part_go(tmp_path: Path, shell: list[str]) -> None:
    home = store(tmp_path, size="6 2")
    (home / "chunk" / "2.began").mkdir()
    functions = "ic_named() { :; }"
    assert "chunk 2 2 unknown" in told("find", functions, home.parent, "t", "0", shell=shell)
    assert len(list((home / "secrets").iterdir())) == 6
    assert "chunk 2 2 abandoned" in told("find", functions, home.parent, "t", "1", shell=shell)
    assert {path.name for path in (home / "secrets").iterdir()} == {"0", "1", "4", "5"}


@in_each_shell
def test_rest_of_a_submission_goes_and_cannot_begin_any_more(tmp_path: Path, shell: list[str]) -> None:
    home = store(tmp_path, size="5 2")
    (home / "chunk" / "4.began").mkdir()
    (home / "chunk" / "4.abandoned").mkdir()
    assert told("purge", "", home.parent, stdin="t 0-1\n", shell=shell) == "purged t 0\nend\n"
    assert (home / "secrets" / "2").exists()
    assert told("purge", "", home.parent, stdin="t rest\n", shell=shell) == "purged t 0\nend\n"
    assert not home.exists()
    assert (home.parent / ".gone" / "t" / "chunk" / "2.abandoned").is_dir()
    assert told("purge", "", home.parent, stdin="t rest\n", shell=shell) == "purged t gone\nend\n"


@pytest.mark.parametrize("known", [True, False])
def test_rest_that_somebody_begins_meanwhile_stays(tmp_path: Path, known: bool) -> None:
    home = store(tmp_path, chunks=["0", "2"] if known else ["0"])
    (home / "chunk" / "2.began").mkdir(exist_ok=True)
    assert told("purge", "", home.parent, stdin="t rest\n") == "purged t failed\nend\n"
    assert (home / "secrets" / "0" / "token").exists()
    told("purge", "", home.parent, stdin="t 0-1\n")
    assert told("purge", "", home.parent, stdin="t rest\n") == "purged t failed\nend\n"
    assert (home / "secrets" / "2" / "token").exists()
    assert not (home / "chunk" / "2.abandoned").exists()


def test_purge_that_cannot_be_written_down_removes_nothing(tmp_path: Path) -> None:
    home = store(tmp_path)
    command = program("purge", "", ("nonce", str(tmp_path), "slurm"), stdin=b"t 0\n")
    # a limit on the size of files stands in for a full disk: the shell says so, and its write fails
    full = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec sh -c \"$@\" | cat", "sh", *command.argv[2:]]
    done = subprocess.run(full, input=b"t 0\n", capture_output=True, check=False, timeout=30)
    assert b"purged t failed" in done.stdout
    assert (home / "secrets" / "0" / "token").exists()


@pytest.mark.parametrize("began", [False, True])
async def test_sweep_takes_what_was_never_queued(tmp_path: Path, began: bool) -> None:
    home = store(tmp_path)
    settings = config.resolve("slurm:")
    if began:
        (home / "chunk" / "2.began").mkdir()
    orders = Orders(settings, Slurm(), lambda steps, **_: driver(tmp_path, Slurm(), steps))
    refs = [JobRef(resource=settings.id, submission="t", copy_index=copy, native=f"7_{copy}") for copy in range(2)]

    class Element:
        """What sweep asks of one."""

        def __init__(self) -> None:
            self.settings = settings

        async def list(self) -> Sequence[SubmissionInfo]:
            return [SubmissionInfo("t", NOW, 4, tuple(refs))]

        async def status(self, refs: Iterable[JobRef]) -> dict[JobRef, JobStatus]:
            return {ref: JobStatus(ref, JobState.SUCCEEDED) for ref in refs}

        async def purge(self, refs: Iterable[JobRef]) -> object:
            return await orders.purge(await self.status(refs))

    swept = await sweep(Element(), timedelta(), orders.purge_rest)  # ty: ignore[invalid-argument-type]
    assert swept == ([] if began else ["t"])
    assert home.exists() == began


async def test_orders_to_many_submissions_are_several_executions() -> None:
    sizes = []
    refs = [JobRef(resource="slurm", submission=f"t{i}", copy_index=0, native=f"{i + 1}_0") for i in range(250)]

    async def answer(steps: Callable[[Area], Steps[T]], **_: object) -> T:
        going = steps(Area("/area", Slurm(), "nonce"))
        (command,) = next(going)
        assert isinstance(command.stdin, bytes)
        lines = [line.split() for line in command.stdin.decode().splitlines()]
        sizes.append(len(lines))
        said = "".join(f"nonce cancelled {tag} {first} 0\n" for tag, first, *_ in lines)
        try:
            going.send((Completed(0, f"{said}nonce end\n".encode(), b""),))
        except StopIteration as end:
            return end.value
        raise AssertionError

    orders = Orders(config.resolve("slurm:"), Slurm(), answer)
    assert await orders.cancel(refs, set()) == dict.fromkeys(refs, Outcome.DONE)
    assert sizes == [100, 100, 50]
    await orders.cancel(refs[:1], set())
    assert sizes == [100, 100, 50, 1]


@in_each_shell
def test_history_of_many_arrays_takes_no_argument_too_long_for_the_kernel(tmp_path: Path, shell: list[str]) -> None:
    stand_in = f'sacct() {{ while [ "$1" != -j ]; do shift; done; printf "%s\\n" "$2" >>"{tmp_path}/asked"; }}\n'
    lines = "".join(f"t{i} 0 {10_000_000 + i}_0\n" for i in range(16_000))
    argv = [*shell, "-c", f"{Slurm.shell}\n{stand_in}ic_history"]
    subprocess.run(argv, input=lines, text=True, capture_output=True, check=True, timeout=30)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert max(map(len, asked)) < 100_000
    assert [job for line in asked for job in line.split(",")] == [str(10_000_000 + i) for i in range(16_000)]


def records(home: Path, copies: str, shell: list[str], timeout: float = 30) -> list[list[str]]:
    """What is said of copies: `TAG COPY MARK RECORD` each."""
    prelude, text = (fragment("intercede.workarea", name) for name in ("prelude", "records"))
    line = f'\nic_store=$PWD\nic_wanted="t {copies} 7_0"\nrecords'
    argv = [*shell, "-c", f"{prelude}\n{text}{line}", "sh", "nonce", "/area", "slurm"]
    done = subprocess.run(argv, cwd=home.parent, capture_output=True, text=True, check=True, timeout=timeout)
    return [line.split() for line in done.stdout.splitlines()]


@in_each_shell
def test_lists_of_copies(tmp_path: Path, shell: list[str]) -> None:
    home = store(tmp_path)
    (home / "cancelled").write_text("1,3-4,\n\n3-4\n8-99999999999\n07\n")
    (home / "purged").write_text("4\n2-2\n")
    marks = {1: "cancelled", 2: "purged", 3: "cancelled", 4: "purged", 7: "cancelled", 8: "cancelled", 9: "cancelled"}
    assert records(home, "0-9", shell) == [["t", str(copy), marks.get(copy, "-"), "-"] for copy in range(10)]


def test_many_copies_that_were_cancelled_one_by_one_cost_no_square(tmp_path: Path) -> None:
    home = store(tmp_path)
    (home / "cancelled").write_text("".join(f"{copy}\n" for copy in range(0, 20_000, 2)))
    began = time.monotonic()
    assert sum(line[2] == "cancelled" for line in records(home, "0-19999", SHELLS[0])) == 10_000
    assert time.monotonic() - began < 10
