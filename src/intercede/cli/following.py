"""Following jobs on a terminal or in a pipe, and what Ctrl-C does meanwhile."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Self

from intercede.answers import JobState, Outcome
from intercede.cli import screen
from intercede.cli.documents import job_document
from intercede.cli.exit_codes import Exit
from intercede.cli.wiring import say
from intercede.errors import IntercedeError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from rich.status import Status

    from intercede.answers import JobStatus
    from intercede.cli.session import Session
    from intercede.model import JobRef

__all__ = ["Interrupts", "Progress", "cancel_all", "clean_up", "copy_log", "stream"]

_PATIENCE = 10
"""Seconds to wait for cancelled jobs to end, so that their files can be removed."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Counts Ctrl-C (and SIGTERM) instead of dying of it, as a context manager within a running event loop."""

    def __init__(self) -> None:
        self._pressed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._before = {each: signal.getsignal(each) for each in _SIGNALS}
        for each in _SIGNALS:
            self._loop.add_signal_handler(each, self._pressed.set)
        return self

    def __exit__(self, *exc: object) -> None:
        for each, before in self._before.items():
            self._loop.remove_signal_handler(each)
            signal.signal(each, before)

    async def until(self, task: asyncio.Task[Any]) -> bool:
        """Wait for a task, or for the next Ctrl-C.

        Returns:
            Whether the task ended. It goes on if not.
        """
        pressed = asyncio.create_task(self._pressed.wait())
        try:
            await asyncio.wait({task, pressed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pressed.cancel()
        self._pressed.clear()
        return task.done()


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has cleaned up behind itself."""
    task.cancel()
    await asyncio.wait([task])


async def cancel_all(session: Session, refs: Sequence[JobRef], interrupts: Interrupts, *, keep: bool) -> int:
    """Cancel jobs because of Ctrl-C; a second one leaves them alone."""
    they, them = ("the jobs", "them") if len(refs) > 1 else ("the job", "it")
    say(f"cancelling {they} (Ctrl-C again leaves {them} alone)")
    ordering = asyncio.create_task(session.element().cancel(refs))
    if not await interrupts.until(ordering):
        await end(ordering)
        tag = refs[0].submission if refs else "@last"
        say(f"{they} may go on: intercede status {tag}; intercede cancel {tag}")
        return Exit.INTERRUPTED
    answers = ordering.result()
    failed = [error for error in answers.values() if isinstance(error, IntercedeError)]
    if failed:
        say(f"{len(failed)} of {len(refs)} could not be cancelled: {failed[0]}")
        return Exit.INTERRUPTED
    done = [ref for ref, answer in answers.items() if answer is Outcome.DONE]
    say(f"{len(done)} cancelled" + (f", {len(refs) - len(done)} had ended" if len(done) < len(refs) else ""))
    cleaning = asyncio.create_task(clean_up(session, refs, purge=not keep))
    if not await interrupts.until(cleaning):
        await end(cleaning)
    elif left := len(refs) - len(cleaning.result()):
        tag = refs[0].submission
        say(f"what {left} left is on the resource: intercede output {tag} --to DIR; intercede purge {tag}")
    return Exit.INTERRUPTED


async def clean_up(session: Session, refs: Sequence[JobRef], *, purge: bool, unwanted: bool = False) -> list[JobRef]:
    """Wait a little for the end of jobs that were cancelled, and remove their files.

    Args:
        session: Where they are.
        refs: The jobs.
        purge: Whether files are removed: of cancelled jobs only, for the others may have made what is wanted.
        unwanted: Whether nothing of them is wanted: they are cancelled first, and all files are removed.

    Returns:
        The jobs whose files are gone.
    """
    element = session.element()
    known: dict[JobRef, JobStatus] = {}
    with suppress(TimeoutError, IntercedeError):
        if unwanted:
            await element.cancel(refs)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                async for changes in element.watch(refs):
                    known |= changes
        session.memory.saw({str(ref): job_document(status) for ref, status in known.items()})
        useless = [ref for ref, status in known.items() if unwanted or status.state is JobState.CANCELLED]
        if purge and useless:
            answers = await element.purge(useless)
            gone = [ref for ref, answer in answers.items() if not isinstance(answer, IntercedeError)]
            session.memory.purged(str(ref) for ref in gone)
            return gone
    return []


async def stream(element: Any, ref: JobRef) -> JobStatus:
    """Copy the output of a job to our own until it has ended.

    Returns:
        Its final status.

    Raises:
        BrokenPipeError: Nobody reads our output any more.
    """
    status: JobStatus | None = None
    following = False
    with Waiting(ref) as waiting:
        try:
            async with asyncio.TaskGroup() as logs, aclosing(element.watch([ref])) as watching:
                async for changes in watching:
                    status = changes.get(ref, status)
                    waiting.show(status)
                    begun = status is not None and (status.state.is_final or status.state is JobState.RUNNING)
                    if begun and not following:
                        following = True
                        logs.create_task(copy_log(element, ref, "stdout", waiting))
                        logs.create_task(copy_log(element, ref, "stderr", waiting))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    return status or (await element.status([ref]))[ref]


async def copy_log(
    element: Any, ref: JobRef, name: str, waiting: Waiting | None = None, *, offset: int = 0, quiet: bool = True
) -> None:
    """Copy one log of a job to our stdout (or stderr) until it has ended.

    Args:
        element: Where the job is.
        ref: The job.
        name: Which log.
        waiting: What makes room for the output.
        offset: Where to begin; negative counts from the end.
        quiet: Whether a log that is not there is as good as an empty one: a job that never started has none.
    """
    sink = (sys.stderr if name == "stderr" else sys.stdout).buffer

    def write(data: bytes) -> None:
        sink.write(data)
        sink.flush()

    try:
        async with aclosing(element.follow(ref, name, offset)) as chunks:
            async for chunk in chunks:
                if chunk.data:
                    if waiting:
                        waiting.stop()
                    # A reader that is slow (a pager) must not keep connections from being served.
                    await asyncio.to_thread(write, chunk.data)
    except NotFound:
        if not quiet:
            raise


class Waiting:
    """Says on a terminal why there is no output yet; says nothing in a pipe."""

    def __init__(self, ref: JobRef) -> None:
        self._name = f"{ref.submission}:{ref.copy_index}"
        self._status: Status | None = None
        self._done = not screen.is_terminal(stderr=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def show(self, status: JobStatus | None) -> None:
        """Show the state of the job."""
        if self._done or status is None:
            return
        from rich.text import Text  # a plain str would be read as markup

        parts = [self._name, str(status.state).lower(), status.native_state, screen.why(status)]
        text = Text(screen.printable("  ".join(part for part in parts if part)))
        if self._status is None:
            self._status = screen.console(stderr=True).status(text, spinner_style="dim")
            self._status.start()
        self._status.update(text)

    def stop(self) -> None:
        """Make room for output, for good."""
        self._done = True
        if self._status is not None:
            self._status.stop()
            self._status = None


class Progress:
    """How far many jobs are: a bar on a terminal, a line for every change of the counts in a pipe; on stderr."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._said = ""
        self._bar: Any = None
        if screen.is_terminal(stderr=True):
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24, complete_style="cyan", finished_style="green"),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[states]}", markup=False),
                console=screen.console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(what, total=total, states="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, statuses: Iterable[JobStatus]) -> None:
        """Show the counts of states."""
        states = [status.state for status in statuses]
        text = screen.counts(states)
        if self._bar is not None:
            self._bar.update(self._task, completed=sum(state.is_final for state in states), states=text.lower())
        elif text != self._said:
            say(f"{self._what}: {text}")
        self._said = text

    def count(self, done: int) -> None:
        """Show a plain number."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
