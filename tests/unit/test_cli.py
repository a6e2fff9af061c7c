import functools
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
import typer.testing
from typer.main import get_command
from typer.testing import CliRunner

from intercede import registry
from intercede.answers import JobState, JobStatus, Reason
from intercede.cli import memory, screen
from intercede.cli.exit_codes import MEANING, Exit
from intercede.cli.main import app
from intercede.cli.memory import Memory
from intercede.cli.options import Access
from intercede.cli.session import by_copy
from intercede.errors import (
    AuthenticationFailed,
    CommandError,
    ConnectFailed,
    ConnectionLost,
    CredentialError,
    LimitExceeded,
    QueueFull,
    SchedulerUnavailable,
    SubmissionRejected,
    SubmissionUnknown,
    TagConflict,
    UnsupportedError,
)
from intercede.model import JobRef
from intercede.urls import BUILT_IN, GRID
from tests.cli.fake import FakeElement, Site


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name, where in {"XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state", "HOME": "home"}.items():
        monkeypatch.setenv(name, str(tmp_path / where))
    monkeypatch.delenv("INTERCEDE_DEBUG", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    site = Site()
    monkeypatch.setattr(registry, "open_element", lambda settings, **_: FakeElement(site, settings.id))
    return site


# Typer would make all commands anew for each call
CACHED = functools.cache(get_command)


@pytest.fixture
def call(site, monkeypatch):
    monkeypatch.setattr(typer.testing, "_get_command", CACHED)

    def call(*words, code=0, stdin=""):
        result = CliRunner().invoke(app, words, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return call


def document(result):
    return json.loads(result.stdout)


def test_a_single_copy_is_streamed_and_leaves_nothing(call, site, tmp_path):
    site.stdout, site.stderr = b"h\xff\x00llo\n", b"oops\n"
    result = call("run", "--", "hello", "world")
    assert result.stdout_bytes == b"h\xff\x00llo\n"
    assert result.stderr == "oops\n"
    assert list((tmp_path / "here").iterdir()) == []
    assert "purge" in site.calls
    (description,) = site.descriptions.values()
    assert (description.executable, description.arguments) == ("hello", ("world",))


def test_a_single_copy_gives_its_own_exit_status(call, site):
    site.exit_codes = {0: 42}
    assert call("run", "hello", code=42).stderr == ""


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"signal": 9, "reason": Reason.SIGNAL, "detail": "ended by signal 9"}, 137, "FAILED, signal 9\n"),
        ({"signal": 15, "reason": Reason.WALLTIME, "detail": "too long"}, 143, "FAILED, signal 15, WALLTIME: too long"),
        ({"exit_code": 3, "reason": Reason.MEMORY}, 3, "FAILED, exit 3, MEMORY"),
        ({"reason": Reason.NODE}, 1, "FAILED, NODE"),
        ({"state": JobState.CANCELLED}, 1, "CANCELLED"),
    ],
)
def test_what_an_exit_status_cannot_say_is_said(call, site, monkeypatch, changes, code, words):
    def end(ref):
        return JobStatus(**({"ref": ref, "state": JobState.FAILED, "source": "fake"} | changes))

    monkeypatch.setattr(site, "end", end)
    assert words in call("run", "hello", code=code).stderr


def test_many_copies_come_back_into_directories(call, site, tmp_path):
    site.exit_codes = {1: 7}
    result = call("run", "-n", "4", "-o", "x*", "--tag", "t", "hello", code=1)
    assert "t:1\tFAILED\texit 7" in result.stdout
    assert "t: 4 QUEUED" in result.stderr
    assert "t: 3 SUCCEEDED, 1 FAILED; output in ic-t/" in result.stderr
    assert "t:3: nothing matches x*" in result.stderr
    assert (tmp_path / "here/ic-t/3/stdout").exists()
    assert "purge" in site.calls


def test_a_single_copy_with_outputs_is_collected_too(call, tmp_path):
    call("run", "-o", "x*", "--tag", "t", "hello")
    assert (tmp_path / "here/ic-t/0/stdout").exists()
    call("run", "--to", "there", "hello")
    assert (tmp_path / "here/there/0/stdout").exists()


