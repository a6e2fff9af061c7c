"""An ARC CE of the testbed, with nothing but Python's own HTTP client."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.arc.conftest import NEWER, STACKS

if TYPE_CHECKING:
    from testbed.stack import Stack

WAYS = [(name, False) for name in STACKS] + [(name, True) for name in NEWER]
REFUSED = [(name, "mallory", False) for name in STACKS]
REFUSED += [(name, user, True) for name in NEWER for user in ("mallory", "expired")]
PATIENCE = 120
JOB = """<ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl"><Application><Executable><Path>/bin/sh</Path>
<Argument>-c</Argument><Argument>id -un; exit 3</Argument></Executable><Output>out</Output></Application><DataStaging>
<OutputFile><Name>out</Name></OutputFile></DataStaging></ActivityDescription>"""


class Client:
    """One user, by certificate or by token."""

    def __init__(self, stack: Stack, user: str, *, token: bool = False) -> None:
        tls = ssl.create_default_context(cafile=stack.given / "ca.pem")
        self.headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {(stack.given / f'token-{user}').read_text()}"
        else:
            tls.load_cert_chain(stack.given / f"{user}-cert.pem", stack.given / f"{user}-key.pem")
        self.address, self.tls = (stack.host, stack.port), tls

    def ask(self, path: str, body: str | None = None) -> str:
        """Give the answer; of a refusal, what HTTP says of it."""
        with contextlib.closing(http.client.HTTPSConnection(*self.address, timeout=60, context=self.tls)) as connection:
            connection.request("POST" if body else "GET", f"/arex/rest{path}", body, self.headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        return text if answer.status < 300 else f"{answer.status} {answer.reason}"

    def jobs(self) -> dict[str, str]:
        """The state of each of the user's jobs."""
        states = "ACCEPTING,ACCEPTED,PREPARING,PREPARED,SUBMITTING,RUNNING,EXECUTED,KILLING,FINISHING,FINISHED,FAILED"
        found: dict[str, Any] = json.loads(self.ask(f"/1.0/jobs?state={states}") or '{"job": []}')
        return {each["id"]: each["state"] for each in many(found["job"])}


def many(value: Any) -> list[Any]:
    """6.17 unwraps lists of one."""
    return value if isinstance(value, list) else [value]


def becomes(user: Client, job: str, state: str | None) -> None:
    until = time.monotonic() + PATIENCE
    while user.jobs().get(job) != state:
        assert time.monotonic() < until, user.jobs()
        time.sleep(0.2)


def test_it_says_where_it_is(arc: Stack) -> None:
    assert arc.url() == f"arc://127.0.0.1:{arc.port}"
    assert "1.0" in json.loads(Client(arc, "alice").ask(""))["version"]


@pytest.mark.parametrize(("arc", "token"), WAYS, indirect=["arc"])
def test_a_job_runs_as_the_user_whom_the_credential_names(arc: Stack, token: bool) -> None:
    bob = Client(arc, "bob", token=token)
    (created,) = many(json.loads(bob.ask("/1.0/jobs?action=new", JOB))["job"])
    assert created["status-code"] == "201"
    becomes(bob, created["id"], "FAILED")
    assert bob.ask(f"/1.0/jobs/{created['id']}/session/out") == "bob\n"
    assert "exitcode=3" in bob.ask(f"/1.0/jobs/{created['id']}/diagnose/diag")
    bob.ask("/1.0/jobs?action=clean", json.dumps({"job": [{"id": created["id"]}]}))
    becomes(bob, created["id"], None)  # the order waits until A-REX comes by


@pytest.mark.parametrize(("arc", "user", "token"), REFUSED, indirect=["arc"])
def test_who_is_in_no_group_is_refused(arc: Stack, user: str, token: bool) -> None:
    refusal = Client(arc, user, token=token).ask("/1.0/jobs")
    assert refusal in {f"{status} User can't be assigned configuration" for status in (403, 500)}


def test_its_credentials_are_for_this_user_alone(arc: Stack) -> None:
    assert arc.given.stat().st_mode & 0o777 == 0o700
    keys = [arc.given / name for name in ("alice-key.pem", "ca-key.pem")]
    assert [path.stat().st_mode & 0o777 for path in keys] == [0o600] * 2


@pytest.mark.alone
def test_its_daemons_can_be_stopped_and_started(arc: Stack) -> None:
    service = arc.daemon("arex-ws")
    service.stop()
    try:
        with pytest.raises(OSError, match=r"refused|reset|closed|EOF"):
            Client(arc, "alice").ask("")
    finally:
        service.start()
    assert isinstance(Client(arc, "alice").jobs(), dict)
