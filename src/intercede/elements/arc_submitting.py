"""Submitting to a CE: many jobs a request, and at most once.

A job that is created does nothing until its files are uploaded, and the server ends one that waits too long for them.
So a submission whose answer was lost is repeated by looking at what is there: what lacks its files is given them, and
of two jobs that were made for one copy, one is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from intercede.answers import Submission
from intercede.arc.adl import write_adl
from intercede.arc.job import IN, JOB_SHELL, Label, activity
from intercede.elements.arc_book import Known, each
from intercede.elements.arc_capacity import check_site
from intercede.elements.arc_files import packed
from intercede.elements.sandbox import Sandbox, collect_inputs, secret_files
from intercede.elements.submitting import copies_of, new_tag
from intercede.errors import (
    AuthenticationFailed,
    ConnectFailed,
    CredentialError,
    IntercedeError,
    QueueFull,
    SubmissionRejected,
    SubmissionUnknown,
    TagConflict,
    UnsupportedError,
)
from intercede.model import JobRef, Resources, check_tag
from intercede.schedulers.common import check_resources
from intercede.workarea import jobfile
from intercede.workarea.programs import runner_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from intercede.arc.client import ArcClient
    from intercede.arc.documents import Answer
    from intercede.elements.arc_book import Book
    from intercede.model import Copy, JobDescription
    from intercede.settings import ResourceSettings

__all__ = ["Order", "Plan", "begin", "plan_of", "submit"]

# Jobs of one request: the server makes one after the other, so several requests at once are quicker
_MOST, _LEAST = 250, 25
# Bytes of uploads that are made before they can be sent, for one request
_AHEAD = 8 * 1024 * 1024
_NATIVE = re.compile(r"(?P<what>input|output):(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*)=(?P<url>[a-z]+:\S+)\Z")
_RUNTIME = re.compile(r"runtime:([A-Za-z0-9][A-Za-z0-9._/-]*)\Z")
_FULL = re.compile(r"\b(?:too many|limit|maximum|full|exceed)", re.IGNORECASE)
_QUEUE = re.compile(r"queue", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a description the CE is told.

    Attributes:
        resources: What the job is given.
        runtimes: Runtime environments.
        fetched: What the CE fetches, by name.
        sent: What it sends away.
    """

    resources: Resources
    runtimes: tuple[str, ...] = ()
    fetched: dict[str, str] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)

    @property
    def needs_delegation(self) -> bool:
        """Whether the CE may have to show who we are."""
        return bool(self.fetched or self.sent or self.runtimes)


@dataclass(frozen=True, slots=True)
class Order:
    """One submission, ready to be sent.

    Attributes:
        labels: Of its copies.
        plan: What the CE is told.
        texts: Files that all copies have.
        lines: What differs, by copy.
        secrets: By copy.
        inputs: As `collect_inputs` gives them.
        is_new: Whether nobody can have used the tag before.
    """

    labels: list[Label]
    plan: Plan
    texts: dict[str, bytes]
    lines: list[bytes]
    secrets: list[list[tuple[str, bytes]]]
    inputs: list[tuple[str, Path, os.stat_result]]
    is_new: bool

    def sandbox(self, copy: int) -> Sandbox:
        """The files of one copy."""
        texts = {**self.texts, **({"line": self.lines[copy]} if self.lines else {})}
        return Sandbox(texts, self.secrets[copy], self.inputs)


def plan_of(description: JobDescription, settings: ResourceSettings) -> Plan:
    """Say what of a description the CE is told.

    Raises:
        UnsupportedError: It cannot be honoured.
    """
    asked = description.resources
    resources = check_resources("ARC", asked, {"cores", "nodes", "memory", "walltime"}, settings.best_effort)
    if asked.account or settings.account:
        raise UnsupportedError("resources.account", "ARC has no accounts", "Leave it out.")
    runtimes: list[str] = []
    if description.container is not None and not settings.container_launcher:
        containers = settings.endpoint.containers if settings.endpoint is not None else {}
        if description.container not in containers:
            advice = "Configure endpoint.containers, image by image, or a container_launcher."
            said = f"no runtime environment of {settings.id} is known to be that image"
            raise UnsupportedError("container", said, advice)
        runtimes.append(containers[description.container])
    staged: dict[str, dict[str, str]] = {"input": {}, "output": {}}
    for word in (*settings.native, *description.native.get("arc", ())):
        if found := _RUNTIME.match(word):
            runtimes.append(found[1])
        elif found := _NATIVE.match(word):
            staged[found["what"]][found["name"]] = found["url"]
        else:
            advice = "Write input:NAME=URL, output:NAME=URL or runtime:NAME."
            raise UnsupportedError("native", f"{word!r} means nothing to ARC", advice)
    return Plan(resources, tuple(runtimes), staged["input"], staged["output"])


