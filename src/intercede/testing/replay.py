"""A replay shell: stand-ins for the commands of a batch system that cannot be had, which answer from recordings.

They lie in a directory of their own, to be put before the others in PATH. The real transport runs the real element's
programs there, and these find `qsub` and `qstat` as on a submit host; only what the daemon would say is played back.

```python
shell = ReplayShell(tmp_path / "bin", ["qsub", "qstat"])
shell.answers("qsub -N .*", read_transcript(path / "submit.txt"), starts=[{"PBS_JOBID": "0.pbshost"}])
shell.answers("qstat .* 0.pbshost", read_transcript(path / "qstat.txt").replaced("sleep.sh", "ic-t1"))
monkeypatch.setenv("PATH", shell.path, prepend=os.pathsep)
```

A command that nothing was said about fails, and is kept in `unanswered`: the replay shell guesses nothing. What cannot
be shown so is how a daemon would take words that were not recorded; that is what `calls` is looked at for.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intercede.steps import Completed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["ReplayShell", "Transcript", "read_transcript"]

_STAND_IN = '#!/bin/sh\nexec {python} -I {program} {folder} {name} "$@"\n'
_SECTION = re.compile(r"^### (\w+)\n(.*?)(?=^### )", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Transcript:
    """One command that was given to a real daemon, and what it answered.

    Attributes:
        command: As it was typed.
        answer: What it gave.
    """

    command: str
    answer: Completed

    def replaced(self, old: str, new: str) -> Transcript:
        """The same with another word in the answer, such as the name of the job."""
        stdout, stderr = (each.replace(old.encode(), new.encode()) for each in (self.answer.stdout, self.answer.stderr))
        return Transcript(self.command, Completed(self.answer.returncode, stdout, stderr))


def read_transcript(path: Path) -> Transcript:
    """Read a recording in the form `### command`, `### exit`, `### stdout`, `### stderr`, `### end`.

    Raises:
        ValueError: It is none.
    """
    parts = dict(_SECTION.findall(path.read_text(encoding="utf-8", errors="surrogateescape")))
    try:
        said = [parts[name].encode("utf-8", "surrogateescape") for name in ("stdout", "stderr")]
        return Transcript(parts["command"].strip(), Completed(int(parts["exit"]), said[0], said[1]))
    except KeyError as error:
        msg = f"{path}: no section {error}"
        raise ValueError(msg) from None


class ReplayShell:
    """A directory of stand-in commands.

    Args:
        folder: Where they are to lie; it is made.
        commands: Their names.
    """

    def __init__(self, folder: Path, commands: Iterable[str]) -> None:
        self.path = str(folder)
        self._rules = folder / "rules"
        self._rules.mkdir(parents=True)
        # a script of its own, which needs nothing of the library: it starts in no time
        program = Path(__file__).with_name("replay_command.py")
        words = {"python": sys.executable, "program": str(program), "folder": self.path}
        quoted = {key: shlex.quote(word) for key, word in words.items()}
        for name in commands:
            stand_in = folder / name
            stand_in.write_text(_STAND_IN.format(name=shlex.quote(name), **quoted))
            stand_in.chmod(0o755)

    def answers(
        self,
        words: str,
        said: Transcript,
        *,
        times: int = 0,
        starts: Iterable[Mapping[str, str]] = (),
        hangs: bool = False,
    ) -> None:
        """Say what is answered to a command; of two rules that fit, the later one that is not used up.

        Args:
            words: A pattern that the whole command fits, quoted as for a shell: `qstat -f .*`.
            said: The answer.
            times: How often; 0 for always.
            starts: Environments; for each the script on stdin is started, by sh and in the background, as the batch
                system would do on a node.
            hangs: Whether it never comes back.
        """
        number = len(list(self._rules.glob("*.json")))
        rule = {
            "words": words,
            "code": said.answer.returncode,
            "stdout": said.answer.stdout.decode("utf-8", "surrogateescape"),
            "stderr": said.answer.stderr.decode("utf-8", "surrogateescape"),
            "times": times,
            "starts": [dict(each) for each in starts],
            "hangs": hangs,
        }
        (self._rules / f"{number:04}.json").write_text(json.dumps(rule))

    @property
    def calls(self) -> list[list[str]]:
        """Every command so far, in order."""
        return self._lines("calls")

    @property
    def unanswered(self) -> list[list[str]]:
        """The commands that no rule fitted."""
        return self._lines("unanswered")

    def _lines(self, name: str) -> list[list[str]]:
        file = Path(self.path) / name
        return [shlex.split(line) for line in file.read_text().splitlines()] if file.exists() else []
