"""Torque from its documentation: answers in the forms of its manual, played to the real element.

https://docs.adaptivecomputing.com/torque/6-1-2/adminGuide (qsub, qstat, qdel, qrls, "Job Exit Status"). No recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Outcome, Reason
from intercede.config import resolve
from intercede.errors import CommandError, SchedulerUnavailable, SubmissionRejected, SubmissionUnknown
from intercede.model import JobDescription, Resources
from intercede.registry import batch_element
from intercede.schedulers.torque import KILLED, Torque
from intercede.settings import ResourceSettings
from intercede.steps import Completed
from intercede.testing.contract.steps import final, script
from intercede.testing.replay import ReplayShell, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterable

    from intercede.elements.batch import BatchElement
    from intercede.model import JobRef

TITLE = """Job id                    Name             User            Time Use S Queue
------------------------- ---------------- --------------- -------- - -----
"""


def says(stdout: str = "", stderr: str = "", code: int = 0) -> Transcript:
    return Transcript("", Completed(code, stdout.encode(), stderr.encode()))


def table(*rows: tuple[str, str], user: str = "user1") -> Transcript:
    lines = (f"{native:25} ic-t{'':12} {user:15} 00:00:00 {state} batch\n" for native, state in rows)
    return says(TITLE + "".join(lines) if rows else "")


def full(native: str, state: str, *attributes: str, name: str = "ic-t", sent: str = "1-2") -> str:
    """As in "Job Exit Status", where lines are folded."""
    variables = f"PBS_O_HOME=/home/user1,IC_SENT={sent},\n\tIC_NAME={name},PBS_O_HOST=host"
    lines = ["Job_Name = ic-t", "Job_Owner = user1@host", f"job_state = {state}", "queue = batch",
             "ctime = Fri Aug 29 14:55:55 2008", f"Variable_List = {variables}", *attributes]  # fmt: skip
    return f"Job Id: {native}\n" + "".join(f"    {line}\n" for line in lines) + "\n"


async def five(torque: BatchElement, shell: ReplayShell, *, started: bool = False) -> list[JobRef]:
    jobs = [{"PBS_JOBID": f"1098[{i}].hostname", "PBS_ARRAYID": str(i)} for i in range(5)] if started else []
    shell.answers("qstat -B -f", says("Server: hostname\n    max_job_array_size = 100\n"))
    shell.answers("qsub .*", says("1098[].hostname\n"), starts=jobs)
    return (await torque.submit(script('exit "$INTERCEDE_COPY"'), 5, tag="t")).refs


def calls(shell: ReplayShell, name: str) -> list[list[str]]:
    return [words[1:] for words in shell.calls if words[0] == name]


def all_five(state: str) -> Iterable[tuple[str, str]]:
    return ((f"1098[{i}].hostname", state) for i in range(5))


async def test_an_array_from_submission_to_end(torque: BatchElement, shell: ReplayShell) -> None:
    refs = await five(torque, shell, started=True)
    assert [ref.native for ref in refs] == [f"1098[{i}]" for i in range(5)]
    (qsub,) = calls(shell, "qsub")
    assert (qsub[qsub.index("-t") + 1], qsub[qsub.index("-r") + 1]) == ("0-4", "n")
    assert qsub[qsub.index("-v") + 1].endswith(",IC_NAME=ic-t")
    for letter, state in (
        ("Q", JobState.QUEUED),
        ("H", JobState.HELD),
        ("R", JobState.RUNNING),
        ("E", JobState.RUNNING),
    ):
        shell.answers("qstat -t", table(*all_five(letter)))
        assert {each.state for each in (await torque.status(refs)).values()} == {state}
    shell.answers("qstat -t", table(*all_five("C")))
    ended = "".join(full(f"1098[{i}].hostname", "C", f"exit_status = {i}", "start_time = Fri Aug 29 14:55:56 2008")
                    for i in range(5))  # fmt: skip
    shell.answers("qstat -f -1 .*", says(ended))
    found = list((await final(torque, refs)).values())
    assert [each.exit_code for each in found] == [0, 1, 2, 3, 4]
    assert {each.source for each in found} == {"qstat -f+record"}
    assert not any("-x" in words for words in calls(shell, "qstat"))  # XML, and no history
    assert shell.unanswered == []


async def test_completed_jobs_that_are_not_kept(torque: BatchElement, shell: ReplayShell) -> None:
    refs = await five(torque, shell, started=True)
    shell.answers("qstat -t", table())
    lines = "".join(f"qstat: Unknown Job Id Error 1098[{i}].hostname\n" for i in range(5))
    shell.answers("qstat -f -1 .*", says(stderr=lines, code=153))
    assert [each.exit_code for each in (await final(torque, refs)).values()] == [0, 1, 2, 3, 4]


async def test_others_are_not_ours(torque: BatchElement, shell: ReplayShell) -> None:
    refs = await five(torque, shell)
    shell.answers("qstat -t", table(*all_five("R"), user="user2"))
    shell.answers("qstat -f -1 .*", says(stderr="qstat: Unknown Job Id 1098[0].hostname\n", code=153))
    assert {each.state for each in (await torque.status(refs)).values()} == {JobState.UNKNOWN}


async def one(torque: BatchElement, shell: ReplayShell, *attributes: str) -> tuple[JobState, Reason | None, int | None]:
    """What is made of a job that completed like that, and left no record."""
    shell.answers("qsub .*", says("179.host\n"))
    (ref,) = (await torque.submit(script("exit 0"), tag="t")).refs
    shell.answers("qstat -t", table(("179.host", "C")))
    shell.answers("qstat -f -1 .*", says(full("179.host", "C", *attributes)))
    found = (await torque.status([ref]))[ref]
    if found.state is JobState.UNKNOWN:
        assert found.detail.startswith("ParseError: qstat: ")
    return found.state, found.reason, found.signal if found.signal is not None else found.exit_code


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("-11", (JobState.FAILED, Reason.WALLTIME, None)),
        ("-10", (JobState.FAILED, Reason.MEMORY, None)),
        ("-1", (JobState.FAILED, Reason.NODE, None)),
        ("271", (JobState.FAILED, Reason.SIGNAL, 15)),
        ("3", (JobState.FAILED, Reason.EXIT_CODE, 3)),
        ("0", (JobState.SUCCEEDED, None, 0)),
        ("-77", (JobState.UNKNOWN, None, None)),
        ("x", (JobState.UNKNOWN, None, None)),
    ],
)
async def test_exit_statuses(
    torque: BatchElement, shell: ReplayShell, status: str, expected: tuple[JobState, Reason | None, int | None]
) -> None:
    started = "start_time = Fri Aug 29 14:55:56 2008"
    assert await one(torque, shell, f"exit_status = {status}", started) == expected


async def test_a_job_that_never_started(torque: BatchElement, shell: ReplayShell) -> None:
    assert (await one(torque, shell, "exit_status = 271"))[0] is JobState.CANCELLED


async def test_a_job_without_an_exit_status(torque: BatchElement, shell: ReplayShell) -> None:
    assert (await one(torque, shell))[0] is JobState.UNKNOWN


async def test_cancel_takes_ranges_and_checks_the_name(torque: BatchElement, shell: ReplayShell) -> None:
    refs = await five(torque, shell)
    shell.answers("qstat -t", table(*all_five("R")))
    shell.answers("qstat -f -1 .*", says(full("1098[1].hostname", "R", name="ic-t")))
    shell.answers("qdel .*", says())
    assert await torque.cancel([refs[1], refs[2], refs[4]]) == dict.fromkeys([refs[1], refs[2], refs[4]], Outcome.DONE)
    assert await torque.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
    assert calls(shell, "qdel") == [["-t", "1-2", "1098[]"], ["-t", "4", "1098[]"], ["1098[]"]]
    shell.answers("qstat -f -1 .*", says(full("1098[1].hostname", "R", name="ic-another")))
    assert {type(each) for each in (await torque.cancel(refs)).values()} == {CommandError}
    shell.answers("qstat -t", table(*all_five("C")))
    assert await torque.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
    assert len(calls(shell, "qdel")) == 3


async def test_release(torque: BatchElement, shell: ReplayShell) -> None:
    refs = await five(torque, shell)
    shell.answers("qstat -t", table(*all_five("H")))
    shell.answers("qstat -f -1 .*", says(full("1098[0].hostname", "H")))
    shell.answers("qrls .*", says())
    assert await torque.release(refs[:1]) == {refs[0]: Outcome.DONE}
    assert calls(shell, "qrls") == [["-t", "0", "1098[]"]]


async def test_a_lost_answer_is_found(torque: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qsub .*", says(stderr="qsub: End of File\n", code=1))
    shell.answers("qstat -t", table())
    with pytest.raises(SubmissionUnknown):
        await torque.submit(script("exit 0"), 5, tag="t")
    sent = calls(shell, "qsub")[0]
    stamp = sent[sent.index("-v") + 1].split(",")[0].partition("=")[2]
    shell.answers("qstat -t", table(("7.hostname", "R"), *all_five("Q")))
    both = full("7.hostname", "R", sent="1-2") + full("1098[0].hostname", "Q", sent=stamp)
    shell.answers("qstat -f -1 .*", says(both.replace("\n\t", "")))
    assert [ref.native for ref in (await torque.find("t")).refs] == [f"1098[{i}]" for i in range(5)]


async def test_refusals(torque: BatchElement, shell: ReplayShell) -> None:
    shell.answers("qsub .*", says(stderr="qsub: submit error (Unknown queue MSG=cannot locate queue)\n", code=170))
    with pytest.raises(SubmissionRejected, match=r"resources\.queue"):
        await torque.submit(script("exit 0"), tag="t")
    shell.answers("qstat -t", says(stderr="qstat: cannot connect to server host (errno=111)\n", code=111))
    refs = await five(torque, shell)
    with pytest.raises(SchedulerUnavailable, match="cannot connect"):
        await torque.status(refs)


async def test_capacity(torque: BatchElement, shell: ReplayShell) -> None:
    queue = "Queue: batch\n    queue_type = Execution\n    resources_max.walltime = 01:00:00\n    enabled = True\n"
    shell.answers("qstat -Q -f", says(f"{queue}    started = True\n\nQueue: old\n    enabled = False\n\n"))
    shell.answers("qstat -B -f", says("Server: host\n    server_state = Active\n    default_queue = batch\n"))
    shell.answers("qstat -t", table(("1.host", "R"), ("2[0].host", "Q"), ("3.host", "C")))
    batch, old = (await torque.capacity()).queues
    assert (batch.name, batch.is_default, batch.waiting, batch.running) == ("batch", True, 1, 1)
    assert (str(batch.max_walltime), old.accepting) == ("1:00:00", False)


def test_words() -> None:
    wanted = Resources(cores=5, nodes=2, gpus=2, memory=1025)
    words = Torque().words(
        JobDescription(executable="x", resources=wanted), ResourceSettings(id="t", scheduler="torque")
    )
    assert words == ("n", "-l", "nodes=2:ppn=3:gpus=1", "-l", "mem=2kb")
    assert set(KILLED) == set(range(-14, 0))
    assert batch_element(resolve("torque:")).scheduler.name == "torque"
