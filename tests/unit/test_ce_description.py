"""What a remote schedd is told of a job, and how it is known again."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.htcondor_ce.description import (
    LABEL,
    Label,
    constraint_of,
    describe,
    item,
    pieces,
    program_head,
    read_label,
)
from intercede.model import JobRef, Resources
from tests.unit.stand_ins import levels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from intercede.htcondor_ce.protocol import Ad

# what a caller may say: any bytes but NUL
TEXTS = st.binary(max_size=20).map(lambda data: os.fsdecode(data.replace(b"\0", b"0")))
MINE = Label("t-1", "ce01", "d1", 3, 1795617349, ("*.dat", "a b"))


def as_told(label: Label, key: str) -> Ad:
    """The attributes that a schedd would keep of those lines."""
    ad: Ad = dict.fromkeys(LABEL)
    for line in label.lines():
        name, _, value = line.removeprefix("My.").partition(" = ")
        text = value.replace("$(ic_key)", item(0, "", key)["ic_key"])
        ad[name] = text[1:-1] if text.startswith('"') else int(text)
    return ad


@given(st.lists(TEXTS.filter(bool), max_size=3), TEXTS)
def test_a_label_is_read_as_it_was_written(outputs: list[str], key: str) -> None:
    label = Label("t-1", "ssh+x://[::1]:9/y", "d1", 3, 1795617349, tuple(outputs), key)
    assert read_label(as_told(label, key)) == label


def test_nothing_in_a_label_means_anything_to_htcondor() -> None:
    label = Label("t", "r", "d", 1, 1, ('$(x) "\\', "a\nqueue"))
    said = [line.partition(" = ")[2] for line in label.lines()]
    assert [each for each in said if each != '"$(ic_key)"' and set('$\\\n()"') & set(each.strip('"'))] == []
    assert item(0, "", "$(x)\n")["ic_key"] == "%24%28x%29%0A"


@pytest.mark.parametrize("name", ["IntercedeTag", "IntercedeDigest", "IntercedeCopies"])
@pytest.mark.parametrize("value", [None, 1.5])
def test_a_job_without_a_label_is_none_of_ours(name: str, value: float | None) -> None:
    assert read_label(as_told(MINE, "") | {name: value}) is None


def test_jobs_are_meant_by_number_and_by_what_is_written_down_with_them() -> None:
    refs = [JobRef("ce01", tag, copy, f"{cluster}.{copy}") for tag, cluster, copy in
            (("a", 7, 0), ("a", 7, 1), ("a", 7, 3), ("b", 8, 2))]  # fmt: skip
    assert constraint_of(refs) == (
        '(ClusterId < 8 ? (ClusterId == 7 && (IntercedeTag == "a" && IntercedeResource == "ce01" && '
        "(ProcId < 3 ? (ProcId >= 0 && ProcId <= 1) : (ProcId == 3)))) : "
        '(ClusterId == 8 && (IntercedeTag == "b" && IntercedeResource == "ce01" && (ProcId == 2))))'
    )


def of_one(copy: int) -> JobRef:
    return JobRef("ce01", "a", copy, f"7.{copy}")


def of_many(number: int) -> JobRef:
    return JobRef("ce01", f"t{number}", 0, f"{number + 1}.0")


@pytest.mark.parametrize("made", [of_one, of_many])
@pytest.mark.parametrize("count", [1, 2, 5, 400, 3000])
def test_any_number_of_scattered_jobs_is_found_and_no_other(made: Callable[[int], JobRef], count: int) -> None:
    refs = [made(2 * number) for number in range(count)]
    constraint = constraint_of(reversed(refs))
    assert levels(constraint) < 50
    if find_spec("classad2") is None:  # these Pythons have no bindings
        return
    classad = import_module("classad2")
    expression = classad.ExprTree(constraint)
    known = (*refs[:3], *refs[-3:], refs[count // 2])
    for ref in (*known, *(made(2 * number + 1) for number in (0, 1, count // 2, count - 1))):
        cluster, _, proc = ref.native.partition(".")
        job = {"ClusterId": int(cluster), "ProcId": int(proc), "IntercedeTag": ref.submission}
        said = expression.eval(classad.ClassAd({**job, "IntercedeResource": "ce01"}))
        assert (ref, said) == (ref, ref in known)
        assert expression.eval(classad.ClassAd({**job, "IntercedeResource": "other"})) is False


def test_what_a_history_is_asked_is_a_word_of_a_command() -> None:
    refs = [of_one(2 * number) for number in range(10000)]
    parts = pieces(refs)
    assert [ref for part in parts for ref in part] == refs
    assert 2 <= len(parts) <= 16
    assert max(len(constraint_of(part)) for part in parts) < 100_000
    # copies that follow one another are few words, and so are scattered ones of a usual submission
    for some in (refs[:1000], [of_one(number) for number in range(20000)]):
        assert pieces(some) == [some]


def test_resources_are_told_in_the_words_of_a_ce_and_of_a_pool() -> None:
    wanted = Resources(cores=4, gpus=1, memory=300 * 2**20 + 1, walltime=timedelta(hours=2), queue="long")
    lines = describe(MINE, wanted, program="/d/runner", kept=60, native=("+More = 1",))
    said = dict(line.split(" = ", 1) for line in lines)
    assert {name: said[name] for name in ("request_cpus", "My.xcount", "request_memory", "My.maxMemory", "My.queue",
            "request_gpus", "My.maxWallTime", "+More", "arguments")} == {
        "request_cpus": "4", "My.xcount": "4", "request_memory": "301", "My.maxMemory": "301", "My.queue": '"long"',
        "request_gpus": "1", "My.maxWallTime": "121", "+More": "1", "arguments": "t-1 $(Process)",
    }  # fmt: skip
    assert said["leave_in_queue"] == "JobStatus == 4 && time() - EnteredCurrentStatus < 60"


def test_a_proxy_is_delegated_for_as_long_as_it_lasts() -> None:
    lines = describe(MINE, Resources(), program="/d/runner", kept=60, proxy="/d/proxy")
    assert {"x509userproxy = /d/proxy", "delegate_job_GSI_credentials_lifetime = 0"} <= set(lines)
    assert "proxy" not in "".join(describe(MINE, Resources(), program="/d/runner", kept=60)).lower()


def test_the_archive_begins_where_the_script_says(tmp_path: Path) -> None:
    program = tmp_path / "runner"
    head = program_head()
    program.write_bytes(head + b"the archive\n")
    (line,) = [each for each in head.split(b"\n") if each.startswith(b"ic_skip=")]
    words = ["sh", "-c", f'{line.decode()}; tail -c "+$ic_skip" "$0"', str(program)]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"the archive\n"
    assert subprocess.run(["sh", "-n"], input=head, check=False).returncode == 0
