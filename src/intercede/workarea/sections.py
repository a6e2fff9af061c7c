"""Reading what the programs of the work area say: sections framed by lines that start with a nonce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from intercede.errors import (
    CommandError,
    ConfigurationError,
    NotFound,
    ParseError,
    SchedulerUnavailable,
    StorageError,
)

if TYPE_CHECKING:
    from intercede.steps import Completed

__all__ = ["Section", "check", "sections"]


@dataclass(frozen=True, slots=True)
class Section:
    """One section: the words of its head line, and the text below it."""

    words: tuple[str, ...]
    body: str

    @property
    def head(self) -> str:
        """The first word."""
        return self.words[0]


def check(answer: Completed, asked: str) -> None:
    """Refuse the answer of a program that did not run to its end.

    Raises:
        SchedulerUnavailable: It ran into its time limit.
        CommandError: It failed; our programs end well whatever they find.
    """
    if answer.timed_out:
        raise SchedulerUnavailable(
            asked, "no answer within the time limit; the command was ended", "Try again later, or raise limits."
        )
    if answer.returncode != 0:
        said = answer.complaint or "no word of why"
        if 128 < answer.returncode < 128 + 65:  # it said nothing of that itself
            said = f"the command was ended by signal {answer.returncode - 128}"
        raise CommandError(asked, said, returncode=answer.returncode)


def refuse(section: Section, asked: str) -> None:
    """Raise what a section that ends everything means; other sections pass.

    Raises:
        StorageError: `cannot`.
        ConfigurationError: `layout`: a newer release wrote the work area.
    """
    if section.head == "cannot":
        advice = "Free space there, or configure another work_area."
        raise StorageError(f"{asked}: writing to the work area", section.body.strip()[-2000:], advice)
    if section.head == "layout":
        raise ConfigurationError(
            asked, f"the work area has layout {section.words[1]}, of a newer release", "Update intercede."
        )


def sections(nonce: str, answer: Completed, asked: str) -> list[Section]:
    """Split an answer.

    Args:
        nonce: What frames it.
        answer: What the program gave.
        asked: What was being done, for messages.

    Returns:
        The sections without the closing one. A work area that is not there gives one section `nothing`.

    Raises:
        ParseError: The closing section is missing, so something may have been cut off.
    """
    check(answer, asked)
    _, *parts = f"\n{answer.text}".split(f"\n{nonce} ")
    found = []
    for part in parts:
        head, _, body = part.partition("\n")
        found.append(Section(tuple(head.split()) or ("",), body.strip("\n")))
    if not found or found[-1].words != ("end",):
        raise ParseError(asked, "the answer was cut off", "Try again.", text=answer.complaint)
    for section in found[:-1]:
        refuse(section, asked)
    return found[:-1]


def must_exist(said: list[Section], asked: str) -> list[Section]:
    """Refuse an answer that says that there is nothing.

    Raises:
        NotFound: There is no such submission, or no work area at all.
    """
    if said and said[0].head == "nothing":
        raise NotFound(asked, "the resource keeps nothing of it", "Was it purged, or made on another resource?")
    return said
