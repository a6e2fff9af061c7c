"""Put the generated parts into the files that are read where they lie, or check that they are up to date.

Between `<!-- begin: PART -->` and `<!-- end: PART -->` stands what `tools.reference` gives for PART. Pages of the
documentation need no such markers: there the parts are filled in when the site is built.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tools.reference import PARTS

ROOT = Path(__file__).parent.parent
FILES = ("README.md",)
_REGION = re.compile(r"(?s)(<!-- begin: (\S+) -->\n).*?(<!-- end: \2 -->)")


def generated(text: str) -> str:
    """The text with every region anew."""
    return _REGION.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def main() -> int:
    """Write, or with `--check` only tell; then the exit status is 1 if a file is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    stale = []
    for name in FILES:
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        new = generated(old)
        if new != old:
            stale.append(name)
            if not arguments.check:
                path.write_text(new, encoding="utf-8")
    for name in stale:
        print(f"{name} {'is out of date: run `make format`' if arguments.check else 'is written anew'}")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
