"""What reaches the payload: words, environment, secrets, directory; byte for byte, and nothing else."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from intercede.answers import JobState, JobStatus
from intercede.model import Copy, JobDescription
from intercede.testing.contract.place import local_copy
from intercede.testing.contract.select import lacks
from intercede.testing.contract.steps import fetch_one, final, reached, run, script, waiting_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pytest

    from intercede.answers import JobOutput
    from intercede.model import JobRef
    from intercede.protocols import Element
    from intercede.testing.contract.place import Spot

__all__ = ["HOSTILE", "TestPayload", "TestSecrets", "TestWords"]

HOSTILE: tuple[str, ...] = (
    "", " ", "two  words", " x ", "'", '"', "it's", "''", "'\\''", "$HOME", "${HOME}", "$$", "`id`", "$(id)", "\\",
    "\\\\", "\\n", "a\nb", "\n", "\na", "a\n", "\n\n'\n", "*", "?", "[a-z]*", "/*", "-rf", "--", "-n", "-", "~",
    "~root", "a;b", "a|b", "a&b", "&", "<x", ">x", "!", "!!", "^a^b", "#x", "%s", "%a%j", "\t", "\r\n", "\x7f\x1b[31m",
    "ü€😀",
    b"\xff\xfe\x80".decode("utf-8", "surrogateescape"), "{a,b}", "a=b", "=", "(", ")", "{}", "if", "\x01", "x" * 5000,
)  # fmt: skip

# `/proc/$$/environ` is what exec(3) was given, whatever the shell makes of it
DUMP = (
    'for a; do printf "%s\\0" "$a"; done >argv; cat "/proc/$$/environ" >environ; pwd -P >cwd; umask >umask; ls -A >ls'
)
DUMPED = ("argv", "environ", "cwd", "umask")


def encoded(words: Iterable[str]) -> list[bytes]:
    """The words as the payload must see them."""
    return [word.encode("utf-8", "surrogateescape") for word in words]


def split(output: JobOutput, name: str) -> list[bytes]:
    """The NUL-ended words of a file that was brought back."""
    return output.files[name].read_bytes().split(b"\0")[:-1]


def environment(output: JobOutput) -> dict[bytes, bytes]:
    """The environment that was brought back."""
    pairs = (word.partition(b"=") for word in split(output, "environ"))
    return {name: value for name, _, value in pairs}


def ok(statuses: dict[JobRef, JobStatus]) -> list[JobRef]:
    """The jobs, all of which must have succeeded."""
    assert [each for each in statuses.values() if each.state is not JobState.SUCCEEDED] == []
    return list(statuses)


class TestWords:
    """Hostile words, wherever the caller may put some."""

    async def test_arguments_and_environment(self, ce: Element, tmp_path: Path) -> None:
        variables = {f"V{index}": word for index, word in enumerate(HOSTILE)}
        own = {f"C{index}": word for index, word in enumerate(HOSTILE)}
        description = script(DUMP, *HOSTILE, environment=variables, outputs=DUMPED)
        copies = [Copy(arguments=HOSTILE, environment=own), Copy(arguments=("last", "")), Copy(key="plain")]
        refs = ok(await run(ce, description, copies))
        outputs = [await fetch_one(ce, ref, tmp_path) for ref in refs]
        assert split(outputs[0], "argv") == encoded(HOSTILE + HOSTILE)
        assert split(outputs[1], "argv") == encoded((*HOSTILE, "last", ""))
        assert split(outputs[2], "argv") == encoded(HOSTILE)
        for output, wanted in ((outputs[0], {**variables, **own}), (outputs[1], variables)):
            found = environment(output)
            asked = {name.encode(): word.encode("utf-8", "surrogateescape") for name, word in wanted.items()}
            assert {name: found.get(name) for name in asked} == asked

    async def test_copy_comes_after_description(self, ce: Element, tmp_path: Path) -> None:
        description = script(DUMP, environment={"A": "1", "B": "2"}, outputs=("environ",))
        refs = ok(await run(ce, description, [Copy(environment={"A": "mine"})]))
        found = environment(await fetch_one(ce, refs[0], tmp_path))
        assert (found[b"A"], found[b"B"]) == (b"mine", b"2")

    async def test_program_of_any_name(self, ce: Element, tmp_path: Path) -> None:
        program = local_copy(tmp_path / "program", b'#!/bin/sh\nprintf \'%s\\0\' "$0" "$@"\n', executable=True)
        jobs = {}
        for name in ("a b", "it's", "-n", "a=b", "$x", "n\nl", "*", "\udcff", "\\", ".h"):
            description = JobDescription(executable=f"./{name}", arguments=("x y",), inputs={name: program})
            jobs[name] = (await ce.submit(description)).refs[0]
        ok(await final(ce, jobs.values()))
        for name, ref in jobs.items():
            output = await fetch_one(ce, ref, tmp_path)
            assert output.stdout is not None
            assert output.stdout.read_bytes().split(b"\0") == [*encoded((f"./{name}", "x y")), b""]

    async def test_key_and_index_are_told(self, ce: Element, tmp_path: Path) -> None:
        refs = ok(await run(ce, script(DUMP, outputs=("environ",)), [Copy(), Copy(key="k 'y\n")], tag="told"))
        found = [environment(await fetch_one(ce, ref, tmp_path)) for ref in refs]
        names = (b"INTERCEDE_TAG", b"INTERCEDE_COPY", b"INTERCEDE_KEY")
        assert [tuple(each[name] for name in names) for each in found] == [
            (b"told", b"0", b"0"),
            (b"told", b"1", b"k 'y\n"),
        ]


class TestPayload:
    """Where the payload finds itself."""

    async def test_environment_is_not_the_clients(
        self, spot: Spot, ce: Element, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("INTERCEDE_TEST_CANARY", "LC_INTERCEDE_CANARY", "LANGUAGE"):
            monkeypatch.setenv(name, "from the client")
        monkeypatch.setenv("INTERCEDE_TEST_GIVEN", "it's given\n")
        description = script(DUMP, inherit=("INTERCEDE_TEST_GIVEN", "INTERCEDE_TEST_ABSENT"), outputs=("environ",))
        refs = ok(await run(ce, description))
        found = environment(await fetch_one(ce, refs[0], tmp_path))
        assert found[b"INTERCEDE_TEST_GIVEN"] == b"it's given\n"
        assert [name for name, value in found.items() if value == b"from the client"] == []
        assert not {b"LC_ALL", b"TZ", b"INTERCEDE_TEST_ABSENT"} & set(found)
        assert [name for name in found if name.startswith(b"ic_")] == []
        home = (await spot.shell('printf %s "$HOME"')).strip()
        user = (await spot.shell("id -un")).strip()
        assert (found[b"HOME"], found[b"USER"]) == (home, user)
        assert found[b"PATH"]
        assert found[b"SHELL"].startswith(b"/")

    async def test_site_comes_first(self, spot: Spot, tmp_path: Path) -> None:
        site = {"A": "site '$x", "B": "site", "C": "site"}
        preamble = 'D="$A"; export D\nexport C=preamble\n# no more'
        async with spot.element(environment=site, preamble=preamble) as ce:
            description = script(DUMP, environment={"B": "description"}, outputs=("environ",))
            refs = ok(await run(ce, description))
            found = environment(await fetch_one(ce, refs[0], tmp_path))
        assert [found[name] for name in (b"A", b"B", b"C", b"D")] == [
            b"site '$x", b"description", b"preamble", b"site '$x",
        ]  # fmt: skip

    async def test_directory_is_private_and_its_own(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        text = DUMP + "; stat -c %a . .. >modes; : >mine; [ ! -t 0 ]; cat; echo $? >rc"
        refs = ok(await run(ce, script(text, outputs=("cwd", "modes", "ls", "umask", "rc")), 2))
        outputs = [await fetch_one(ce, ref, tmp_path) for ref in refs]
        cwds = [output.files["cwd"].read_text().strip() for output in outputs]
        assert len(set(cwds)) == 2
        if spot.place.has("submit-host"):
            real = (await spot.shell('cd "$1" && pwd -P', spot.area)).decode().strip()
            assert {cwd.startswith(f"{real}/") for cwd in cwds} == {not spot.place.has("apart")}
        assert [output.files["modes"].read_text().split() for output in outputs] == [["700", "700"]] * 2
        # what DUMP itself had written by then, and nothing of the other copy's
        assert [set(output.files["ls"].read_text().split()) - {"argv", "environ", "cwd", "umask", "ls"}
                for output in outputs] == [set(), set()]  # fmt: skip
        usual = (await spot.shell("umask")).decode().strip()
        assert [output.files["umask"].read_text().strip() for output in outputs] == [usual] * 2
        # nothing to read on stdin, and no waiting for it
        assert [output.files["rc"].read_text() for output in outputs] == ["0\n"] * 2


class TestSecrets:
    """Secrets reach their own job, and nobody else."""

    async def test_files_and_modes(self, ce: Element, tmp_path: Path) -> None:
        names = ("token", "a b", "-n", "$x", ".hidden", "ü'\n*", "\udcff")
        secret = bytes(range(256)) * 3
        copies = [Copy(secrets={name: secret + str(index).encode() for name in names}) for index in range(2)]
        text = (
            'w=$PWD; mkdir got; cd "$INTERCEDE_SECRETS" && stat -c %a -- . * .hidden >"$w/modes";'
            'cp -- * .hidden "$w/got/"'
        )
        description = script(text, secrets={"token": b"below", "shared": b"all"}, outputs=("modes", "got"))
        refs = ok(await run(ce, description, copies))
        for index, ref in enumerate(refs):
            output = await fetch_one(ce, ref, tmp_path)
            got = {
                name.removeprefix("got/"): path.read_bytes() for name, path in output.files.items() if name != "modes"
            }
            wanted = dict.fromkeys(names, secret + str(index).encode()) | {"shared": b"all"}
            assert got == wanted
            modes = output.files["modes"].read_text().split()
            assert (modes[0], set(modes[1:])) == ("700", {"600"})

    async def test_nobody_else_sees_them(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        value = "wIth-0ut-equal-5ecret"
        text = DUMP + '; : >"$1/ready"; while [ ! -e "$1/go" ]; do sleep 0.1; done'
        description = script(text, spot.home, secrets={"s": value}, outputs=("*", ".*"))
        (ref,) = (await ce.submit(description)).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        seen = "grep -lF -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; :"
        assert await spot.shell(seen, input=value.encode()) == b""
        held = await spot.holding(value.encode())
        assert held
        assert [line for line in held if not line.startswith("600 ")] == []
        if spot.place.has("submit-host"):
            assert len(held) == 1
            assert "/secrets/" in held[0]
        if spot.place.describe:
            shown = await spot.native(spot.place.describe, ref)
            assert re.split(r"\W|_", ref.native)[0] in shown
            assert value not in shown
        await spot.shell(": >go")
        await final(ce, [ref])
        output = await fetch_one(ce, ref, tmp_path)
        assert [name for name, path in output.files.items() if value.encode() in path.read_bytes()] == []
        assert b"INTERCEDE_SECRETS" in environment(output)
        await self._gone(spot, value)

    async def test_removed_when_cancelled(self, spot: Spot, ce: Element) -> None:
        value = "wIth-0ut-equal-5ecret"
        running = (await ce.submit(script("sleep 300"), [Copy(secrets={"s": value})])).refs
        await reached(ce, running[0], JobState.RUNNING)
        waiting = await waiting_jobs(spot, ce, script("sleep 300", secrets={"s": value}))
        await ce.cancel([*running, *waiting])
        await final(ce, [*running, *waiting])
        await self._gone(spot, value)

    @lacks("apart")
    async def test_renewed_while_the_job_runs(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        text = (
            'cat "$INTERCEDE_SECRETS/s" >first; : >"$1/ready"; while [ ! -e "$1/go" ]; do sleep 0.1; done;'
            'cat "$INTERCEDE_SECRETS/s" >second; stat -c %a "$INTERCEDE_SECRETS/s" >mode'
        )
        description = script(text, spot.home, secrets={"s": "old"}, outputs=("first", "second", "mode"))
        (ref,) = (await ce.submit(description)).refs
        await spot.shell("while [ ! -e ready ]; do sleep 0.1; done")
        await ce.renew([ref], {"s": b"new\0"})
        await spot.shell(": >go")
        await final(ce, [ref])
        output = await fetch_one(ce, ref, tmp_path)
        read = [output.files[name].read_bytes() for name in ("first", "second", "mode")]
        assert read == [b"old", b"new\0", b"600\n"]

    async def _gone(self, spot: Spot, value: str) -> None:
        """The runner may still be at it when the scheduler says that the job has ended."""
        for _ in range(50):
            held = await spot.holding(value.encode())
            if not held:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(held)
