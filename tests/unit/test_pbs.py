"""PBS's shell and parsers on what a live OpenPBS 23.06.06 said; the expected values are written by hand from that."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.answers import JobState, Reason
from intercede.errors import (
    InvalidReference,
    ParseError,
    QueueFull,
    SchedulerUnavailable,
    SubmissionRejected,
    UnsupportedError,
)
from intercede.model import JobDescription, JobRef, Resources
from intercede.schedulers.pbs import PBS
from intercede.settings import ResourceSettings
from intercede.steps import Completed, replay
from tests.replay.pbs_expected import DONE, DSV, ELSEWHERE, JOBS, NATIVES, ORDERS, REFUSED, TABLES, Short
from tests.replay.pbs_said import WHERE, jobs, said, text

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.testing.replay import Transcript
    from intercede.workarea.scheduler import Observation

SHELLS = [words for words in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(words[0])]
PBS_ = PBS()
SETTINGS = ResourceSettings(id="pbs", scheduler="pbs")
# the command that a recording is of gives it here as well
STAND_IN = r"""
out=$1 err=$2 code=$3
shift 3
recorded() { printf '%s' "$out"; printf '%s' "$err" >&2; return "$code"; }
qstat() { recorded; }
id() { echo user1; }
"""


def test_every_recording_has_a_test() -> None:
    named = set(JOBS) | set(NATIVES) | set(REFUSED) | set(ORDERS) | set(TABLES) | ELSEWHERE | DSV
    assert {path.stem for path in WHERE.glob("*.txt")} == named


def run(shell: list[str], program: str, recorded: Transcript, *words: str) -> tuple[int, str]:
    """Run a line after PBS's fragment, with a recording in the place of qstat."""
    answer = recorded.answer
    argv = [
        *shell,
        "-c",
        f"{STAND_IN}\n{PBS.shell}\n{program}",
        "sh",
        answer.stdout,
        answer.stderr,
        str(answer.returncode),
    ]
    done = subprocess.run([*argv, *words], capture_output=True, check=False, timeout=30)
    assert done.stderr == b""
    return done.returncode, done.stdout.decode()


def ours(recorded: Transcript) -> Transcript:
    """The same, of jobs that bear names of ours."""
    return recorded.replaced('"Job_Name":\t"', '"Job_Name":\t"ic-')


def read(name: str, shell: list[str] = SHELLS[0]) -> dict[str, Observation]:
    form = "-x -t -f -F json" if "json" in name or name == "qdel_running" else "-x -t -f -w 1"
    code, rows = run(shell, f"ic_qstat {form}", ours(said(name)))
    assert code == 0
    return {native.removesuffix(".pbshost"): seen for native, seen in PBS_.read_history(rows).items()}


def short(found: dict[str, Observation]) -> dict[str, Short]:
    return {native: (each.state, each.reason, each.exit_code, each.signal) for native, each in found.items()}


@pytest.mark.parametrize("name", JOBS)
def test_what_qstat_shows_of_each_job(name: str) -> None:
    assert short(read(name)) == JOBS[name]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_every_shell_does(shell: list[str]) -> None:
    for name in ("qstat_xft_json", "qstat_f_text", "qstat_mixed_unknown_json"):
        assert short(read(name, shell)) == JOBS[name]


def test_jobs_that_are_not_ours_are_left_out_where_all_are_shown() -> None:
    assert run(SHELLS[0], "ic_qstat -t -f -F json", said("qstat_ft_json")) == (0, "")
    stranger = said("qstat_ft_json").replaced("user1@", "user2@")
    assert run(SHELLS[0], "ic_qstat -t -f -F json", ours(stranger)) == (0, "")


def test_all_that_is_said_of_a_job() -> None:
    found = read("qstat_f_text")["11"]
    began, ended = datetime(2026, 11, 24, 7, 51, 20, tzinfo=UTC), datetime(2026, 11, 24, 7, 51, 31, tzinfo=UTC)
    assert (found.word, found.name, found.queue, found.node) == ("F", "res", "workq", "pbshost")
    assert found.submitted == datetime(2026, 11, 24, 7, 51, 11, tzinfo=UTC)
    assert (found.started, found.ended, found.walltime) == (began, ended, timedelta(minutes=10))
    assert read("qstat_unsat_json")["8"].detail.startswith("Can Never Run: Insufficient amount of resource: ncpus")
    assert read("qstat_hold_json")["4"].detail == "held by its owner"
    assert read("qstat_x_deleted_json")["8"].detail.endswith(" and terminated")


