"""HTCondor's shell functions and parsers on what 23.9.6 and 25.14.1 said; the expected values are written by hand.

Stand-ins for its commands print the recordings; the functions run in a real shell.
"""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from intercede.answers import JobState, Reason
from intercede.errors import (
    ConfigurationError,
    InvalidReference,
    ParseError,
    QueueFull,
    SchedulerUnavailable,
    SubmissionRejected,
    UnsupportedError,
)
from intercede.model import JobDescription, JobRef, Resources
from intercede.schedulers.htcondor import AGAIN, LATE, HTCondor
from intercede.settings import ResourceSettings
from intercede.steps import Completed, replay
from tests.unit.stand_ins import SHELL, TRANSCRIPTS, Shell, calls, levels, part, said, shell_with

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.workarea.scheduler import Observation

HT = HTCondor()
SETTINGS = ResourceSettings(id="r", scheduler="htcondor")


@pytest.fixture(params=["htcondor-23.9", "htcondor-25.14"])
def where(request: pytest.FixtureRequest) -> Path:
    """The recordings of one version."""
    return TRANSCRIPTS / request.param


@pytest.fixture
def shell(where: Path, tmp_path: Path) -> Shell:
    return shell_with(where, tmp_path, f"mark() {{ echo marked; }}\n{HT.shell}")


def by_kind(found: dict[str, Observation]) -> list[tuple[str, JobState, Reason | None, int | None, int | None]]:
    """What was said, in the order of clusters and processes, whose numbers differ between recordings."""
    keys = sorted(found, key=lambda native: tuple(map(int, native.split("."))))
    return [(each.word, each.state, each.reason, each.exit_code, each.signal) for each in map(found.__getitem__, keys)]


def test_queue(shell: Shell) -> None:
    done = shell("ic_queue 1 2", condor_q="queue")
    assert done.returncode == 0
    found = HT.read_queue(done.stdout)
    assert by_kind(found) == [
        ("Running", JobState.RUNNING, None, None, None),
        ("Running", JobState.RUNNING, None, None, None),
        ("Idle", JobState.QUEUED, None, None, None),
        ("Held", JobState.HELD, None, None, None),
        ("Held", JobState.HELD, Reason.STAGING, 5, None),
    ]
    running, _, idle, held, missing = found.values()
    assert (running.node, running.name, running.detail) == ("execute.test.local", "ic-rec", "")
    assert running.submitted is not None
    assert running.started is not None
    assert running.submitted <= running.started
    assert (idle.node, idle.started, idle.detail) == (None, None, "no match found")
    assert held.detail == "held (15): submitted on hold at user's request"
    assert missing.detail.startswith("held (12.2): Transfer output files failure at execution point")
    assert "No such file or directory" in missing.detail


def test_history(shell: Shell) -> None:
    done = shell("ic_history", "t 0-3 7.0 absent\n", condor_history="history")
    assert done.returncode == 0
    found = HT.read_history(done.stdout)
    assert by_kind(found) == [
        ("Completed", JobState.SUCCEEDED, None, 0, None),
        ("Completed", JobState.FAILED, None, 7, None),
        ("Completed", JobState.FAILED, None, None, 9),
        ("Completed", JobState.FAILED, None, None, 15),
        ("Removed", JobState.CANCELLED, None, None, None),
        ("Removed", JobState.CANCELLED, None, None, None),
        ("Removed", JobState.FAILED, Reason.NODE, None, None),
        ("Removed", JobState.FAILED, None, None, None),
    ]
    details = {each.detail for each in found.values()}
    policy = "The job attribute PeriodicRemove expression 'JobStatus == 2' evaluated to TRUE"
    assert details == {"", "via condor_rm (by user alice)", AGAIN, policy}
    assert all(each.ended and each.started and each.started <= each.ended for each in found.values())


