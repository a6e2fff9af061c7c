"""A job of ours at a remote schedd: what HTCondor is told of it, and how it is found and known again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from intercede.workarea.programs import fragment, runner_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from intercede.htcondor_ce.protocol import Ad
    from intercede.model import JobRef, Resources

__all__ = [
    "ABANDONED", "ANEW", "JOB_SHELL", "LABEL", "Label", "back_of", "constraint_of", "describe", "item", "named",
    "native_of", "pieces", "program_head", "read_label",
]  # fmt: skip

ABANDONED = "intercede: abandoned before its files came"
ANEW = "intercede: its files never came, and it is sent anew"
_GRACE = 60  # seconds after the walltime, when the job's own script has ended it and what it leaves is brought back
_TOLD = 30  # seconds between SIGTERM and SIGKILL
_WORD = 60_000  # bytes; 25.14.1 refuses a history query of more than about 100 KB, in its own more spacious writing
JOB_SHELL = (
    fragment("intercede.workarea", "outputs")
    + fragment("intercede.workarea", "bounded")
    + fragment("intercede.htcondor_ce", "job")
)
LABEL = (
    "ClusterId", "ProcId", "IntercedeTag", "IntercedeResource", "IntercedeDigest", "IntercedeCopies", "IntercedeKey",
    "IntercedeSubmitted", "IntercedeOutputs", "IntercedePurged",
)  # fmt: skip
"""The attributes by which a job is known."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is written down with every job of a submission; all of it can be read by anybody.

    Attributes:
        tag: Of the submission.
        resource: Whose.
        digest: What the submission agrees in.
        copies: How many there are.
        submitted: Seconds, by the sender's clock.
        outputs: The patterns that were declared.
        key: The caller's own identifier of the copy.
        purged: Whether it is to be forgotten.
    """

    tag: str
    resource: str
    digest: str
    copies: int
    submitted: int
    outputs: tuple[str, ...] = ()
    key: str = ""
    purged: bool = False

    def lines(self) -> list[str]:
        """As lines of a submit description; the key is each copy's own."""
        said = {
            "Tag": named(self.tag), "Resource": named(self.resource), "Digest": named(self.digest),
            "Copies": str(self.copies), "Submitted": str(self.submitted), "Key": '"$(ic_key)"',
            "Outputs": named(" ".join(quoted(each) for each in self.outputs)),
        }  # fmt: skip
        return [f"My.Intercede{name} = {value}" for name, value in said.items()]


def quoted(text: str) -> str:
    """Any text as a word that means nothing to HTCondor."""
    return quote(text.encode("utf-8", "surrogateescape"), safe="")


def unquoted(word: str) -> str:
    """Read such a word."""
    return unquote_to_bytes(word).decode("utf-8", "surrogateescape")


def named(word: str) -> str:
    """A word of ours as a string of HTCondor's language; it has no quote and no backslash in it."""
    return f'"{word}"'


def read_label(ad: Ad) -> Label | None:
    """Read the label of a job; None if it is none of ours."""
    texts = [ad[f"Intercede{name}"] for name in ("Tag", "Resource", "Digest", "Outputs", "Key")]
    numbers = [ad[f"Intercede{name}"] for name in ("Copies", "Submitted")]
    words = [each for each in texts if isinstance(each, str)]
    counts = [each for each in numbers if isinstance(each, int)]
    if len(words) != len(texts) or len(counts) != len(numbers):
        return None
    tag, resource, digest, outputs, key = words
    patterns = tuple(unquoted(each) for each in outputs.split())
    return Label(tag, resource, digest, *counts, patterns, unquoted(key), purged=ad["IntercedePurged"] is True)


def native_of(ad: Ad) -> str:
    """The identifier of a job."""
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def constraint_of(refs: Iterable[JobRef]) -> str:
    """An expression that is true of these jobs, if they are what the references say; there must be some."""
    jobs: dict[int, dict[tuple[str, str], list[int]]] = {}
    for ref in refs:
        cluster, _, number = ref.native.partition(".")
        jobs.setdefault(int(cluster), {}).setdefault((ref.submission, ref.resource), []).append(int(number))
    terms = []
    for cluster, labels in sorted(jobs.items()):
        meant = [
            f"IntercedeTag == {named(tag)} && IntercedeResource == {named(resource)} && {_copies(numbers)}"
            for (tag, resource), numbers in labels.items()
        ]
        terms.append((cluster, f"ClusterId == {cluster} && ({' || '.join(meant)})"))
    return _search("ClusterId", terms)