def test_the_two_forms_say_the_same_and_a_folded_line_is_one() -> None:
    written = said("qstat_f_text").answer.stdout.decode().replace("\n\t", "")
    assert text({"11.pbshost": jobs("qstat_xft_json")["11.pbshost"]}) == written
    # the third form, of which we make no use
    first, *attributes = said("qstat_dsv").answer.stdout.decode().split("\n")[0].split("|")
    assert [first, *(f"    {each.replace('=', ' = ', 1)}" for each in attributes)] == written.rstrip().split("\n")
    several = said("qstat_dsv_multi").answer.stdout.decode()
    assert re.findall(r"^Job Id: (\d+)\.", several, re.MULTILINE) == ["1052", "1053", "1054"]


def test_a_job_of_a_held_array_is_held() -> None:
    # the recorded table has the array as H, and its job as Q
    assert re.search(
        r"29\[\]\.pbshost .* H .*\n(.*\n)*29\[3\]\.pbshost .* Q ", said("qdel_subjob").answer.stdout.decode()
    )
    waiting = jobs("qstat_ft_json")
    held = {"18[].pbshost": {**waiting["18[].pbshost"], "job_state": "H", "Hold_Types": "u"},
            "18[1].pbshost": waiting["18[1].pbshost"]}  # fmt: skip
    _, rows = run(SHELLS[0], "ic_qstat -t -f -w 1", _told(text(held)))
    (seen,) = PBS_.read_queue(rows).values()
    assert (seen.state, seen.detail) == (JobState.HELD, "held by its owner")


def _told(stdout: str, stderr: str = "", code: int = 0) -> Transcript:
    return said("qstat_unknown").__class__("", Completed(code, stdout.encode(), stderr.encode()))


def changed(**attributes: object) -> Observation:
    """What is made of job 0, which ended with 3, where it says something else."""
    job = {**jobs("qstat_xft_json")["0.pbshost"], **attributes}
    job = {key: value for key, value in job.items() if value is not None}
    _, rows = run(SHELLS[0], "ic_qstat -x -t -f -w 1", _told(text({"0.pbshost": job})))
    return PBS_.read_history(rows)["0.pbshost"]


def test_ends_that_the_facts_tell_of() -> None:
    # seen on 23.06, in words: a running job that was deleted; one of an array that was deleted before it ran
    assert changed(substate=91, Exit_status=271).state is JobState.CANCELLED
    terminated = "Job run at Tue Nov 24 at 07:51 on (pbshost:ncpus=1) and terminated by user1@pbshost"
    assert changed(substate=93, Exit_status=271, comment=terminated).state is JobState.CANCELLED
    before = changed(job_state="X", substate=70, Exit_status=1, stime=None, comment="Subjob finished")
    assert (before.state, before.exit_code, before.started) == (JobState.CANCELLED, None, None)
    after = changed(job_state="F", substate=91, Exit_status=1, stime=None, comment="Subjob finished")
    assert (after.state, after.exit_code) == (JobState.CANCELLED, None)
    killed = changed(Exit_status=265)
    assert (killed.state, killed.exit_code, killed.signal) == (JobState.FAILED, None, 9)
    assert changed(Exit_status=-27).reason is Reason.MEMORY
    assert (
        changed(Exit_status=0, substate=92, Stageout_status=0).detail == "PBS could not bring its own output files back"
    )


@pytest.mark.parametrize(
    "attributes",
    [{"Exit_status": -99}, {"Exit_status": "three"}, {"Exit_status": None}, {"job_state": "Y"}, {"job_state": None}],
)
def test_what_no_manual_has_is_the_error_of_that_job_alone(attributes: dict[str, object]) -> None:
    odd = changed(**attributes)
    assert odd.state is JobState.UNKNOWN
    assert odd.detail.startswith("ParseError: qstat: ")
    both = jobs("qstat_xft_json")
    strange = {key: value for key, value in {**both["0.pbshost"], **attributes}.items() if value is not None}
    _, rows = run(SHELLS[0], "ic_qstat -x -f -w 1", _told(text({"0.pbshost": strange, "1.pbshost": both["1.pbshost"]})))
    assert short(PBS_.read_history(rows))["1.pbshost"] == DONE