def test_what_is_true_of_many_jobs_is_said_once(call, site):
    call("submit", "-n", "3", "--tag", "t", "hello")
    site.copy_errors = {
        ref.copy_index: CommandError(f"purge of {ref}", "it is RUNNING" if ref.copy_index else "it is odd")
        for ref in site.jobs
    }
    result = call("purge", "t", code=5)
    assert result.stdout == "0 purged, 3 failed\n"
    assert [line.partition(" purge of")[0] for line in result.stderr.splitlines()[-2:]] == [
        "intercede: t:0:",
        "intercede: t:1 and 1 more:",
    ]


def test_what_could_not_be_fetched_is_kept(call, site):
    site.fail = {"fetch_output": LimitExceeded("output", "too much")}
    result = call("run", "-n", "2", "--tag", "t", "hello", code=5)
    assert "t:0 and 1 more: output: too much" in result.stderr
    assert "still on the resource: intercede output t" in result.stderr
    assert "purge" not in site.calls
    call("run", "--keep", "hello")
    assert "purge" not in site.calls


def test_run_as_a_document(call, site):
    site.exit_codes = {1: 7}
    found = document(call("run", "--json", "-n", "2", "--tag", "t", "hello", code=1))
    assert (found["tag"], found["on"], found["purged"], found["directory"]) == ("t", "local:", True, "ic-t")
    first, second = found["jobs"]
    assert (first["state"], second["state"], second["exit_code"]) == ("SUCCEEDED", "FAILED", 7)
    assert first["output"]["stdout"] == "ic-t/0/stdout"
    assert first["ended"] == "2026-01-02T03:05:45+00:00"


def test_submit_then_everything_else(call, site):
    result = call("submit", "--tag", "t", "-n", "3", "--", "hello", "there")
    assert result.stdout == "t\n"
    assert "3 jobs submitted to local" in result.stderr
    assert call("status").stdout.splitlines()[1].startswith("t:0\tQUEUED")
    (job,) = document(call("status", "@last:2", "--json"))["jobs"]
    assert (job["ref"], job["tag"], job["copy"]) == ("ic1:local:t:2:102", "t", 2)
    assert len(call("status", "t:0,2", "t:1-2", "ic1:local:t:0:100").stdout.splitlines()) == 1 + 3
    assert call("logs", "t:1").stdout == "hello\n"
    assert call("logs", "--tail", "3", "t:1").stdout == "lo\n"
    assert call("logs", "-f", "t:1").stdout == "hello\n"
    assert call("cancel", "t:0").stdout == "1 cancelled\n"
    assert call("release", "t:0").stdout == "0 released, 1 needed nothing\n"
    assert "t:1\tSUCCEEDED" in call("watch", code=1).stdout
    assert call("output").stdout == "output of 3 jobs in ic-t/\n"
    assert document(call("output", "--json", "--to", "x"))["jobs"][2]["output"]["directory"] == "x/2"
    assert document(call("purge", "t", "--json"))["jobs"][0]["outcome"] == "DONE"
    site.jobs = {}
    assert "t:1\tSUCCEEDED" in call("status").stdout, "the last that was seen, although the resource has forgotten it"
    assert "purged" in call("list").stdout


def test_find_says_once_what_is_true_of_many_copies_and_in_words_of_the_command_line(call, site):
    call("submit", "-n", "4", "--tag", "t", "--", "true")
    site.copy_errors = {copy: SubmissionUnknown("t", "the controller did not answer") for copy in (1, 2)}
    said = call("find", "t", code=Exit.UNKNOWN).stderr
    advice = "Ask again later, or give up on it: intercede find --abandon t"
    assert f"copies 1-2: submission t: the controller did not answer. {advice}" in " ".join(said.split())
    assert said.count("did not answer") == 1
    assert "2 of 4 jobs of t got through" in said


