"""What the commands do with the library: resources are opened as they are needed, and jobs are found by their names."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from intercede import config, registry
from intercede.cli.prompts import TerminalCredentials
from intercede.cli.wiring import say
from intercede.elements.group import ElementGroup
from intercede.errors import ConfigurationError, InvalidReference, NotFound, SubmissionUnknown
from intercede.model import JobRef, check_tag

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from intercede.answers import Submission
    from intercede.cli.memory import Memory, Remembered
    from intercede.cli.options import Access
    from intercede.settings import ResourceSettings

__all__ = ["Chosen", "Session", "settings_of"]

_REFERENCE = re.compile(r"ic\d+:(?![\d,-]+\Z)")
_COPIES = re.compile(r"(\d+)(?:-(\d+))?\Z")


@dataclass
class Chosen:
    """Jobs of one submission that a command is about.

    Attributes:
        tag: The submission's tag.
        access: How its resource is reached.
        refs: The jobs.
        remembered: What the memory has of it.
    """

    tag: str
    access: Access
    refs: list[JobRef] = field(default_factory=list)
    remembered: Remembered | None = None


def settings_of(access: Access) -> ResourceSettings:
    """Give the settings of the resource that is meant, with what the command line says about SSH.

    Raises:
        ConfigurationError: There is no such resource, or its settings are wrong.
    """
    settings = config.resolve(access.on or "local:", access.config)
    if settings.ssh is None:
        return settings
    changes: dict[str, Any] = {}
    if access.ssh_config:
        changes["config_file"] = _there(access.ssh_config, "--ssh-config")
    if access.identity:
        changes["identity_files"] = (_there(access.identity, "--identity"), *settings.ssh.identity_files)
    return settings.model_copy(update={"ssh": settings.ssh.model_copy(update=changes)})


def absolute(access: Access) -> Access:
    """The same access from any directory, for remembering it."""
    names = ("config", "ssh_config", "identity", "password_file", "token_file", "idtoken_file", "proxy_file")
    paths = {name: getattr(access, name) for name in names}
    return replace(access, **{name: str(Path(each).expanduser().absolute()) for name, each in paths.items() if each})


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command; its first interrupt cancels it."""
    return asyncio.run(main)