def test_a_moved_job_is_unknown_with_its_word() -> None:
    assert (changed(job_state="M").state, changed(job_state="M").word) == (JobState.UNKNOWN, "M")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_server_that_does_not_answer_is_an_error(shell: list[str]) -> None:
    code, complaint = run(shell, "ic_queue 1.pbshost", said("qstat_server_down"))
    assert code == 1
    assert "cannot connect to server pbshost (errno=15010)" in complaint
    code, complaint = run(shell, "ic_queue 1.pbshost", _told("", "qstat: Unauthorized Request  1.pbshost\n", 159))
    assert (code, complaint.strip()) == (1, "qstat: Unauthorized Request  1.pbshost")
    assert run(shell, "ic_queue 1.pbshost", _told("", "", 3)) == (1, "qstat ended with status 3\n")


@pytest.mark.parametrize("name", NATIVES)
def test_identifiers(name: str) -> None:
    number, bracket, rest = NATIVES[name].partition("[")
    assert PBS_.native(said(name).answer.text, 0) == f"{number}{bracket}{rest}.pbshost"
    ref = JobRef(resource="pbs", submission="t", copy_index=7, native=PBS_.native(said(name).answer.text, 0))
    assert PBS_.first_of(ref) == 7


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_certain_and_name_the_field(name: str) -> None:
    complaint = said(name).answer.stderr.decode()
    assert run(SHELLS[0], 'ic_refused "$1"', _told(""), complaint)[0] == 0
    error = PBS_.refusal(complaint, said(name).answer.returncode)
    assert isinstance(error, SubmissionRejected)
    assert error.asked == REFUSED[name]
    assert error.answer == complaint
    with pytest.raises(ParseError):
        PBS_.native(complaint, 0)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_doubtful_answers_are_no_refusals(shell: list[str]) -> None:
    for words in (
        "qsub: End of File",
        "qsub: Protocol (ASN.1) error",
        "Connection reset by peer",
        "",
        "something else",
    ):
        assert run(shell, 'ic_refused "$1"', _told(""), words)[0] == 1
    complaint = said("qsub_noserver").answer.stderr.decode()
    assert run(shell, 'ic_refused "$1"', _told(""), complaint)[0] == 0
    assert isinstance(PBS_.refusal(complaint, 160), SchedulerUnavailable)
    # PBS Reference Guide, "Error Codes"
    assert isinstance(PBS_.refusal("qsub: Maximum number of jobs already in queue", 1), QueueFull)


@pytest.mark.parametrize("name", ORDERS)
def test_what_is_left_of_a_complaint(name: str, tmp_path: Path) -> None:
    order = "qrls" if name == "qrls" else "qdel"
    answer = said(name).answer
    (tmp_path / "said").write_bytes(answer.stdout + answer.stderr)
    (tmp_path / order).write_text(f"#!/bin/sh\ncat '{tmp_path}/said' >&2\nexit {answer.returncode}\n")
    (tmp_path / order).chmod(0o755)
    code, left = run(SHELLS[0], f"PATH=$1:$PATH; ic_tell {order} 1.pbshost", _told(""), str(tmp_path))
    assert (code, left) == (1 if ORDERS[name] else 0, ORDERS[name])


@pytest.mark.parametrize("name", TABLES)
def test_capacity_counts_the_recorded_tables(name: str) -> None:
    answers = (
        said("qstat_Q_json").answer,
        said("qstat_B_json").answer,
        said(name).answer,
        Completed(0, b"user1\n", b""),
    )
    (queue,) = replay(PBS_.capacity(SETTINGS), [answers]).queues
    assert (queue.name, queue.is_default, queue.accepting, queue.max_walltime) == ("workq", True, True, None)
    waiting, running = (TABLES[name].get(("workq", waits, True), 0) for waits in (True, False))
    assert (queue.waiting, queue.running, queue.ours_waiting, queue.ours_running) == (
        waiting,
        running,
        waiting,
        running,
    )


def test_capacity_of_a_server_that_is_down() -> None:
    down = said("qstat_server_down").answer
    with pytest.raises(SchedulerUnavailable, match="cannot connect"):
        replay(PBS_.capacity(SETTINGS), [(down, down, down, Completed(0, b"user1\n", b""))])


