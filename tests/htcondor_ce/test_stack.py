"""The stand-in for an HTCondor-CE, with nothing but HTCondor's own commands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from testbed.manifest import load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.stack import Stack

STACKS = [name for name, spec in load_manifest().items() if (spec.system, spec.shape) == ("htcondor", "ce")]
PATIENCE = 120
GIVEN = "/credentials"
KINDS = ["idtoken", "scitoken", "cert"]
NAME = "ce.test.local"
JOB = r"""
executable = /bin/sh
transfer_executable = false
arguments = "-c 'id -un; exit 3'"
output = out
log =
leave_in_queue = JobStatus == 4
queue
"""


class Client:
    """One user with one credential, in a directory of its own inside the container."""

    def __init__(self, ce: Stack, kind: str, user: str) -> None:
        self.ce = ce
        self.where = f"localhost:{ce.port}"
        self.home = f"/tmp/{kind}-{user}"
        ce.exec(["sh", "-c", f"mkdir -p {self.home}/tokens; chmod 700 {self.home}/tokens"])
        environment = {"CONFIG": "ONLY_ENV", "SEC_CLIENT_AUTHENTICATION": "REQUIRED"}
        environment |= {"SEC_TOKEN_DIRECTORY": f"{self.home}/tokens", "AUTH_SSL_CLIENT_CAFILE": f"{GIVEN}/ca.pem"}
        environment |= {"SEC_TOKEN_SYSTEM_DIRECTORY": f"{self.home}/none"}
        if kind == "idtoken":
            ce.exec(["cp", f"{GIVEN}/idtoken-{user}", f"{self.home}/tokens/token"])
        environment["SEC_CLIENT_AUTHENTICATION_METHODS"] = {
            "idtoken": "IDTOKENS",
            "scitoken": "SCITOKENS",
            "cert": "SSL",
        }[kind]
        environment["SCITOKENS_FILE"] = f"{GIVEN}/scitoken-{user}"
        environment |= {f"AUTH_SSL_CLIENT_{file}FILE": f"{GIVEN}/{user}-{file.lower()}.pem" for file in ("CERT", "KEY")}
        self.environment = {f"_condor_{name}": value for name, value in environment.items()}
        self.environment["CONDOR_CONFIG"] = "ONLY_ENV"

    def run(self, *argv: str, stdin: str = "") -> tuple[int, str]:
        """The exit status, and all that was said."""
        given = stdin.encode()
        done = self.ce.exec(argv, input=given, check=False, timeout=60, env=self.environment, workdir=self.home)
        return done.returncode, (done.stdout + done.stderr).decode()

    def is_let_in(self) -> bool:
        """Whether it may write."""
        code, _ = self.run("condor_ping", "-pool", self.where, "-name", NAME, "-type", "schedd", "WRITE")
        return code == 0


@pytest.fixture(params=STACKS)
def ce(request: pytest.FixtureRequest, stack_factory: Callable[[str], Stack]) -> Stack:
    return stack_factory(request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_runs_as_the_user_whom_the_credential_names(ce: Stack, kind: str) -> None:
    bob = Client(ce, kind, "bob")
    at = ("-pool", bob.where, "-name", NAME)
    code, said = bob.run("condor_submit", "-terse", "-pool", bob.where, "-remote", NAME, "-", stdin=JOB)
    assert code == 0, said
    job = said.split()[-1]
    until = time.monotonic() + PATIENCE
    while (told := bob.run("condor_q", *at, job, "-af", "JobStatus", "ExitCode")[1].strip()) != "4 3":
        assert time.monotonic() < until, told
        time.sleep(0.5)
    assert bob.run("condor_transfer_data", *at, job)[0] == 0
    assert bob.run("cat", "out")[1] == "bob\n"
    assert bob.run("condor_rm", *at, job)[0] == 0


@pytest.mark.parametrize("user", ["expired", "stranger"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_credential_is_refused(ce: Stack, kind: str, user: str) -> None:
    assert Client(ce, kind, "alice").is_let_in()
    assert not Client(ce, kind, user).is_let_in()


@pytest.mark.parametrize("user", ["unmapped", "readonly", "wrong-audience"])
def test_a_token_for_something_else_is_refused(ce: Stack, user: str) -> None:
    assert not Client(ce, "scitoken", user).is_let_in()


def test_it_is_where_its_daemons_say(ce: Stack) -> None:
    assert ce.url() == f"htcondor-ce://127.0.0.1:{ce.port}"
    alice = Client(ce, "idtoken", "alice")
    told = alice.run("condor_status", "-pool", alice.where, "-schedd", "-af", "MyAddress")
    assert f"<127.0.0.1:{ce.port}?" in told[1]


def test_its_credentials_are_for_this_user_alone(ce: Stack) -> None:
    assert ce.given.stat().st_mode & 0o777 == 0o700
    keys = [ce.given / name for name in ("alice-key.pem", "scitoken-alice", "idtoken-alice")]
    assert [path.stat().st_mode & 0o777 for path in keys] == [0o600] * 3


@pytest.mark.alone
def test_its_daemons_can_be_frozen_and_its_schedd_stopped_and_started(ce: Stack) -> None:
    alice = Client(ce, "idtoken", "alice")
    for name in ce.spec.daemons:
        ce.daemon(name).freeze()
        ce.daemon(name).thaw()
    schedd = ce.daemon("ce_schedd")
    schedd.stop()
    schedd.start()
    until = time.monotonic() + PATIENCE
    while not alice.is_let_in():
        assert time.monotonic() < until, alice.run("condor_status", "-pool", alice.where, "-schedd")
        time.sleep(0.5)
