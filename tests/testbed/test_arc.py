"""An ARC CE of the testbed, with nothing but Python's own HTTP client."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.stack import Stack

STACK = "arc-7.0"
PATIENCE = 120
JOB = """<ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl"><Application><Executable><Path>/bin/sh</Path>
<Argument>-c</Argument><Argument>id -un; exit 3</Argument></Executable><Output>out</Output></Application><DataStaging>
<OutputFile><Name>out</Name></OutputFile></DataStaging></ActivityDescription>"""

pytestmark = pytest.mark.stack(name=STACK)


class Client:
    """One user, by certificate or by token."""

    def __init__(self, stack: Stack, user: str, *, token: bool = False) -> None:
        self.base = f"{stack.url().replace('arc:', 'https:')}/arex/rest"
        self.headers = {"Accept": "application/json"}
        self.tls = ssl.create_default_context(cafile=stack.given / "ca.pem")
        if token:
            self.headers["Authorization"] = f"Bearer {(stack.given / f'token-{user}').read_text()}"
        else:
            self.tls.load_cert_chain(stack.given / f"{user}-cert.pem", stack.given / f"{user}-key.pem")

    def ask(self, path: str, body: str | None = None) -> str:
        headers = self.headers | ({"Content-Type": "application/json"} if body else {})
        request = urllib.request.Request(self.base + path, body.encode() if body else None, headers)  # noqa: S310 - https
        with urllib.request.urlopen(request, timeout=60, context=self.tls) as answer:  # noqa: S310
            return answer.read().decode()

    def jobs(self) -> dict[str, str]:
        """The state of each of the user's jobs."""
        states = "ACCEPTING,ACCEPTED,PREPARING,PREPARED,SUBMITTING,RUNNING,EXECUTED,KILLING,FINISHING,FINISHED,FAILED"
        found: dict[str, Any] = json.loads(self.ask(f"/1.0/jobs?state={states}"))
        return {each["id"]: each["state"] for each in found["job"]}


@pytest.fixture
def arc(stack_factory: Callable[[str], Stack]) -> Stack:
    return stack_factory(STACK)


def test_it_says_where_it_is(arc: Stack) -> None:
    assert arc.url() == f"arc://127.0.0.1:{arc.port}"
    assert json.loads(Client(arc, "alice").ask("")) == {"version": ["1.0", "1.1"]}


@pytest.mark.parametrize("token", [False, True])
def test_a_job_runs_as_the_user_whom_the_credential_names(arc: Stack, token: bool) -> None:
    bob = Client(arc, "bob", token=token)
    (created,) = json.loads(bob.ask("/1.0/jobs?action=new", JOB))["job"]
    assert created["status-code"] == "201"
    until = time.monotonic() + PATIENCE
    while bob.jobs().get(created["id"]) != "FAILED":
        assert time.monotonic() < until, bob.jobs()
        time.sleep(0.2)
    assert bob.ask(f"/1.0/jobs/{created['id']}/session/out") == "bob\n"
    assert "exitcode=3" in bob.ask(f"/1.0/jobs/{created['id']}/diagnose/diag")
    # one person by certificate and by token is two owners
    assert created["id"] not in Client(arc, "bob", token=not token).jobs()
    bob.ask("/1.0/jobs?action=clean", json.dumps({"job": [{"id": created["id"]}]}))
    assert created["id"] not in bob.jobs()


@pytest.mark.parametrize(("user", "token"), [("mallory", False), ("mallory", True), ("expired", True)])
def test_who_is_in_no_group_is_refused(arc: Stack, user: str, token: bool) -> None:
    with pytest.raises(urllib.error.HTTPError, match="500: User can't be assigned configuration"):
        Client(arc, user, token=token).jobs()


def test_its_credentials_are_for_this_user_alone(arc: Stack) -> None:
    assert arc.given.stat().st_mode & 0o777 == 0o700
    keys = [arc.given / name for name in ("alice-key.pem", "ca-key.pem", "token-alice")]
    assert [path.stat().st_mode & 0o777 for path in keys] == [0o600] * 3


def test_its_daemons_can_be_stopped_and_started(arc: Stack) -> None:
    service = arc.daemon("arex-ws")
    service.stop()
    try:
        with pytest.raises(urllib.error.URLError):
            Client(arc, "alice").ask("")
    finally:
        service.start()
    assert isinstance(Client(arc, "alice").jobs(), dict)