def pieces(refs: Sequence[JobRef]) -> list[Sequence[JobRef]]:
    """Divide jobs so that the constraint of each piece fits into a word of a command, as a schedd passes it on."""
    if len(refs) < 2 or len(constraint_of(refs)) <= _WORD:
        return [refs]
    middle = len(refs) // 2
    return pieces(refs[:middle]) + pieces(refs[middle:])


def _copies(numbers: Iterable[int]) -> str:
    spans = [(a, f"ProcId == {a}" if a == b else f"ProcId >= {a} && ProcId <= {b}") for a, b in _ranges(numbers)]
    return _search("ProcId", spans)


def _search(name: str, terms: Sequence[tuple[int, str]]) -> str:
    """Find the one term that may be true, by the number from which on it may be; they are in that order.

    HTCondor gives up at 400 levels, of which `a || b || c` has one a term, and the schedd does nothing else while it
    tries thousands of terms for each of its jobs: so it is a tree.
    """
    if len(terms) == 1:
        return f"({terms[0][1]})"
    middle = len(terms) // 2
    low, high = _search(name, terms[:middle]), _search(name, terms[middle:])
    return f"({name} < {terms[middle][0]} ? {low} : {high})"


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def program_head() -> bytes:
    """The script of all copies; behind its end comes the archive of what they have in common."""
    begin, _, script = runner_text(JOB_SHELL).partition(b"\n")
    # always as many digits, so that the number does not change what it counts
    head = b"%b\nic_skip=%b\n%b"
    size = len(head % (begin, b"0" * 10, script))
    return head % (begin, b"%010d" % (size + 1), script)


def describe(
    label: Label,
    resources: Resources,
    *,
    program: str,
    kept: int,
    proxy: str = "",
    native: Sequence[str] = (),
) -> tuple[str, ...]:
    """Lines of a submit description for all copies, without `queue`.

    Each copy has `ic_own` (the file that is its own, or nothing), `ic_back` and `ic_key`.

    Args:
        label: What is written down with them.
        resources: What each is given.
        program: The path of the script.
        kept: Seconds for which an ended job is kept with what it left.
        proxy: The path of the proxy that each is given; empty for none.
        native: More lines; the later of two counts.
    """
    lines = {
        "universe": "vanilla", "executable": program, "arguments": f"{label.tag} $(Process)",
        "should_transfer_files": "yes", "when_to_transfer_output": "on_exit", "transfer_input_files": "$(ic_own)",
        "transfer_output_files": "$(ic_back)", "notification": "never", "log": "",
        "leave_in_queue": f"JobStatus == 4 && time() - EnteredCurrentStatus < {kept}",
        "job_max_vacate_time": str(_TOLD), "request_cpus": str(resources.cores), "My.xcount": str(resources.cores),
    }  # fmt: skip
    if resources.memory:
        lines["request_memory"] = lines["My.maxMemory"] = str(-(-resources.memory // 2**20))
    if resources.gpus:
        lines["request_gpus"] = str(resources.gpus)
    if resources.walltime:
        lines["My.maxWallTime"] = str(int(-(-(resources.walltime.total_seconds() + _GRACE) // 60)))
        lines["My.IntercedeWalltime"] = str(int(resources.walltime.total_seconds()))
    if resources.queue:
        lines["My.queue"] = named(resources.queue)
    if proxy:  # for a day by default
        lines |= {"x509userproxy": proxy, "delegate_job_GSI_credentials_lifetime": "0"}
    return (*(f"{name} = {value}" for name, value in lines.items()), *label.lines(), *native)


def back_of(copy: int) -> str:
    """The name of the one file that comes back of a copy; it is its own, as all of a submission go to one directory."""
    return f"{copy}.out"


def item(copy: int, own: str, key: str) -> dict[str, str]:
    """What one copy has of its own in that description."""
    back = back_of(copy)
    return {"ic_own": own, "ic_back": f"{back},{copy}.own" if own else back, "ic_key": quoted(key)}
