"""What differs between two recordings of the same is made alike, and nothing else."""

from __future__ import annotations

import pytest

from intercede.testing.likeness import Likeness

# 2026-11-24T12:00:00Z, and a situation a second for three seconds
START = 1795521600
HERE = Likeness([START, START + 1, START + 2], ["36", "3"], {"node7": "submit-host", "~/.intercede.a1": "~/.intercede"})


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("| 2026-11-24T12:00:00|2026-11-24T12:00:02\n", "| 2026-01-01T00:00:00|2026-01-01T00:02:00\n"),
        # before the first situation, and in the last one
        ("| 2026-11-24T11:00:00|2026-11-24T12:09:00\n", "| 2026-01-01T00:00:00|2026-01-01T00:02:00\n"),
        ("| 2026-11-24T12:58:00\n", "| 2026-01-01T01:00:00\n"),
        # the end of a job without a limit, as some versions say it
        ("| 2027-11-24T12:00:01|N/A|NONE\n", "| 2027-01-01T00:00:00|N/A|NONE\n"),
        (f"| rec 0 - v1 1 {START + 1} 9999999999 0\n", "| rec 0 - v1 1 1767225660 9999999999 0\n"),
        ("| - 0m0.004000s,12m3.21s node7 - 36\n", "| - 0m0.000000s,0m0.00s submit-host - 101\n"),
        ("| 36_[0-2] 3_1|HELD|node71\n", "| 101_[0-2] 102_1|HELD|node71\n"),
        ("| 36 3|CANCELLED\n", "| 101 102|CANCELLED\n"),
        ("| 3\n", "| 102\n"),
        ("# sacct -j 36,3,37 -o x\n", "# sacct -j 101,102,37 -o x\n"),
        ("# x 'rec 0-2 36_0\nrec 3 3_3' -j 36,3\n", "# x 'rec 0-2 101_0\nrec 3 102_3' -j 101,102\n"),
        # what is no number of a job
        ("< 36\n= 3\n", "< 36\n= 3\n"),
        ("# 'intercede submit' x 3 60 --nodes=1\n", "# 'intercede submit' x 3 60 --nodes=1\n"),
        ("| nonce chunk 0 3 known\n| debug|up|1/2/0/36\n", "| nonce chunk 0 3 known\n| debug|up|1/2/0/36\n"),
        ("| rec 0,3 cancelled -\n", "| rec 0,3 cancelled -\n"),
    ],
)
def test_a_line(said: str, written: str) -> None:
    assert HERE.of(said) == written


def test_nonces_are_counted() -> None:
    first, second = "ab" * 12, "01" * 12
    find = f"# 'intercede find' {first} '~/.intercede.a1' slurm\n| {first} end\n\n"
    assert HERE.of(f"{find}# 'intercede list' {second}\n| {second} end\n") == (
        "# 'intercede find' nonce-1 '~/.intercede' slurm\n| nonce-1 end\n\n# 'intercede list' nonce-2\n| nonce-2 end\n"
    )