class Session:
    """The resources that one command uses, as an async context manager.

    Args:
        access: What the options say: of new jobs, and of jobs that are not remembered.
        memory: What was submitted.

    Attributes:
        doubts: The submissions that were chosen, and are not known as a whole.
    """

    def __init__(self, access: Access, memory: Memory) -> None:
        self.access = access
        self.memory = memory
        self.doubts: list[SubmissionUnknown] = []
        self._access_of: dict[str, Access] = {}
        self._route: dict[JobRef, str] = {}
        self.group = ElementGroup(self._open, route=lambda ref: self._route[ref])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.group.aclose()

    def element(self, access: Access | None = None) -> Any:
        """Give the element that an access leads to."""
        return self.group[self._label(access or self.access)]

    async def choose(self, names: Sequence[str] | None) -> list[Chosen]:
        """Find the jobs that words of the command line mean.

        Args:
            names: `@last`, a tag, a tag with copies (`TAG:17`, `TAG:3-9`), or references. Default: `@last`.

        Raises:
            ConfigurationError: A word means nothing.
            NotFound: The resource knows nothing of such a tag.
            SubmissionUnknown: Not a job of a submission is known; of one with some, that is said.
        """
        chosen = [await self._choose(name) for name in names or ["@last"]]
        merged: dict[tuple[str, Access], Chosen] = {}
        for each in chosen:
            known = merged.setdefault((each.tag, each.access), replace(each, refs=[]))
            known.refs = list(dict.fromkeys([*known.refs, *each.refs]))
        for each in merged.values():
            self._route |= dict.fromkeys(each.refs, self._label(each.access))
        return list(merged.values())

    def known(self, tag: str) -> Remembered | None:
        """The newest submission with a tag that is remembered, on the resource that is meant if any is."""
        return next((each for each in self.memory.with_tag(tag) if self._is_meant(each)), None)

    def now(self, access: Access) -> Access:
        """A remembered access, with what the options say now: a file may have been moved since."""
        said = {name: value for name, value in asdict(self.access).items() if name != "on" and value is not None}
        return replace(access, **said)

    async def recall(self, tag: str, access: Access, known: Remembered | None, *, abandon: bool = False) -> Submission:
        """Ask the resource what it has of a tag (or give up on what is not known of it), and note it."""
        element = self.element(access)
        found = await (element.abandon(tag) if abandon else element.find(tag))
        # As long as a part may still be queued, the resource is asked again.
        complete = abandon or in_doubt(found) is None
        refs = by_copy(found.refs)
        if known is not None:
            self.memory.settle(known.id, refs, complete=complete)
        else:
            resource = settings_of(access).id
            self.memory.learn(tag, absolute(access), resource, len(found.results), refs, complete=complete)
        return found

    async def _recalled(self, tag: str, access: Access, known: Remembered | None) -> Chosen:
        found = await self.recall(tag, access, known)
        if (doubt := in_doubt(found)) is not None:
            if not found.refs:
                raise doubt
            self.doubts.append(doubt)
            say(f"warning: {doubt}")
        return Chosen(tag, access, list(found.refs), known)

    async def _choose(self, name: str) -> Chosen:
        if _REFERENCE.match(name):
            ref = JobRef.parse(name)
            known = self.memory.with_ref(str(ref))
            access = self.now(known.access) if known else replace(self.access, on=self.access.on or ref.resource)
            return Chosen(ref.submission, access, [ref], known)
        tag, _, copies = name.partition(":")
        known = self._remembered(tag)
        if known is None:
            chosen = await self._recalled(check_tag(tag), self.access, None)
        elif known.settled:
            refs = [JobRef.parse(job.ref) for job in known.jobs.values()]
            chosen = Chosen(known.tag, self.now(known.access), refs, known)
        else:
            chosen = await self._recalled(known.tag, self.now(known.access), known)
        if copies:
            chosen.refs = _of_copies(chosen.refs, copies, name)
        return chosen

    def _remembered(self, tag: str) -> Remembered | None:
        if tag == "@last":
            last = next(filter(self._is_meant, self.memory.newest(-1 if self.access.on else 1)), None)
            if last is None:
                there = f" to {self.access.on}" if self.access.on else ""
                advice = "Start with: intercede run -- hostname"
                raise ConfigurationError("@last", f"nothing was submitted{there} yet", advice)
            return last
        if tag.startswith("@") or not tag:
            raise ConfigurationError(f"jobs {tag!r}", "it is neither @last, nor a tag, nor a reference ic1:...")
        known = self.known(tag)
        if known is None and self.access.on is None:
            last = ", ".join(each.tag for each in self.memory.newest(3))
            advice = "If it was submitted elsewhere, say where with --on." + (
                f" The last ones: {last}." if last else ""
            )
            raise ConfigurationError(f"jobs {tag!r}", "no such tag is remembered", advice)
        return known

    def _is_meant(self, each: Remembered) -> bool:
        return self.access.on in {None, each.access.on}

    def _label(self, access: Access) -> str:
        label = access.on or "local"
        while self._access_of.setdefault(label, access) != access:
            label += "'"
        return label

    def _open(self, label: str) -> Any:
        access = self._access_of[label]
        files = {
            "password": access.password_file, "token": access.token_file, "condor_token": access.idtoken_file,
            "proxy": access.proxy_file,
        }  # fmt: skip
        credentials = TerminalCredentials(access.identity, {name: path for name, path in files.items() if path})
        return registry.open_element(settings_of(access), credentials=credentials)


def by_copy(refs: Iterable[JobRef]) -> dict[int, str]:
    """References of a submission, by index of the copy."""
    return {ref.copy_index: str(ref) for ref in refs}


def in_doubt(found: Submission) -> SubmissionUnknown | None:
    """What is not known of a submission: the first of it, in words of the command line."""
    return next(
        (worded(each, found.tag) for each in found.errors.values() if isinstance(each, SubmissionUnknown)), None
    )


def worded(error: SubmissionUnknown, tag: str) -> SubmissionUnknown:
    """The same with advice for somebody at the command line."""
    advice = f"Ask again later, or give up on it: intercede find --abandon {tag}"
    return SubmissionUnknown(tag, error.answer, advice)


def _of_copies(refs: Iterable[JobRef], text: str, name: str) -> list[JobRef]:
    wanted: list[JobRef] = []
    known = {ref.copy_index: ref for ref in refs}
    for part in text.split(","):
        found = _COPIES.match(part)
        if not found:
            raise InvalidReference(f"jobs {name!r}", f"{part!r} is no copy", "Write TAG:17, TAG:3-9 or TAG:1,4,7.")
        first, last = int(found[1]), int(found[2] or found[1])
        chosen = [ref for copy, ref in known.items() if first <= copy <= last]
        if not chosen:
            raise NotFound(f"jobs {name!r}", f"there is no copy {part}", f"There are {len(known)}, the first is 0.")
        wanted += chosen
    return wanted


def _there(path: str, option: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise ConfigurationError(f"{option} {path}", "there is no such file")
    return found.absolute()