def test_history_is_asked_for_so_many_jobs_and_no_more(shell: Shell, tmp_path: Path) -> None:
    wanted = "a 0-3 7.0 absent\na 4 7.4 absent\na 9 7.9 absent\nb 2 8.2 ended\n"
    done = shell("ic_history", wanted, condor_history="history_nothing")
    assert (done.returncode, done.stdout) == (0, "")
    terms = "(((ClusterId == 7 && ProcId >= 0 && ProcId <= 4) || (ClusterId == 7 && ProcId >= 9 && ProcId <= 9)) || "
    terms += "(ClusterId == 8 && ProcId >= 2 && ProcId <= 2))"
    assert f"<-constraint><{terms}><-match><7><-af>" in calls(tmp_path)[0]
    # a word may not be longer than 128 KiB
    wanted = "".join(f"a {index} {7 + index % 4}.{index} absent\n" for index in range(0, 20000, 2))
    assert shell("ic_history", wanted, condor_history="history_nothing").returncode == 0
    assert "<-constraint><member(ClusterId, {7, 9})><-match><1000000000><-af>" in calls(tmp_path)[1]


@pytest.mark.parametrize("native", ["7.{}", "{}.0"])
def test_history_of_many_that_are_scattered(shell: Shell, tmp_path: Path, native: str) -> None:
    """`a || b || c` of more than 395 terms is true of no job (25.14.1), without a word."""
    wanted = "".join(f"a {index} {native.format(index)} absent\n" for index in range(1, 2000, 2))
    assert shell("ic_history", wanted, condor_history="history_nothing").returncode == 0
    asked = calls(tmp_path)[0].split("><")[2]
    assert (asked.count("ClusterId =="), len(asked) < 128 * 1024) == (1000, True)
    assert levels(asked) < 50


def test_daemon_that_does_not_answer(shell: Shell, where: Path) -> None:
    done = shell("ic_queue 1", condor_q="queue_down")
    assert done.returncode != 0
    assert "condor_schedd is not" in done.stdout
    done = shell("ic_cancel ic-t t 0 1 0", condor_q="queue_down", condor_rm="rm_down")
    assert done.returncode == 1
    assert "marked" not in done.stdout
    assert isinstance(HT.refusal(said(where, "submit_down"), 1), SchedulerUnavailable)


def test_cancel_and_release_reach_jobs_of_that_name_alone(shell: Shell, tmp_path: Path) -> None:
    done = shell("ic_cancel ic-rec rec 0,2-3 7 0,2-3", condor_q="names", condor_rm="rm")
    assert (done.returncode, done.stdout) == (0, "marked\n")
    procs = "((ProcId >= 0 && ProcId <= 0) || (ProcId >= 2 && ProcId <= 3))"
    assert calls(tmp_path)[-1] == f'<condor_rm><-constraint><IntercedeName == "ic-rec" && ClusterId == 7 && {procs}>'
    done = shell("ic_release ic-rec 7 0", condor_q="names", condor_release="rm")
    assert done.returncode == 0
    assert calls(tmp_path)[-1].endswith("(ProcId >= 0 && ProcId <= 0) && JobStatus == 5>")
    before = len(calls(tmp_path))
    done = shell("ic_cancel ic-other other 0 7 0", condor_q="names", condor_rm="rm")
    assert done.returncode == 3
    assert done.stdout == "the job of that number is not ic-other\n"
    assert [call.split(">")[0] for call in calls(tmp_path)[before:]] == ["<condor_q"]


def test_cancel_of_every_other_of_many(shell: Shell, tmp_path: Path) -> None:
    odd = ",".join(map(str, range(1, 5002, 2)))
    assert shell(f"ic_cancel ic-rec rec {odd} 7 {odd}", condor_q="names", condor_rm="rm").stdout == "marked\n"
    orders = [call for call in calls(tmp_path) if call.startswith("<condor_rm>")]
    assert [order.count("ProcId >=") for order in orders] == [1000, 1000, 501]
    assert all(
        order.startswith('<condor_rm><-constraint><IntercedeName == "ic-rec" && ClusterId == 7 && (')
        for order in orders
    )
    assert all(order.endswith(")>") for order in orders)
    assert max(levels(order) for order in orders) < 50


