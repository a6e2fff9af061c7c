"""A site with a launcher for images: the payload runs in the one that was asked for, and finds what is its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Reason
from intercede.model import Copy, JobDescription
from intercede.testing.contract.place import local_copy
from intercede.testing.contract.steps import ENDS, by_copy, fetch_one, final, reached, run, script
from intercede.testing.contract.words import DUMP, DUMPED, HOSTILE, encoded, environment, split

if TYPE_CHECKING:
    from pathlib import Path

    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "slurm-24.11-containers"
LAUNCHER = ("in-image", "{image}", "{directory}", "{inputs}", "{secrets}")
IMAGE = "tiny"


async def test_payload_is_in_the_image(spot_on: SpotAt, tmp_path: Path) -> None:
    spot = await spot_on(STACK, container_launcher=LAUNCHER)
    data = local_copy(tmp_path / "data", b"what was shipped\n")
    text = (
        '. /etc/os-release; echo "$ID" >id; cat "a b" >input; cat "$INTERCEDE_SECRETS/s" >secret;'
        "[ ! -e /etc/slurm ]; echo $? >slurm; ls / >root; echo out; echo err >&2; " + DUMP
    )
    names = ("id", "input", "secret", "slurm", "root", *DUMPED)
    description = script(
        text, *HOSTILE, container=IMAGE, secrets={"s": b"\0secret\xff"}, inputs={"a b": data}, outputs=names,
        environment={f"V{index}": word for index, word in enumerate(HOSTILE)},
    )  # fmt: skip
    async with spot.element() as ce:
        (ref,) = await run(ce, description, [Copy(arguments=("last",), environment={"C": "mine"})])
        output = await fetch_one(ce, ref, tmp_path / "out")
        outside = script(". /etc/os-release; echo $ID >id", outputs=("id",))
        (plain,) = await run(ce, outside)
        host = await fetch_one(ce, plain, tmp_path / "out")
    read = {name: output.files[name].read_bytes() for name in names[:4]}
    assert read == {"id": b"tiny\n", "input": b"what was shipped\n", "secret": b"\0secret\xff", "slurm": b"0\n"}
    assert host.files["id"].read_bytes() == b"debian\n"
    assert output.stdout is not None
    assert output.stderr is not None
    assert (output.stdout.read_bytes(), output.stderr.read_bytes()) == (b"out\n", b"err\n")
    assert split(output, "argv") == encoded((*HOSTILE, "last"))
    found = environment(output)
    wanted = {f"V{index}".encode(): word for index, word in enumerate(encoded(HOSTILE))} | {b"C": b"mine"}
    assert {name: found.get(name) for name in wanted} == wanted
    assert output.files["cwd"].read_text().endswith("/work\n")


async def test_exit_codes_and_signals(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK, container_launcher=LAUNCHER)
    # proot waits for what a program leaves behind
    rows = [row for row in ENDS if "300" not in row[0]]
    assert len(rows) == len(ENDS) - 1
    async with spot.element() as ce:
        statuses = await run(ce, script('eval "$1"', container=IMAGE), [Copy(arguments=(row[0],)) for row in rows])
    told = {
        row[0]: (each.state, each.reason, each.exit_code, each.signal)
        for row, each in zip(rows, by_copy(statuses), strict=True)
    }
    assert told == {row[0]: row[1:] for row in rows}


async def test_shipped_program_runs_in_the_image(spot_on: SpotAt, tmp_path: Path) -> None:
    spot = await spot_on(STACK, container_launcher=LAUNCHER)
    program = local_copy(tmp_path / "program", b'#!/bin/sh\n. /etc/os-release; echo "$ID $1"\n', executable=True)
    description = JobDescription(executable="./a=b", arguments=("it's",), inputs={"a=b": program}, container=IMAGE)
    async with spot.element() as ce:
        (ref,) = await run(ce, description)
        output = await fetch_one(ce, ref, tmp_path / "out")
    assert output.stdout is not None
    assert output.stdout.read_text() == "tiny it's\n"


async def test_an_image_that_is_not_there(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK, container_launcher=LAUNCHER)
    async with spot.element() as ce:
        (status,) = (await run(ce, script(":", container="no-such-image"))).values()
        assert (status.state, status.reason, status.exit_code) == (JobState.FAILED, Reason.EXIT_CODE, 125)
        assert (await ce.read_log(status.ref, "stderr")).data == b"in-image: no image no-such-image\n"


async def test_cancelled_in_the_image(spot_on: SpotAt) -> None:
    spot = await spot_on(STACK, container_launcher=LAUNCHER)
    text = ': >"$PWD/ready"; while :; do sleep 0.1; done'
    async with spot.element() as ce:
        (ref,) = (await ce.submit(script(text, container=IMAGE, secrets={"s": "x"}), tag="ends")).refs
        await reached(ce, ref, JobState.RUNNING)
        await spot.shell('until [ -e "$1" ]; do sleep 0.1; done', f"{spot.store}/ends/c/0/work/ready")
        await ce.cancel([ref])
        assert (await final(ce, [ref]))[ref].state is JobState.CANCELLED
    for _ in range(50):
        if not await spot.jobs():
            break
        await asyncio.sleep(0.2)
    assert await spot.jobs() == 0
    assert (await spot.shell('find "$1" -type f', f"{spot.store}/ends/secrets")) == b""
