"""Submitting to a remote schedd: one transaction, and then the files of all copies."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from intercede.answers import Submission
from intercede.elements.htcondor_ce_access import WRITE
from intercede.elements.sandbox import Sandbox, collect_inputs, secret_files
from intercede.elements.submitting import SLOWEST, check_container, copies_of, new_tag
from intercede.errors import (
    CommandError,
    ConnectionLost,
    ParseError,
    SchedulerUnavailable,
    StorageError,
    SubmissionUnknown,
    TagConflict,
    UnsupportedError,
)
from intercede.htcondor_ce import private
from intercede.htcondor_ce.description import ABANDONED, ANEW, Label, describe, item, program_head
from intercede.htcondor_ce.protocol import Act, Submit
from intercede.model import JobRef, check_tag
from intercede.schedulers.common import check_resources, refused
from intercede.schedulers.htcondor import ABSENT, FIELDS, FULL, native_lines
from intercede.workarea import jobfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from intercede.credentials import X509Proxy
    from intercede.elements.htcondor_ce_access import Access
    from intercede.elements.htcondor_ce_book import Book, Known
    from intercede.htcondor_ce.protocol import Submitted
    from intercede.model import Copy, JobDescription, Resources
    from intercede.settings import ResourceSettings

__all__ = ["abandon", "begin", "submit"]

RESERVES = frozenset({"cores", "gpus", "memory", "walltime"})


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent.

    Attributes:
        label: What is written down with the jobs.
        resources: What each is given.
        native: The caller's own lines.
        keys: Of the copies.
        common: What all copies have in common.
        own: What is a copy's own, where there is anything.
        is_new: Whether nobody can have used the tag before.
    """

    label: Label
    resources: Resources
    native: tuple[str, ...]
    keys: tuple[str, ...]
    common: Sandbox
    own: dict[int, Sandbox]
    is_new: bool


def begin(
    description: JobDescription, copies: int | Iterable[Copy], tag: str | None, settings: ResourceSettings
) -> Order:
    """Check and gather what is to be sent; does not ask the schedd.

    Raises:
        ConfigurationError: The description cannot work.
        UnsupportedError: A field cannot be honoured.
    """
    each = copies_of(copies)
    is_new = tag is None
    tag = new_tag() if tag is None else check_tag(tag)
    check_container(description, settings)
    wanted = check_resources(settings.scheduler, description.resources, RESERVES, settings.best_effort)
    if wanted.account or settings.account:
        raise UnsupportedError("resources.account", "the CE decides whom it charges, by who you are", "Leave it out.")
    wanted = wanted.model_copy(update={"queue": wanted.queue or settings.queue})
    inherited = {name: os.environ[name] for name in description.inherit if name in os.environ}
    digest = jobfile.digest(settings.id, description, each, inherited)
    keys = tuple(copy.key if copy.key is not None else str(index) for index, copy in enumerate(each))
    label = Label(tag, settings.id, digest, len(each), int(time.time()), description.outputs)
    limits = settings.limits
    texts = {
        "job": jobfile.job_text(description, settings, tag, inherited),
        "outputs": jobfile.outputs_text(description),
        "bounds": f"{limits.output_bytes} {limits.output_files}\n".encode(),
    }
    if description.requeue:
        texts["requeue"] = b"1\n"
    if wanted.walltime:
        texts["walltime"] = b"%d\n" % int(wanted.walltime.total_seconds())
    common = Sandbox(texts, [], collect_inputs(description))
    return Order(label, wanted, native_lines(description, settings), keys, common, _own(description, each), is_new)


def _own(description: JobDescription, copies: Sequence[Copy]) -> dict[int, Sandbox]:
    # a carriage return is no end of a line to a shell
    lines = [line + b"\n" for line in jobfile.copies_text(copies).split(b"\n")[:-1]]
    secrets: dict[int, list[tuple[str, bytes]]] = {}
    for path, data in secret_files(description, copies):
        secrets.setdefault(int(path.split("/")[1]), []).append((path, data))
    return {
        copy: Sandbox({"line": lines[copy]} if lines else {}, secrets.get(copy, []), [])
        for copy in range(len(copies))
        if lines or copy in secrets
    }