def test_the_limit_of_an_array() -> None:
    assert run(SHELLS[0], "ic_limit", said("qstat_B_json")) == (0, "20000\n")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_job_knows_itself(shell: list[str], tmp_path: Path) -> None:
    environment = dict(line.split("=", 1) for line in said("out_env").answer.text.splitlines() if "=" in line)
    tell = 'ic_identify "$1" 40; echo "$ic_dir $ic_first $ic_index $ic_native $ic_attempt"'
    argv = [*shell, "-c", f"{PBS.job_shell}\n{tell}", "sh", str(tmp_path)]
    alone = subprocess.run(argv, capture_output=True, check=True, env=environment, text=True)
    assert alone.stdout == f"{tmp_path} 40 0 0.pbshost 1\n"
    (tmp_path / "c" / "43").mkdir(parents=True)
    environment |= {"PBS_JOBID": "2[3].pbshost", "PBS_ARRAY_INDEX": "3"}
    first = subprocess.run(argv, capture_output=True, check=True, env=environment, text=True)
    assert first.stdout == f"{tmp_path} 40 3 2[].pbshost 1\n"
    # PBS may start a job of an array again whether we want that or not
    (tmp_path / "c" / "43" / "record").write_text("v1 1 100 - - - - - node - 2[].pbshost\n")
    again = subprocess.run(argv, capture_output=True, check=False, env=environment, text=True)
    assert (again.returncode, again.stdout) == (75, "")
    (tmp_path / "requeue").write_text("1\n")
    wanted = subprocess.run(argv, capture_output=True, check=True, env=environment, text=True)
    assert wanted.stdout == f"{tmp_path} 40 3 2[].pbshost 2\n"


def test_words() -> None:
    def words(**wanted: object) -> tuple[str, ...]:
        return PBS_.words(JobDescription(executable="x", resources=Resources.model_validate(wanted)), SETTINGS)

    assert words() == ("n", "-l", "select=1:ncpus=1")
    # as was recorded, but for the unit: PBS means 1024 bytes by kb
    assert words(cores=2, memory="512M", walltime="10m") == (
        "n", "-l", "select=1:ncpus=2:mem=524288kb", "-l", "walltime=00:10:00"
    )  # fmt: skip
    assert words(cores=5, nodes=2, gpus=3, memory=1025, walltime="30h", queue="long", account="a") == (
        "n", "-l", "select=2:ncpus=3:mem=1kb:ngpus=2", "-l", "place=scatter", "-l", "walltime=30:00:00",
        "-q", "long", "-A", "a",
    )  # fmt: skip
    again = JobDescription(executable="x", requeue=True, native={"pbs": ("-W", "x=y")})
    assert PBS_.words(again, SETTINGS) == ("y", "-l", "select=1:ncpus=1", "-W", "x=y")
    with pytest.raises(UnsupportedError, match="another server"):
        words(queue="long@other")


def refs(*natives: str) -> list[JobRef]:
    return [JobRef(resource="pbs", submission="t", copy_index=9, native=native) for native in natives]


def test_few_words_for_many_jobs() -> None:
    array = [f"2[{i}].pbshost" for i in (0, 1, 2, 7)]
    assert PBS_.order_words(refs(*array)) == ("2[0-2].pbshost", "2[7].pbshost")
    assert PBS_.order_words(refs("4.pbshost")) == ("4.pbshost",)
    assert PBS_.queue_words([*array, "4.pbshost"]) == ("2[].pbshost", "4.pbshost")
    assert len(PBS_.queue_words(f"{i}.pbshost" for i in range(50))) == 50
    assert PBS_.queue_words(f"{i}.pbshost" for i in range(51)) == ("all",)
    assert PBS_.queue_words([]) == ("all",)


def test_an_identifier_with_a_long_name_of_the_server_still_makes_a_reference() -> None:
    server = "pbs-server-01.batch.physics.example.org"
    assert PBS_.native(f"1234567[].{server}\n", 12345) == "1234567[12345]"
    job = {**jobs("qstat_ft_json")["2[1].pbshost"]}
    _, rows = run(SHELLS[0], "ic_qstat -t -f -w 1", _told(text({f"1234567[12345].{server}": job})))
    assert list(PBS_.read_queue(rows)) == ["1234567[12345]"]


def test_references_that_cannot_be() -> None:
    for native in ("x", "2[].pbshost", "2[10].pbshost", "2[a].pbshost", "-1"):
        with pytest.raises(InvalidReference):
            PBS_.first_of(JobRef(resource="pbs", submission="t", copy_index=9, native=native))


@given(st.text())
def test_any_text_is_read(words: str) -> None:
    PBS_.read_queue(words)
    PBS_.read_history(f"1.pbshost|{words}")
    try:
        PBS_.native(words, 0)
    except ParseError:
        pass
