"""What the last run of each cell gave: one small file a cell, in the repository, read by the support table.

`make test-all` writes them when it ends, also when it is stopped: until then they are beside the logs, so that no page
that is made of them changes while tests look at it. A cell is not run again while its result is good and nothing that
it tests has changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Result", "digest_of_sources", "load_results", "read_output"]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "testbed" / "results"
# What decides how the tests come out
SOURCES = ("src", "tests", "testbed", "pyproject.toml")
_SUMMARY = re.compile(
    r"^=+ (.*\d+ (?:passed|failed|error|skipped|deselected|xfailed).*) in ([0-9.]+)s\b.*=+$", re.MULTILINE
)
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
_PYTHON = re.compile(r"^platform \S+ -- Python ([0-9.]+\S*),", re.MULTILINE)
_SEEN = re.compile(r"^testbed: (\S+) was \S+ (\S+), OpenSSH ([^,\s]+)", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """How a cell came out.

    Attributes:
        cell: Its name.
        version: What the system of its stack said that it is; empty where no stack was up.
        openssh: The version of OpenSSH there, likewise.
        python: The Python that the tests ran on.
        date: The day, in UTC.
        commit: What was tested; `+` after it if there were changes that are in no commit.
        sources: The digest of what was tested, see `digest_of_sources`.
        passed: How many tests did.
        failed: How many did not, or could not be set up.
        skipped: How many were.
        seconds: How long it took, containers and all.
    """

    cell: str
    version: str
    openssh: str
    python: str
    date: str
    commit: str
    sources: str
    passed: int
    failed: int
    skipped: int
    seconds: int

    @property
    def good(self) -> bool:
        """Whether no test failed."""
        return not self.failed

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        folder.mkdir(exist_ok=True)
        (folder / f"{self.cell}.json").write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def load_results(folder: Path | None = None) -> dict[str, Result]:
    """Read the last results, by cell: those in the repository, or in another folder."""
    paths = sorted((folder or RESULTS).glob("*.json"))
    found = (Result(**json.loads(path.read_text(encoding="utf-8"))) for path in paths)
    return {result.cell: result for result in found}


def read_output(cell: str, stack: str, output: str, *, code: int, seconds: float, sources: str) -> Result:
    """Make a result of what pytest printed.

    Args:
        cell: The name of the cell.
        stack: That of the stack that it needs; empty if none is up in it.
        output: Of pytest.
        code: Its exit status; nonzero is at least one failure, whatever it printed.
        seconds: How long it took.
        sources: What was tested.
    """
    counts = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    summaries = _SUMMARY.findall(output)
    for number, word in _COUNT.findall(summaries[-1][0] if summaries else ""):
        counts[word.removesuffix("s")] += int(number)
    seen = {name: (version, openssh) for name, version, openssh in _SEEN.findall(output)}
    version, openssh = seen.get(stack, ("", ""))
    python = _PYTHON.search(output)
    failed = counts["failed"] + counts["error"] or int(code != 0)
    now = datetime.now(UTC)
    return Result(
        cell, version, openssh, python[1] if python else "", f"{now:%Y-%m-%d}", _commit(), sources,
        counts["passed"], failed, counts["skipped"], round(seconds),
    )  # fmt: skip


def _git(*words: str, root: Path = ROOT) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _commit() -> str:
    changed = _git("status", "--porcelain", "--", *SOURCES, ":!testbed/results")
    return _git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def digest_of_sources(root: Path = ROOT) -> str:
    """Hash what decides how the tests come out; empty, and never the same, where there is no Git."""
    wanted = (*SOURCES, ":!testbed/results", ":!*.md")
    names = _git("ls-files", "--cached", "--others", "--exclude-standard", "--", *wanted, root=root)
    if not names:
        return ""
    digest = hashlib.sha256()
    for name in sorted(set(names.splitlines())):
        path = root / name
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]
