"""Beyond the contract: lost answers, owners, credentials that end, files that the CE moves itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretBytes, SecretStr

from intercede.answers import JobOutput, JobState, Outcome, Reason
from intercede.arc.client import ArcClient
from intercede.credentials import BearerToken, CredentialRequest, StaticCredentials, X509Proxy, from_function
from intercede.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectionLost,
    CredentialError,
    NotFound,
    SubmissionUnknown,
    UnsupportedError,
)
from intercede.model import Resources
from intercede.testing.contract.steps import final, run, script
from tests.arc.conftest import NEWER, Opener, credential, proxy, shown

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from testbed.stack import Stack

NEWEST = NEWER[-1]
WEB = """
import http.server, os, re, sys, urllib.parse
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def translate_path(self, path):
        return super().translate_path(urllib.parse.urlsplit(path).path)
    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with open(self.translate_path(self.path), "wb") as file:
            file.write(data)
        self.send_response(201); self.send_header("Content-Length", "0"); self.end_headers()
os.chdir(sys.argv[1])
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""

pytestmark = pytest.mark.parametrize("arc", [NEWEST], indirect=True)


@contextlib.contextmanager
def answers_lost() -> Generator[None]:
    """Jobs are created, and the answer does not come."""
    create = ArcClient.create

    async def lost(self: ArcClient, document: bytes, count: int) -> Any:
        await create(self, document, count)
        raise ConnectionLost("create", "the answer was lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArcClient, "create", lost)
        yield


@contextlib.contextmanager
def nothing_listed() -> Generator[None]:
    """A look that comes before the jobs are there."""

    async def none(_: ArcClient) -> dict[str, str]:
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArcClient, "jobs", none)
        yield


async def test_what_was_created_and_never_completed_is_held_and_can_be(opened: Opener) -> None:
    description = script("exit $((3 + INTERCEDE_COPY))", secrets={"s": "x"})
    with answers_lost(), pytest.raises(SubmissionUnknown):
        await opened().submit(description, 2, tag="lost")
    other = opened()
    found = await other.find("lost")
    statuses = await other.status(found.refs)
    assert {(each.state, each.reason) for each in statuses.values()} == {(JobState.HELD, Reason.STAGING)}
    assert [info.complete for info in await other.list()] == [False]
    third = opened()
    assert (await third.submit(description, 2, tag="lost")).refs == found.refs
    assert [each.exit_code for each in (await final(third, found.refs)).values()] == [3, 4]
    assert [info.complete for info in await third.list()] == [True]


async def test_jobs_that_appear_after_a_look_never_run(opened: Opener, arc: Stack, tmp_path: Path) -> None:
    runs = f"/tmp/runs-{secrets.token_hex(4)}"
    description = script(f'echo "$INTERCEDE_COPY" >>{runs}')
    with answers_lost(), pytest.raises(SubmissionUnknown):
        await opened().submit(description, 2, tag="late")
    with nothing_listed():
        second = await opened().submit(description, 2, tag="late")
    ce = opened()
    assert (await ce.find("late")).refs == second.refs
    assert (await ce.submit(description, 2, tag="late")).refs == second.refs
    await final(ce, second.refs)
    assert (await ce.find("late")).refs == second.refs
    assert sorted(arc.exec(["cat", runs]).stdout.split()) == [b"0", b"1"]


async def test_what_nobody_wants_any_more_is_removed(opened: Opener) -> None:
    with answers_lost(), pytest.raises(SubmissionUnknown):
        await opened().submit(script(":"), 2, tag="unwanted")
    given_up = await opened().abandon("unwanted")
    assert (given_up.refs, len(given_up.errors)) == ([], 2)
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(NotFound):
                await opened().find("unwanted")
                await asyncio.sleep(0.5)
                continue
            return


async def test_a_queue_that_is_not_there(opened: Opener) -> None:
    ce = opened()
    with pytest.raises(UnsupportedError, match="nosuch") as caught:
        await ce.submit(script(":", resources=Resources(queue="nosuch")), 300)
    assert caught.value.field == "resources.queue"
    assert await ce.list() == []


async def test_one_person_by_certificate_and_by_token_is_two_owners(opened: Opener, arc: Stack) -> None:
    (ref,) = (await opened().submit(script("sleep 60"), tag="mine")).refs
    token = (arc.given / "token-alice").read_text().strip()
    other = opened(StaticCredentials(BearerToken(token=SecretStr(token))))
    with pytest.raises(NotFound):
        await other.find("mine")
    assert (await other.status([ref]))[ref].state is JobState.UNKNOWN
    assert await other.cancel([ref]) == {ref: Outcome.NOT_NEEDED}
    with pytest.raises(NotFound):
        await other.read_log(ref)
    assert not (await opened().status([ref]))[ref].state.is_final


