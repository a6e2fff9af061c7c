"""ARC's documents, against what a live 7.0.0 said and, where it differs, what 6.17.0 was seen to say."""

from __future__ import annotations

import contextlib
import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.answers import JobState, QueueInfo, Reason
from intercede.arc.adl import MOST_CARRIED, Activity, carried, write_adl
from intercede.arc.documents import (
    Answer,
    Listing,
    many,
    moment,
    read_answers,
    read_json,
    read_listing,
    read_pairs,
    read_queues,
    read_versions,
)
from intercede.arc.states import ENDED, STATES, Ending, read_failure, state_of
from intercede.errors import ParseError, UnsupportedError

WHERE = Path(__file__).parent.parent / "transcripts" / "arc-7.0"
JOB = "ecf65c47944a"
ADL = "{http://www.eu-emi.eu/es/2010/12/adl}"
NADL = "{http://www.nordugrid.org/es/2011/12/nordugrid-adl}"


def said(name: str) -> bytes:
    return (WHERE / name).read_bytes()


def written(*jobs: Activity) -> list[ET.Element]:
    return list(ET.fromstring(write_adl(jobs)))  # noqa: S314 - our own


def texts(job: ET.Element, path: str) -> list[str]:
    return [each.text or "" for each in job.findall("/".join(f"{ADL}{part}" for part in path.split("/")))]


# ------------------------------------------------------------------ what it says


def test_versions_are_a_list_or_a_text() -> None:
    assert read_versions("x", said("versions.json")) == ("1.0", "1.1")
    assert read_versions("x", b'{"version":"1.0"}') == ("1.0",)
    with pytest.raises(ParseError, match="no version"):
        read_versions("x", b"{}")


def test_of_a_bulk_the_bad_one_fails_alone() -> None:
    made = read_answers("x", said("created.json"), 3)
    assert [(each.ident, each.code, each.is_good) for each in made] == [
        ("ed0052921f29", 201, True), ("", 500, False), ("ed005d83d7ab", 201, True),
    ]  # fmt: skip
    assert made[1].reason == "Requested queue nosuch is not allowed for this user"


def test_jobs_are_asked_about_and_one_is_not_there() -> None:
    asked = [JOB, "nosuch"]
    assert read_answers("x", said("status.json"), asked) == [
        Answer(JOB, 200, "OK", "FAILED"),
        Answer("nosuch", 404, "Job not found", "None"),
    ]
    assert [each.code for each in read_answers("x", said("killed.json"), asked)] == [202, 404]
    about, missing = read_answers("x", said("info.json"), asked)
    assert about.about["Name"] == "ic-mytag"
    assert read_failure(about.about["Error"], int(about.about["ExitCode"])) == Ending(Reason.EXIT_CODE, 3)
    assert missing.about == {}


def test_the_list_has_no_codes() -> None:
    assert read_answers("x", said("jobs.json")) == [Answer(JOB, 200, "", "FAILED")]


def test_one_job_of_an_older_server_is_no_list_and_none_is_nothing() -> None:
    one = b'{"job":{"status-code":"200","reason":"OK","id":"abc","state":"FINISHED"}}'
    assert read_answers("x", one, ["abc"]) == [Answer("abc", 200, "OK", "FINISHED")]
    assert read_answers("x", b"") == []


@pytest.mark.parametrize(
    ("body", "wanted"),
    [(b"", 1), (b'{"job":[]}', ["a"]), (b'{"job":[{"status-code":"200","id":"b"}]}', ["a"]), (b'{"job":["x"]}', 1)],
)
def test_answers_that_are_missing_or_of_others_are_an_error(body: bytes, wanted: Any) -> None:
    with pytest.raises(ParseError):
        read_answers("x", body, wanted)


def test_listing() -> None:
    assert read_listing("x", said("listing.json")) == Listing(("err", "out"), ())
    assert read_listing("x", b'{"file":"only","dir":"one"}') == Listing(("only",), ("one",))
    assert read_listing("x", b"") == Listing()
    with pytest.raises(ParseError):
        read_listing("x", b'{"job":[]}')


def test_accounting_and_local_description() -> None:
    assert read_pairs(said("diag.txt").decode())["exitcode"] == "3"
    local = read_pairs(said("local.txt").decode())
    assert (local["jobname"], local["queue"]) == ("ic-mytag", "fork")
    assert moment(local["starttime"]) == datetime(2026, 11, 25, 14, 13, 10, tzinfo=UTC)


