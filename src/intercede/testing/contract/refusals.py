"""What cannot work is refused before or at submit, by name; nothing is queued and nothing is left."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from intercede.answers import JobOutput, JobState
from intercede.errors import (
    CommandError,
    ConfigurationError,
    IntercedeError,
    StorageError,
    SubmissionRejected,
    UnsupportedError,
)
from intercede.model import Copy, JobDescription, Resources
from intercede.testing.contract.place import local_copy
from intercede.testing.contract.select import lacks, needs
from intercede.testing.contract.steps import fetch_one, run, script

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["TestBadInput", "TestContainers", "TestResources", "TestStorage"]


async def nothing_happened(spot: Spot, ce: Element) -> None:
    """Nothing of the submission is on the far side."""
    assert await spot.left() == []
    assert await ce.list() == []


class TestBadInput:
    """What the caller wrote cannot work."""

    @pytest.mark.parametrize(("field", "wrong"), [
        ("executable", {"executable": ""}),
        ("executable", {"executable": "./not-shipped"}),
        ("executable", {"executable": "a\0b"}),
        ("outputs", {"outputs": ("/etc/passwd",)}),
        ("outputs", {"outputs": ("../x",)}),
        ("outputs", {"outputs": ("a/../../x",)}),
        ("inputs", {"inputs": {"../x": "/etc/passwd"}}),
        ("inputs", {"inputs": {"/x": "/etc/passwd"}}),
        ("secrets", {"secrets": {"../x": "s"}}),
        ("secrets", {"secrets": {"a/b": "s"}}),
        ("secrets", {"secrets": {"": "s"}}),
        ("environment", {"environment": {"A B": "x"}}),
        ("environment", {"environment": {"A=B": "x"}}),
        ("environment", {"environment": {"A": "x\0"}}),
        ("arguments", {"arguments": ("a\0b",)}),
        ("walltime", {"resources": {"walltime": timedelta(seconds=-1)}}),
        ("walltime", {"resources": {"walltime": 0}}),
        ("cores", {"resources": {"cores": 0}}),
        ("memory", {"resources": {"memory": -1}}),
        ("memory", {"resources": {"memory": "lots"}}),
        ("queue", {"resources": {"queue": "a b"}}),
        ("best_effort", {"resources": {"best_effort": {"luck"}}}),
        ("container", {"container": "--privileged"}),
        ("nonsense", {"nonsense": 1}),
    ])  # fmt: skip
    def test_description(self, field: str, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=field) as caught:
            JobDescription.model_validate({"executable": "true", **wrong})
        assert "etc/passwd" not in str(caught.value).partition("outputs")[0]

    @pytest.mark.parametrize(
        "wrong", [{"secrets": {"../x": "geheim"}}, {"secrets": {"x\0": "geheim"}}, {"environment": {"1": "x"}}]
    )
    def test_copy(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError) as caught:
            Copy.model_validate(wrong)
        assert "geheim" not in str(caught.value)

    async def test_nothing_is_sent(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        missing = script(":", inputs={"data": tmp_path / "missing"})
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        wrong: list[tuple[str, JobDescription, Any]] = [
            (r"inputs\.data", missing, 1),
            (r"inputs\.p", script(":", inputs={"p": pipe}), 1),
            (r"inputs\.d.*broken/x", script(":", inputs={"d": _broken_directory(tmp_path)}), 1),
            ("copies", script(":"), 0),
            ("copies", script(":"), -3),
            ("copies", script(":"), []),
            ("copies", script(":"), [Copy(key="a"), Copy(key="a")]),
        ]
        if os.geteuid():  # nothing is unreadable to root
            closed = local_copy(tmp_path / "closed", b"x")
            closed.chmod(0)
            wrong.append(("inputs.closed", script(":", inputs={"closed": closed}), 1))
        for field, description, copies in wrong:
            with pytest.raises(ConfigurationError, match=field):
                await ce.submit(description, copies)
        assert ce.counters.commands == 0
        await nothing_happened(spot, ce)

    async def test_same_names(self, spot: Spot, ce: Element) -> None:
        """Environment names that are the library's own do no harm."""
        taken = {"INTERCEDE_COPY": "x", "PATH": "/usr/bin:/bin", "IFS": "x", "PS4": "$(exit 3)", "ENV": "/nonexistent"}
        statuses = await run(ce, script("exit 4", environment=taken), [Copy(environment=taken)])
        assert [each.exit_code for each in statuses.values()] == [4]