def test_jobs_of_several_submissions_are_kept_apart(call, tmp_path):
    call("submit", "--tag", "a", "hello")
    call("submit", "--tag", "b", "--on", "ssh+slurm://alice@host", "hello")
    assert [line.split("\t")[0] for line in call("status", "a", "b").stdout.splitlines()] == [
        "JOB",
        "a:0",
        "JOB",
        "b:0",
    ]
    call("output", "a", "b", "--to", "x")
    assert (tmp_path / "here/x/b/0/stdout").exists()
    found = document(call("list", "--json"))["submissions"]
    assert [(each["tag"], each["on"]) for each in found] == [("b", "ssh+slurm://alice@host"), ("a", "local:")]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status"], 2, "nothing was submitted yet"),
        (["status", "nosuch"], 2, "--on"),
        (["status", "@first"], 2, "@first"),
        (["status", "ic1:x"], 2, "ic1:x"),
        (["status", "ic2:local:t:0:1"], 2, "ic2"),
        (["run"], 2, "PROGRAM"),
        (["run", "./none"], 2, "'./none'"),
        (["run", "/"], 0, ""),
        (["run", "-i", "none", "x"], 2, "'none'"),
        (["run", "-e", "secretvalue", "x"], 2, "NAME=VALUE"),
        (["run", "--secret", "a=none", "x"], 2, "none"),
        (["run", "--walltime", "soon", "x"], 2, "walltime"),
        (["run", "--memory", "lots", "x"], 2, "memory"),
        (["run", "-o", "/etc/passwd", "x"], 2, "outputs"),
        (["run", "-n", "0", "x"], 2, "copies"),
        (["run", "--tag", "a b", "x"], 2, "tag"),
        (["run", "--on", "nowhere", "x"], 2, "nowhere"),
        (["run", "--on", "ssh+slurm://a:pw@host", "x"], 2, "password"),
        (["run", "--config", "none.toml", "x"], 2, "none.toml"),
        (["run", "--on", "ssh+slurm://h", "--identity", "none", "x"], 2, "--identity none"),
        (["sweep", "--older-than", "long"], 2, "--older-than"),
        (["list", "--since", "long"], 2, "--since"),
        (["list", "--since", "1000000d"], 2, "--since"),
        (["list", "--since", "1000000000000d"], 2, "--since"),
        (["sweep", "--older-than", "1000000d"], 2, "--older-than"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_what_is_said_to_the_wrong_words(call, words, code, said):
    result = call(*words, code=code)
    assert said in result.stderr
    assert "secretvalue" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnsupportedError("container", "no launcher"), 2),
        (CredentialError("key", "expired"), 3),
        (AuthenticationFailed("host", "denied"), 3),
        (ConnectFailed("host", "no route"), 4),
        (SubmissionRejected("sbatch", "invalid partition"), 5),
        (QueueFull("sbatch", "too many"), 5),
        (SchedulerUnavailable("sbatch", "not found"), 5),
        (TagConflict("tag t", "it was used here for another description"), 2),
    ],
)
def test_a_submission_of_which_nothing_came_is_forgotten(call, site, error, code):
    site.fail = {"submit": error}
    for verb in ("submit", "run"):
        assert str(error) in call(verb, "hello", code=code).stderr
    assert "nothing was submitted" in call("list").stderr


@pytest.mark.parametrize("error", [SubmissionUnknown("t", "cut"), ConnectionLost("host", "cut")])
def test_a_submission_with_unknown_outcome_is_found_again(call, site, error):
    site.fail = {"submit": error}
    call("submit", "--tag", "t", "hello", code=6 if isinstance(error, SubmissionUnknown) else 4)
    ref = JobRef(resource="local", submission="t", copy_index=0, native="7")
    site.jobs[ref] = JobStatus(ref, JobState.RUNNING, source="fake")
    assert "unknown" in call("list").stdout
    assert "t:0\tRUNNING" in call("status").stdout, "the resource was asked"
    assert "unknown" not in call("list").stdout
    assert call("find", "t").stdout == "ic1:local:t:0:7\n"
    assert document(call("find", "t", "--abandon", "--json"))["jobs"][0]["ref"] == "ic1:local:t:0:7"