def begin(
    description: JobDescription, copies: int | Iterable[Copy], tag: str | None, settings: ResourceSettings
) -> Order:
    """Make what is sent of a submission; nothing is sent yet.

    Raises:
        ConfigurationError: It cannot work.
        UnsupportedError: It cannot be honoured.
    """
    wanted = copies_of(copies)
    name = new_tag() if tag is None else check_tag(tag)
    plan = plan_of(description, settings)
    inherited = {each: os.environ[each] for each in description.inherit if each in os.environ}
    digest = jobfile.digest(settings.id, description, wanted, inherited)
    queue = description.resources.queue or settings.queue
    now = int(time.time())
    labels = [
        Label(
            name, settings.id, digest, copy, len(wanted), str(copy) if each.key is None else each.key, now, queue,
            description.outputs,
        )
        for copy, each in enumerate(wanted)
    ]  # fmt: skip
    inside = description if settings.container_launcher else description.model_copy(update={"container": None})
    texts = {
        "runner": runner_text(JOB_SHELL),
        "job": jobfile.job_text(inside, settings, name, inherited),
        "outputs": jobfile.outputs_text(description),
        "sent": "".join(f"{each}\n" for each in plan.sent).encode(),
    }
    if description.resources.walltime:
        texts["walltime"] = b"%d\n" % int(description.resources.walltime.total_seconds())
    lines = [line + b"\n" for line in jobfile.copies_text(wanted).split(b"\n")[:-1]]
    secrets: list[list[tuple[str, bytes]]] = [[] for _ in wanted]
    for path, data in secret_files(description, wanted):
        secrets[int(path.split("/")[1])].append((path, data))
    inputs = collect_inputs(description)
    return Order(labels, plan, {k: v for k, v in texts.items() if v}, lines, secrets, inputs, tag is None)


async def submit(
    book: Book, order: Order, delegation: str | None, settings: ResourceSettings, client: ArcClient
) -> Submission:
    """Send a submission; see `ArcElement.submit`.

    Args:
        book: What is known of the CE's jobs.
        order: What is sent.
        delegation: The identifier of the delegated credential.
        settings: Of the resource.
        client: The CE.
    """
    first, resources = order.labels[0], order.plan.resources
    # one that does not speak with us has created nothing: the caller learns why
    await client.version()
    checked = await check_site(
        client, book, resources.model_copy(update={"queue": first.queue}), settings.best_effort | resources.best_effort
    )
    order = replace(order, plan=replace(order.plan, resources=checked))
    known = None if order.is_new else await book.submission(client, first.tag)
    if known is not None and (known.label.digest, known.label.copies) != (first.digest, first.copies):
        said = "it was used here for another description or other copies"
        raise TagConflict(f"tag {first.tag}", said, "Choose another tag; nothing was queued.")
    width = settings.politeness.concurrent
    sending = _Sending(client, book, order, delegation, width, known or Known(first))
    return await sending.all()


