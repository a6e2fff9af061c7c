r"""Terminal sessions in the documentation: run, recorded and compared.

A block of the form

    <!-- session
    printf 'seven\n' >data.txt
    -->
    ```console
    $ intercede run -- wc -l data.txt
    ...
    ```

is a session: the hidden lines prepare an empty directory, and the lines after `$` are typed into a real terminal of
80 columns, in a home directory of its own. `python -m tools.sessions` writes what was printed into the files;
`compare` says whether it is still so, whatever the host is called and however long it took.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["FILES", "ROOT", "compare", "record"]

ROOT = Path(__file__).parent.parent
FILES = ("README.md", "docs/tutorial/first-job.md")
_BLOCK = re.compile(r"(?ms)^<!-- session\n(?P<setup>.*?)-->\n```console\n(?P<text>.*?)^```$")
_PROMPT = "$ "
_HOST = "laptop"
_TIME_LIMIT = 120


def commands(text: str) -> list[str]:
    """The lines that are typed; one that ends in a backslash goes on in the next."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith(_PROMPT):
            found.append(line.removeprefix(_PROMPT))
        elif found and found[-1].endswith("\\"):
            found[-1] += f"\n{line}"
    return found


def record(text: str) -> str:
    """Run every session of a text, and give the text with what they print."""
    return _BLOCK.sub(lambda found: _replaced(found[0], found["text"], _run(found["setup"], found["text"])), text)


def compare(text: str) -> list[tuple[str, str]]:
    """Run every session of a text; give those that differ, as they are written and as they came, both simplified."""
    pairs = [(each["text"], _run(each["setup"], each["text"])) for each in _BLOCK.finditer(text)]
    return [(_simple(old), _simple(new)) for old, new in pairs if _simple(old) != _simple(new)]


def _replaced(block: str, old: str, new: str) -> str:
    return block.replace(f"```console\n{old}", f"```console\n{new}")


def _run(setup: str, text: str) -> str:
    with tempfile.TemporaryDirectory(prefix="intercede-session-") as folder:
        home, program = Path(folder, "home"), Path(folder, "bin", "intercede")
        home.mkdir()
        program.parent.mkdir()
        # The command of this very interpreter, installed or not.
        program.write_text(f"#!{sys.executable}\nfrom intercede.cli.main import main\n\nmain()\n")
        program.chmod(0o755)
        _typed(setup, home)
        return "".join(f"{_PROMPT}{command}\n{_typed(command, home)}" for command in commands(text))


def _typed(command: str, home: Path) -> str:
    """Run a command in a terminal, as seen by somebody whose machine has another name."""
    environment = {
        "HOME": str(home),
        "PATH": f"{home.parent / 'bin'}:{os.environ['PATH']}",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    inner = f"stty cols 80; {command}"
    argv = ["script", "--quiet", "--return", "--command", f"bash -c {_quoted(inner)}", "/dev/null"]
    done = subprocess.run(
        argv, cwd=home, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIME_LIMIT
    )
    shown = done.stdout.replace("\r\n", "\n").replace(platform.node(), _HOST)
    return "".join(f"{line.rstrip()}\n" for line in shown.splitlines() if line.strip())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _simple(text: str) -> str:
    """A session without what differs between two runs: times, boot identifiers, random letters, widths."""
    # "now" is what a fast machine sees of the last second
    text = re.sub(r"\bsubmitted now\b", "submitted 0s ago", text)
    text = re.sub(r"\d+(?=s\b)", "N", text)
    text = re.sub(rf"\b{_HOST}\.[0-9a-f]{{8}}_", f"{_HOST}.BOOT_", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def main() -> int:
    """Record all sessions anew."""
    for name in FILES:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        path.write_text(record(text), encoding="utf-8")
        print(f"{name}: {len(_BLOCK.findall(text))} recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
