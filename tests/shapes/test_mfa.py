"""A site that asks for a one-time code at every login: whoever supplies secrets is asked once a connection."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import pytest

from intercede.answers import JobOutput, JobState
from intercede.credentials import SSHAnswers, SSHPassword, StaticCredentials
from intercede.errors import AuthenticationFailed
from intercede.registry import open_element
from intercede.settings import ResourceSettings
from intercede.testing.contract.steps import final, reached, script
from tests.shapes.conftest import settings_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from intercede.credentials import Credential, CredentialRequest
    from testbed.stack import Stack

pytestmark = pytest.mark.testbed

STACK = "slurm-24.11-mfa"
USERS_FILE = "/etc/users.oath"


def hotp(secret: bytes, counter: int) -> str:
    """A one-time code of six digits (RFC 4226)."""
    digest = hmac.digest(secret, counter.to_bytes(8, "big"), hashlib.sha1)
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


class Token:
    """The token of a user: gives the next code whenever it is asked, and counts that.

    Args:
        stack: Where the user is known.
        user: Who: each test has one of its own, as the server counts with the token.
    """

    def __init__(self, stack: Stack, user: str) -> None:
        lines = stack.exec(["cat", USERS_FILE]).stdout.decode().splitlines()
        _, _, _, secret, *used = next(line for line in lines if line.split()[1] == user).split()
        self._secret = bytes.fromhex(secret)
        self._next = int(used[0]) + 1 if used else 0
        self.prompts: list[str] = []

    async def get(self, request: CredentialRequest) -> Credential | None:
        if SSHAnswers not in request.kinds:
            return None
        self.prompts += [prompt for prompt, _ in request.prompts]
        code = hotp(self._secret, self._next)
        self._next += 1
        return SSHAnswers.model_validate({"answers": (code,)})


def settings(stack: Stack, user: str, **more: Any) -> ResourceSettings:
    return ResourceSettings.model_validate(settings_for(stack, user, **more))


async def test_one_code_a_connection(stack_factory: Callable[[str], Stack], tmp_path: Path) -> None:
    stack = stack_factory(STACK)
    token = Token(stack, "alice")
    way = settings(stack, "alice", politeness={"min_interval": 0.2, "max_interval": 0.5, "concurrent": 4})
    async with open_element(way, credentials=token) as ce, open_element(way, credentials=token) as other:
        submission = await ce.submit(script("echo said; sleep 1; exit 3"), 3)
        await asyncio.gather(*(each.capacity() for each in (ce, other) for _ in range(10)))
        statuses = await final(other, submission.refs)
        outputs = await ce.fetch_output(submission.refs, tmp_path)
        (running,) = (await ce.submit(script("sleep 300"))).refs
        await reached(ce, running, JobState.RUNNING)
        await ce.cancel([running])
        await final(ce, [running])
        await other.purge([*submission.refs, running])
        assert ce.counters.connections + other.counters.connections == 1
    assert [each.exit_code for each in statuses.values()] == [3, 3, 3]
    assert [each.stdout and each.stdout.read_text() for each in outputs.values() if isinstance(each, JobOutput)] == (
        ["said\n"] * 3
    )
    assert len(token.prompts) == 1
    assert "One-time password" in token.prompts[0]


async def test_a_new_connection_takes_a_new_code(stack_factory: Callable[[str], Stack]) -> None:
    stack = stack_factory(STACK)
    token = Token(stack, "bob")
    async with open_element(settings(stack, "bob"), credentials=token) as ce:
        await ce.capacity()
        stack.exec(["sh", "-c", "kill $(ps -u bob -o pid=,comm= | awk '/sshd/ { print $1 }')"])
        await asyncio.gather(*(ce.capacity() for _ in range(5)))
        assert ce.counters.connections == 2
    assert len(token.prompts) == 2


async def test_a_wrong_code_is_sent_once(stack_factory: Callable[[str], Stack]) -> None:
    stack = stack_factory(STACK)
    asked = []

    class Wrong:
        async def get(self, request: CredentialRequest) -> Credential | None:
            if SSHAnswers not in request.kinds:
                return None
            asked.append(request.prompts)
            return SSHAnswers.model_validate({"answers": ("none",)})

    async with open_element(settings(stack, "carol"), credentials=Wrong()) as ce:
        with pytest.raises(AuthenticationFailed, match="One-time password"):
            await ce.capacity()
    assert len(asked) == 1


async def test_a_password_is_no_code(stack_factory: Callable[[str], Stack]) -> None:
    stack = stack_factory(STACK)
    static = StaticCredentials(SSHPassword.model_validate({"password": "an account's own"}))
    async with open_element(settings(stack, "dave"), credentials=static) as ce:
        with pytest.raises(AuthenticationFailed, match="nobody answers its question"):
            await ce.capacity()