def test_queues() -> None:
    assert read_queues(read_json("x", said("resource.json"))) == [
        QueueInfo("fork", cores=2, free_cores=2, waiting=0, running=0)
    ]
    share = {"MappingQueue": "long", "ServingState": "closed", "MaxWallTime": "3600", "WaitingJobs": "2",
             "PreLRMSWaitingJobs": "3"}  # fmt: skip
    assert read_queues({"Services": [{"ComputingService": {"ComputingShare": [share, share]}}]}) == [
        QueueInfo("long", accepting=False, max_walltime=timedelta(hours=1), waiting=5)
    ]
    # seen with Slurm: what is infinite there, and the queues in any order
    shares = [{"MappingQueue": name, "MaxWallTime": "2147483647"} for name in ("short", "debug")]
    assert read_queues({"ComputingService": {"ComputingShare": shares}}) == [QueueInfo("debug"), QueueInfo("short")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-25T14:01:50Z", datetime(2026, 11, 25, 14, 1, 50, tzinfo=UTC)),
        ("20261125140150Z", datetime(2026, 11, 25, 14, 1, 50, tzinfo=UTC)),
        ("20261325140150Z", None),
        ("", None),
        (None, None),
    ],
)
def test_times(text: object, wanted: datetime | None) -> None:
    assert moment(text) == wanted


@pytest.mark.parametrize(
    ("text", "code", "wanted"),
    [
        ("LRMS error: (3) Job finished with wrong exit code - 3 != 0", 3, Ending(Reason.EXIT_CODE, 3)),
        ("LRMS error: (3) Job failed", None, Ending(Reason.EXIT_CODE, 3)),
        ("LRMS error: (3) Job failed with exit code 3", None, Ending(Reason.EXIT_CODE, 3)),
        ("LRMS error: (265) Job failed", None, Ending(Reason.SIGNAL, None, 9)),
        ("LRMS error: (-1) Job died on signal 9", None, Ending(Reason.SIGNAL, None, 9)),
        ("LRMS error: (-1) Job died unexpectedly", None, Ending()),
        ("Job submission to LRMS failed", None, Ending(Reason.REJECTED)),
        ("Failed in data staging: http://x/y: not found", None, Ending(Reason.STAGING)),
        ("Failed in data staging: http://x/walltime/of memory: not found\n", 0, Ending(Reason.STAGING)),
        ("LRMS error: (3) Job failed\nFailed in data staging: http://x/walltime: no\n", 3, Ending(Reason.EXIT_CODE, 3)),
        ("LRMS error: (271) Job timeout\nFailed in data staging: http://x/memory: no", None, Ending(Reason.WALLTIME)),
        ("Something else\nFailed in data staging: http://x/memory: no", None, Ending(Reason.STAGING)),
        ("Job is canceled by external request", None, Ending(cancelled=True)),
        # of Slurm and of HTCondor: killed for a limit, taken away by somebody, removed by a rule of the site
        ("LRMS error: (271) Job timeout", None, Ending(Reason.WALLTIME)),
        ("LRMS error: (271) Job was cancelled", None, Ending(cancelled=True)),
        ("LRMS error: (15) Job was cancelled", None, Ending(cancelled=True)),
        ("LRMS error: (271) job killed: wall", None, Ending(Reason.WALLTIME)),
        ("LRMS error: (271) job killed: vmem", None, Ending(Reason.MEMORY)),
        ("LRMS error: (271) job killed: cput", None, Ending()),
        ("LRMS error: (-1) RemoveReason: via condor_rm (by user condor)", None, Ending(cancelled=True)),
        ("LRMS error: (-1) PeriodicRemove evaluated to TRUE", None, Ending()),
        ("LRMS error: (-1) RemoveReason: The system macro SYSTEM_PERIODIC_REMOVE became true", None, Ending()),
        ("something else", None, Ending()),
        ("", 4, Ending(Reason.EXIT_CODE, 4)),
    ],
)
def test_why_a_job_failed(text: str, code: int | None, wanted: Ending) -> None:
    assert read_failure(text, code) == wanted


def test_states() -> None:
    assert {"FINISHED", "FAILED", "KILLED"} == ENDED
    assert (state_of("KILLING"), state_of("HELD"), state_of("nEw")) == (
        JobState.RUNNING, JobState.HELD, JobState.UNKNOWN,
    )  # fmt: skip
    assert len(STATES) == 18


