"""The container universe, through the CE and on the submit host behind it: a real Apptainer runs the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from intercede import Copy, FileCredentials, JobState, open_element
from intercede.testing.contract.steps import fetch_one, run, script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.stack import Stack

IMAGE = "/srv/images/tiny"


@pytest.mark.parametrize("name", ["htcondor-ce-25.14"])
@pytest.mark.parametrize("way", ["htcondor-ce", "htcondor"])
async def test_a_job_runs_in_its_image(
    name: str, way: str, stack_factory: Callable[[str], Stack], tmp_path: Path
) -> None:
    stack = stack_factory(name)
    settings: dict[str, Any] = {"id": f"images/{way}", "scheduler": way, "container_universe": True}
    if way == "htcondor":
        settings["ssh"] = stack.ssh_settings()
    else:
        settings["endpoint"] = {"host": "localhost", "port": stack.port, "ca": str(stack.given / "ca.pem")}
    shown = FileCredentials(condor_token=stack.given / "idtoken-alice")
    text = '. /etc/os-release; echo "$ID"; [ ! -e /etc/condor ]; echo $?; cat in "$INTERCEDE_SECRETS/s" >out; exit 3'
    data = tmp_path / "in"
    data.write_text("input\n")
    async with open_element(settings, credentials=shown) as element:
        for container, said in ((IMAGE, "tiny\n0\n"), (None, "debian\n1\n")):
            job = script(text, container=container, inputs={"in": data}, outputs=("out",))
            (ref,) = await run(element, job, [Copy(secrets={"s": "secret\n"})])
            status = (await element.status([ref]))[ref]
            assert (status.state, status.exit_code) == (JobState.FAILED, 3)
            output = await fetch_one(element, ref, tmp_path / "back")
            assert output.stdout is not None
            assert output.stdout.read_text() == said
            assert output.files["out"].read_text() == "input\nsecret\n"
