"""The replay shell itself."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from intercede.steps import Completed
from intercede.testing.replay import ReplayShell, Transcript, read_transcript
from tests.replay.pbs_said import WHERE, said

if TYPE_CHECKING:
    from pathlib import Path


def words(*said_: str, code: int = 0) -> Transcript:
    return Transcript("", Completed(code, said_[0].encode(), "".join(said_[1:]).encode()))


def ask(shell: ReplayShell, *argv: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [f"{shell.path}/{argv[0]}", *argv[1:]], capture_output=True, check=False, text=True, timeout=30
    )
    return done.returncode, done.stdout, done.stderr


def test_the_later_rule_answers_until_it_is_used_up(tmp_path: Path) -> None:
    shell = ReplayShell(tmp_path / "it's bin", ["qstat"])
    shell.answers("qstat .*", words("always\n", "and a complaint\n", code=3))
    shell.answers("qstat -f 'a b'", words("twice\n"), times=2)
    assert [ask(shell, "qstat", "-f", "a b") for _ in range(3)] == [
        (0, "twice\n", ""), (0, "twice\n", ""), (3, "always\n", "and a complaint\n"),
    ]  # fmt: skip
    assert shell.calls == [["qstat", "-f", "a b"]] * 3
    assert ask(shell, "qstat") == (70, "", "no recording answers qstat\n")
    assert shell.unanswered == [["qstat"]]


def test_a_recording_is_read_as_it_was_given(tmp_path: Path) -> None:
    recorded = read_transcript(WHERE / "qdel_mixed.txt")
    assert recorded.command.startswith("A=$(qsub -h sleep.sh)")
    assert recorded.answer == Completed(153, b"", b"qdel: Unknown Job Id 99999.pbshost\n")
    assert said("submit").replaced("pbshost", "other").answer.stdout == b"0.other\n"
    (tmp_path / "none.txt").write_text("### command\nqstat\n### end\n")
    with pytest.raises(ValueError, match="no section"):
        read_transcript(tmp_path / "none.txt")