@given(st.binary(max_size=200) | st.from_type(type(json.loads("1"))).map(lambda x: json.dumps(x).encode()))
def test_any_answer_is_read_or_is_a_parse_error(body: bytes) -> None:
    for read in (read_versions, read_answers, read_listing):
        with contextlib.suppress(ParseError):
            read("x", body)


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["ComputingService", "ComputingShare", "job", "id", "Name"]),
                                      inner, max_size=3), max_leaves=12))  # fmt: skip
def test_any_document_is_read(value: Any) -> None:
    assert isinstance(read_queues({"Domains": value}), list)
    assert isinstance(many(value), list)


@pytest.mark.parametrize("depth", [900, 5_000, 100_000])
@pytest.mark.parametrize("text", ['{"a":', "["])
def test_a_document_that_is_too_deep(text: str, depth: int) -> None:
    close = "}" if text == '{"a":' else "]"
    body = f'{{"x": {text * depth}1{close * depth}}}'.encode()
    with contextlib.suppress(ParseError):
        assert read_queues(read_json("x", body)) == []


# ------------------------------------------------------------------ what it is told


def test_a_whole_description() -> None:
    job = Activity(
        "ic-tag", "run.sh", ("a b", "<&>\"'\\"), annotation='{"a": 1}', uploads={"run.sh": True, "in": False},
        fetched={"far": "https://host/far"}, kept=("d/", "one"), sent={"up": "https://host/up"}, queue="long", cores=5,
        nodes=2, memory=1000, walltime=timedelta(seconds=59.2), runtimes=("ENV/X",), delegation="abc",
    )  # fmt: skip
    (root,) = written(job)
    assert texts(root, "ActivityIdentification/Name") == ["ic-tag"]
    assert texts(root, "ActivityIdentification/Annotation") == ['{"a": 1}']
    assert texts(root, "Application/Executable/Path") == ["run.sh"]
    assert texts(root, "Application/Executable/Argument") == ["a b", "<&>\"'\\"]
    assert texts(root, "Resources/QueueName") == ["long"]
    assert texts(root, "Resources/SlotRequirement/NumberOfSlots") == ["5"]
    assert texts(root, "Resources/SlotRequirement/SlotsPerHost") == ["3"]
    assert texts(root, "Resources/IndividualPhysicalMemory") == ["1000"]
    assert texts(root, "Resources/WallTime") == ["60"]
    assert texts(root, "Resources/RuntimeEnvironment/Name") == ["ENV/X"]
    assert texts(root, "DataStaging/InputFile/Name") == ["run.sh", "in", "far"]
    assert texts(root, "DataStaging/InputFile/IsExecutable") == ["true", "false"]
    assert texts(root, "DataStaging/InputFile/Source/URI") == ["https://host/far"]
    # stdout and stderr too, or they are gone at the end
    assert texts(root, "DataStaging/OutputFile/Name") == ["stdout", "stderr", "d/", "one", "up"]
    assert texts(root, "DataStaging/OutputFile/Target/URI") == ["https://host/up"]
    assert [each.text for each in root.findall(f"{ADL}DataStaging/{NADL}DelegationID")] == ["abc"]


def test_several_descriptions_are_one_document() -> None:
    assert [texts(each, "ActivityIdentification/Name") for each in written(Activity("a", "x"), Activity("b", "x"))] == [
        ["a"], ["b"],
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["$HOME", "`id`", "a\nb", "\x01", "\udcff"])
def test_words_that_would_not_arrive_are_refused(word: str) -> None:
    with pytest.raises(UnsupportedError) as raised:
        write_adl([Activity("a", "x", (word,))])
    assert raised.value.field == "arguments"


@given(st.binary(max_size=300))
def test_any_script_is_carried(script: bytes) -> None:
    program, arguments = carried(script)
    assert [program, *arguments] == [
        *texts(written(Activity("a", program, arguments))[0], "Application/Executable/Path"),
        *texts(written(Activity("a", program, arguments))[0], "Application/Executable/Argument"),
    ]


def test_a_script_that_is_too_long_is_refused() -> None:
    assert len(carried(b"x" * MOST_CARRIED)[1][1]) < 128 * 1024 - 1
    with pytest.raises(UnsupportedError, match="96001 bytes"):
        carried(b"x" * (MOST_CARRIED + 1))
