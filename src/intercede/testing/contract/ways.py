"""Faults of the way there, and of a daemon that hangs: a typed error within the configured time, and nothing left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from intercede.answers import JobState
from intercede.errors import (
    AuthenticationFailed,
    CommandError,
    ConnectFailed,
    ConnectionLost,
    HostKeyRejected,
    SchedulerUnavailable,
    SubmissionUnknown,
)
from intercede.testing.contract.once import COUNT, finished
from intercede.testing.contract.select import needs
from intercede.testing.contract.steps import final, reached, run, script
from intercede.testing.faults import Cutting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from intercede.protocols import Element, Transport
    from intercede.testing.contract.place import Spot

__all__ = ["TestCut", "TestFrozen", "TestWays"]


@needs("submit-host")
class TestCut:
    """The connection is lost before or after a command."""

    @pytest.mark.slow
    async def test_what_asks_is_asked_again(self, spot: Spot, ce: Element, tmp_path: Path) -> None:
        (ref,) = await run(ce, script("echo said"), tag="asked")
        verbs: dict[str, Callable[[Element], Awaitable[object]]] = {
            "status": lambda element: element.status([ref]),
            "release": lambda element: element.release([ref]),
            "find": lambda element: element.find("asked"),
            "abandon": lambda element: element.abandon("asked"),
            "list": lambda element: element.list(),
            "sweep": lambda element: element.sweep(timedelta(hours=1)),
            "capacity": lambda element: element.capacity(),
            "renew": lambda element: element.renew([ref], {"s": "x"}),
            "read_log": lambda element: element.read_log(ref),
            "fetch_output": lambda element: element.fetch_output([ref], tmp_path),
            "cancel": lambda element: element.cancel([ref]),
            "purge": lambda element: element.purge([ref]),
        }
        for name, doing in verbs.items():
            async with spot.element(wrap=cutting(before=1, forever=True)) as cut:
                with pytest.raises(ConnectFailed):
                    await doing(cut)
            async with spot.element(wrap=cutting(after=1, forever=True)) as cut:
                with pytest.raises(ConnectionLost):
                    await doing(cut)
            async with spot.element(wrap=cutting(after=1)) as cut:
                await doing(cut)
                assert cut.counters.retries == 1, name

    async def test_watch_bears_with_it(self, spot: Spot) -> None:
        cut = cutting(after=2, before=3)
        async with spot.element(wrap=cut) as ce:
            submission = await ce.submit(script("sleep 0.5; exit 3"))
            statuses = await final(ce, submission.refs)
            assert [each.exit_code for each in statuses.values()] == [3]

    async def test_watch_gives_up_after_its_patience(self, spot: Spot, ce: Element) -> None:
        submission = await ce.submit(script("sleep 300"))
        async with spot.element(wrap=cutting(before=1, forever=True), patience=1) as cut:
            with pytest.raises(ConnectFailed):
                await asyncio.wait_for(final(cut, submission.refs), 20)

    async def test_submit_is_never_repeated(self, spot: Spot) -> None:
        async with spot.element(wrap=cutting(after=1)) as cut:
            with pytest.raises(SubmissionUnknown):
                await cut.submit(script(COUNT, spot.home), 2, tag="cut")
            assert cut.counters.retries == 0
            found = await cut.find("cut")
        await finished(spot, found.refs, 2)


def cutting(*, before: int = 0, after: int = 0, forever: bool = False) -> Callable[[Transport], Transport]:
    """What cuts that execution, and all that follow if `forever`."""

    def numbers(first: int) -> frozenset[int]:
        return frozenset(range(first, first + 100) if forever else [first]) if first else frozenset()

    return lambda transport: Cutting(transport, before=numbers(before), after=numbers(after))


class TestWays:
    """The server is not there, or is another one, or does not want us."""

    async def _refused(self, spot: Spot, error: type[Exception], text: str | None, **ssh: Any) -> None:
        changed = {**spot.place.settings["ssh"], "connect_timeout": 5, **ssh}
        async with spot.element(ssh=changed) as ce:
            for doing in (ce.submit(script(":"), tag="unsent"), ce.capacity(), ce.find("unsent")):
                began = time.monotonic()
                with pytest.raises(error, match=text):
                    await doing
                assert time.monotonic() - began < 15
        assert await spot.left() == []

    @needs("ssh")
    async def test_wrong_host_key(self, spot: Spot, tmp_path: Path) -> None:
        known = tmp_path / "known_hosts"
        text = await asyncio.to_thread(Path(spot.place.settings["ssh"]["known_hosts"]).read_text)
        wrong = "AAAAC3NzaC1lZDI1NTE5AAAAIGHFrBHTjVuKvxcVTVUxVJdHvvVqIBf1hdhXoGL0mYk5"
        known.write_text(re.sub(r"(?m)^(\S+) .*$", rf"\1 ssh-ed25519 {wrong}", text))
        await self._refused(spot, HostKeyRejected, "known_hosts", known_hosts=str(known))

    @needs("ssh")
    async def test_unknown_host_key(self, spot: Spot, tmp_path: Path) -> None:
        known = tmp_path / "known_hosts"
        known.write_text("")
        await self._refused(spot, HostKeyRejected, "known_hosts", known_hosts=str(known))

    @needs("ssh")
    async def test_closed_port(self, spot: Spot) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            await self._refused(spot, ConnectFailed, None, host="127.0.0.1", port=taken.getsockname()[1])

    @needs("ssh")
    async def test_server_that_says_nothing(self, spot: Spot) -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            changed = {**spot.place.settings["ssh"], "port": silent.getsockname()[1], "connect_timeout": 1}
            async with spot.element(ssh=changed) as ce:
                with pytest.raises(ConnectFailed):
                    await asyncio.wait_for(ce.capacity(), 10)

    @needs("ssh")
    async def test_wrong_user_and_wrong_key(self, spot: Spot, tmp_path: Path) -> None:
        await self._refused(spot, AuthenticationFailed, None, user="nobody-of-that-name")
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "key"))
        os.chmod(tmp_path / "key", 0o600)
        await self._refused(spot, AuthenticationFailed, None, identity_files=[str(tmp_path / "key")])

    @needs("ssh")
    async def test_one_connection_for_all(self, spot: Spot) -> None:
        async with spot.element() as ce:
            (ref,) = await run(ce, script(":"))
            await asyncio.gather(*(ce.read_log(ref) for _ in range(20)))
            assert ce.counters.connections <= 1


@needs("freeze")
class TestFrozen:
    """The scheduler's daemon accepts connections and answers nothing."""

    async def test_status_and_submit(self, spot: Spot, ce: Element) -> None:
        (running,) = (await ce.submit(script("sleep 300"))).refs
        await reached(ce, running, JobState.RUNNING)
        description = script(COUNT, spot.home)
        assert spot.place.frozen is not None
        async with spot.element(limits={"command_time": 3, "submit_time": 3}) as hasty:
            with spot.place.frozen():
                for doing in (hasty.status([running]), hasty.capacity()):
                    began = time.monotonic()
                    with pytest.raises(SchedulerUnavailable):
                        await doing
                    assert time.monotonic() - began < 12
                with pytest.raises((SchedulerUnavailable, SubmissionUnknown)):
                    await hasty.submit(description, 2, tag="frozen")
                outcomes = await asyncio.gather(hasty.cancel([running]), return_exceptions=True)
                assert _all_errors(outcomes)
                # the watchdog's last word comes five seconds after the limit
                names = "squeue|sbatch|sacct|scancel|sinfo|condor_(q|submit|history|rm|status)"
                clients = f"ps -eo args | grep -E '^({names}) ' >&2"
                await spot.shell(f"for i in 1 2 3 4 5 6 7 8; do {clients} || exit 0; sleep 1; done; exit 1")
        await _settle(spot, description, 2)
        await ce.cancel([running])
        assert (await final(ce, [running], 150))[running].state is JobState.CANCELLED

    async def test_watch_outlives_it(self, spot: Spot) -> None:
        assert spot.place.frozen is not None
        async with spot.element(limits={"command_time": 2}) as ce:
            (ref,) = (await ce.submit(script("sleep 1; exit 3"))).refs
            watching = asyncio.create_task(final(ce, [ref], 150))
            await asyncio.sleep(0.5)
            with spot.place.frozen():
                await asyncio.sleep(4)
            assert (await watching)[ref].exit_code == 3


def _all_errors(outcomes: Iterable[Any]) -> bool:
    values = [value for each in outcomes for value in (each.values() if isinstance(each, dict) else [each])]
    return all(isinstance(value, SchedulerUnavailable | CommandError) for value in values)


async def _settle(spot: Spot, description: Any, copies: int) -> None:
    """After the thaw, what was sent may still arrive; submitting again or looking settles it, and all runs once."""
    async with spot.element(limits={"submit_time": 10}) as ce:
        for _ in range(3):
            with contextlib.suppress(SubmissionUnknown):
                submission = await ce.submit(description, copies, tag="frozen")
                await finished(spot, submission.refs, copies)
                return
        assert (await ce.abandon("frozen")).refs == []
    await asyncio.sleep(2)
    assert await spot.lines("runs") == []