def test_of_a_submission_the_numbers_alone_are_kept(tmp_path: Path) -> None:
    """Warnings on stderr come with exit 0; of a failure all is kept."""
    (tmp_path / "t" / "log").mkdir(parents=True)
    (tmp_path / "t" / "size").write_text("2 2\n")
    for code, kept in ((0, "7.0 - 7.1\n"), (1, "7.0 - 7.1\nWARNING: one\n")):
        stand_in = f"condor_submit() {{ echo 7.0 - 7.1; echo WARNING: one >&2; return {code}; }}"
        program = f"{HT.shell}\n{stand_in}\nic_submit {tmp_path}/t ic-t 0 2 'request_cpus = 1'\n"
        done = subprocess.run([SHELL, "-c", program], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, kept, "")
    assert "request_cpus = 1\nqueue copy, own from (\n0 \n1 \n)\n" in (tmp_path / "t" / "submit.0").read_text()


def test_cancel_of_what_is_not_there(shell: Shell) -> None:
    done = shell("ic_cancel ic-rec rec 0 7 0", condor_q="history_nothing", condor_rm="rm_nothing")
    assert (done.returncode, done.stdout) == (0, "")
    # it ended between the two questions
    done = shell("ic_cancel ic-rec rec 0 7 0", condor_q="names", condor_rm="rm_nothing")
    assert (done.returncode, done.stdout) == (0, "marked\n")


@pytest.mark.parametrize("name", ["bad_memory", "bad_syntax", "submit_down"])
def test_refusals_mean_that_nothing_was_queued(shell: Shell, where: Path, name: str) -> None:
    assert part(where, name, "exit") == "1\n"
    text = said(where, name).replace("'", "")
    assert shell(f"ic_refused '{text}'").returncode == 0
    assert shell("ic_refused 'ERROR: Failed to commit job submission into the queue.'").returncode != 0
    assert shell("ic_refused ''").returncode != 0


def test_refusals_name_the_field(where: Path) -> None:
    error = HT.refusal(said(where, "bad_memory"), 1)
    assert isinstance(error, SubmissionRejected)
    assert "resources.memory" in str(error)
    full = "ERROR: Number of submitted jobs would exceed MAX_JOBS_PER_OWNER"
    assert isinstance(HT.refusal(full, 1), QueueFull)


def test_identifiers(where: Path) -> None:
    answer = said(where, "submit")
    cluster = answer.split(".")[0]
    assert HT.native(f"WARNING: of the site\n{answer}", 3) == f"{cluster}.3"
    assert HT.native("12.0", 0) == "12.0"
    for text in ("", "ERROR: no", "12", "12.0 - ", "x.0 - x.1"):
        with pytest.raises(ParseError):
            HT.native(text, 0)
    ref = JobRef(resource="r", submission="t", copy_index=7, native="12.3")
    assert HT.first_of(ref) == 4
    for native in ("12", "12.8", "x", "12.3.4", "-rf"):
        with pytest.raises(InvalidReference):
            HT.first_of(ref._replace(native=native))
    refs = [ref._replace(copy_index=index, native=f"12.{index}") for index in (0, 1, 2, 5)]
    assert HT.order_words(refs) == ("12", "0-2,5")
    assert HT.queue_words(["12.0", "12.1", "13.0"]) == ("12", "13")
    assert len(HT.queue_words(f"{index}.0" for index in range(300))) == 300
    assert HT.queue_words(f"{index}.0" for index in range(301)) == ("-",)


def lines(**fields: object) -> list[str]:
    return list(HT.words(JobDescription.model_validate({"executable": "true", **fields}), SETTINGS))


def test_words_of_resources() -> None:
    wanted = Resources(cores=4, memory="1500k", gpus=2, account="group_a", walltime=timedelta(minutes=1.5))
    found = lines(resources=wanted, native={"htcondor": ("+Site = 1",)})
    assert found[0] == "request_cpus = 4"
    assert found[-1] == "+Site = 1"
    assert {"request_memory = 2", "request_gpus = 2", "accounting_group = group_a"} <= set(found)
    (policy,) = [line for line in found if line.startswith("periodic_remove")]
    assert "JobStatus =?= 1 && JobCurrentStartExecutingDate =!= undefined" in policy
    assert policy.endswith("time() - JobCurrentStartExecutingDate > 210)")
    (why,) = [line for line in found if "PeriodicRemoveReason" in line]
    assert AGAIN in why
    assert LATE in why
    assert [line for line in lines(requeue=True) if line.startswith(("requirements", "periodic"))] == []


