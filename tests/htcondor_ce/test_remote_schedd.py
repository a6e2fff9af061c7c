"""A schedd reached over the network with a token or a certificate, by a worker process for each identity."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from intercede.answers import JobState
from intercede.credentials import BearerToken, CondorToken, X509Proxy
from intercede.errors import AuthenticationFailed, CommandError, ConnectFailed, ConnectionLost
from intercede.htcondor_ce.client import RemoteSchedd
from intercede.htcondor_ce.jobs import ATTRIBUTES, observe, observe_past
from intercede.htcondor_ce.protocol import Act, Edit, History, Identify, Query, Retrieve, Submit
from testbed.manifest import load_manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from intercede.htcondor_ce.protocol import Ad
    from intercede.workarea.scheduler import Observation
    from testbed.stack import Stack

STACKS = [name for name, spec in load_manifest().items() if (spec.system, spec.shape) == ("htcondor", "ce")]
PATIENCE = 240
KEPT = "JobStatus == 4 && time() - EnteredCurrentStatus < 3600"
LINES = (
    "executable = /bin/sh", "transfer_executable = false", "output = out", "error = err", "log =",
    "transfer_input_files = $(secret)", f"leave_in_queue = {KEPT}",
)  # fmt: skip


class Client:
    """Whoever asks, of one CE."""

    def __init__(self, ce: Stack) -> None:
        self.ce = ce
        self.schedd = self.another()

    def another(self, **options: Any) -> RemoteSchedd:
        return RemoteSchedd(f"localhost:{self.ce.port}", ca_file=str(self.ce.given / "ca.pem"), **options)

    def token(self, user: str) -> CondorToken:
        return CondorToken.model_validate({"token": (self.ce.given / f"idtoken-{user}").read_text()})

    def bearer(self, user: str) -> BearerToken:
        return BearerToken.model_validate({"token": (self.ce.given / f"scitoken-{user}").read_text()})

    def proxy(self, user: str) -> X509Proxy:
        parts = [(self.ce.given / f"{user}-{part}.pem").read_bytes() for part in ("cert", "key")]
        return X509Proxy.model_validate({"pem": b"".join(parts)})

    async def submit(self, script: str, items: list[dict[str, str]], *lines: str) -> int:
        words = (*LINES, f"arguments = \"-c '{script}'\"", *lines)
        done = await self.schedd.ask(Submit(words, tuple(items)), self.token("alice"))
        assert (done.count, done.complaint) == (len(items), "")
        return done.cluster

    async def jobs(self, cluster: int, *attributes: str) -> list[Ad]:
        return await self.schedd.ask(Query(f"ClusterId == {cluster}", ("ProcId", *attributes)), self.token("alice"))

    async def reached(self, cluster: int, status: int) -> list[Ad]:
        """All its jobs, once they are in that state."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.jobs(cluster, "JobStatus", "ExitCode", "HoldReasonCode", "Owner")
                if found and {each["JobStatus"] for each in found} == {status}:
                    return found
                await asyncio.sleep(0.5)

    async def past(self, cluster: int) -> list[Observation]:
        """What the history says, once it says anything."""
        asked = History(f"ClusterId == {cluster}", ATTRIBUTES)
        async with asyncio.timeout(PATIENCE):
            while not (found := await self.schedd.ask(asked, self.token("alice"))):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.5)
        return [observe_past(each) for each in found]

    async def order(self, action: str, cluster: int, user: str = "alice") -> int:
        return await self.schedd.ask(Act(action, f"ClusterId == {cluster}", "a test"), self.token(user))


@pytest.fixture(params=STACKS)
async def client(request: pytest.FixtureRequest, stack_factory: Callable[[str], Stack]) -> AsyncIterator[Client]:
    found = Client(stack_factory(request.param))
    yield found
    await found.schedd.aclose()


@pytest.mark.parametrize("kind", ["token", "bearer", "proxy"])
async def test_each_credential_is_its_own_identity(client: Client, kind: str) -> None:
    before = dict(os.environ)
    give = getattr(client, kind)
    for user in ("alice", "bob"):
        assert await client.schedd.ask(Identify(), give(user)) == f"{user}@users.htcondor.org"
    for credential in (give("expired"), give("stranger"), None):
        with pytest.raises(AuthenticationFailed, match="AUTHENTICATE"):
            await client.schedd.ask(Identify(), credential)
    assert await client.schedd.ask(Identify(), give("alice")) == "alice@users.htcondor.org"
    assert os.environ == before
    assert "htcondor2" not in sys.modules


