"""The seam between deciding and doing.

What a scheduler needs done on the submit host is written as a generator that *yields* commands and is *sent* what
they gave. It does no input or output, so the same code runs locally, over SSH, and in a test that replays what a
real daemon once said.

    def whoami() -> Steps[str]:
        (answer,) = yield (Command(("id", "-un")),)
        return answer.text.strip()

    await drive(whoami(), transport)
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Command", "Completed", "Runner", "Steps", "drive", "replay"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Command:
    """An argument vector for the submit host.

    Attributes:
        argv: The words; text is sent as UTF-8 with `surrogateescape`. It never passes through a shell unquoted.
        stdin: What the command reads: bytes, or an iterable that gives them piece by piece and can be iterated anew.
        repeatable: Whether running it twice does no harm, so that a lost answer may be asked for again.
        time_limit: Seconds after which the far side ends it; None for the transport's default.
        output_limit: Bytes of stdout (and of stderr) that are accepted before the answer is refused.
    """

    argv: tuple[str | bytes, ...]
    stdin: bytes | Iterable[bytes] = field(default=b"", repr=False)
    repeatable: bool = False
    time_limit: float | None = None
    output_limit: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Completed:
    """What one command gave.

    Attributes:
        returncode: The exit status; 128 + n for a command that signal n ended.
        stdout: As it came.
        stderr: As it came.
        timed_out: Whether the far side ended it at its time limit.
    """

    returncode: int
    stdout: bytes = b""
    stderr: bytes = b""
    timed_out: bool = False

    @property
    def text(self) -> str:
        """Stdout as text; bytes that are not UTF-8 survive as surrogates."""
        return self.stdout.decode("utf-8", "surrogateescape")

    @property
    def complaint(self) -> str:
        """What it said on stderr, else on stdout, without trailing white space, for a message."""
        return (self.stderr.strip() or self.stdout.strip()).decode("utf-8", "replace")[-2000:]


Steps: TypeAlias = Generator[tuple[Command, ...], tuple[Completed, ...], T]
"""A decision in progress: yields commands (those yielded together run in one round trip), returns a `T`."""


class Runner(Protocol):
    """What `drive` needs of a transport."""

    async def run(self, commands: Sequence[Command]) -> tuple[Completed, ...]:
        """Run the commands in one round trip and give their answers in order."""
        ...


async def drive(steps: Steps[T], runner: Runner) -> T:
    """Run a generator of commands to its end on a transport.

    Args:
        steps: The generator; it is closed whatever happens.
        runner: What runs the commands.

    Returns:
        What the generator returns.
    """
    try:
        commands = next(steps)
        while True:
            try:
                answers = await runner.run(commands)
            except Exception as error:
                commands = steps.throw(error)
            else:
                commands = steps.send(answers)
    except StopIteration as stop:
        return stop.value
    finally:
        steps.close()


def replay(steps: Steps[T], answers: Iterable[tuple[Completed, ...]]) -> T:
    """Run a generator of commands against recorded answers, with no daemon.

    Args:
        steps: The generator.
        answers: One tuple for each round trip, in order.

    Returns:
        What the generator returns.

    Raises:
        LookupError: The generator asked for more than was recorded.
    """
    recorded = iter(answers)
    try:
        commands = next(steps)
        while True:
            answer = next(recorded, None)
            if answer is None:
                msg = f"nothing is recorded for {[command.argv for command in commands]!r}"
                raise LookupError(msg)
            commands = steps.send(answer)
    except StopIteration as stop:
        return stop.value
