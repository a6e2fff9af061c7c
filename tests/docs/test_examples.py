"""What the README and the documentation show: it runs, and it is what comes out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from intercede import config
from tools import sessions
from tools.generate import FILES, generated
from tools.reference import PARTS, fill

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_EXAMPLE = re.compile(r"(?ms)^<!-- test(?P<setup>\n.*?)?\s*-->\n```python\n(?P<code>.*?)^```$")
_TOML = re.compile(r"(?ms)^```toml\n(?P<text>.*?)^```$")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


EXAMPLES = [
    pytest.param(found["setup"] or "", found["code"], id=f"{named(page)}:{number}")
    for page in PAGES
    for number, found in enumerate(_EXAMPLE.finditer(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize(("setup", "code"), EXAMPLES)
def test_an_example_runs(setup: str, code: str, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    subprocess.run(["bash", "-euc", setup], cwd=tmp_path, env=environment, check=True)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_readme_has_an_example_of_twenty_lines() -> None:
    (found,) = _EXAMPLE.finditer((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len([line for line in found["code"].splitlines() if line]) <= 20


@pytest.mark.parametrize("name", sessions.FILES)
def test_a_session_is_what_the_terminal_shows(name: str) -> None:
    for written, came in sessions.compare((ROOT / name).read_text(encoding="utf-8")):
        assert came == written, "python -m tools.sessions records it anew"


@pytest.mark.parametrize("name", FILES)
def test_generated_parts_are_up_to_date(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert generated(text) == text, "make format writes them anew"


@pytest.mark.parametrize("name", PARTS)
def test_a_generated_part_is_a_table_or_text_without_gaps(name: str) -> None:
    text = fill(f"<!-- generate: {name} -->")
    assert text.strip()
    assert "PydanticUndefined" not in text
    assert "typing." not in text


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_configuration_that_is_shown_is_valid(page: Path) -> None:
    for found in _TOML.finditer(page.read_text(encoding="utf-8")):
        tables = tomllib.loads(found["text"])
        for name, table in tables["resources"].items():
            # What is shown of a resource may be a part of it.
            whole = {name: {"url": "ssh+slurm://login.example.org", **table} if name != "local" else table}
            assert config.load({**tables, "resources": whole}).settings(name).id == name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert missing == []