async def test_two_identities_at_once(client: Client) -> None:
    other = client.another()
    asked = [(client.schedd, "alice"), (other, "bob")] * 5
    said = await asyncio.gather(*(schedd.ask(Identify(), client.token(user)) for schedd, user in asked))
    await other.aclose()
    assert said == [f"{user}@users.htcondor.org" for _, user in asked]
    assert (client.schedd.counters.connections, other.counters.connections) == (1, 1)


@pytest.mark.parametrize("user", ["wrong-audience", "unmapped"])
async def test_a_token_for_another_place_or_of_nobody(client: Client, user: str) -> None:
    with pytest.raises(AuthenticationFailed, match="SCITOKENS"):
        await client.schedd.ask(Identify(), client.bearer(user))


async def test_a_token_that_may_only_read(client: Client) -> None:
    reader = client.bearer("readonly")
    assert isinstance(await client.schedd.ask(Query("true", ("ClusterId",)), reader), list)
    with pytest.raises(AuthenticationFailed, match='"DENIED" from server for user alice'):
        await client.schedd.ask(Submit(LINES, ({"secret": ""},)), reader)


async def test_an_account_that_is_not_there(client: Client) -> None:
    with pytest.raises(CommandError, match=r"not a valid (OS|user) account"):
        await client.schedd.ask(Submit(LINES, ({"secret": ""},)), client.token("unmapped"))


async def test_files_go_there_and_come_back_as_often_as_wanted(client: Client, tmp_path: Path) -> None:
    items = []
    for number in range(3):
        folder = tmp_path / f"in{number}"
        folder.mkdir()
        (folder / "pin").write_text(f"secret {number}")
        items.append({"secret": str(folder / "pin")})
    cluster = await client.submit("cat pin; echo told >&2; exit 3", items)
    ended = await client.reached(cluster, 4)
    assert [(each["ExitCode"], each["Owner"]) for each in ended] == [(3, "alice")] * 3
    for attempt in range(3):
        into = {f"{cluster}.{number}": tmp_path / f"out{attempt}" / str(number) for number in range(3)}
        for folder in into.values():
            folder.mkdir(parents=True)
        wanted = {job: str(folder) for job, folder in into.items()} | {"999999.0": str(tmp_path)}
        assert list(await client.schedd.ask(Retrieve(wanted), client.token("alice"))) == ["999999.0"]
        assert [(folder / "out").read_text() for folder in into.values()] == [f"secret {n}" for n in range(3)]
        assert [(folder / "err").read_text() for folder in into.values()] == ["told\n"] * 3
    # of a job of somebody else's nothing is had
    theirs = await client.schedd.ask(Retrieve({f"{cluster}.0": str(tmp_path / "theirs")}), client.token("bob"))
    assert list(theirs) == [f"{cluster}.0"]
    assert not (tmp_path / "theirs" / "out").is_file()
    # what anybody may read of a job
    for each in await client.jobs(cluster, "Environment", "Arguments", "Args", "In", "Cmd"):
        assert not [value for value in each.values() if isinstance(value, str) and "secret" in value]
    assert await client.order("Remove", cluster) == 3


async def test_what_was_let_go_is_in_the_history_and_has_no_output(client: Client, tmp_path: Path) -> None:
    cluster = await client.submit("exit 5", [{"secret": ""}])
    await client.reached(cluster, 4)
    mine = f"ClusterId == {cluster}"
    let_go = Edit(mine, "LeaveJobInQueue", "false")
    with pytest.raises(CommandError, match="edit"):
        await client.schedd.ask(let_go, client.token("bob"))
    assert await client.schedd.ask(let_go, client.token("alice")) == 1
    (past,) = await client.past(cluster)
    assert (past.state, past.word, past.exit_code) == (JobState.FAILED, "Completed", 5)
    asked = History(mine, ("ProcId", "JobStatus", "Nonsense"))
    assert await client.schedd.ask(asked, client.token("alice")) == [{"ProcId": 0, "JobStatus": 4, "Nonsense": None}]
    assert await client.jobs(cluster) == []
    gone = await client.schedd.ask(Retrieve({f"{cluster}.0": str(tmp_path)}), client.token("alice"))
    assert gone == {f"{cluster}.0": "it is not in the queue"}
    assert await client.schedd.ask(let_go, client.token("alice")) == 0


