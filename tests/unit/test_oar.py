"""OAR's shell functions and parsers on what 2.5.9 and 2.6.1 said; the expected values are written by hand.

Stand-ins for its commands print the recordings; the functions run in a real shell.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.errors import (
    InvalidReference,
    ParseError,
    SchedulerUnavailable,
    SubmissionRejected,
    UnsupportedError,
)
from intercede.model import JobDescription, JobRef, Resources
from intercede.schedulers.oar import OAR
from intercede.settings import ResourceSettings
from intercede.steps import Completed, replay
from tests.unit.stand_ins import SHELL, TRANSCRIPTS, Shell, calls, part, shell_with

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ("oar-2.5", "oar-2.6")
SETTINGS = ResourceSettings(id="r", scheduler="oar")
SCHEDULER = OAR()


@pytest.fixture(params=VERSIONS)
def where(request: pytest.FixtureRequest) -> Path:
    """The recordings of one version."""
    return TRANSCRIPTS / request.param


@pytest.fixture
def shell(where: Path, tmp_path: Path) -> Shell:
    for name in ("t", "it's 100% $HOME"):
        (tmp_path / name / "log").mkdir(parents=True)
    marking = f"mark() {{ echo '<marked>' >>'{tmp_path}/calls'; }}\nic_store=/store"
    return shell_with(where, tmp_path, f"{marking}\n{SCHEDULER.shell}")


def numbered(where: Path, name: str) -> int:
    """The number of the array that a recorded oarsub made."""
    return int(re.findall(r"^OAR_(?:ARRAY|JOB)_ID=(\d+)$", part(where, name, "stdout"), re.MULTILINE)[-1])


@pytest.mark.parametrize("name", ["submit_array", "submit_one", "submit_walltime"])
def test_of_an_answer_the_number_is_kept(shell: Shell, where: Path, tmp_path: Path, name: str) -> None:
    done = shell(f"ic_submit {tmp_path}/t ic-t 0 4", oarsub=name)
    assert (done.returncode, done.stdout) == (0, f"{numbered(where, name)}\n")
    assert SCHEDULER.native(done.stdout, 2) == f"{numbered(where, name)}.3"


def test_a_job_with_a_number_is_queued_whatever_else_is_said(shell: Shell, where: Path, tmp_path: Path) -> None:
    assert part(where, "submit_noserver", "exit").strip() == "9"
    assert "Job is killed" in part(where, "submit_noserver", "stderr")
    done = shell(f"ic_submit {tmp_path}/t ic-t 0 2", oarsub="submit_noserver")
    assert (done.returncode, done.stdout) == (0, f"{numbered(where, 'submit_noserver')}\n")


def test_hostile_directories(shell: Shell, tmp_path: Path) -> None:
    shell(f'ic_submit "{tmp_path}/it\'s 100% \\$HOME" ic-t 3 2 -q long', oarsub="submit_array")
    (call,) = calls(tmp_path)
    assert "<-d></><-O></dev/null>" in call
    here = rf"{tmp_path}/it\'s\ 100\%\ \$HOME"
    assert f"<-q><long><exec /bin/sh {here}/runner {here} 3 ic-" in call
    shell(f"ic_submit {tmp_path}/t ic-t 0 1", oarsub="submit_array")
    assert f"<-d><{tmp_path}/t>" in calls(tmp_path)[-1]


@pytest.mark.parametrize(
    ("name", "wanted", "field"),
    [
        ("unknown_queue", "nosuch", "resources.queue"),
        ("too_large", "not enough resources", "resources.cores or nodes"),
        ("too_long", "at most 600 s", "resources.walltime"),
        ("bad_option", "no-such-option", "oarsub"),
    ],
)
def test_refusals(shell: Shell, tmp_path: Path, name: str, wanted: str, field: str) -> None:
    done = shell(f"ic_submit {tmp_path}/t ic-t 0 1", oarsub=name)
    assert done.returncode not in {0, 127}
    assert shell('ic_refused "$(cat)"', stdin=done.stdout).returncode == 0
    error = SCHEDULER.refusal(done.stdout, done.returncode)
    assert type(error) is SubmissionRejected
    assert wanted in str(error)
    assert field in str(error)
    assert "Set default" not in str(error)


@pytest.mark.parametrize("said", ["", "oarsub: exit 143", "oarsub: exit 255", "DBD::Pg::db do failed\noarsub: exit 8"])
def test_what_does_not_say_that_nothing_was_queued(shell: Shell, said: str) -> None:
    assert shell('ic_refused "$(cat)"', stdin=said).returncode == 1


def test_an_answer_without_a_number() -> None:
    with pytest.raises(ParseError):
        SCHEDULER.native("OAR_JOB_ID=-5\n", 0)


def test_queue(shell: Shell, where: Path, tmp_path: Path) -> None:
    done = shell("ic_queue 1,2", oarstat="oarstat_queue")
    assert done.returncode == 0
    held, deleted, waiting = (numbered(where, f"submit_{each}") for each in ("one", "deleted", "waiting"))
    found = SCHEDULER.read_queue(done.stdout)
    assert {native: (each.word, each.state) for native, each in found.items()} == {
        f"{held}.1": ("Hold", JobState.HELD),
        f"{deleted}.1": ("Running", JobState.RUNNING),
        f"{deleted}.2": ("Running", JobState.RUNNING),
        f"{waiting}.1": ("Waiting", JobState.QUEUED),
        f"{waiting}.2": ("Waiting", JobState.QUEUED),
    }
    runs, waits = found[f"{deleted}.1"], found[f"{waiting}.1"]
    assert (runs.name, runs.queue, runs.node) == ("ic-del", "default", "localhost")
    assert runs.started is not None
    assert (waits.started, waits.ended, waits.node) == (None, None, None)
    asked = "<oarstat><-J><--sql><array_id IN (1,2) AND state NOT IN ('Terminated', 'Error')>"
    assert calls(tmp_path) == [asked]


def test_history(shell: Shell, where: Path) -> None:
    done = shell("ic_history", stdin="t 0-3 2.1 absent\n", oarstat="oarstat_history")
    assert done.returncode == 0
    names = ("array", "one", "walltime", "deleted", "nowhere")
    ends, held, long, deleted, nowhere = (numbered(where, f"submit_{each}") for each in names)
    found = SCHEDULER.read_history(done.stdout)
    assert {native: each[1:5] for native, each in found.items()} == {
        f"{ends}.1": (JobState.SUCCEEDED, None, 0, None),
        f"{ends}.2": (JobState.FAILED, None, 3, None),
        f"{ends}.3": (JobState.FAILED, None, None, 9),
        f"{ends}.4": (JobState.FAILED, None, 137, None),
        f"{held}.1": (JobState.CANCELLED, None, None, None),
        f"{long}.1": (JobState.FAILED, Reason.WALLTIME, None, None),
        f"{deleted}.1": (JobState.CANCELLED, None, None, None),
        f"{nowhere}.1": (JobState.FAILED, Reason.STAGING, None, None),
    }
    assert f"User bob requested to frag the job {held}" in found[f"{held}.1"].detail
    assert "Cannot go into the working directory /nonexistent" in found[f"{nowhere}.1"].detail
    assert found[f"{held}.1"].started is None
    assert found[f"{ends}.1"].ended is not None


def test_jobs_that_are_not_there_are_no_output_at_all(shell: Shell) -> None:
    done = shell("ic_queue 999999", oarstat="oarstat_unknown")
    assert (done.returncode, done.stdout) == (0, "")


def test_history_asks_by_ranges(shell: Shell, tmp_path: Path) -> None:
    lines = "t 0-4 7.1 absent\nt 5 7.6 absent\nt 9 7.10 absent\nu 0 8.1 absent\n"
    shell("ic_history", stdin=lines, oarstat="oarstat_unknown")
    wanted = (
        "<oarstat><-J><-f><--sql><(array_id = 7 AND array_index BETWEEN 1 AND 6) OR (array_id = 7 AND array_index "
        "BETWEEN 10 AND 10) OR (array_id = 8 AND array_index BETWEEN 1 AND 1)>"
    )
    assert calls(tmp_path) == [wanted]


def test_orders_go_to_jobs_of_that_name_alone(shell: Shell, tmp_path: Path, where: Path) -> None:
    array = numbered(where, "submit_deleted")
    done = shell(f"ic_cancel ic-other t 0 {array} 1", oarstat="oarstat_one", oardel="oardel_running")
    assert (done.returncode, done.stdout) == (3, "the job of that number is not ic-other\n")
    assert not any("oardel" in call for call in calls(tmp_path))
    done = shell(f"ic_cancel ic-del t 0 {array} 1-2,5", oarstat="oarstat_one", oardel="oardel_running")
    assert (done.returncode, done.stdout) == (0, "")
    marked, ordered = calls(tmp_path)[-2:]
    assert marked == "<marked>"
    assert "job_name = 'ic-del'" in ordered
    wanted = f"(array_id = {array} AND array_index BETWEEN 1 AND 2) OR (array_id = {array} AND array_index BETWEEN 5"
    assert wanted in ordered


def test_orders_for_jobs_that_are_gone_are_not_needed(shell: Shell) -> None:
    assert shell("ic_cancel ic-del t 0 7 1", oarstat="oarstat_unknown").returncode == 0


def test_what_oardel_cannot_do_is_said(shell: Shell) -> None:
    done = shell("ic_cancel ic-del t 0 7 1", oarstat="oarstat_one", oardel="oardel_again")
    assert done.returncode == 1
    assert done.stdout == "Cannot frag 999999 ; You are not the right user.\n"


def test_a_launch_that_failed_is_not_the_end_until_oar_has_looked_at_it() -> None:
    row = "5.1|Error|ic-t|default|n1|1795616340|0|1795616346||SWITCH_INTO_ERROR_STATE,NO,x;PROLOGUE_ERROR,{},no luck"
    (waits,) = SCHEDULER.read_history(row.format("YES")).values()
    assert (waits.state, waits.ended) == (JobState.QUEUED, None)
    (over,) = SCHEDULER.read_history(row.format("NO")).values()
    assert (over.state, over.reason) == (JobState.FAILED, Reason.NODE)
    assert over.detail == "it could not be started: no luck"


def test_codes_that_stand_for_others_or_are_not_told() -> None:
    row = "5.1|Terminated|ic-t|default|n1|1795616340|1795616341|1795616346|{}|SWITCH_INTO_TERMINATE_STATE,NO,x"
    for code in ("", str(98 << 8)):
        (seen,) = SCHEDULER.read_history(row.format(code)).values()
        assert (seen.state, seen.exit_code, seen.by_itself) == (JobState.FAILED, None, True)


def test_states_that_nobody_knows() -> None:
    (seen,) = SCHEDULER.read_queue("5.1|Sleeping|ic-t|default|n1|1795616340|0|0||").values()
    assert (seen.word, seen.state) == ("Sleeping", JobState.UNKNOWN)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("", "0 7 1 1"),
        ("v1 2 1795616340 - - - - - n1 - 7", "0 7 3 0"),
        ("v1 1 1795616340 1795616341 3 - - 0.1 n1 - 7", "0 7 2 0"),
        ("v1 1 1795616340 - - - - - n1 - 6", "0 7 2 1"),
    ],
    ids=["never started", "the same job again", "the same job after its end", "a job of another array"],
)
@pytest.mark.parametrize("requeue", [False, True])
def test_who_may_start_a_copy_again(tmp_path: Path, record: str, said: str, requeue: bool) -> None:
    (tmp_path / "c" / "5").mkdir(parents=True)
    (tmp_path / "log").mkdir()
    if record:
        (tmp_path / "c" / "5" / "record").write_text(f"{record}\n")
    if requeue:
        (tmp_path / "requeue").write_text("1\n")
    line = f'ic_identify "{tmp_path}" 5 ic-1-1; ic_again; echo "$ic_index $ic_native $ic_attempt $?"'
    given = {"PATH": "/usr/bin:/bin", "OAR_ARRAY_ID": "7", "OAR_ARRAY_INDEX": "1"}
    done = subprocess.run([SHELL, "-c", f"{SCHEDULER.job_shell}\n{line}"], env=given, check=False)
    # of a start that has no end, nobody knows whether it is over
    refused = record.startswith("v1 2") and not requeue
    said = "OAR started this job again, which it was not to do" if refused else said
    assert (done.returncode, (tmp_path / "log" / "5.0").read_text()) == (75 if refused else 0, f"{said}\n")


def test_a_job_without_a_name_is_not_ours() -> None:
    (seen,) = SCHEDULER.read_history("5.1|Terminated||default|n1|1795616340|1795616341|1795616346|0|").values()
    assert seen.name == "?"


def test_words() -> None:
    wanted = Resources(cores=5, nodes=2, walltime="90m", queue="long", account="p")
    description = JobDescription(
        executable="true", resources=wanted, requeue=True, native={"oar": ("-t", "besteffort")}
    )
    assert SCHEDULER.words(description, SETTINGS) == (
        "-l", "/nodes=2/resource_id=3,walltime=1:30:0", "-q", "long", "--project", "p", "-t", "idempotent",
        "-t", "besteffort",
    )  # fmt: skip
    own = JobDescription(executable="true", native={"oar": ("-l", "/host=1")})
    assert SCHEDULER.words(own, SETTINGS) == ("-l", "/host=1")
    with pytest.raises(UnsupportedError):
        SCHEDULER.words(own.model_copy(update={"resources": Resources(cores=2)}), SETTINGS)
    for resources in (Resources(memory="1G"), Resources(gpus=1)):
        with pytest.raises(UnsupportedError):
            SCHEDULER.words(JobDescription(executable="true", resources=resources), SETTINGS)


def test_references() -> None:
    refs = [JobRef("r", "t", 10 + index, f"7.{index + 1}") for index in (0, 1, 4)]
    assert [SCHEDULER.first_of(ref) for ref in refs] == [10, 10, 10]
    assert SCHEDULER.order_words(refs) == ("7", "1-2,5")
    assert SCHEDULER.queue_words(["7.1", "7.2", "8.1"]) == ("7,8",)
    assert SCHEDULER.queue_words(f"{each}.1" for each in range(501)) == ("-",)
    for native in ("7", "7.0", "7.12", "x.1", "7.1;"):
        with pytest.raises(InvalidReference):
            SCHEDULER.first_of(JobRef("r", "t", 10, native))


def test_capacity(where: Path) -> None:
    answers = (
        Completed(0, part(where, "oarnodes", "stdout").encode(), b""),
        Completed(0, part(where, "oarstat_queue", "stdout").encode(), b""),
        Completed(0, b"bob\n", b""),
    )
    (queue,) = replay(SCHEDULER.capacity(SETTINGS), [answers])
    assert (queue.name, queue.is_default, queue.accepting) == ("default", True, True)
    assert (queue.waiting, queue.running, queue.ours_waiting, queue.ours_running) == (3, 2, 3, 2)
    assert queue.cores == 2
    with pytest.raises(SchedulerUnavailable):
        replay(SCHEDULER.capacity(SETTINGS), [(Completed(25, b"", b"DB connection error, exiting."), *answers[1:])])
