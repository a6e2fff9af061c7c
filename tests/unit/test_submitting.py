"""What a submission says when its command, its answer or its files fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercede import config
from intercede.answers import Counters
from intercede.elements.batch import BatchElement
from intercede.errors import CommandError, ConfigurationError, IntercedeError, LimitExceeded, StorageError
from intercede.errors import SubmissionUnknown as Unknown
from intercede.model import JobDescription
from intercede.schedulers.slurm import Slurm
from intercede.steps import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from intercede.steps import Command

SETTINGS = config.resolve("slurm:")
JOB = JobDescription(executable="/bin/true")


class Host:
    """A submit host that takes all of stdin and answers as it is told; `{}` in that is the nonce."""

    host = "host"

    def __init__(self, code: int, *texts: str, error: IntercedeError | None = None) -> None:
        self.counters = Counters()
        self.code = code
        self.texts = list(texts)
        self.error = error
        self.taken = b""

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        (command,) = commands
        self.taken = command.stdin if isinstance(command.stdin, bytes) else b"".join(command.stdin)
        if self.error is not None:
            raise self.error
        text = self.texts.pop(0).replace("{}", str(command.argv[4]))
        return (Completed(self.code, text.encode(), b""),)

    async def aclose(self) -> None: ...


def element(host: Host) -> BatchElement:
    return BatchElement(SETTINGS, host, Slurm())  # ty: ignore[invalid-argument-type]


# the shell may have been killed after sbatch had got through: 137 is SIGKILL, 152 SIGXCPU, here and over SSH
@pytest.mark.parametrize("code", [137, 152, 1])
async def test_a_shell_that_failed_may_have_submitted(code: int) -> None:
    with pytest.raises(Unknown) as caught:
        await element(Host(code, "{} here 1\n")).submit(JOB, tag="t")
    assert caught.value.tag == "t"
    assert "{}" not in str(caught.value)


async def test_a_killed_shell_is_said_to_be_one() -> None:
    with pytest.raises(Unknown, match="ended by signal 9"):
        await element(Host(137, "{} here 1\n")).submit(JOB, tag="t")


async def test_an_answer_that_is_too_long_may_have_been_that_of_a_submission() -> None:
    with pytest.raises(Unknown):
        await element(Host(0, error=LimitExceeded("submit", "too much"))).submit(JOB, tag="t")


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [(127, "", CommandError), (126, "", CommandError), (0, "{} cannot\nfull\n{} end\n", StorageError)],
)
async def test_what_never_began_is_no_unknown_submission(code: int, text: str, kind: type[IntercedeError]) -> None:
    with pytest.raises(kind):
        await element(Host(code, text)).submit(JOB, tag="t")


AGAIN = "{} here 0\n{} chunk 0 1 never\n{} end\n"


@pytest.mark.parametrize(
    ("tag", "texts", "kind"), [(None, [""], ConfigurationError), ("t", [""], Unknown), (None, [AGAIN, ""], Unknown)]
)
async def test_an_input_that_vanishes_after_it_was_looked_at(
    tmp_path: Path, tag: str | None, texts: list[str], kind: type[IntercedeError]
) -> None:
    data = tmp_path / "data"
    data.write_text("x")

    class Late(Host):
        async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
            if len(self.texts) == 1:
                data.unlink()
            return await super().run(commands)

    job = JobDescription(executable="/bin/true", inputs={"data": data})
    with pytest.raises(kind, match=r"inputs\.data: .*No such file") as caught:
        await element(Late(0, *texts)).submit(job, tag=tag)
    assert type(caught.value) is not FileNotFoundError


@pytest.mark.parametrize(
    ("text", "kind"),
    [("{} cannot\n.new is a link\n{} end\n", StorageError), ("{} layout 2\n{} end\n", ConfigurationError)],
)
async def test_a_log_of_a_work_area_that_cannot_be_used(text: str, kind: type[IntercedeError]) -> None:
    known = Host(0, "{} here 1\n{} chunk 0 1 known\n7\n{} end\n", text)
    async with element(known) as ce:
        submission = await ce.submit(JOB, tag="t")
        with pytest.raises(kind) as caught:
            await ce.read_log(submission.refs[0])
    assert ("a link" in str(caught.value)) == (kind is StorageError)