@pytest.mark.parametrize(
    ("script", "state", "exit_code", "signal"),
    [
        ("exit 0", JobState.SUCCEEDED, 0, None),
        ("exit 7", JobState.FAILED, 7, None),
        ("kill -9 $$", JobState.FAILED, None, 9),
    ],
)
async def test_how_a_job_ended(
    client: Client, script: str, state: JobState, exit_code: int | None, signal: int | None
) -> None:
    cluster = await client.submit(script, [{"secret": ""}])
    await client.reached(cluster, 4)
    (ended,) = map(observe, await client.jobs(cluster, *ATTRIBUTES))
    assert (ended.state, ended.exit_code, ended.signal) == (state, exit_code, signal)
    assert ended.submitted is not None
    assert ended.ended is not None
    assert ended.ended >= ended.submitted
    await client.order("Remove", cluster)


async def test_a_job_that_is_removed_while_it_runs(client: Client) -> None:
    cluster = await client.submit("sleep 300", [{"secret": ""}])
    await client.reached(cluster, 2)
    assert await client.order("Remove", cluster) == 1
    (past,) = await client.past(cluster)
    assert (past.state, past.word, past.exit_code) == (JobState.CANCELLED, "Removed", None)
    assert "by user alice" in past.detail


async def test_orders(client: Client) -> None:
    cluster = await client.submit("sleep 300", [{"secret": ""}], "requirements = false")
    await client.reached(cluster, 1)
    with pytest.raises(AuthenticationFailed, match="somebody else"):
        await client.order("Remove", cluster, "bob")
    assert await client.order("Hold", cluster) == 1
    (held,) = map(observe, await client.jobs(cluster, *ATTRIBUTES))
    assert (held.state, held.reason, held.detail) == (JobState.HELD, None, "held (1): a test (by user alice)")
    assert await client.order("Release", cluster) == 1
    assert await client.order("Remove", cluster) == 1
    assert await client.order("Remove", 999_999) == 0


async def test_a_thousand_copies_with_a_secret_each(client: Client, tmp_path: Path) -> None:
    items = []
    for number in range(1000):
        path = tmp_path / f"pin{number}"
        path.write_text(f"{number:0100}")
        items.append({"secret": str(path)})
    cluster = await client.submit(":", items, "requirements = false", "hold = false")
    before = client.schedd.counters.commands
    assert sorted(each["ProcId"] for each in await client.jobs(cluster)) == list(range(1000))  # ty: ignore
    assert client.schedd.counters.commands == before + 1
    assert await client.order("Remove", cluster) == 1000


async def test_while_one_daemon_is_silent_others_answer(client: Client) -> None:
    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    silence = asyncio.Event()
    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        silent = RemoteSchedd(f"localhost:{server.sockets[0].getsockname()[1]}", time_limit=10)
        pending = asyncio.create_task(silent.ask(Identify(), client.token("alice")))
        for _ in range(5):
            assert await client.schedd.ask(Identify(), client.token("bob")) == "bob@users.htcondor.org"
        assert not pending.done()
        with pytest.raises(ConnectionLost, match="no answer within 10 s"):
            await pending
        await silent.aclose()
        silence.set()


@pytest.mark.alone
async def test_a_frozen_schedd_and_one_that_was_restarted(client: Client) -> None:
    hasty = client.another(time_limit=8)
    schedd = client.ce.daemon("ce_schedd")
    assert await hasty.ask(Identify(), client.token("alice"))
    schedd.freeze()
    try:
        with pytest.raises(ConnectionLost):
            await hasty.ask(Query("true", ("ClusterId",)), client.token("alice"))
    finally:
        schedd.thaw()
    cluster = await client.submit("sleep 300", [{"secret": ""}], "requirements = false")
    schedd.stop()
    master = client.ce.daemon("ce_master")
    # it would start the schedd again
    master.freeze()
    try:
        # of what nobody answers nothing is said, least of all that there is none
        for asked in (Query("true", ("ClusterId",)), History("true", ("ClusterId",))):
            with pytest.raises((ConnectFailed, CommandError, ConnectionLost)):
                await hasty.ask(asked, client.token("alice"))
    finally:
        master.thaw()
        schedd.start()
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                found = await client.jobs(cluster, "JobStatus")
                break
            except (ConnectFailed, CommandError):
                await asyncio.sleep(0.5)
    assert [each["ProcId"] for each in found] == [0]
    await client.order("Remove", cluster)
    await hasty.aclose()


async def test_nobody_there(client: Client) -> None:
    nobody = RemoteSchedd("localhost:1")
    with pytest.raises(ConnectFailed, match="refused"):
        await nobody.ask(Identify(), client.token("alice"))
    await nobody.aclose()