async def submit(access: Access, book: Book, order: Order, settings: ResourceSettings) -> Submission:
    """Send a submission; see `CondorCEElement.submit`.

    Args:
        access: The way to the schedd.
        book: Finds submissions there.
        order: What is sent.
        settings: Of the resource.
    """
    label = order.label
    known = None if order.is_new else await book.settled(label.tag)
    if known is not None:
        if (known.label.digest, known.label.copies) != (label.digest, label.copies):
            said = "it was used here for another description or other copies"
            raise TagConflict(f"tag {label.tag}", said, "Choose another tag; nothing was queued.")
        if known.never_ran and known.waiting:
            known = await _anew(access, book, known)
        if known is not None and (known.waiting or not known.never_ran):
            return known.submission()
    done = await _sent(access, order, settings)
    results = tuple(JobRef(label.resource, label.tag, copy, f"{done.cluster}.{copy}") for copy in range(done.count))
    if done.complaint or done.count != label.copies:
        said = f"the jobs are queued, and wait for their files: {done.complaint}"
        raise SubmissionUnknown(label.tag, said, "Submit again with the same tag, or cancel them.", refs=results)
    return Submission(label.tag, order.keys, results)


async def abandon(access: Access, book: Book, known: Known) -> Submission:
    """Remove the jobs of a submission whose files never came; see `CondorCEElement.abandon`."""
    waiting = known.waiting
    if not waiting:
        return known.submission()
    after = await _removed(access, book, known, ABANDONED)
    return known.submission(waiting) if after is None else after.submission()


async def _anew(access: Access, book: Book, known: Known) -> Known | None:
    """Remove jobs that wait for files which never came, so that they can be sent anew; gives what there is then.

    Raises:
        SubmissionUnknown: Whether they were removed is not known.
    """
    try:
        return await _removed(access, book, known, ANEW)
    except (ConnectionLost, ParseError) as error:
        said = f"its jobs wait for their files; whether they were removed is not known: {error}"
        raise SubmissionUnknown(known.label.tag, said, "Submit again with the same tag.") from error


async def _removed(access: Access, book: Book, known: Known, reason: str) -> Known | None:
    # how many it says that it removed is not what counts: an answer may be lost, and asked for again
    which = f"ClusterId == {known.cluster} && JobStatus == 5 && HoldReasonCode == 16"
    await access.ask(Act("Remove", which, reason), WRITE)
    return await book.settled(known.label.tag)


async def _sent(access: Access, order: Order, settings: ResourceSettings) -> Submitted:
    tag, limits = order.label.tag, settings.limits
    size = order.common.size * order.label.copies
    proxy = await access.proxy() if access.endpoint.proxy_with_jobs else None
    directory = private.make()
    writing = asyncio.ensure_future(asyncio.to_thread(_write, directory, order, proxy))
    try:
        items = await asyncio.shield(writing)
        kept = int(access.endpoint.retention.total_seconds())
        lines = describe(
            order.label, order.resources, program=str(directory / "runner"), kept=kept, native=order.native,
            proxy=str(directory / "proxy") if proxy else "",
        )  # fmt: skip
        return await access.ask(Submit(lines, items), WRITE, limits.submit_time + size / SLOWEST)
    except (ConnectionLost, ParseError) as error:
        raise SubmissionUnknown(tag, f"the answer was lost: {error}") from error
    except (SchedulerUnavailable, StorageError):
        raise
    except CommandError as error:
        raise refused("the schedd", error.answer, 1, full=FULL, absent=ABSENT, fields=FIELDS) from error
    finally:
        # whoever gives up here must not leave secrets that are written a moment later
        await asyncio.gather(writing, return_exceptions=True)
        await asyncio.to_thread(private.remove, directory)


def _write(directory: Path, order: Order, proxy: X509Proxy | None = None) -> tuple[dict[str, str], ...]:
    """Write the files that are sent, and give what each copy has of its own."""
    try:
        program = directory / "runner"
        with program.open("wb") as file:
            file.write(program_head())
            file.writelines(order.common)
        program.chmod(0o700)
        if proxy is not None:
            (directory / "proxy").touch(mode=0o600)
            (directory / "proxy").write_bytes(proxy.pem.get_secret_value())
        items = []
        for copy, key in enumerate(order.keys):
            path = directory / f"{copy}.own"
            if sandbox := order.own.get(copy):
                path.touch(mode=0o600)
                path.write_bytes(b"".join(sandbox))
            items.append(item(copy, str(path) if sandbox else "", key))
    except OSError as error:
        asked = f"writing what is sent to {directory}"
        raise StorageError(asked, error.strerror or str(error), "Free space there.") from error
    return tuple(items)
