"""The contract on PBS, as far as recordings of a live OpenPBS 23.06.06 carry it: with the real element and transports.

The payloads run, started by the stand-in of qsub; what PBS says of them was recorded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobOutput, JobState, Outcome, Reason
from intercede.errors import (
    CommandError,
    NotFound,
    SchedulerUnavailable,
    SubmissionRejected,
    SubmissionUnknown,
    TagConflict,
)
from intercede.model import Copy, JobRef
from intercede.registry import open_element
from intercede.settings import Limits
from intercede.steps import Completed
from intercede.testing.contract.steps import final, script
from intercede.testing.replay import ReplayShell, Transcript
from tests.replay.pbs_said import NOBODY, array, said, shown

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.elements.batch import BatchElement

HERE = pytest.mark.parametrize("pbs", ["local"], indirect=True)
UNKNOWN = said("qstat_unknown")
# PBS Reference Guide, "Error Codes" (PBSE_JOBHISTNOTSET); not recorded
HISTORY_OFF = Transcript("", Completed(167, b"", b"qstat: PBS is not configured to maintain job history\n"))


def job(number: str) -> dict[str, str]:
    return {"PBS_JOBID": f"{number}.pbshost"}


def five() -> list[dict[str, str]]:
    return [{"PBS_JOBID": f"2[{i}].pbshost", "PBS_ARRAY_INDEX": str(i)} for i in range(5)]


def queue_is(shell: ReplayShell, said_: Transcript) -> None:
    shell.answers("qstat (-t )?-f -w .*", said_)


def history_is(shell: ReplayShell, said_: Transcript) -> None:
    shell.answers("qstat -x -t -f -w .*", said_)


def calls(shell: ReplayShell, name: str) -> list[list[str]]:
    return [words[1:] for words in shell.calls if words[0] == name]


async def submitted(pbs: BatchElement, shell: ReplayShell, tag: str = "t", copies: int = 5) -> list[JobRef]:
    """Jobs of the recorded array that wait; nothing is started."""
    shell.answers("qsub .*", said("submit_array" if copies > 1 else "submit_hold"))
    return (await pbs.submit(script("exit 0"), copies, tag=tag)).refs


async def test_the_life_of_a_job(pbs: BatchElement, shell: ReplayShell, tmp_path: Path) -> None:
    shell.answers("qsub -N ic-t1 .*", said("submit_resources"), starts=[job("11")])
    queue_is(shell, shown("qstat_ft_json", "11.pbshost", name="ic-t1"))
    words = script('echo "$1" "$PBS_JOBID"; exit 7', "a b $HOME *'\"")
    (ref,) = (await pbs.submit(words, tag="t1")).refs
    assert ref.native == "11.pbshost"
    waiting = (await pbs.status([ref]))[ref]
    assert (waiting.state, waiting.native_state) == (JobState.QUEUED, "Q")
    assert waiting.detail == "Not Running: Not enough free nodes available"
    queue_is(shell, said("qstat_finished_without_x").replaced("0.pbshost", "11.pbshost"))
    history_is(shell, shown("qstat_xft_json", "11.pbshost", name="ic-t1", Exit_status=7, substate=93))
    ended = (await final(pbs, [ref]))[ref]
    assert (ended.state, ended.reason, ended.exit_code) == (JobState.FAILED, Reason.EXIT_CODE, 7)
    assert (ended.source, ended.queue, ended.node) == ("qstat -x+record", "workq", "pbshost")
    output = (await pbs.fetch_output([ref], tmp_path / "out"))[ref]
    assert isinstance(output, JobOutput)
    assert (tmp_path / "out" / "t1" / "0" / "stdout").read_text() == "a b $HOME *'\" 11.pbshost\n"
    assert (await pbs.purge([ref]))[ref] is Outcome.DONE
    assert shell.unanswered == []
    (qsub,) = calls(shell, "qsub")
    assert ("-S", "/bin/sh") == (qsub[qsub.index("-S")], qsub[qsub.index("-S") + 1])
    assert "-J" not in qsub  # an array of one is refused
    assert qsub[qsub.index("-r") + 1] == "n"
    assert not any("-W" in words for words in calls(shell, "qdel"))


async def test_copies_are_one_array(pbs: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qsub .*", said("submit_array"), starts=five())
    queue_is(shell, array("qstat_ft_json", "2", name="ic-t5"))
    text = 'test "$INTERCEDE_COPY" = "$1" && exit "$2"'
    copies = [Copy(arguments=(str(i), str(i % 2)), key=f"k{i}") for i in range(5)]
    submission = await pbs.submit(script(text), copies, tag="t5")
    assert [ref.native for ref in submission.refs] == [f"2[{i}].pbshost" for i in range(5)]
    assert submission.keys == ("k0", "k1", "k2", "k3", "k4")
    (qsub,) = calls(shell, "qsub")
    assert qsub[qsub.index("-J") + 1] == "0-4"
    assert "-r" not in qsub  # an array that must not run again is refused
    assert {each.state for each in (await pbs.status(submission.refs)).values()} == {JobState.RUNNING}
    queue_is(shell, NOBODY)
    history_is(shell, array("qstat_xft_json", "2", name="ic-t5"))
    ended = await final(pbs, submission.refs)
    assert [each.exit_code for each in ended.values()] == [0, 1, 0, 1, 0]
    assert [words for words in calls(shell, "qstat") if "-w" in words and words[-1] != "2[].pbshost"] == []
    assert (await pbs.find("t5")).refs == submission.refs


@HERE
async def test_the_same_tag_never_queues_twice(pbs: BatchElement, shell: ReplayShell) -> None:
    refs = await submitted(pbs, shell)
    assert (await pbs.submit(script("exit 0"), 5, tag="t")).refs == refs
    with pytest.raises(TagConflict):
        await pbs.submit(script("exit 1"), 5, tag="t")
    assert len(calls(shell, "qsub")) == 1


@HERE
@pytest.mark.parametrize("name", ["submit_unknown_queue", "submit_bad_select", "submit_bad_walltime"])
async def test_what_is_refused_leaves_nothing(pbs: BatchElement, shell: ReplayShell, name: str) -> None:
    shell.answers("qsub .*", said(name))
    with pytest.raises(SubmissionRejected) as refused:
        await pbs.submit(script("exit 0"), tag="t")
    assert refused.value.answer.strip() == said(name).answer.stderr.decode().strip()
    with pytest.raises(NotFound):
        await pbs.find("t")
    assert (await submitted(pbs, shell, copies=1))[0].native == "4.pbshost"


@HERE
async def test_nothing_was_sent_to_a_server_that_is_down(pbs: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qsub .*", said("qsub_noserver"))
    with pytest.raises(SchedulerUnavailable, match="cannot connect to server"):
        await pbs.submit(script("exit 0"), tag="t")
    (ref,) = await submitted(pbs, shell, copies=1)
    queue_is(shell, said("qstat_server_down"))
    with pytest.raises(SchedulerUnavailable, match="errno=15010"):
        await pbs.status([ref])


@HERE
async def test_a_submission_whose_answer_was_lost_is_found_by_its_name(pbs: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qsub .*", Transcript("", Completed(1, b"", b"qsub: End of File\n")))
    shell.answers("qselect .*", NOBODY)
    with pytest.raises(SubmissionUnknown):
        await pbs.submit(script("exit 0"), tag="t")
    assert (await pbs.find("t")).refs == []
    (qsub,) = calls(shell, "qsub")
    stamp = qsub[qsub.index("-v") + 1].partition("=")[2]
    named = Transcript("", Completed(0, b"9.pbshost\n11.pbshost\n", b""))
    shell.answers("qselect -x -u user1 -N ic-t", named)
    other = {"Variable_List": {"IC_SENT": "1-2", "PBS_O_HOST": "pbshost"}}
    shell.answers(
        "qstat -x -f -w 9.pbshost 11.pbshost", shown("qstat_ft_json", "9.pbshost", "11.pbshost", name="ic-t", **other)
    )
    assert (await pbs.find("t")).refs == []  # of another work area, or of long ago
    mine = {"Variable_List": {"PBS_O_HOME": "/home/user1", "IC_SENT": stamp, "PBS_O_HOST": "pbshost"}}
    shell.answers("qstat -x -f -w 9.pbshost 11.pbshost", shown("qstat_ft_json", "11.pbshost", name="ic-t", **mine))
    assert [ref.native for ref in (await pbs.find("t")).refs] == ["11.pbshost"]
    assert [ref.native for ref in (await pbs.submit(script("exit 0"), tag="t")).refs] == ["11.pbshost"]
    assert len(calls(shell, "qsub")) == 1


@HERE
async def test_an_answer_without_an_identifier_is_told(pbs: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qsub .*", Transcript("", Completed(0, b"queued as usual\n", b"")))
    with pytest.raises(SubmissionUnknown, match="no identifier of job 0 in 'queued as usual"):
        await pbs.submit(script("exit 0"), tag="t")


@HERE
@pytest.mark.parametrize("answer", [HISTORY_OFF, UNKNOWN], ids=["refused", "unknown"])
async def test_without_a_history_the_record_tells(pbs: BatchElement, shell: ReplayShell, answer: Transcript) -> None:
    shell.answers("qsub .*", said("submit_array"), starts=five())
    queue_is(shell, UNKNOWN)
    history_is(shell, answer)
    refs = (await pbs.submit(script('exit "$INTERCEDE_COPY"'), 5, tag="t")).refs
    ended = await final(pbs, refs)
    assert [each.exit_code for each in ended.values()] == [0, 1, 2, 3, 4]
    assert {each.source for each in ended.values()} == {"record"}


@HERE
async def test_absent_is_not_finished(pbs: BatchElement, shell: ReplayShell) -> None:
    refs = await submitted(pbs, shell)
    queue_is(shell, UNKNOWN)
    history_is(shell, UNKNOWN)
    assert {each.state for each in (await pbs.status(refs)).values()} == {JobState.UNKNOWN}


@HERE
async def test_known_and_unknown_jobs_together(pbs: BatchElement, shell: ReplayShell) -> None:
    (held,) = await submitted(pbs, shell, "a", 1)
    shell.answers("qsub .*", said("submit_name_digits"))
    (lost,) = (await pbs.submit(script("exit 0"), tag="b")).refs
    both = shown("qstat_ft_json", "4.pbshost", name="ic-a").answer
    queue_is(shell, Transcript("", Completed(153, both.stdout, b"qstat: Unknown Job Id 9.pbshost\n")))
    history_is(shell, UNKNOWN)
    found = await pbs.status([lost, held])
    assert [found[lost].state, found[held].state] == [JobState.UNKNOWN, JobState.HELD]


@HERE
async def test_a_strange_answer_is_the_error_of_its_job_alone(pbs: BatchElement, shell: ReplayShell) -> None:
    refs = await submitted(pbs, shell)
    rows = array("qstat_ft_json", "2", name="ic-t").answer.stdout.decode().split("\n\n")
    rows[2] = rows[2].replace("job_state = R", "job_state = !")
    queue_is(shell, Transcript("", Completed(0, "\n\n".join(rows).encode(), b"")))
    found = list((await pbs.status(refs)).values())
    assert [each.state for each in found] == [JobState.RUNNING, JobState.UNKNOWN, *[JobState.RUNNING] * 3]
    assert found[1].detail == "ParseError: qstat: the state '!', which the manual does not have"


@HERE
async def test_cancel_of_an_array_is_one_order(pbs: BatchElement, shell: ReplayShell) -> None:
    refs = await submitted(pbs, shell)
    queue_is(shell, array("qstat_ft_json", "2", name="ic-t"))
    shell.answers("qdel .*", said("qdel_pending"))
    assert await pbs.cancel(refs[1:3]) == dict.fromkeys(refs[1:3], Outcome.DONE)
    assert await pbs.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
    shell.answers("qdel .*", said("qdel_finished"))
    assert await pbs.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
    assert calls(shell, "qdel") == [["2[1-2].pbshost"], ["2[].pbshost"], ["2[].pbshost"]]
    history_is(shell, UNKNOWN)
    queue_is(shell, UNKNOWN)
    assert {each.state for each in (await final(pbs, refs)).values()} == {JobState.CANCELLED}


@HERE
async def test_cancel_of_what_has_ended_or_is_unknown_is_no_error(pbs: BatchElement, shell: ReplayShell) -> None:
    (ref,) = await submitted(pbs, shell, copies=1)
    queue_is(shell, UNKNOWN)
    assert await pbs.cancel([ref]) == {ref: Outcome.DONE}
    assert calls(shell, "qdel") == []
    queue_is(shell, shown("qstat_ft_json", "4.pbshost", name="ic-t"))
    shell.answers("qdel .*", said("qdel_unknown"))
    assert await pbs.cancel([ref]) == {ref: Outcome.DONE}


@HERE
async def test_cancel_touches_no_job_of_another_name(pbs: BatchElement, shell: ReplayShell) -> None:
    (ref,) = await submitted(pbs, shell, copies=1)
    queue_is(shell, shown("qstat_ft_json", "4.pbshost", name="somebody-elses"))
    outcome = (await pbs.cancel([ref]))[ref]
    assert isinstance(outcome, CommandError)
    assert "is not ic-t" in str(outcome)
    assert calls(shell, "qdel") == []
    assert (await pbs.status([ref]))[ref].state is JobState.UNKNOWN


@HERE
@pytest.mark.slow
async def test_a_qdel_that_hangs_ends_in_time(pbs: BatchElement, shell: ReplayShell) -> None:
    (ref,) = await submitted(pbs, shell, copies=1)
    queue_is(shell, shown("qstat_ft_json", "4.pbshost", name="ic-t"))
    shell.answers("qdel .*", NOBODY, hangs=True)
    settings = pbs.settings.model_copy(update={"limits": Limits(command_time=10)})
    async with open_element(settings) as hurried:
        with pytest.raises(SchedulerUnavailable):
            await hurried.cancel([ref])
    assert calls(shell, "qdel") == [["4.pbshost"]]


@HERE
async def test_held_jobs_are_released_as_a_whole(pbs: BatchElement, shell: ReplayShell) -> None:
    (ref,) = await submitted(pbs, shell, copies=1)
    queue_is(shell, shown("qstat_ft_json", "4.pbshost", name="ic-t"))
    shell.answers("qrls .*", said("qrls"))
    assert await pbs.release([ref]) == {ref: Outcome.DONE}
    assert calls(shell, "qrls") == [["4.pbshost"]]
    refs = await submitted(pbs, shell, "five")
    waiting = array("qstat_ft_json", "2", name="ic-five").answer.stdout.decode()
    held = waiting.replace("job_state = R", "job_state = Q").replace("job_state = B", "job_state = H")
    queue_is(shell, Transcript("", Completed(0, held.encode(), b"")))
    assert {each.state for each in (await pbs.status(refs)).values()} == {JobState.HELD}
    one = (await pbs.release(refs[:1]))[refs[0]]
    assert isinstance(one, CommandError)
    assert "as a whole" in str(one)
    assert await pbs.release(refs) == dict.fromkeys(refs, Outcome.DONE)
    assert calls(shell, "qrls")[1:] == [["2[].pbshost"]]


@HERE
async def test_more_than_fifty_jobs_are_asked_for_all_at_once(pbs: BatchElement, shell: ReplayShell) -> None:
    refs = [JobRef(resource="pbs", submission="t", copy_index=0, native=f"{i}.pbshost") for i in range(100)]
    recorded = said("qstat_ft_json").replaced('"Job_Name":\t"', '"Job_Name":\t"ic-')
    await submitted(pbs, shell, copies=1)
    shell.answers("qstat -t -f -F json", recorded.replaced("ic-sleep.sh", "ic-t"))
    shell.answers(
        "qstat -x -t -f -F json", said("qstat_xft_json").replaced('"Job_Name":\t"sleep.sh"', '"Job_Name":\t"ic-t"')
    )
    found = await pbs.status(refs)
    assert found[refs[4]].state is JobState.HELD
    assert found[refs[24]].reason is Reason.REJECTED
    assert found[refs[90]].state is JobState.UNKNOWN
    assert len(calls(shell, "qstat")) == 2
    assert shell.unanswered == []


@HERE
async def test_a_thousand_copies(pbs: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qstat -B -f -F json", said("qstat_B_json"))
    shell.answers("qsub .*", said("submit_array"))
    refs = (await pbs.submit(script("exit 0"), 1000, tag="t")).refs
    head, one, *_ = array("qstat_ft_json", "2", name="ic-t").answer.stdout.decode().split("\n\n")
    rows = "\n\n".join([head, *(one.replace("2[0]", f"2[{i}]") for i in range(1000)), ""])
    queue_is(shell, Transcript("", Completed(0, rows.encode(), b"")))
    assert {each.state for each in (await pbs.status(refs)).values()} == {JobState.RUNNING}
    shell.answers("qdel .*", said("qdel_pending"))
    assert set((await pbs.cancel(refs)).values()) == {Outcome.DONE}
    assert set((await pbs.cancel(refs[500:])).values()) == {Outcome.DONE}
    assert calls(shell, "qdel") == [["2[].pbshost"], ["2[500-999].pbshost"]]
    assert len(calls(shell, "qsub")) == 1
    assert [words[0] for words in calls(shell, "qstat")] == ["-B", "-t", "-f", "-f"]


@HERE
async def test_the_walltime(pbs: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qsub .*", said("submit_walltime_exceed"))
    (ref,) = (await pbs.submit(script("exit 0"), tag="t")).refs
    queue_is(shell, said("qstat_finished_without_x").replaced("0.pbshost", "12.pbshost"))
    history_is(shell, shown("qstat_xft_json", "12.pbshost", name="ic-t"))
    ended = (await final(pbs, [ref]))[ref]
    assert (ended.state, ended.reason) == (JobState.FAILED, Reason.WALLTIME)


async def test_capacity(pbs: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qstat -Q -f -F json", said("qstat_Q_json"))
    shell.answers("qstat -B -f -F json", said("qstat_B_json"))
    shell.answers("qstat -t", said("qstat_t"))
    (queue,) = (await pbs.capacity()).queues
    assert (queue.name, queue.is_default, queue.waiting, queue.running) == ("workq", True, 19, 8)


@HERE
async def test_a_command_without_a_recording_fails(pbs: BatchElement, shell: ReplayShell) -> None:
    with pytest.raises(SubmissionUnknown, match="no recording answers qsub"):
        await pbs.submit(script("exit 0"), tag="t")
    assert {words[0] for words in shell.unanswered} == {"qsub", "qselect"}
    assert all(re.match(r"q\w+", words[0]) for words in shell.unanswered)


@HERE
async def test_a_limit_of_the_server_splits_an_array(pbs: BatchElement, shell: ReplayShell) -> None:
    limit = said("qstat_B_json").replaced('"max_array_size":\t20000', '"max_array_size":\t5')
    shell.answers("qstat -B -f -F json", limit)
    shell.answers("qsub -J 0-4 .*|qsub .* -J 0-4 .*", said("submit_array"))
    shell.answers("qsub -N ic-t\\+5 .*", said("submit"))
    refs = (await pbs.submit(script("exit 0"), 6, tag="t")).refs
    assert [ref.native for ref in refs] == [*(f"2[{i}].pbshost" for i in range(5)), "0.pbshost"]
    assert [pbs.scheduler.first_of(ref) for ref in refs] == [0, 0, 0, 0, 0, 5]