async def test_a_proxy_that_ends_during_a_watch_is_replaced(opened: Opener, arc: Stack) -> None:
    asked: list[CredentialRequest] = []
    first, second = proxy(arc, "alice", timedelta(seconds=6)), proxy(arc, "alice", timedelta(hours=1))
    began = asyncio.get_running_loop().time()

    async def give(request: CredentialRequest) -> X509Proxy:
        asked.append(request)
        late = asyncio.get_running_loop().time() - began > 4
        return X509Proxy(pem=SecretBytes(second if late else first))

    ce = opened(from_function(give))
    (status,) = (await run(ce, script("sleep 10; exit 5"))).values()
    assert status.exit_code == 5
    assert asked[0].scopes == {"compute.create", "compute.modify", "compute.read"}
    before = len(asked)
    await ce.status([status.ref])
    assert len(asked) == before  # one that holds is not asked for again


async def test_who_is_refused_is_told_why(opened: Opener, arc: Stack) -> None:
    with pytest.raises(AuthenticationFailed, match="authgroups"):
        await opened(shown(credential(arc, "mallory"))).submit(script(":"))
    with pytest.raises(CredentialError, match="there is none"):
        await opened(StaticCredentials()).capacity()
    old = proxy(arc, "alice", timedelta(seconds=1))
    await asyncio.sleep(1.5)
    with pytest.raises(CredentialError, match="expired at"):
        await opened(shown(old)).list()


@pytest.mark.alone
async def test_a_server_that_is_started_again_has_all_of_it(opened: Opener, arc: Stack) -> None:
    ce = opened()
    (ref,) = (await ce.submit(script("sleep 3; exit 4"), tag="outlives")).refs
    service = arc.daemon("arex-ws")
    await asyncio.to_thread(service.stop)
    try:
        with pytest.raises((ConnectFailed, ConnectionLost)):
            await opened().find("outlives")
    finally:
        await asyncio.to_thread(service.start)
    assert (await ce.find("outlives")).refs == [ref]
    assert (await final(ce, [ref]))[ref].exit_code == 4


@pytest.fixture
def web(arc: Stack) -> Iterator[str]:
    """The address of a web server that the CE can reach, in front of a directory."""
    place, port = f"/tmp/web-{secrets.token_hex(4)}", 20000 + secrets.randbelow(20000)
    start = 'mkdir -p "$1" && echo fetched >"$1/in" && nohup python3 - "$1" "$2" >/dev/null 2>&1 <"$0" & echo $!'
    arc.exec(["sh", "-c", "cat >/tmp/web.py"], input=WEB.encode())
    pid = arc.exec(["sh", "-c", start, "/tmp/web.py", place, str(port)]).stdout.decode().strip()
    ready = 'until curl -sf "http://127.0.0.1:$1/in" >/dev/null; do sleep 0.1; done'
    arc.exec(["sh", "-c", ready, "sh", str(port)])
    yield f"http://127.0.0.1:{port}"
    arc.exec(["kill", pid], check=False)


async def test_the_ce_moves_files_itself(opened: Opener, web: str, arc: Stack, tmp_path: Path) -> None:
    words = (f"input:data={web}/in", f"output:result={web}/out")
    job = script("cat data; echo sent >result", native={"arc": words})
    ce = opened()
    (status,) = (await run(ce, job)).values()
    assert (status.state, status.detail) == (JobState.SUCCEEDED, "")
    output = (await ce.fetch_output([status.ref], tmp_path))[status.ref]
    assert isinstance(output, JobOutput)
    assert output.stdout is not None
    assert output.stdout.read_text() == "fetched\n"
    assert arc.exec(["curl", "-sf", f"{web}/out"]).stdout == b"sent\n"


async def test_a_file_that_is_not_there_fails_the_job(opened: Opener, web: str) -> None:
    (status,) = (await run(opened(), script(":", native={"arc": (f"input:data={web}/missing",)}))).values()
    assert (status.state, status.reason) == (JobState.FAILED, Reason.STAGING)
    assert "staging" in status.detail


async def test_words_that_mean_nothing_are_refused(opened: Opener) -> None:
    ce = opened()
    for word in ("nonsense", "input:x", "input:../x=http://h/x", "runtime:"):
        with pytest.raises(UnsupportedError, match="native"):
            await ce.submit(script(":", native={"arc": (word,)}))
    assert ce.counters.commands == 0
