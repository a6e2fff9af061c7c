"""Grid Engine's shell functions and parsers on what 8.1.9 said; the expected values are written by hand.

Stand-ins for its commands print the recordings; the functions run in a real shell.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.elements.verdict import Memory, Sighting, judge
from intercede.errors import InvalidReference, ParseError, QueueFull, SchedulerUnavailable, SubmissionRejected
from intercede.model import JobDescription, JobRef, Resources
from intercede.schedulers.gridengine import GridEngine
from intercede.settings import ResourceSettings
from intercede.steps import Completed, replay
from tests.unit.stand_ins import TRANSCRIPTS, Shell, calls, part, said, shell_with

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.workarea.operations import Record
    from intercede.workarea.scheduler import Observation

GE = GridEngine()
WHERE = TRANSCRIPTS / "gridengine-8.1"
SETTINGS = ResourceSettings(id="r", scheduler="gridengine")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "root" / "default" / "common").mkdir(parents=True, exist_ok=True)
    root = str(tmp_path / "root")
    return shell_with(WHERE, tmp_path, f"mark() {{ echo marked; }}\n{GE.shell}", SGE_ROOT=root)


@pytest.fixture
def account(tmp_path: Path) -> None:
    """The accounting file."""
    root = tmp_path / "root" / "default" / "common"
    root.mkdir(parents=True, exist_ok=True)
    (root / "accounting").write_text("# comment\n" + part(WHERE, "accounting", "stdout"))


def states(found: dict[str, Observation]) -> dict[str, tuple[str, JobState]]:
    return {native: (each.word, each.state) for native, each in found.items()}


def test_queue_of_running_waiting_and_broken_tasks(shell: Shell) -> None:
    done = shell("ic_queue 83,84,85", qstat="-u=qstat_array -j=qstat_array_error")
    assert done.returncode == 0
    found = GE.read_queue(done.stdout)
    held = [4, 6, 7, 8, *range(10, 19, 2), *range(20, 61)]
    assert states(found) == {
        "83.5": ("r", JobState.RUNNING),
        "83.6": ("dr", JobState.RUNNING),
        "84.1": ("Eqw", JobState.HELD),
        "84.2": ("qw", JobState.QUEUED),
        "84.3": ("qw", JobState.QUEUED),
        **{f"85.{i}": ("hqw", JobState.HELD) for i in held},
    }
    assert (found["83.5"].queue, found["83.5"].node, found["83.5"].name) == ("all.q", "testbed", "ic-rec-ends")
    assert found["83.5"].started == datetime(2026, 11, 24, 19, 0, 37, tzinfo=UTC)
    assert found["84.2"].submitted == datetime(2026, 11, 24, 19, 0, 38, tzinfo=UTC)
    assert "can't chdir to /nonexistent: No such file" in found["84.1"].detail
    assert found["84.2"].detail == ""


def test_queue_of_some_jobs_asks_for_no_reason_of_others(shell: Shell, tmp_path: Path) -> None:
    found = GE.read_queue(shell("ic_queue 83", qstat="-u=qstat_array").stdout)
    assert set(found) == {"83.5", "83.6"}
    assert len(calls(tmp_path)) == 1
    assert GE.read_queue(shell("ic_queue 8", qstat="-u=qstat_array").stdout) == {}
    assert len(GE.read_queue(shell("ic_queue -", qstat="=qstat_array").stdout)) == 55


def test_a_queue_that_does_not_answer_is_an_error(shell: Shell) -> None:
    done = shell("ic_queue 1", qstat="=qstat_noserver")
    assert done.returncode != 0
    assert "Connection refused" in done.stdout


ENDED = {
    "83.1": (JobState.SUCCEEDED, None, 0, None),
    "83.2": (JobState.FAILED, None, 7, None),
    # qacct writes `137 (Killed)` of both: one is a code, the other one a signal
    "83.3": (JobState.FAILED, None, 137, None),
    "83.4": (JobState.FAILED, None, None, 9),
    "83.5": (JobState.FAILED, Reason.WALLTIME, None, 9),
    "83.6": (JobState.FAILED, None, None, 9),
}


def ends(found: dict[str, Observation]) -> dict[str, tuple[JobState, Reason | None, int | None, int | None]]:
    return {native: (each.state, each.reason, each.exit_code, each.signal) for native, each in found.items()}


@pytest.mark.usefixtures("account")
def test_history_from_the_accounting_file(shell: Shell) -> None:
    done = shell("ic_history", "rec-ends 0-5 83.1 absent\nother 0 99.1\n")
    assert done.returncode == 0
    found = GE.read_history(done.stdout)
    assert ends(found) == ENDED
    assert found["83.2"].started == datetime(2026, 11, 24, 19, 0, 38, tzinfo=UTC)
    assert found["83.5"].ended == datetime(2026, 11, 24, 19, 0, 43, tzinfo=UTC)
    assert (found["83.1"].node, found["83.1"].queue, found["83.1"].name) == ("testbed", "all.q", "ic-rec-ends")


def test_history_from_qacct_where_the_file_is_not_seen(shell: Shell) -> None:
    done = shell("ic_history", "rec-ends 0-5 83.1 absent\n", qacct="=qacct_ends")
    found = GE.read_history(done.stdout)
    assert ends(found) == ENDED
    assert found["83.5"].ended == datetime(2026, 11, 24, 19, 0, 43, tzinfo=UTC)


def test_a_job_that_could_not_be_started_and_is_gone_is_not_called_ended(shell: Shell) -> None:
    (seen,) = GE.read_history(shell("ic_history", "t 0 84.1\n", qacct="=qacct_error").stdout).values()
    assert (seen.state, seen.reason, seen.started) == (JobState.UNKNOWN, Reason.LOST, None)


@pytest.mark.usefixtures("account")
def test_the_last_record_of_a_job_that_was_started_again_counts(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "root" / "default" / "common" / "accounting"
    line = next(each for each in file.read_text().splitlines() if each.split(":")[11:13] == ["0", "7"])
    fields = line.split(":")
    again = [*fields[:11], "25", "99", *fields[13:]]
    slave = [*fields[:12], "1", *fields[13:41], "1.testbed", *fields[42:]]
    file.write_text("\n".join(":".join(each) for each in (again, fields, slave)) + "\n")
    (seen,) = GE.read_history(shell("ic_history", "t 0-1 83.1\n").stdout).values()
    assert (seen.state, seen.exit_code) == (JobState.FAILED, 7)


def history(failed: int, code: int, category: str = "NONE", took: int = 5) -> Observation:
    line = f"7.1|{failed}|{code}|ic-t|all.q|c1|100|200|{200 + took}|{category}|0"
    return GE.read_history(line)["7.1"]


def test_a_node_that_went_down_is_no_success() -> None:
    seen = history(19, 0)
    assert (seen.state, seen.reason, seen.exit_code) == (JobState.FAILED, Reason.NODE, None)


def test_a_limit_that_was_enforced_is_that_of_time_only_if_the_time_was_over() -> None:
    assert history(37, 137, "-l h_rt=5", 5).reason is Reason.WALLTIME
    assert history(37, 137, "-U u -l h_vmem=1G,h_rt=0:0:5", 6).reason is Reason.WALLTIME
    assert history(37, 137, "-l h_rt=500,h_vmem=1G", 6).reason is None
    assert history(37, 137, "-l h_vmem=1G", 6).reason is None


def test_the_code_that_stands_for_others_is_not_told_as_one() -> None:
    seen = history(0, 98)
    assert (seen.state, seen.exit_code) == (JobState.FAILED, None)
    assert seen.detail == "98 in the accounting stands for 98, 99 and 100"


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("qw", JobState.QUEUED), ("hqw", JobState.HELD), ("Eqw", JobState.HELD), ("Ehqw", JobState.HELD),
        ("t", JobState.RUNNING), ("r", JobState.RUNNING), ("Rr", JobState.RUNNING), ("hr", JobState.RUNNING),
        ("Rq", JobState.QUEUED), ("hRwq", JobState.HELD), ("dr", JobState.RUNNING), ("dt", JobState.RUNNING),
        ("s", JobState.SUSPENDED), ("ts", JobState.SUSPENDED), ("S", JobState.SUSPENDED), ("tS", JobState.SUSPENDED),
        ("T", JobState.SUSPENDED), ("X", JobState.UNKNOWN), ("rX", JobState.UNKNOWN), ("d", JobState.UNKNOWN),
    ],
)  # fmt: skip
def test_letters(word: str, state: JobState) -> None:
    (seen,) = GE.read_queue(f"7.1|{word}|ic-t|||all.q@c1|").values()
    assert (seen.word, seen.state) == (word, state)


def test_what_qdel_says_of_each_is_read(shell: Shell) -> None:
    for name in ("qdel_ranges", "qdel_running", "qdel_mixed"):
        done = shell('ic_t=t; ic_r=0; ic_end "85.1"', qdel=f"={name}")
        assert (done.returncode, done.stdout) == (0, "marked\n"), name
    done = shell("ic_t=t; ic_r=0; ic_end 85.1", qdel="=qstat_noserver")
    assert done.returncode == 1
    assert "Connection refused" in done.stdout


def test_a_job_of_another_name_is_left_alone(shell: Shell, tmp_path: Path) -> None:
    done = shell("ic_cancel ic-other t 0 85.4", qstat="=qstat_array", qdel="=qdel_ranges")
    assert (done.returncode, done.stdout) == (3, "the job of that number is not ic-other\n")
    assert not any("qdel" in call for call in calls(tmp_path))
    # one that is gone needs no order
    assert shell("ic_cancel ic-t t 0 8.4", qstat="=qstat_array", qdel="=qdel_ranges").returncode == 0
    assert not any("qdel" in call for call in calls(tmp_path))
    assert shell("ic_cancel ic-rec-held t 0 85.4", qstat="=qstat_array", qdel="=qdel_ranges").returncode == 0
    assert "<qdel><85.4>" in calls(tmp_path)


def test_release_clears_an_error_state_too(shell: Shell) -> None:
    released = shell("ic_release ic-rec-error 84.1", qstat="=qstat_array", qrls="=qstat_noserver", qmod="=qmod_array")
    assert released.returncode == 0
    refused = shell(
        "ic_release ic-rec-error 84.1", qstat="=qstat_array", qrls="=qstat_noserver", qmod="=qstat_noserver"
    )
    assert refused.returncode == 1
    assert (
        shell("ic_release ic-rec-held 85.4", qstat="=qstat_array", qrls="=qrls_tasks", qmod="=qdel_ranges").returncode
        == 0
    )


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("too_long", SubmissionRejected, "walltime"),
        ("no_project", SubmissionRejected, "resources.account"),
        ("bad_pe", SubmissionRejected, "parallel_environment"),
        ("bad_memory", SubmissionRejected, "memory_resource"),
        ("submit_unknown_queue", SubmissionRejected, "resources.queue"),
        ("submit_bad_option", SubmissionRejected, "--foo"),
        ("qsub_noserver", SchedulerUnavailable, "Connection refused"),
    ],
)
def test_refusals(shell: Shell, name: str, kind: type[Exception], words: str) -> None:
    error = GE.refusal(said(WHERE, name), 1)
    assert type(error) is kind
    assert words in str(error)
    assert shell(f"ic_refused '{said(WHERE, name)}'").returncode == 0


def test_a_full_queue() -> None:
    # as the code of Grid Engine words it; no daemon of ours was ever full
    text = "Unable to run job: job rejected: Only 120 jobs are allowed per user (current job count: 120)\nExiting."
    assert isinstance(GE.refusal(text, 1), QueueFull)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "error: failed receiving gdi request response for mid=1 (got syncron message receive timeout error).",
        "Killed",
    ],
)
def test_what_may_have_been_queued_is_not_called_refused(shell: Shell, text: str) -> None:
    assert shell(f"ic_refused '{text}'").returncode == 1


def test_answers_of_qsub() -> None:
    assert GE.native("4.1-5:1\n", 4) == "4.5"
    assert GE.native("27", 0) == "27.1"
    assert GE.native("verified by site\n4.1-5:1\n\n", 0) == "4.1"
    for wrong in ("", "Your job 2 has been submitted", "4.1-5:1 x"):
        with pytest.raises(ParseError):
            GE.native(wrong, 0)


def ref(native: str, copy: int = 0) -> JobRef:
    return JobRef(resource="r", submission="t", copy_index=copy, native=native)


def test_tasks_are_counted_from_one() -> None:
    assert GE.first_of(ref("4.1")) == 0
    assert GE.first_of(ref("4.3", 52)) == 50
    for wrong in (ref("4.0"), ref("4.2"), ref("4"), ref("x")):
        with pytest.raises(InvalidReference):
            GE.first_of(wrong)
    assert GE.order_words([ref(f"4.{i}", i - 1) for i in (1, 2, 3, 7)]) == ("4.1-3,4.7",)
    assert GE.queue_words(["4.1", "4.2", "5.1"]) == ("4,5",)


def test_resources_by_slot() -> None:
    settings = ResourceSettings(id="r", scheduler="gridengine", parallel_environment="mp", memory_resource="mem_free")
    wanted = Resources(cores=3, memory=10, walltime=timedelta(seconds=90.5), queue="long", account="astro")
    description = JobDescription(executable="x", resources=wanted, native={"gridengine": ("-w", "n")})
    assert GE.words(description, settings) == (
        "-r", "n", "-pe", "mp", "3", "-l", "mem_free=4", "-l", "h_rt=91", "-q", "long", "-P", "astro", "-w", "n",
    )  # fmt: skip


QSTAT = """<job_info><queue_info>
<job_list state="running"><JB_job_number>1</JB_job_number>
<JB_owner>me</JB_owner>
<state>r</state>
<queue_name>short@c1</queue_name>
<tasks>5</tasks>
</job_list></queue_info><job_info><job_list state="pending">
<JB_owner>other</JB_owner>
<state>qw</state>
<queue_name></queue_name>
<tasks>2-4:1,7</tasks>
</job_list><job_list state="pending">
<JB_owner>me</JB_owner>
<state>hqw</state>
<queue_name></queue_name>
<hard_req_queue>short</hard_req_queue>
</job_list></job_info></job_info>"""


def test_capacity() -> None:
    limits = "queue all.q\nh_rt INFINITY\nqueue short\nh_rt 00:10:00\n"
    texts = (part(WHERE, "capacity_queues", "stdout"), QSTAT, limits, "me\n")
    found = replay(GE.capacity(SETTINGS), [tuple(Completed(0, each.encode()) for each in texts)])
    first, second = found
    assert (first.name, first.is_default, first.cores, first.free_cores, first.max_walltime) == (
        "all.q", True, 32, 30, None,
    )  # fmt: skip
    assert (first.waiting, first.ours_waiting, first.running) == (4, 0, 0)
    assert (second.name, second.is_default, second.max_walltime) == ("short", False, timedelta(minutes=10))
    assert (second.waiting, second.ours_waiting, second.running, second.ours_running) == (1, 1, 1, 1)


def sighted(past: Observation | None, record: Record | None, *, cancelled: bool, now: datetime) -> Sighting:
    return Sighting(None, past, record, cancelled, False, True, "", GE.sources, now)


def test_nothing_flaps_while_the_accounting_has_not_been_written() -> None:
    """By default that takes up to 15 seconds, in which a job is in neither source."""
    now = datetime.now(UTC)
    memory, job = Memory(), ref("7.1")
    seen = Sighting(history(0, 0)._replace(state=JobState.RUNNING), None, None, False, False, True, "", GE.sources, now)
    memory.status = judge(job, seen, memory, SETTINGS)
    for seconds in (1, 8, 15):
        later = now + timedelta(seconds=seconds)
        memory.status = judge(job, sighted(None, None, cancelled=False, now=later), memory, SETTINGS)
        assert memory.status.state is JobState.RUNNING
    last = judge(job, sighted(history(37, 137, "-l h_rt=5"), None, cancelled=False, now=now), memory, SETTINGS)
    assert (last.state, last.reason) == (JobState.FAILED, Reason.WALLTIME)


def test_one_that_we_deleted_while_it_waited_is_cancelled_without_any_record() -> None:
    seen = sighted(None, None, cancelled=True, now=datetime.now(UTC))
    assert judge(ref("7.1"), seen, Memory(), SETTINGS).state is JobState.CANCELLED