class _Sending:
    """One submission on its way."""

    def __init__(
        self, client: ArcClient, book: Book, order: Order, delegation: str | None, width: int, known: Known
    ) -> None:
        self._client = client
        self._book = book
        self._order = order
        self._delegation = delegation
        self._width = width
        self._known = known
        self._refused: dict[int, IntercedeError] = {}
        self._unknown: IntercedeError | OSError | None = None

    async def all(self) -> Submission:
        known = self._known
        there, first = known.natives.keys() | known.purged.keys(), min(known.natives, default=None)
        absent = [label.copy for label in self._order.labels if label.copy not in there]
        if known.spare:
            await self._client.kill(known.spare)
        await self._upload(sorted(known.waiting))
        size = min(_MOST, max(_LEAST, -(-len(absent) // self._width)))
        await each(self._part, [absent[at : at + size] for at in range(0, len(absent), size)], self._width)
        if known.purged and known.anchor[0] != first:
            # where it is now, it is found all the same, with more requests
            with contextlib.suppress(IntercedeError):
                await self._book.write_purged(self._client, known)
        return self._result()

    async def _part(self, copies: list[int]) -> None:
        """Create some jobs in one request, and give them their files.

        Nothing is raised, here and in `_upload`: other jobs are on their way, and the caller must learn of all of them.
        """
        plan = self._order.plan
        document = write_adl([
            activity(self._order.labels[copy], plan.resources, runtimes=plan.runtimes, fetched=plan.fetched,
                     sent=plan.sent, delegation=self._delegation)
            for copy in copies
        ])  # fmt: skip
        try:
            # the server takes its time: their files are made meanwhile
            creating = self._client.create(document, len(copies))
            answers, packs = await asyncio.gather(creating, self._packed(copies))
        except (ConnectFailed, AuthenticationFailed, CredentialError) as error:
            self._refused.update(dict.fromkeys(copies, error))
            return
        except IntercedeError as error:
            self._unknown = error
            return
        for copy, answer in zip(copies, answers, strict=True):
            if answer.is_good and answer.ident:
                self._known.natives[copy] = answer.ident
                self._book.learn(answer.ident, self._order.labels[copy])
            else:
                self._refused[copy] = _refusal(answer, self._order.labels[copy])
        await self._upload([copy for copy in copies if copy in self._known.natives], packs)

    async def _packed(self, copies: Sequence[int]) -> dict[int, bytes]:
        """The uploads of copies, made ahead as far as they take little memory; not those for which files are read."""
        packs: dict[int, bytes] = {}
        room = _AHEAD
        for copy in copies if not self._order.inputs else ():
            await asyncio.sleep(0)
            data = b"".join(self._order.sandbox(copy))
            packs[copy] = data
            room -= len(data)
            if room < 0:
                break
        return packs

    async def _upload(self, copies: Sequence[int], packs: Mapping[int, bytes] | None = None) -> None:
        ahead = dict(packs or {})

        async def one(copy: int) -> None:
            native = self._known.natives[copy]
            for last in (False, True):
                try:
                    data = ahead.pop(copy, None) or packed(self._order.sandbox(copy))
                    await self._client.write(native, IN, data)
                except (IntercedeError, OSError) as error:  # an input may be gone by now
                    if last:
                        self._unknown = error
                    continue
                self._book.arrived(native)
                self._known.waiting.discard(copy)
                return
            self._known.waiting.add(copy)

        await each(one, copies, self._width)

    def _result(self) -> Submission:
        known, labels = self._known, self._order.labels
        results = [known.ref(label.copy) or self._refused.get(label.copy) for label in labels]
        refs = [each for each in results if isinstance(each, JobRef)]
        errors = [each for each in results if isinstance(each, IntercedeError)]
        if self._unknown is not None:
            lack = len(known.waiting)
            what = f"{lack} jobs have not got their files" if lack else "the answer was lost"
            raise SubmissionUnknown(labels[0].tag, f"{what}: {self._unknown}", refs=refs)
        if errors and not refs:
            raise errors[0]
        for error in errors:
            if isinstance(error, QueueFull) and not error.accepted:
                error.accepted = tuple(refs)
        return Submission(labels[0].tag, tuple(label.key for label in labels), tuple(each for each in results if each))


def _refusal(answer: Answer, label: Label) -> IntercedeError:
    """What it means that the server did not create a job."""
    asked = f"copy {label.copy} of submission {label.tag}"
    if _QUEUE.search(answer.reason) and "not allowed" in answer.reason:
        return UnsupportedError("resources.queue", answer.reason, "Choose one that `capacity` shows.")
    if _FULL.search(answer.reason):
        return QueueFull(asked, answer.reason, "Submit again when jobs have ended.", returncode=answer.code)
    return SubmissionRejected(asked, answer.reason, returncode=answer.code)
