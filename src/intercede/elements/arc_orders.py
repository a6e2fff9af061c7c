"""Orders to jobs on a CE: cancel, renew, purge; each job is first known to be the one that is meant."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from intercede.answers import JobState, JobStatus, Outcome
from intercede.arc.job import OUT
from intercede.arc.states import ENDED, STATES, state_of
from intercede.elements.arc_book import LOOKS, MOMENT, each
from intercede.elements.arc_status import SOURCES, live_states
from intercede.elements.sandbox import Sandbox
from intercede.errors import CommandError, ConfigurationError, IntercedeError, InvalidReference, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from intercede.arc.client import ArcClient
    from intercede.arc.documents import Answer
    from intercede.elements.arc_book import Book, Known
    from intercede.model import JobRef

__all__ = ["cancel", "purge", "renew"]

Answers = dict["JobRef", "Outcome | IntercedeError"]
_BEFORE = frozenset({"ACCEPTING", "ACCEPTED", "PREPARING", "PREPARED"})


async def _ours(client: ArcClient, book: Book, refs: Sequence[JobRef]) -> tuple[list[JobRef], Answers]:
    """The references of jobs that are there and ours; what is to be said of the others."""
    unread = await book.read(client, [ref.native for ref in refs if not book.is_gone(ref.native)])
    # a job whose state is changing may be there and cannot be read
    there = await live_states(client, [ref for ref in refs if ref.native in unread]) if unread else {}
    unread = await book.read(client, there)
    answers: Answers = {}
    for ref in refs:
        if ref.native in unread:
            said = f"it is {there[ref.native]}, and the CE does not tell whose it is"
            answers[ref] = CommandError(f"order for {ref}", said, "Try again.")
        elif book.label(ref.native) is None:
            answers[ref] = Outcome.NOT_NEEDED  # it was purged, or never there
        elif not book.is_of(ref):
            asked = f"job reference {ref}"
            answers[ref] = InvalidReference(asked, "the job of that number is another one", "Was it changed?")
    return [ref for ref in refs if ref not in answers], answers


async def cancel(client: ArcClient, book: Book, refs: Sequence[JobRef], ended: set[JobRef]) -> Answers:
    """Cancel jobs; those that are known to have ended need it no more."""
    wanted, answers = await _ours(client, book, [ref for ref in refs if ref not in ended])
    live = await client.jobs() if wanted else {}
    # one that the list lacks may be there: its state is changing
    open_ones = [ref for ref in wanted if not state_of(live.get(ref.native, "None")).is_final]
    said = await _killed(client, [ref.native for ref in open_ones])
    for ref in open_ones:
        answer = said[ref.native]
        if answer.is_good:
            answers[ref] = Outcome.DONE
        elif answer.code == 404 and ref.native not in live:
            answers[ref] = Outcome.NOT_NEEDED
        else:
            answers[ref] = CommandError(f"cancel of {ref}", answer.reason, returncode=answer.code)
    return {ref: answers.get(ref, Outcome.NOT_NEEDED) for ref in refs}


async def _killed(client: ArcClient, natives: list[str]) -> dict[str, Answer]:
    """Order the end of jobs; while its state changes, one may be refused or not be there, so it is told again."""
    said = await client.kill(natives)
    for _ in range(LOOKS - 1):
        refused = [native for native in natives if not said[native].is_good]
        if not refused:
            break
        await asyncio.sleep(MOMENT)
        said |= await client.kill(refused)
    return said


async def renew(
    client: ArcClient, book: Book, refs: Sequence[JobRef], secrets: Mapping[str, bytes | str], stamp: int
) -> Answers:
    """Give jobs that have not started newer secrets: they take them when they do."""
    for name in secrets:
        if name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise ConfigurationError(f"secrets.{name}", f"{name!r} is not a plain file name")
    wanted, answers = await _ours(client, book, refs)
    live = await live_states(client, wanted)
    begun = [ref for ref in wanted if live.get(ref.native) not in _BEFORE]
    fresh = [ref for ref in wanted if live.get(ref.native) in _BEFORE]

    async def one(ref: JobRef) -> None:
        files = [
            (f"secrets/{ref.copy_index}/{name}", secret.encode() if isinstance(secret, str) else secret)
            for name, secret in secrets.items()
        ]
        await client.write(ref.native, f"intercede.renew.{stamp}.tar", b"".join(Sandbox({}, files, [])))

    after: dict[str, str] = {}
    if secrets and fresh:
        await each(one, fresh)
        after = await live_states(client, fresh)
    for ref in begun:
        over = ref.native not in live or state_of(live[ref.native]).is_final
        answers[ref] = Outcome.NOT_NEEDED if over or not secrets else _late(ref)
    for ref in fresh:
        answers[ref] = (
            Outcome.DONE if after.get(ref.native) in _BEFORE else _late(ref) if secrets else Outcome.NOT_NEEDED
        )
    return {ref: answers[ref] for ref in refs}


def _late(ref: JobRef) -> CommandError:
    said = "it was given to the batch system, with the files that it had"
    return CommandError(f"renew of {ref}", said, "Give the job secrets that last as long as it does.")


async def purge(client: ArcClient, book: Book, statuses: Mapping[JobRef, JobStatus]) -> Answers:
    """Remove the files of jobs that have ended; what was purged is written down with the first job that is there."""
    answers: Answers = {}
    tags: dict[str, list[JobRef]] = {}
    for ref, status in statuses.items():
        # what the list shows without our knowing what it means may well run
        shown = status.source == SOURCES[0] and status.native_state not in STATES
        if status.state.is_final or (status.state is JobState.UNKNOWN and not shown):
            tags.setdefault(ref.submission, []).append(ref)
        else:
            said = f"it is {status.state}" + (f" ({status.detail})" if status.detail else "")
            answers[ref] = _alive(ref, said)
    for tag, refs in tags.items():
        async with book.purging:
            known = await book.submission(client, tag)
            if known is None:
                answers |= {ref: NotFound(f"purge of {ref}", "the resource keeps nothing of it") for ref in refs}
            else:
                answers |= await _purge(client, book, known, refs)
    return {ref: answers[ref] for ref in statuses}


def _alive(ref: JobRef, said: str) -> CommandError:
    return CommandError(f"purge of {ref}", said, "Cancel it, or wait for its end.")


async def _purge(client: ArcClient, book: Book, known: Known, refs: Iterable[JobRef]) -> Answers:
    answers: Answers = {}
    ended: dict[int, JobRef] = {}
    for ref in refs:
        copy = ref.copy_index
        recorded, there = (jobs.get(copy) == ref.native for jobs in (known.purged, known.natives))
        if not recorded and not there:
            asked = f"job reference {ref}"
            answers[ref] = InvalidReference(asked, "the submission has no such job", "Was it changed?")
        elif there and (word := known.words[ref.native]) not in ENDED:
            answers[ref] = _alive(ref, f"it is {word} on the CE")
        else:
            # of one that is written down and still there, the order to remove it was lost or refused
            answers[ref] = Outcome.DONE if there and not (recorded and copy == known.anchor[0]) else Outcome.NOT_NEEDED
            if there:
                ended[copy] = ref
    if ended:
        await book.write_purged(client, known, ended)
        answers |= await _clean(client, book, known, ended)
    return answers


async def _clean(client: ArcClient, book: Book, known: Known, ended: Mapping[int, JobRef]) -> Answers:
    """Remove jobs that have ended, of the first one only its files; gives what was refused."""
    first, anchor = known.anchor
    refused: Answers = {}
    said = await client.clean([*(ref.native for copy, ref in ended.items() if copy != first), *known.spare])
    for ref in ended.values():
        answer = said.get(ref.native)
        if answer is not None and not answer.is_good and answer.code != 404:
            refused[ref] = CommandError(f"purge of {ref}", answer.reason, returncode=answer.code)
    if first in ended:
        home = f"{known.label.tag}/c/{first}"
        for path in (OUT, *(f"{home}/{name}" for name in ("record", "stdout", "stderr"))):
            with contextlib.suppress(CommandError, NotFound):
                await client.remove(anchor, path)
    book.forget(ref.native for ref in ended.values() if ref not in refused)
    return refused
