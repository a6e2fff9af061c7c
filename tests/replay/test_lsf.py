"""LSF from its documentation: answers in the forms of its manual, played to the real element.

https://www.ibm.com/docs/en/spectrum-lsf/10.1.0 (bsub, bjobs, bkill, lsf.conf, "Termination reasons"). No recording.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobOutput, JobState, Outcome, Reason
from intercede.errors import (
    CommandError,
    InvalidReference,
    NotFound,
    SchedulerUnavailable,
    SubmissionRejected,
    SubmissionUnknown,
    UnsupportedError,
)
from intercede.model import JobDescription, JobRef, Resources
from intercede.schedulers.lsf import LSF
from intercede.settings import ResourceSettings
from intercede.steps import Completed
from intercede.testing.contract.steps import final, script
from intercede.testing.replay import ReplayShell, Transcript

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.elements.batch import BatchElement

NONE_FOUND = "No unfinished job found\n"


def says(stdout: str = "", stderr: str = "", code: int = 0) -> Transcript:
    return Transcript("", Completed(code, stdout.encode(), stderr.encode()))


def row(index: int, stat: str, code: str = "-", why: str = "-", *, number: str = "123", name: str = "ic-t/1-2") -> str:
    return f"{number}^{index}^{stat}^{code}^normal^{'-' if stat == 'PEND' else '4*hostA:hostB'}^{name}^{why}\n"


def calls(shell: ReplayShell, name: str) -> list[list[str]]:
    return [words[1:] for words in shell.calls if words[0] == name]


async def submitted(lsf: BatchElement, shell: ReplayShell, copies: int = 3, *, started: bool = False) -> list[JobRef]:
    jobs = [{"LSB_JOBID": "123", "LSB_JOBINDEX": str(i + 1), "LSB_QUEUE": "normal"} for i in range(copies)]
    shell.answers("bparams -a", says("  MAX_JOB_ARRAY_SIZE = 1000\n"))
    answer = says("Job <123> is submitted to default queue <normal>.\n")
    shell.answers("bsub .*", answer, starts=jobs if started else ())
    return (await lsf.submit(script('echo "$INTERCEDE_COPY"; exit "$INTERCEDE_COPY"'), copies, tag="t")).refs


async def test_an_array_from_submission_to_end(lsf: BatchElement, shell: ReplayShell, tmp_path: Path) -> None:
    refs = await submitted(lsf, shell, started=True)
    assert [ref.native for ref in refs] == ["123[1]", "123[2]", "123[3]"]
    (bsub,) = calls(shell, "bsub")
    assert bsub[:2] == ["-J", "ic-t[1-3]"]
    assert bsub[bsub.index("-Jd") + 1].startswith("ic-t/")
    assert (bsub[bsub.index("-env") + 1], bsub[bsub.index("-o") + 1], "-rn" in bsub) == ("none", "/dev/null", True)
    words = (("PEND", JobState.QUEUED), ("PSUSP", JobState.HELD), ("RUN", JobState.RUNNING))
    for word, state in (*words, ("USUSP", JobState.SUSPENDED), ("UNKWN", JobState.UNKNOWN)):
        shell.answers("bjobs .*", says("".join(row(i, word) for i in (1, 2, 3))))
        assert {each.state for each in (await lsf.status(refs)).values()} == {state}
    shell.answers("bjobs .*", says(row(1, "DONE") + row(2, "EXIT", "1") + row(3, "EXIT", "2"), code=255))
    found = list((await final(lsf, refs)).values())
    assert [each.exit_code for each in found] == [0, 1, 2]
    assert (found[1].node, found[1].queue, found[1].source) == ("hostA", "normal", "bjobs+record")
    output = (await lsf.fetch_output(refs[2:], tmp_path / "out"))[refs[2]]
    assert isinstance(output, JobOutput)
    # the report that LSF adds to a job's output is not in it
    assert (tmp_path / "out" / "t" / "2" / "stdout").read_text() == "2\n"
    assert shell.unanswered == []


@pytest.mark.parametrize("where", ["stdout", "stderr"])
async def test_what_lsf_has_cleaned_up_is_told_by_the_record(lsf: BatchElement, shell: ReplayShell, where: str) -> None:
    refs = await submitted(lsf, shell, started=True)
    shell.answers("bjobs .*", says(**{where: "Job <123> is not found\n"}, code=255))
    assert [each.exit_code for each in (await final(lsf, refs)).values()] == [0, 1, 2]


@pytest.mark.parametrize("code", [0, 255])
async def test_the_exit_status_of_bjobs_means_nothing(lsf: BatchElement, shell: ReplayShell, code: int) -> None:
    refs = await submitted(lsf, shell)
    shell.answers("bjobs .*", says(row(1, "RUN"), "Job <77> is not found\n", code))
    assert (await lsf.status(refs))[refs[0]].state is JobState.RUNNING
    shell.answers("bjobs .*", says(row(1, "RUN"), "Failed in an LSF library call: LIM is down\n", code))
    with pytest.raises(SchedulerUnavailable, match="LIM is down"):
        await lsf.status(refs)


@pytest.mark.parametrize(
    ("code", "why", "expected"),
    [
        (
            "140",
            "TERM_RUNLIMIT: job killed after reaching LSF run time limit",
            (JobState.FAILED, Reason.WALLTIME, None),
        ),
        (
            "137",
            "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit",
            (JobState.FAILED, Reason.MEMORY, None),
        ),
        ("130", "TERM_OWNER: job killed by owner", (JobState.CANCELLED, None, None)),
        ("1", "TERM_PREEMPT", (JobState.FAILED, Reason.PREEMPTED, None)),
        ("1", "TERM_SOMETHING_NEW", (JobState.FAILED, None, None)),
        ("3", "-", (JobState.FAILED, Reason.EXIT_CODE, 3)),
        ("-", "-", (JobState.FAILED, None, None)),
        ("many", "-", (JobState.UNKNOWN, None, None)),
    ],
)
async def test_ends(
    lsf: BatchElement, shell: ReplayShell, code: str, why: str, expected: tuple[JobState, Reason | None, int | None]
) -> None:
    refs = await submitted(lsf, shell)
    shell.answers("bjobs .*", says(row(1, "EXIT", code, why) + row(2, "RUN") + row(3, "DREAM")))
    first, second, third = (await lsf.status(refs)).values()
    assert (first.state, first.reason, first.exit_code) == expected
    assert second.state is JobState.RUNNING
    assert third.detail == "ParseError: bjobs: the state 'DREAM', which the manual does not have"


async def test_the_index_may_be_in_the_identifier_too(lsf: BatchElement, shell: ReplayShell) -> None:
    refs = await submitted(lsf, shell)
    shell.answers("bjobs .*", says(row(2, "RUN", number="123[2]")))
    assert (await lsf.status(refs))[refs[1]].state is JobState.RUNNING


async def test_cancel(lsf: BatchElement, shell: ReplayShell) -> None:
    refs = await submitted(lsf, shell)
    shell.answers("bjobs .*", says("".join(row(i, "RUN") for i in (1, 2, 3))))
    done = "Job <123[1]> is being terminated\nJob <123[3]>: Job has already finished\n"
    shell.answers("bkill .*", says(done, code=255))
    wanted = [refs[0], refs[2]]
    assert await lsf.cancel(wanted) == dict.fromkeys(wanted, Outcome.DONE)
    shell.answers("bkill .*", says("Job <123> is being terminated\n"))
    assert await lsf.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
    assert calls(shell, "bkill") == [["123[1]", "123[3]"], ["123"]]
    shell.answers("bkill .*", says(stderr="Job <123>: User permission denied\n", code=255))
    assert {type(each) for each in (await lsf.cancel(refs)).values()} == {CommandError}
    shell.answers("bjobs .*", says("".join(row(i, "RUN", name="ic-other/1-2") for i in (1, 2, 3))))
    assert {type(each) for each in (await lsf.cancel(refs)).values()} == {CommandError}
    shell.answers("bjobs .*", says(stderr=NONE_FOUND, code=255))
    assert await lsf.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
    assert len(calls(shell, "bkill")) == 3


async def test_release(lsf: BatchElement, shell: ReplayShell) -> None:
    refs = await submitted(lsf, shell)
    shell.answers("bjobs .*", says("".join(row(i, "PSUSP") for i in (1, 2, 3))))
    shell.answers("bresume .*", says("Job <123[2]> is being resumed\n"))
    assert await lsf.release(refs[1:2]) == {refs[1]: Outcome.DONE}
    assert calls(shell, "bresume") == [["123[2]"]]
    shell.answers("bresume .*", says(stderr="Job <123[2]>: User permission denied\n", code=255))
    assert {type(each) for each in (await lsf.release(refs[1:2])).values()} == {CommandError}


async def test_release_of_many_of_which_some_have_ended(lsf: BatchElement, shell: ReplayShell) -> None:
    shell.answers("bparams -a", says())
    shell.answers("bsub .*", says("Job <123> is submitted to queue <normal>.\n"))
    refs = (await lsf.submit(script(":"), 150, tag="t")).refs
    shell.answers("bjobs .*", says("".join(row(i, "PSUSP") for i in range(1, 151))))
    shell.answers("bresume .*", says("Job <123[1]>: Job has already finished\n", code=255))
    assert await lsf.release(refs) == dict.fromkeys(refs, Outcome.DONE)
    assert [len(words) for words in calls(shell, "bresume")] == [100, 50]


async def test_refusals(lsf: BatchElement, shell: ReplayShell) -> None:
    shell.answers("bparams -a", says())
    shell.answers("bsub .*", says(stderr="nosuch: No such queue. Job not submitted.\n", code=255))
    with pytest.raises(SubmissionRejected, match="No such queue"):
        await lsf.submit(script("exit 0"), tag="t")
    with pytest.raises(NotFound):
        await lsf.find("t")
    with pytest.raises(UnsupportedError, match=r"resources\.memory"):
        await lsf.submit(script("exit 0", resources=Resources(memory=1)), tag="t")


async def test_a_lost_answer_is_found(lsf: BatchElement, shell: ReplayShell) -> None:
    shell.answers("bsub .*", says(stderr="Failed in an LSF library call\n", code=255))
    shell.answers("bjobs .*", says(stderr="No job found\n", code=255))
    with pytest.raises(SubmissionUnknown):
        await lsf.submit(script("exit 0"), tag="t")
    sent = calls(shell, "bsub")[0]
    name = sent[sent.index("-Jd") + 1]
    shell.answers("bjobs .*", says(row(1, "PEND", number="122") + row(1, "PEND", name=name)))
    assert [ref.native for ref in (await lsf.find("t")).refs] == ["123[1]"]
    assert ["-a", "-J", "ic-t"] in [words[:3] for words in calls(shell, "bjobs")]


async def test_capacity(lsf: BatchElement, shell: ReplayShell) -> None:
    title = "QUEUE_NAME      PRIO STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN  SUSP  RSV PJOBS\n"
    rows = "normal           30  Open:Active       -    -    -    -     9     4     5     0    0     4\n"
    closed = "night            20  Closed:Inact     -    -    -    -     0     0     0     0    0     0\n"
    shell.answers("bqueues -w", says(title + rows + closed))
    shell.answers("bjobs .*", says("normal^RUN\nnormal^PEND\nnormal^PEND\n"))
    normal, night = (await lsf.capacity()).queues
    assert (normal.name, normal.accepting, normal.ours_waiting, normal.ours_running) == ("normal", True, 2, 1)
    assert (normal.waiting, night.accepting) == (None, False)
    shell.answers("bqueues -w", says(stderr="LSF is down. Please wait ...\n", code=255))
    with pytest.raises(SchedulerUnavailable):
        await lsf.capacity()


def test_words_and_identifiers() -> None:
    settings = ResourceSettings(id="l", scheduler="lsf", queue="q", account="p")
    wanted = Resources(cores=5, nodes=2, walltime=timedelta(seconds=61))
    assert LSF().words(JobDescription(executable="x", resources=wanted, requeue=True), settings) == (
        "-r", "-n", "6", "-R", "span[ptile=3]", "-W", "2", "-q", "q", "-P", "p"
    )  # fmt: skip
    assert LSF().queue_words(f"{i}[1]" for i in range(101)) == ("all",)
    for native in ("1", "1[0]", "1[11]", "x"):
        with pytest.raises(InvalidReference):
            LSF().first_of(JobRef(resource="l", submission="t", copy_index=9, native=native))
