"""Accounts whose login shell or startup files are not what one would wish: everything passes."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

from intercede.answers import JobState, Outcome
from intercede.elements.batch import BatchElement
from intercede.errors import NotFound
from intercede.model import Copy
from intercede.steps import Command
from intercede.testing.contract.place import local_copy
from intercede.testing.contract.steps import elsewhere, fetch_one, final, reached, run, script
from intercede.testing.contract.words import DUMP, DUMPED, HOSTILE, encoded, environment, split

if TYPE_CHECKING:
    from pathlib import Path

    from intercede.testing.contract.place import Spot
    from tests.shapes.conftest import SpotAt

pytestmark = pytest.mark.testbed

STACK = "slurm-24.11-shells"
# The users, and whether their shell is given commands as they are once it is known; see the stack's shape
USERS = {
    "alice": True,  # bash
    "carol": False,  # fish, talks
    "dave": False,  # tcsh, talks
    "erin": True,  # zsh, talks, options and global aliases
    "frank": True,  # dash
    "grace": True,  # bash, talks, options, aliases, traps, IFS
    "heidi": False,  # bash whose $SHELL is fish
    "ivan": False,  # fish whose $SHELL is bash
    "judy": False,  # tcsh whose $SHELL is bash
}
EVERY_BYTE = bytes(range(256))
WORDS = ("=x", "==", "a==b", "L", *HOSTILE)


@pytest.fixture(params=USERS)
async def user(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def spot(user: str, spot_on: SpotAt) -> Spot:
    return await spot_on(STACK, user)


async def test_executions(spot: Spot, user: str) -> None:
    dump = 'printf "%s\\0" "$@"; cat; echo err >&2; exit 7'
    async with spot.element() as ce:
        assert isinstance(ce, BatchElement)
        for turn in range(3):
            (answer,) = await ce.transport.run([Command(("sh", "-c", dump, "sh", *WORDS), stdin=EVERY_BYTE)])
            assert answer.stdout.split(b"\0", len(WORDS)) == [*encoded(WORDS), EVERY_BYTE], turn
            assert (answer.stderr, answer.returncode) == (b"err\n", 7), turn
            ascii_words = [word for word in WORDS if word.isascii()]
            (answer,) = await ce.transport.run([Command(("sh", "-c", dump, "sh", *ascii_words), stdin=EVERY_BYTE)])
            assert answer.stdout.split(b"\0", len(ascii_words)) == [*encoded(ascii_words), EVERY_BYTE], turn
            assert (answer.stderr, answer.returncode) == (b"err\n", 7), turn
        assert ce.transport._link.is_plain is USERS[user]  # ty: ignore[missing-attribute]
        several = await ce.transport.run([Command(("cat",), stdin=b"one"), Command(("sh", "-c", "echo e >&2; exit 3"))])
        assert [(each.stdout, each.stderr, each.returncode) for each in several] == [(b"one", b"", 0), (b"", b"e\n", 3)]
        (late,) = await ce.transport.run([Command(("sh", "-c", "echo said; sleep 60"), time_limit=1)])
        assert (late.stdout, late.returncode, late.timed_out) == (b"said\n", 124, True)
        (where,) = await ce.transport.run([Command(("sh", "-c", 'echo "$LC_ALL $TZ"; umask; pwd'))])
        assert where.text == f"C UTC0\n0022\n/home/{user}\n"


async def test_a_jobs_life(spot: Spot, tmp_path: Path) -> None:
    data = local_copy(tmp_path / "data", EVERY_BYTE)
    text = DUMP + '; cat "=x y" >"=copy"; cat "$INTERCEDE_SECRETS/=s" >secret; echo out; echo err >&2; exit 7'
    description = script(
        text, *WORDS, inputs={"=x y": data}, outputs=(*DUMPED, "=copy", "secret"),
        environment={f"V{index}": word for index, word in enumerate(WORDS)},
    )  # fmt: skip
    copies = [Copy(secrets={"=s": EVERY_BYTE}), Copy(key="=k", arguments=("last",), secrets={"=s": b"2"})]
    async with spot.element() as ce:
        statuses = await run(ce, description, copies, tag="life")
        assert [each.exit_code for each in statuses.values()] == [7, 7]
        refs = list(statuses)
        for ref, last, secret in zip(refs, ((), ("last",)), (EVERY_BYTE, b"2"), strict=True):
            output = await fetch_one(ce, ref, tmp_path)
            assert split(output, "argv") == encoded((*WORDS, *last))
            found = environment(output)
            assert [found.get(f"V{index}".encode()) for index in range(len(WORDS))] == encoded(WORDS)
            assert output.files["=copy"].read_bytes() == EVERY_BYTE
            assert output.files["secret"].read_bytes() == secret
            assert output.stdout is not None
            assert output.stderr is not None
            assert (output.stdout.read_bytes(), output.stderr.read_bytes()) == (b"out\n", b"err\n")
        assert (await ce.read_log(refs[0], "=copy")).data == EVERY_BYTE
        assert (await ce.find("life")).keys == ("0", "=k")
        assert [info.tag for info in await ce.list()] == ["life"]
        assert {queue.name for queue in await ce.capacity()} == {"debug", "long", "short"}
        answer = await elsewhere(spot, "status", refs=[str(ref) for ref in refs])
        assert [each["exit_code"] for each in answer] == [7, 7]
        assert await ce.purge(refs) == dict.fromkeys(refs, Outcome.DONE)
        with pytest.raises(NotFound):
            await ce.read_log(refs[0])


@pytest.mark.parametrize("user", ["carol", "dave", "erin", "grace"])
async def test_big_output(spot: Spot, tmp_path: Path) -> None:
    size = 20_000_000
    async with spot.element() as ce:
        fill = 'yes "$1" | head -c "$2"; yes "$1" | head -c "$2" >file'
        (ref,) = await run(ce, script(fill, "it's 100%\r \x1b[0m", str(size), outputs=("file",)))
        output = await fetch_one(ce, ref, tmp_path)
    line = b"it's 100%\r \x1b[0m\n"
    wanted = hashlib.sha256((line * (size // len(line) + 1))[:size]).hexdigest()
    assert output.stdout is not None
    for path in (output.stdout, output.files["file"]):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == wanted


async def test_ending_things(spot: Spot) -> None:
    async with spot.element() as ce:
        assert isinstance(ce, BatchElement)
        refs = (await ce.submit(script("sleep 300"), 2)).refs
        await reached(ce, refs[0], JobState.RUNNING)
        assert await ce.cancel(refs) == dict.fromkeys(refs, Outcome.DONE)
        assert {each.state for each in (await final(ce, refs)).values()} == {JobState.CANCELLED}
        text = 'echo $$ >"$1/pid.new"; mv "$1/pid.new" "$1/pid"; exec sleep 100'
        task = asyncio.create_task(ce.transport.run([Command(("sh", "-c", text, "sh", spot.home), time_limit=90)]))
        await spot.shell("until [ -e pid ]; do sleep 0.1; done")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await spot.shell('n=0; while kill -0 "$(cat pid)" 2>/dev/null; do n=$((n + 1)); [ $n -lt 50 ]; sleep 0.2; done')
