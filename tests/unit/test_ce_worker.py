"""The library's side of the worker process, with workers that need no bindings, and what is read from answers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.credentials import BearerToken, CondorToken, SSHPassword, X509Proxy
from intercede.errors import (
    AuthenticationFailed,
    CommandError,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    ParseError,
    SchedulerUnavailable,
)
from intercede.htcondor_ce.client import RemoteSchedd
from intercede.htcondor_ce.credential import write_credential
from intercede.htcondor_ce.protocol import (
    GONE,
    Act,
    Edit,
    Failure,
    History,
    Identify,
    Kind,
    Query,
    Retrieve,
    Submit,
    Submitted,
    classify,
    decode_answer,
    decode_request,
    frame,
    read_frame,
    reason_in,
    refused_submission,
)
from intercede.htcondor_ce.worker import Log, Schedd, answer

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# Answers as the line ASKED says; its requests are the real ones
SCRIPT = """
import json, os, sys, time
from intercede.htcondor_ce.protocol import Failure, Kind, decode_request, frame, read_frame
while (content := read_frame(sys.stdin.buffer)) is not None:
    asked = decode_request(content)
    answer = {ASKED}
    sys.stdout.buffer.write(frame(answer))
    sys.stdout.buffer.flush()
"""
ASK = Query("true", ("A",))


def schedd(answer: str, **options: Any) -> RemoteSchedd:
    return RemoteSchedd("ce.example.org:9619", worker=("-c", SCRIPT.replace("{ASKED}", answer)), **options)


def token(text: str) -> CondorToken:
    return CondorToken.model_validate({"token": text})


def contents(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def begun(directory: Path) -> None:
    """Wait for a worker that says that it has begun."""
    while not list(directory.glob("*/begun")):  # noqa: ASYNC110, ASYNC240 - another process tells
        await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers have their directories."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "request_",
    [
        Identify(),
        Query("true", ("A", "B")),
        History("A == 1", ("A",)),
        Submit(("a = 1",), ({"x": "1"}, {"x": "2"})),
        Act("Remove", "true", "why"),
        Edit("true", "A", "1"),
        Retrieve({"1.0": "/there"}),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_request_arrives_as_it_was_sent(request_: Any) -> None:
    content = read_frame(io.BytesIO(frame(request_)))
    assert content is not None
    assert decode_request(content) == request_


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_an_answer_arrives_as_it_was_sent(value: Any) -> None:
    content = read_frame(io.BytesIO(frame(value)))
    assert content is not None
    assert decode_answer(content) == value


def test_a_stream_that_ends_has_no_more_frames() -> None:
    assert read_frame(io.BytesIO(b"")) is None
    assert read_frame(io.BytesIO(b"\0\0")) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "AUTHENTICATE:1003:Failed to authenticate with any method|AUTHENTICATE:1004:Failed to authenticate using "
            "SSL; Failed communication with collector.",
            Kind.DENIED,
        ),
        ('Failed to connect to schedd, errmsg=SECMAN:2010:Received "DENIED" from server for user alice@x', Kind.DENIED),
        ("SECMAN:2002:Configuration Problem: The security policy is invalid.", Kind.DENIED),
        ("attempt to connect to <127.0.0.1:1> failed: Connection refused (connect errno = 111).", Kind.UNREACHED),
        ("Failed communication with collector.", Kind.UNREACHED),
        (
            "IO: Failed to read packet header; Failed to fetch ads from schedd, errmsg=SECMAN:2007:This service is "
            "running, but did not respond in a reasonable time.",
            Kind.BUSY,
        ),
        ("Failed to create new cluster.SCHEDD:28:AP user has OS user value x, which is not valid", Kind.FAILED),
        ("Unable to commit transaction:Modifying attribute SUBMIT_Iwd in nonexistent job 3.0", Kind.FAILED),
    ],
)
def test_what_a_failure_means(text: str, kind: Kind) -> None:
    assert classify(text) == Failure(kind, text)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Failed to connect to schedd, errmsg=", Kind.UNREACHED),
        ('Failed to connect to schedd, errmsg=SECMAN:2010:Received "DENIED" from server for user a@x', Kind.DENIED),
        ("Failed to create new cluster.", Kind.FAILED),
        ("Unable to commit transaction, ", Kind.UNKNOWN),
        ("Unable to commit transaction, Failed to connect", Kind.UNKNOWN),
        ('Unable to commit transaction, SCHEDD:2:Setting owner to "x", which is not a valid user account', Kind.FAILED),
    ],
)
def test_what_is_known_of_a_submission_that_failed(said: str, kind: Kind) -> None:
    assert refused_submission(said) == Failure(kind, said)


class Bindings:
    """As much of the bindings as one schedd needs, which fails as it is told."""

    class DaemonType:
        Schedd = 1

    def __init__(self, *failures: str, spool: str = "") -> None:
        self.failures = list(failures)
        self.spool = spool
        self.located = self.submitted = 0

    def Collector(self, address: str) -> Bindings:  # noqa: N802 - their names
        assert address == "ce:1"
        return self

    def Schedd(self, ad: dict[str, str]) -> Any:  # noqa: N802
        del ad
        bindings = self

        class Found:
            def submit(self, *_args: Any, **_more: Any) -> Any:
                bindings.submitted += 1
                if bindings.failures and (said := bindings.failures.pop(0)):
                    raise OSError(said)
                return SimpleNamespace(cluster=lambda: 5, num_procs=lambda: 1)

            def spool(self, _result: Any) -> None:
                if bindings.spool:
                    raise OSError(bindings.spool)

        return Found()

    def Submit(self, text: str) -> str:  # noqa: N802
        return text

    def locateAll(self, _kind: int) -> list[dict[str, str]]:  # noqa: N802
        self.located += 1
        return [{"Name": "ce"}]


class NoLog(Log):
    def __init__(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def text(self) -> str:
        return "attempt to connect to <[::1]:1> failed: Connection refused"


SUBMIT = Submit(("a = 1",), ({},))


@pytest.mark.parametrize(("failure", "kind"), [("Unable to commit transaction, ", Kind.UNKNOWN), ("no", Kind.FAILED)])
def test_a_submission_is_not_repeated_whatever_the_log_says(failure: str, kind: Kind) -> None:
    bindings = Bindings(failure)
    said = answer(Schedd((bindings, None), "ce:1"), SUBMIT, NoLog())
    assert said == Failure(kind, failure)
    assert bindings.submitted == 1


def test_a_schedd_that_moved_is_looked_for_once() -> None:
    away = "Failed to connect to schedd, errmsg="
    bindings = Bindings("", away, "", away, away, away)
    schedd = Schedd((bindings, None), "ce:1")
    said = [answer(schedd, SUBMIT, NoLog()) for _ in range(4)]
    # the third one found it away, again where the collector said that it is, and the fourth knew of no place
    assert said == [(5, 1, ""), (5, 1, ""), Failure(Kind.UNREACHED, away), Failure(Kind.UNREACHED, away)]
    assert (bindings.located, bindings.submitted) == (4, 6)


def test_jobs_whose_files_were_not_sent_are_queued() -> None:
    bindings = Bindings(spool="disk full")
    assert answer(Schedd((bindings, None), "ce:1"), SUBMIT, NoLog()) == (5, 1, "disk full")


class Fetching:
    """A schedd that cannot send the files of some jobs, and of which one may leave; what it sent is in `fetched`."""

    def __init__(self, failures: dict[str, str]) -> None:
        self.failures = failures
        self.left = False
        self.fetched: list[str] = []

    def query(self, *_: Any) -> list[dict[str, int]]:
        return [{"ClusterId": 7, "ProcId": number} for number in range(4)]

    def edit(self, jobs: list[str], *_: Any) -> int:
        if "7.3" in jobs and self.left:
            raise OSError("Modifying attribute SUBMIT_Iwd in nonexistent job 7.3")
        return 1

    def retrieve(self, jobs: list[str]) -> None:
        for job in jobs:
            if job in self.failures:
                raise OSError(self.failures[job])
            self.fetched.append(job)


def fetching(schedd: Fetching) -> Schedd:
    bindings: Any = Bindings()
    bindings.Schedd, bindings.HTCondorException = lambda _: schedd, OSError
    return Schedd((bindings, SimpleNamespace(quote=repr)), "ce:1")


def test_jobs_whose_files_cannot_be_sent_hold_up_no_others(tmp_path: Path) -> None:
    schedd = Fetching({"7.1": "no such file", "7.2": ""})
    asked = Retrieve({f"7.{number}": str(tmp_path) for number in (0, 1, 2, 3, 9)})
    said = answer(fetching(schedd), asked, NoLog())
    assert said == {"7.1": "no such file", "7.2": "its files cannot be fetched", "7.9": GONE}
    assert schedd.fetched[-1] == "7.3"
    assert set(schedd.fetched) == {"7.0", "7.3"}


def test_a_job_that_leaves_while_it_is_looked_for_is_gone(tmp_path: Path) -> None:
    schedd = Fetching({})
    schedd.left = True
    said = answer(fetching(schedd), Retrieve({f"7.{number}": str(tmp_path) for number in range(4)}), NoLog())
    assert list(said) == ["7.3"]
    assert said["7.3"].startswith(GONE)
    assert schedd.fetched == ["7.0", "7.1", "7.2"]


def test_a_schedd_that_went_away_while_files_are_fetched(tmp_path: Path) -> None:
    schedd = Fetching({"7.0": "Failed to connect to schedd"})
    said = answer(fetching(schedd), Retrieve({f"7.{number}": str(tmp_path) for number in range(4)}), NoLog())
    assert said.kind is Kind.UNREACHED
    assert schedd.fetched == []


def test_the_log_knows_more_than_the_exception() -> None:
    log = (
        "11/25/26 14:36:16 SECMAN: required authentication with collector ce:1 failed, so aborting command QUERY.\n"
        "11/25/26 14:36:16 ERROR: AUTHENTICATE:1003:Failed to authenticate with any method\n"
    )
    said = "Failed communication with collector."
    assert reason_in(log, said) == f"AUTHENTICATE:1003:Failed to authenticate with any method; {said}"
    refused = (
        "11/25/26 14:36:17 attempt to connect to <127.0.0.1:1> failed: Connection refused (connect errno = 111).\n"
    )
    assert reason_in(refused, said).startswith("attempt to connect to <127.0.0.1:1> failed: Connection refused")
    assert reason_in("", said) == said


async def test_answers_are_typed() -> None:
    ce = schedd("[7, 2, '']")
    assert await ce.ask(Submit(("a = 1",), ({},)), None) == Submitted(7, 2, "")
    with pytest.raises(ParseError, match=r"Act at ce\.example\.org:9619"):
        await ce.ask(Act("Remove", "true", ""), None)
    await ce.aclose()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("MISSING", ConfigurationError),
        ("DENIED", AuthenticationFailed),
        ("UNREACHED", ConnectFailed),
        ("BUSY", SchedulerUnavailable),
        ("FAILED", CommandError),
        ("UNKNOWN", ConnectionLost),
    ],
)
async def test_a_failure_is_an_error_with_the_daemon_s_words(kind: str, error: type[Exception]) -> None:
    ce = schedd(f"Failure(Kind.{kind}, 'its words')")
    with pytest.raises(error, match="its words"):
        await ce.ask(ASK, None)
    await ce.aclose()


async def test_another_credential_is_another_process() -> None:
    ce = schedd("[os.getpid()]")
    (first,), (again,), (other,), (back,) = [
        await ce.ask(ASK, token(text)) for text in ("alice", "alice", "bob", "alice")
    ]
    assert first == again
    assert len({first, other, back}) == 3
    assert ce.counters.connections == 3
    await ce.aclose()


@pytest.mark.slow
async def test_a_process_that_is_late_is_ended_and_replaced(own_directory: Path) -> None:
    late = "time.sleep(1000) if asked.constraint == 'late' else [os.getpid()]"
    ce = schedd(late)
    (before,) = await ce.ask(ASK, None)
    # a start takes what it takes, and counts
    usual, ce._limit = ce._limit, 0.3
    with pytest.raises(ConnectionLost, match=r"no answer within 0\.3 s"):
        await ce.ask(Query("late", ()), None)
    ce._limit = usual
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)  # ty: ignore[invalid-argument-type]
    assert contents(own_directory) == []
    assert await ce.ask(ASK, None) != [before]
    await ce.aclose()


async def test_a_process_that_ends_is_replaced() -> None:
    ce = schedd("os._exit(1) if asked.constraint == 'end' else [os.getpid()]")
    (before,) = await ce.ask(ASK, None)
    with pytest.raises(ConnectionLost, match="has ended"):
        await ce.ask(Query("end", ()), None)
    assert await ce.ask(ASK, None) != [before]
    await ce.aclose()


async def test_the_answer_to_a_cancelled_request_is_given_to_nobody(own_directory: Path) -> None:
    ce = schedd("(open('begun', 'w'), time.sleep(1000)) if asked.constraint == 'late' else [asked.constraint]")
    task = asyncio.create_task(ce.ask(Query("late", ()), None))
    await begun(own_directory)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ce.ask(Query("next", ()), None) == ["next"]
    await ce.aclose()
    assert contents(own_directory) == []


async def test_one_that_waits_holds_up_no_other(own_directory: Path) -> None:
    slow, quick = schedd("(open('begun', 'w'), time.sleep(1000))"), schedd("['quick']")
    task = asyncio.create_task(slow.ask(ASK, None))
    await begun(own_directory)
    assert [await quick.ask(ASK, None) for _ in range(5)] == [["quick"]] * 5
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await slow.aclose()
    await quick.aclose()


async def test_no_secret_is_in_a_command_line_or_an_environment(own_directory: Path) -> None:
    before = dict(os.environ)
    words = "[open('/proc/self/cmdline').read(), open('/proc/self/environ').read()]"
    ce = schedd(words)
    line, environment = await ce.ask(ASK, token("s3cret"))
    assert "s3cret" not in f"{line}{environment}"
    (directory,) = contents(own_directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "tokens" / "token").read_text() == "s3cret\n"
    await ce.aclose()
    await ce.aclose()
    assert contents(own_directory) == []
    assert dict(os.environ) == before


async def test_nothing_of_the_caller_s_environment_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_condor_SEC_TOKEN_DIRECTORY", "/somebody/elses")
    monkeypatch.setenv("BEARER_TOKEN", "somebody else's")
    ce = schedd("[dict(os.environ)]")
    (variables,) = await ce.ask(ASK, None)
    assert "BEARER_TOKEN" not in variables
    assert "/somebody/elses" not in variables.values()
    await ce.aclose()


@pytest.mark.parametrize(
    ("credential", "methods", "file"),
    [
        (token("x"), "IDTOKENS", "tokens/token"),
        (BearerToken.model_validate({"token": "x"}), "SCITOKENS", "scitoken"),
        (X509Proxy.model_validate({"pem": b"x"}), "SSL", "proxy"),
    ],
)
def test_a_credential_is_a_file_of_its_owner_alone(tmp_path: Path, credential: Any, methods: str, file: str) -> None:
    settings = write_credential(tmp_path, credential)
    assert settings["SEC_CLIENT_AUTHENTICATION_METHODS"] == methods
    assert ((tmp_path / file).stat().st_mode & 0o777, (tmp_path / file).read_text()) == (0o600, "x\n")
    assert "x\n" not in settings.values()


def test_a_credential_of_another_system(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="SSHPassword"):
        write_credential(tmp_path, SSHPassword.model_validate({"password": "x"}))


def test_a_worker_without_the_library_leaves_nothing_behind(tmp_path: Path) -> None:
    """Whether or not there are bindings."""
    directory = tmp_path / "own"
    directory.mkdir()
    words = [sys.executable, "-m", "intercede.htcondor_ce.worker", str(directory), "ce:1", str(os.getpid())]
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=60)
    assert contents(tmp_path) == []


LIBRARY = """
import os, subprocess, sys
words = [sys.executable, "-m", "intercede.htcondor_ce.worker", sys.argv[1], "ce:1", str(os.getpid())]
subprocess.Popen(words, stdin=int(sys.argv[2]), stdout=int(sys.argv[3]), pass_fds=())
os.read(0, 1)
"""


def test_a_worker_ends_with_the_library_whatever_it_is_doing(tmp_path: Path) -> None:
    directory = tmp_path / "own"
    directory.mkdir()
    # the test holds the other ends, so that the worker is told nothing by the end of a file
    asked, answers = os.pipe(), os.pipe()
    words = [sys.executable, "-c", LIBRARY, str(directory), str(asked[0]), str(answers[1])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=(asked[0], answers[1])) as library:
        os.close(answers[1])
        # where there are no bindings, the worker says that, and all is over
        while directory.exists() and not (directory / "log").exists():
            time.sleep(0.02)
        library.kill()
    # the end of what it says comes when all who could write there have ended
    with open(answers[0], "rb") as reader:
        assert reader.read() == b"" or not find_spec("htcondor2")
    while directory.exists():
        time.sleep(0.02)
    for descriptor in asked:
        os.close(descriptor)


KILLED = """
import os, sys, tempfile
from intercede.htcondor_ce import private
tempfile.tempdir = sys.argv[1]
(private.make() / "secret").touch()
os.write(1, b"x")
os.read(0, 1)
"""


@contextlib.contextmanager
def owner_of_a_secret(above: Path) -> Generator[subprocess.Popen[bytes]]:
    """A process with a private directory in that one."""
    words = [sys.executable, "-c", KILLED, str(above)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.read(1) == b"x"
        yield owner


def start_a_worker(above: Path) -> None:
    directory = above / "own"
    directory.mkdir()
    words = [sys.executable, "-m", "intercede.htcondor_ce.worker", str(directory), "ce:1", str(os.getpid())]
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=60)


def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path) -> None:
    with owner_of_a_secret(tmp_path) as owner:
        start_a_worker(tmp_path)
        (kept,) = contents(tmp_path)
        assert (kept / "secret").exists()
        owner.kill()
    assert contents(tmp_path) == [kept]
    start_a_worker(tmp_path)
    assert contents(tmp_path) == []


def test_a_worker_s_directory_goes_with_a_killed_library_and_the_others_at_the_next_start(tmp_path: Path) -> None:
    program = """
import asyncio, sys, tempfile
from intercede.htcondor_ce import private
from intercede.htcondor_ce.client import RemoteSchedd
from intercede.htcondor_ce.protocol import Identify
tempfile.tempdir = sys.argv[1]
(private.make() / "secret").touch()
waits = (
    "import sys, time, types; from intercede.htcondor_ce import worker; "
    "sys.modules['htcondor2'] = sys.modules['classad2'] = types.SimpleNamespace(enable_debug=lambda: None); "
    "worker.serve = lambda *_: (open('begun', 'w'), time.sleep(1000)); worker.main()"
)
asyncio.run(RemoteSchedd("ce:1", worker=("-c", waits)).ask(Identify(), None))
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as library:
        while not list(tmp_path.glob("*/begun")):
            time.sleep(0.02)
        assert len(contents(tmp_path)) == 2
        library.kill()
    until = time.monotonic() + 30
    while list(tmp_path.glob("*/begun")):
        assert time.monotonic() < until
        time.sleep(0.02)
    # its own worker may have looked while the library's locks were still held
    start_a_worker(tmp_path)
    assert contents(tmp_path) == []