def test_the_tag_is_noted_before_anything_is_sent(call, site, monkeypatch, tmp_path):
    def die(*_, **__):
        database = sqlite3.connect(tmp_path / "state/intercede/submissions.sqlite3")
        noted.extend(database.execute("SELECT tag, settled FROM submissions").fetchall())
        database.close()
        raise KeyboardInterrupt

    noted: list[tuple[str, int]] = []
    monkeypatch.setattr(FakeElement, "submit", die)
    call("submit", "--tag", "t", "hello", code=130)
    assert noted == [("t", 0)]


def test_copies_that_were_refused(call, site):
    site.copy_errors = {1: QueueFull("sbatch", "too many")}
    result = call("submit", "-n", "2", "--tag", "t", "hello", code=5)
    assert "copy 1: sbatch: too many" in result.stderr
    jobs = document(call("submit", "-n", "2", "--tag", "u", "--json", "hello", code=5))["jobs"]
    assert (jobs[0]["error"], jobs[1]["ref"], jobs[1]["error"]["type"]) == (None, None, "QueueFull")
    assert len(document(call("status", "--json"))["jobs"]) == 1


def test_an_unreachable_resource_is_told_apart(call, site):
    call("submit", "--tag", "t", "hello")
    site.fail = {"status": ConnectFailed("host", "no route"), "cancel": ConnectFailed("host", "no route")}
    found = document(call("status", "--json", code=4))
    assert found["jobs"][0]["state"] == "UNKNOWN"
    assert found["errors"]["local"]["type"] == "ConnectFailed"
    assert "t:0: host: no route" in call("cancel", "t", code=4).stderr


def test_a_reference_from_elsewhere_opens_its_resource(call, site):
    ref = JobRef(resource="ssh+slurm://host:2222", submission="t", copy_index=0, native="7")
    site.jobs[ref] = JobStatus(ref, JobState.RUNNING, source="fake")
    assert document(call("status", "--json", str(ref)))["jobs"][0]["state"] == "RUNNING"


def test_a_tag_from_elsewhere_is_asked_for(call, site):
    ref = JobRef(resource="slurm", submission="t", copy_index=4, native="7")
    site.jobs[ref] = JobStatus(ref, JobState.RUNNING, source="fake")
    assert "t:4\tRUNNING" in call("status", "t", "--on", "slurm:").stdout
    assert "t:4\tRUNNING" in call("status", "t:4").stdout, "remembered from now on"