def _broken_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "broken"
    directory.mkdir()
    (directory / "x").symlink_to("nowhere")
    return directory


class TestResources:
    """What a system cannot give, or a site does not allow."""

    async def _refused(self, spot: Spot, ce: Element, field: str, **resources: Any) -> None:
        with pytest.raises(UnsupportedError) as caught:
            await ce.submit(script(":", resources=Resources(**resources)))
        assert caught.value.field == f"resources.{field}"
        await nothing_happened(spot, ce)
        assert [each.exit_code for each in (
            await run(ce, script(":", resources=Resources(**resources, best_effort={field})))
        ).values()] == [0]  # fmt: skip

    @lacks("reserves:gpus")
    async def test_gpus(self, spot: Spot, ce: Element) -> None:
        await self._refused(spot, ce, "gpus", gpus=1)

    @lacks("reserves:memory")
    async def test_memory(self, spot: Spot, ce: Element) -> None:
        await self._refused(spot, ce, "memory", memory="1G")

    @lacks("reserves:nodes")
    async def test_nodes(self, spot: Spot, ce: Element) -> None:
        await self._refused(spot, ce, "nodes", nodes=2)

    @lacks("queues", "any-queue")
    async def test_no_queues_at_all(self, spot: Spot, ce: Element) -> None:
        await self._unknown(spot, ce, "queue")

    @lacks("queues", "accounts")
    async def test_no_accounts_at_all(self, spot: Spot, ce: Element) -> None:
        await self._unknown(spot, ce, "account")

    async def _unknown(self, spot: Spot, ce: Element, field: str) -> None:
        with pytest.raises(UnsupportedError, match=field):
            await ce.submit(script(":", resources=Resources.model_validate({field: "any"})))
        await nothing_happened(spot, ce)

    @needs("supervised")
    async def test_more_cores_than_slots(self, spot: Spot, ce: Element) -> None:
        with pytest.raises((UnsupportedError, SubmissionRejected), match=r"resources\.cores"):
            await ce.submit(script(":", resources=Resources(cores=5)))
        await nothing_happened(spot, ce)
        async with spot.element(slots=None) as unbound:
            with pytest.raises(SubmissionRejected, match=r"resources\.cores"):
                await unbound.submit(script(":", resources=Resources(cores=100_000)))
        await nothing_happened(spot, ce)

    @needs("queues")
    async def test_unknown_queue(self, spot: Spot, ce: Element) -> None:
        with pytest.raises((SubmissionRejected, UnsupportedError), match="no-such-queue"):
            await ce.submit(script(":", resources=Resources(queue="no-such-queue")), 3)
        await nothing_happened(spot, ce)
        async with spot.element(queue="no-such-queue") as configured:
            with pytest.raises((SubmissionRejected, UnsupportedError), match="no-such-queue"):
                await configured.submit(script(":"))
        await nothing_happened(spot, ce)

    @needs("queues")
    async def test_walltime_beyond_the_queues(self, spot: Spot, ce: Element) -> None:
        wanted = Resources(queue=spot.place.limited_queue, walltime="1h")
        with pytest.raises((SubmissionRejected, UnsupportedError), match=r"walltime|[Tt]ime ?limit|time limit"):
            await ce.submit(script(":", resources=wanted), tag="too-long")
        await nothing_happened(spot, ce)
        # the tag is free again
        statuses = await run(ce, script(":", resources=Resources(queue=spot.place.limited_queue)), tag="too-long")
        assert [each.queue for each in statuses.values()] == [spot.place.limited_queue]

    @needs("options")
    async def test_native_words(self, spot: Spot, ce: Element) -> None:
        words = {spot.place.settings["scheduler"]: ("--no-such-option-at-all",)}
        with pytest.raises(SubmissionRejected, match="no-such-option"):
            await ce.submit(script(":", native=words))
        await nothing_happened(spot, ce)
        elsewhere = script(":", native={"htcondor": ("whatever",)})
        assert [each.exit_code for each in (await run(ce, elsewhere)).values()] == [0]

    @needs("reserves:memory")
    async def test_resources_arrive(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        wanted = Resources(cores=3, memory="303M", walltime="90s")
        (ref,) = await run(ce, script(spot.place.reserved, resources=wanted))
        output = await fetch_one(ce, ref, tmp_path)
        assert output.stdout is not None
        assert output.stdout.read_text() == "3 303\n"


class TestContainers:
    """Images are honoured as asked, or refused."""

    async def test_without_a_launcher(self, spot: Spot, ce: Element) -> None:
        with pytest.raises(UnsupportedError) as caught:
            await ce.submit(script(":", container="docker://debian"))
        assert caught.value.field == "container"
        await nothing_happened(spot, ce)

    async def test_with_one(self, spot: Spot, tmp_path: Path) -> None:
        launcher = (
            "env",
            "IMAGE={image}",
            "D={directory}",
            "S={secrets}",
            "W=it's $HOME",
            "sh",
            "-c",
            '"$@"',
            "{image}!",
        )
        image = "docker://it's $HOME\n`x`"
        async with spot.element(container_launcher=launcher) as ce:
            text = (
                'printf "%s|" "$IMAGE" "$W" "$1" "$A" "$(cd "$D" && pwd -P)" "$(cd "$S" && pwd -P)";'
                'pwd -P; cd "$INTERCEDE_SECRETS"; pwd -P'
            )
            description = script(text, "an 'argument", environment={"A": "a b"}, container=image, secrets={"s": "x"})
            (ref,) = await run(ce, description)
            output = await fetch_one(ce, ref, tmp_path)
        assert output.stdout is not None
        words = output.stdout.read_text().split("|")
        assert words[:4] == [image, "it's $HOME", "an 'argument", "a b"]
        assert words[6].split("\n")[:2] == [words[4], words[5]]


@needs("submit-host")
class TestStorage:
    """Work areas that cannot be written."""

    async def _refused(self, spot: Spot, area: str, description: JobDescription) -> None:
        async with spot.element(work_area=area) as ce:
            with pytest.raises(StorageError) as caught:
                await ce.submit(description, 3, tag="full")
            assert caught.value.answer
        said = await spot.shell(
            '[ ! -d "$1" ] || find "$1" -mindepth 2 ! -name .new ! -name .gone ! -name .layout', area
        )
        assert said == b""

    async def test_file_in_the_way(self, spot: Spot) -> None:
        await spot.shell("echo precious >file")
        await self._refused(spot, f"{spot.home}/file", script(":"))
        await self._refused(spot, f"{spot.home}/file/below", script(":"))
        assert await spot.lines("file") == ["precious"]

    @needs("stranger")
    async def test_of_another_user(self, spot: Spot) -> None:
        await self._refused(spot, spot.place.closed, script(":"))
        async with spot.element(work_area=spot.place.closed) as ce:
            with pytest.raises(IntercedeError):
                await ce.find("anything")

    @needs("small")
    async def test_disk_full(self, spot: Spot, tmp_path: Path) -> None:
        data = local_copy(tmp_path / "data", os.urandom(3_000_000))
        area = f"{spot.place.small}/{os.path.basename(spot.home)}"
        await self._refused(spot, area, script(":", inputs={"data": data}))
        async with spot.element(work_area=area) as ce:
            statuses = await run(ce, script("exit 6"), tag="full")
            assert [each.exit_code for each in statuses.values()] == [6]
            await ce.purge(statuses)
        await spot.shell('rm -rf "$1"', area)

    @needs("small")
    @lacks("apart")
    async def test_disk_fills_while_the_job_runs(self, spot: Spot, tmp_path: Path) -> None:
        area = f"{spot.place.small}/{os.path.basename(spot.home)}"
        async with spot.element(work_area=area) as ce:
            (status,) = (await run(ce, script("head -c 3000000 /dev/zero; exit 0"))).values()
            assert status.state is not JobState.UNKNOWN
            found = (await ce.fetch_output([status.ref], tmp_path))[status.ref]
            assert isinstance(found, JobOutput | CommandError)
            await ce.purge([status.ref])
        await spot.shell('rm -rf "$1"', area)