def test_an_image_is_the_container_universe_s_where_that_is_configured() -> None:
    there = ResourceSettings(id="ht", scheduler="htcondor", container_universe=True)
    for image, more in (("docker://debian:12", []), ("/srv/images/tiny", ["transfer_container = false"])):
        job = JobDescription(executable="true", container=image, native={"htcondor": ("+Site = 1",)})
        wanted = ["universe = container", f"container_image = {image}", *more, "+Site = 1"]
        assert list(HT.words(job, there))[-len(wanted) :] == wanted
        assert "container" not in "".join(HT.words(job, SETTINGS))
    with pytest.raises(ConfigurationError, match="container"):
        HT.words(JobDescription(executable="true", container="x\nqueue 5"), there)
    for scheduler, more in (("slurm", {}), ("htcondor", {"container_launcher": ("x", "{image}")})):
        with pytest.raises(ValidationError, match="container_universe"):
            ResourceSettings.model_validate({"id": "s", "scheduler": scheduler, "container_universe": True, **more})


def test_words_that_cannot_be_honoured() -> None:
    for field, resources in (("queue", {"queue": "long"}), ("nodes", {"nodes": 2})):
        with pytest.raises(UnsupportedError, match=field):
            lines(resources=resources)
    for line in ("queue 5", " Queue", "a = 1\nqueue 2"):
        with pytest.raises(ConfigurationError, match=r"native\.htcondor"):
            lines(native={"htcondor": (line,)})


def row(status: int, **fields: object) -> Observation:
    names = "name hold subcode host queued started executing completed entered signalled code number starts why".split()
    values = [str(fields.get(name, "undefined")) for name in names]
    return HT.read_history("|".join(["7.0", str(status), *values]))["7.0"]


def test_a_job_without_a_name_is_not_ours() -> None:
    assert (row(4, code=0).name, row(4, code=0, name="ic-t").name) == ("?", "ic-t")


def test_what_is_said_of_other_rows() -> None:
    assert row(2).state is JobState.RUNNING
    assert row(6).state is JobState.RUNNING
    assert row(7).state is JobState.SUSPENDED
    assert row(5, hold=16, why="Spooling input data files").reason is Reason.STAGING
    assert row(5, hold=34, subcode=102).reason is Reason.MEMORY
    assert [row(5, hold=21, subcode=subcode).reason for subcode in (102, 0)] == [Reason.MEMORY, None]
    late = row(3, why=LATE, entered=100)
    assert (late.state, late.reason, late.word) == (JobState.FAILED, Reason.WALLTIME, "Removed")
    # while its node has not ended it, a job that was removed is still in the queue, and no more than that
    removed = [*["undefined"] * 5, "100", *["undefined"] * 8]
    assert HT.read_queue("7.0|3|" + "|".join(removed))["7.0"].state is JobState.RUNNING
    assert HT.read_queue("7.0|3|" + "|".join(["undefined"] * 14))["7.0"].state is JobState.QUEUED
    strange = row(9)
    assert (strange.state, strange.word) == (JobState.UNKNOWN, "9")


def test_lines_that_make_no_sense_spoil_nothing() -> None:
    good = "7.1|4|ic-t|" + "|".join(["undefined"] * 9) + "|0|undefined|1|undefined"
    found = HT.read_queue(f"Warning: something\n7.0|4|short\n{good}\n")
    assert found["7.1"].name == "ic-t"
    assert found["7.0"].state is JobState.UNKNOWN


def test_capacity(where: Path) -> None:
    answers = (
        Completed(0, part(where, "slots", "stdout").encode(), b""),
        Completed(0, part(where, "totals", "stdout").encode(), b""),
        Completed(0, b"alice\n", b""),
    )
    (pool,) = replay(HT.capacity(SETTINGS), [answers])
    counts = re.search(r"all users: .* (\d+) idle, (\d+) running", part(where, "totals", "stdout"))
    assert counts is not None
    waiting, running = map(int, counts.groups())
    assert (waiting, pool.waiting, pool.ours_waiting) == (1, 1, 1)
    assert (pool.running, pool.ours_running) == (running, running)
    assert (pool.cores, pool.is_default, pool.accepting) == (64, True, True)
    assert pool.free_cores == int(part(where, "slots", "stdout").split()[3])