def test_resources_and_what_is_on_them(call, site, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[resources.hpc]\nurl='ssh+slurm://alice@login/long'\n[resources.bad]\nurl='slurm:'\nqueeu=1")
    result = call("resources", "--config", str(path), code=2)
    assert "hpc\tslurm\tlogin\tlong" in result.stdout
    assert "queeu" in result.stdout
    assert [each["name"] for each in document(call("resources", "--json"))["resources"]] == list(BUILT_IN)
    assert "long*\taccepted\t2d\t?\t?\t3\t1\t0\t0" in call("queues").stdout
    assert document(call("queues", "--json"))["queues"][0]["max_walltime"] == 172800
    call("submit", "--tag", "t", "hello")
    assert "t\t1\t" in call("list", "--on", "local:").stdout
    assert call("sweep", "--older-than", "7d").stdout == "t\n"


def test_what_the_other_side_says_cannot_control_the_terminal(call, site, monkeypatch):
    evil = "\x1b]0;owned\x07[red]bold[/red]\r\u202e"
    site.fail = {"submit": SubmissionRejected("sbatch", evil)}
    result = call("submit", "hello", code=5)
    assert r"\x1b]0;owned\x07[red]bold[/red]\r\u202e" in result.stderr
    site.fail = {}
    call("submit", "--tag", "t", "hello")
    site.jobs = {ref: JobStatus(ref, JobState.FAILED, detail=evil, source="x") for ref in site.jobs}
    assert r"\x1b]0;owned\x07[red]bold[/red]\r\u202e" in call("status").stdout


def test_words_that_are_no_text_survive(call, site):
    odd = os.fsdecode(b"caf\xe9")
    call("submit", "--tag", "t", "--", "hello", odd)
    assert site.descriptions["t"].arguments == (odd,)
    assert r"caf\udce9" in call("list").stdout
    assert document(call("list", "--json"))["submissions"][0]["program"] == r"hello 'caf\udce9'"


def test_what_is_sent_along(call, site, tmp_path):
    here = tmp_path / "here"
    (here / "fit.sh").write_text("#!/bin/sh\n")
    for name in ("data.h5", "a=b", "lost.txt", "hist_1.root"):
        (here / name).write_text("x")
    (here / "sub").mkdir()
    (here / "sub/conf").write_text("x")
    assert "not executable" in call("submit", "./fit.sh", code=2).stderr
    (here / "fit.sh").chmod(0o755)
    words = ("submit", "--tag", "t", "-i", "data.h5", "-i", "in/x=sub/conf", "-i", "a=b", "-i", "sub", "-o", "hist_*")
    more = ("-e", "A=b=c", "--inherit", "LANG", "--native=--x=y", "--cores", "4", "--walltime", "2h", "--memory", "4G")
    result = call(*words, *more, "./fit.sh", "data.h5", "lost.txt", "--conf=sub/conf", "hist_1.root", "-n", "7", ".")
    made = site.descriptions["t"]
    assert (made.executable, made.arguments[-3:]) == ("./fit.sh", ("-n", "7", "."))
    assert {name: path.name for name, path in made.inputs.items()} == {
        "data.h5": "data.h5", "in/x": "conf", "a=b": "a=b", "sub": "sub", "fit.sh": "fit.sh",
    }  # fmt: skip
    assert (made.environment, made.inherit, made.native) == ({"A": "b=c"}, ("LANG",), {"process": ("--x=y",)})
    assert (made.resources.cores, made.resources.memory) == (4, 4 * 1024**3)
    warnings = [line for line in result.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 2
    assert "lost.txt" in warnings[0]
    assert "sub/conf under the name in/x" in warnings[1]


@pytest.mark.parametrize("scheme", sorted(BUILT_IN | GRID))
def test_native_words_are_those_of_the_place(call, site, scheme):
    """Whatever the place is, what is said for it reaches it."""
    url = f"{scheme}://ce.example.org" if scheme in GRID else f"{scheme}:"
    call("submit", "--tag", "t", "--on", url, "--native", "word", "hello")
    assert list(site.descriptions["t"].native.values()) == [("word",)]


def test_secrets_come_from_files(call, site, tmp_path):
    (tmp_path / "here/token").write_bytes(b"s3cret")
    call("submit", "--tag", "t", "--secret", "t=token", "hello")
    assert site.descriptions["t"].secrets["t"].get_secret_value() == b"s3cret"
    for path in (tmp_path / "state").rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes()


def test_a_refused_submission_does_not_take_another_processes_record_with_it(call, tmp_path):
    ours, theirs = Memory(), Memory()
    refused = ours.begin("rc1", Access(on="slurm:"), "slurm", "true", 1)
    queued = theirs.begin("rc1", Access(on="slurm:"), "slurm", "true", 1)
    ours.forget(refused)
    theirs.settle(queued.number, {0: "ic1:slurm:rc1:0:77"})
    ours.forget(refused)
    (known,) = ours.with_tag("rc1")
    assert known.settled
    assert known.jobs[0].ref == "ic1:slurm:rc1:0:77"
    assert not ours.complained


def test_a_tag_in_use_is_not_forgotten_when_it_is_refused(call, site):
    call("submit", "--tag", "t", "-n", "3", "hello")
    site.fail = {"submit": TagConflict("t", "another description")}
    call("submit", "--tag", "t", "other", code=2)
    (known,) = document(call("list", "--json"))["submissions"]
    assert (known["program"], known["copies"], len(known["jobs"]), known["complete"]) == ("hello", 3, 3, True)


def test_a_repeat_that_dies_has_the_resource_asked(call, site, monkeypatch):
    site.copy_errors = {1: QueueFull("sbatch", "too many")}
    call("submit", "--tag", "t", "-n", "2", "hello", code=5)
    site.fail = {"submit": KeyboardInterrupt()}
    call("submit", "--tag", "t", "-n", "2", "hello", code=130)
    site.copy_errors = {}
    assert len(document(call("status", "t", "--json"))["jobs"]) == 2


def test_what_is_not_known_yet_is_asked_for_again(call, site):
    site.fail = {"submit": SubmissionUnknown("t", "killed")}
    call("submit", "-n", "2", "--tag", "t", "hello", code=Exit.UNKNOWN)
    refs = [JobRef(resource="local", submission="t", copy_index=copy, native=str(7 + copy)) for copy in range(2)]
    site.jobs = {ref: JobStatus(ref, JobState.RUNNING, source="fake") for ref in refs}
    site.copy_errors = dict.fromkeys(range(2), SubmissionUnknown("t", "it began"))
    for verb in ("status", "cancel", "output"):
        said = call(verb, "t", code=Exit.UNKNOWN).stderr
        assert "find --abandon t" in said, "nothing is known of it, and that is no success"
    del site.copy_errors[0]
    call("find", "t", code=Exit.UNKNOWN)
    result = call("status", "t", code=Exit.UNKNOWN)
    assert result.stdout.splitlines()[1].startswith("t:0\tRUNNING")
    assert "warning: submission t: it began" in result.stderr
    assert call("cancel", "t", code=Exit.UNKNOWN).stdout == "1 cancelled\n"
    site.copy_errors = {}
    assert call("cancel", "t").stdout == "1 cancelled, 1 needed nothing\n"


def test_what_was_given_up_is_settled(call, site):
    site.fail = {"submit": SubmissionUnknown("t", "killed")}
    call("submit", "-n", "2", "--tag", "t", "hello", code=Exit.UNKNOWN)
    refs = [JobRef(resource="local", submission="t", copy_index=copy, native="7") for copy in range(2)]
    site.jobs = {ref: JobStatus(ref, JobState.RUNNING, source="fake") for ref in refs}
    site.copy_errors = {1: SubmissionUnknown("t", "this part was abandoned")}
    call("status", "t", code=Exit.UNKNOWN)
    for words in (("--abandon",), ()):
        call("find", "t", *words, code=Exit.UNKNOWN)
        call("status", "t")


def test_a_tag_that_is_used_again_stands_for_the_new_jobs(call, site):
    call("submit", "-n", "3", "--tag", "t", "old")
    call("watch", "t")
    call("purge", "t")
    site.jobs = {}
    for copy in range(2):
        ref = JobRef(resource="local", submission="t", copy_index=copy, native=str(900 + copy))
        site.jobs[ref] = JobStatus(ref, JobState.RUNNING, source="fake")
    Memory().settle(Memory().begin("t", Access(), "local", "new", 2).number, by_copy(site.jobs))
    Memory().describe(1, "new", 2)
    assert [job["state"] for job in document(call("status", "t", "--json"))["jobs"]] == ["RUNNING"] * 2
    (known,) = document(call("list", "--json"))["submissions"]
    assert (known["program"], known["copies"], known["purged"]) == ("new", 2, False)


def test_the_end_of_an_earlier_job_is_not_that_of_a_new_one(call, site):
    call("submit", "--tag", "t", "old")
    call("watch", "t")
    call("purge", "t")
    site.fail = {"submit": SubmissionUnknown("t", "cut")}
    call("submit", "--tag", "t", "new", code=Exit.UNKNOWN)
    ref = JobRef(resource="local", submission="t", copy_index=0, native="900")
    site.jobs = {ref: JobStatus(ref, JobState.RUNNING, source="fake")}
    assert "RUNNING" in call("status", "t").stdout


@pytest.mark.parametrize("method", ["settle", "saw", "purged"])
def test_a_full_disk_loses_no_jobs(call, site, monkeypatch, method):
    def full(self, *args, **more):
        with self._open():
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Memory, method, memory._advisory(full))
    result = call("submit", "--tag", "t", "hello")
    assert result.stdout == "t\n"
    assert ("could not be noted" in result.stderr) == (method == "settle")
    result = call("run", "-n", "2", "-o", "x*", "--tag", "u", "hello")
    assert "2 SUCCEEDED; output in ic-u/" in result.stderr
    assert result.stderr.count("disk is full") == 1
    site.jobs = {ref: JobStatus(ref, JobState.RUNNING, source="fake") for ref in site.jobs}
    for verb in ("status", "find", "cancel", "purge"):
        call(verb, "t")
    call("sweep", "--older-than", "1d")
    assert site.calls.count("purge") == 2


def test_nothing_is_queued_that_cannot_be_noted_first(call, site, tmp_path):
    (tmp_path / "state").write_text("no directory")
    assert "memory of submissions" in call("submit", "hello", code=2).stderr
    assert site.calls == []


def test_the_place_that_is_named_counts(call, site):
    call("submit", "--tag", "a", "--on", "slurm:", "hello")
    call("submit", "--tag", "b", "hello")
    assert call("status", "--on", "slurm:", "@last").stdout.splitlines()[1].startswith("a:0")
    assert call("status", "@last").stdout.splitlines()[1].startswith("b:0")
    assert "nothing was submitted to pbs: yet" in call("cancel", "--on", "pbs:", "@last", code=2).stderr


def test_what_is_said_now_of_the_access_counts(call, site):
    call("submit", "--tag", "t", "hello")
    for words in (("status", "t"), ("find", "t"), ("status", "ic1:local:t:0:100")):
        assert "none.toml" in call(*words, "--config", "none.toml", code=2).stderr
    call("status", "t", "--proxy-file", "moved")


def test_the_outputs_of_two_resources_are_not_mixed(call, site):
    refs = [JobRef(resource=name, submission="same", copy_index=0, native="1") for name in ("local", "slurm")]
    site.jobs = {ref: JobStatus(ref, JobState.SUCCEEDED, source="fake") for ref in refs}
    said = call("output", *map(str, refs), "--to", "d", code=2).stderr
    assert "to local and to slurm" in said
    assert "fetch_output" not in site.calls


def test_the_memory_is_private(call, tmp_path):
    call("submit", "hello")
    path = tmp_path / "state/intercede/submissions.sqlite3"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_memory_of_a_newer_release_is_not_touched(call, tmp_path):
    call("submit", "hello")
    database = sqlite3.connect(tmp_path / "state/intercede/submissions.sqlite3")
    database.execute("PRAGMA user_version = 99")
    database.close()
    assert "newer release" in call("status", code=2).stderr


def test_an_error_of_our_own_has_no_traceback(call, site):
    site.fail = {"submit": ZeroDivisionError("what")}
    result = call("submit", "hello", code=70)
    assert "Traceback" not in result.output
    assert "--debug" in result.stderr
    assert "INTERCEDE_DEBUG" in call("--help").stdout


def test_version_and_help(call):
    assert call("--version").stdout.startswith("intercede 0.")
    assert "Exit status: 0 done" in " ".join(call("--help").stdout.split())
    assert list(MEANING) == list(Exit), "every status is documented"
    assert "Default: this machine." in " ".join(call("status", "-h").stdout.replace("│", "").split())
    for verb in ("run", "submit", "status", "watch", "logs", "output", "cancel", "release", "purge", "find", "list",
                 "sweep", "queues", "resources"):  # fmt: skip
        assert "Usage" in call(verb, "-h").stdout


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (100, "1m40s"), (7500, "2h5m"), (93600, "1d2h"), (-5, "0s")],
)
def test_spans_for_people(seconds, said):
    assert screen.span(timedelta(seconds=seconds)) == said
    assert screen.ago(datetime.now(UTC)) == "now"
