"""The element at the stand-in for an HTCondor-CE: what the contract does not ask of everybody."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from intercede import (
    AuthenticationFailed,
    CommandError,
    Copy,
    CredentialError,
    FileCredentials,
    JobDescription,
    JobOutput,
    JobState,
    NotFound,
    Outcome,
    Reason,
    SchedulerUnavailable,
    SubmissionUnknown,
    TransportError,
    open_element,
)
from intercede.arc.delegation import read_holder, sign_proxy
from intercede.elements import htcondor_ce_access
from intercede.htcondor_ce.client import RemoteSchedd
from intercede.htcondor_ce.protocol import Submit
from intercede.testing.contract.steps import fetch_one, final, reached, run, script
from testbed.manifest import load_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from intercede.protocols import Element
    from testbed.stack import Stack

STACKS = [name for name, spec in load_manifest().items() if (spec.system, spec.shape) == ("htcondor", "ce")]
PATIENCE = 120
# the pool's own job of one of the CE's, once its payload runs: before that, it has not been started yet
VACATE = (
    "until pgrep -f '[s]leep 307' >/dev/null; do sleep 0.2; done; "
    'until condor_vacate_job -fast -constraint "RoutedFromJobId == \\"$1\\"" | grep -q vacated; do sleep 1; done'
)
NEVER = {"htcondor": ("requirements = false",)}


@pytest.fixture(params=STACKS)
def ce(request: pytest.FixtureRequest, stack_factory: Callable[[str], Stack]) -> Stack:
    return stack_factory(request.param)


def opened(ce: Stack, request: pytest.FixtureRequest, shows: str = "idtoken-alice", **more: Any) -> Element:
    """An element that knows of this test's jobs alone."""
    endpoint = {"host": "localhost", "port": ce.port, "ca": str(ce.given / "ca.pem"), **more.pop("endpoint", {})}
    credentials = more.pop("credentials", None)
    settings = {
        "id": f"ce/{request.node.originalname}", "scheduler": "htcondor-ce", "endpoint": endpoint,
        "politeness": {"min_interval": 0.5, "max_interval": 2}, "grace": 5, **more,
    }  # fmt: skip
    kind = "token" if shows.startswith("scitoken") else "condor_token"
    if credentials is None and shows:
        credentials = FileCredentials(**{kind: ce.given / shows})
    return open_element(settings, credentials=credentials)


async def test_two_identities_expired_ones_and_none(ce: Stack, request: pytest.FixtureRequest) -> None:
    tag = f"who-{asyncio.get_running_loop().time():.6f}"
    async with opened(ce, request) as alice, opened(ce, request, "scitoken-bob") as bob:
        (ref,) = (await alice.submit(script(":", native=NEVER), tag=tag)).refs
        with pytest.raises(NotFound):
            await bob.find(tag)
        (his,) = (await bob.submit(script("exit 3", native=NEVER), tag=tag)).refs
        for shows in ("idtoken-expired", "scitoken-expired", "scitoken-wrong-audience", ""):
            async with opened(ce, request, shows) as nobody:
                for doing in (nobody.submit(script(":")), nobody.status([ref]), nobody.cancel([ref])):
                    with pytest.raises(AuthenticationFailed, match="AUTHENTICATE"):
                        await doing
        assert (await alice.find(tag)).refs == [ref]
        assert (await bob.find(tag)).refs == [his]
        assert (await alice.status([ref]))[ref].state is JobState.QUEUED
        assert await alice.cancel([ref]) == {ref: Outcome.DONE}
        assert await bob.cancel([his]) == {his: Outcome.DONE}


async def test_a_token_that_may_only_read(ce: Stack, request: pytest.FixtureRequest) -> None:
    async with opened(ce, request) as alice, opened(ce, request, "scitoken-readonly") as reader:
        (ref,) = (await alice.submit(script(":", native=NEVER))).refs
        assert (await reader.status([ref]))[ref].state is JobState.QUEUED
        with pytest.raises(AuthenticationFailed, match="DENIED"):
            await reader.cancel([ref])
        assert await alice.cancel([ref]) == {ref: Outcome.DONE}


@pytest.mark.first
@pytest.mark.timeout(400)
async def test_output_again_and_again_and_then_late(ce: Stack, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    async with opened(ce, request, endpoint={"retention": "140s"}) as element:
        (ref,) = await run(element, script("echo said; echo f >f; exit 3", outputs=("f",)))
        first = await fetch_one(element, ref, tmp_path)
        # the schedd looks at its queue every few seconds; a client's own default would let the job go
        for _ in range(2):
            await asyncio.sleep(60)
            assert await fetch_one(element, ref, tmp_path) == first
        async with asyncio.timeout(PATIENCE):
            found: object = first
            while isinstance(found, JobOutput):
                await asyncio.sleep(1)
                found = (await element.fetch_output([ref], tmp_path))[ref]
        assert isinstance(found, NotFound)
        with pytest.raises(NotFound):
            await opened(ce, request).read_log(ref)
        async with opened(ce, request) as fresh:
            status = (await fresh.status([ref]))[ref]
        assert (status.state, status.exit_code, status.source) == (JobState.FAILED, 3, "history")


def proxy_of(ce: Stack, user: str, directory: Path) -> Path:
    """A proxy of that user, in a file."""
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    holder = read_holder(b"".join((ce.given / f"{user}-{part}.pem").read_bytes() for part in ("cert", "key")))
    key = rsa.generate_private_key(65537, 2048)
    signed = sign_proxy(key.public_key(), holder, now=datetime.now(UTC), lifetime=timedelta(hours=12))
    path = directory / "x509up"
    path.touch(0o600)
    path.write_bytes(signed.public_bytes(plain[0]) + key.private_bytes(*plain) + holder.certificates())
    return path


@pytest.mark.parametrize("ce", STACKS[:1], indirect=True)
async def test_a_proxy_that_the_ce_cannot_take(ce: Stack, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """23.9.6 of Debian 13: `X509Credential::Request() failed`, in its log."""
    shown = FileCredentials(condor_token=ce.given / "idtoken-alice", proxy=proxy_of(ce, "alice", tmp_path))
    async with opened(ce, request, endpoint={"proxy_with_jobs": True}, credentials=shown) as element:
        with pytest.raises(SubmissionUnknown, match=r"receiving file \S+/proxy") as caught:
            await element.submit(script(":"), 2)
        assert set((await element.cancel(caught.value.refs)).values()) == {Outcome.DONE}
        assert {each.state for each in (await final(element, caught.value.refs)).values()} == {JobState.CANCELLED}


@pytest.mark.parametrize("ce", STACKS[1:], indirect=True)
async def test_a_proxy_goes_with_each_job(ce: Stack, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    text = (
        'stat -c "%a %U" "$X509_USER_PROXY"; openssl x509 -noout -subject -in "$X509_USER_PROXY"; '
        'openssl x509 -noout -checkend 36000 -in "$X509_USER_PROXY"; echo "$X509_USER_PROXY" >where; sleep 20'
    )
    shown = FileCredentials(condor_token=ce.given / "idtoken-alice", proxy=proxy_of(ce, "alice", tmp_path))
    async with opened(ce, request, endpoint={"proxy_with_jobs": True}, credentials=shown) as element:
        refs = (await element.submit(script(text, outputs=("where",)), 2)).refs
        for ref in refs:
            await reached(element, ref, JobState.RUNNING)
        find = (
            "find /var/spool/condor-ce /var/spool/condor /var/lib/condor/execute -name 'x509up*' -o -name proxy -type f"
        )
        found = [await asyncio.to_thread(ce.exec, ["sh", "-c", find])]
        kept = found[0].stdout.decode().split()
        # the CE's, and those on the node
        assert len(kept) == 4
        for path in kept:
            said = await asyncio.to_thread(ce.exec, ["cat", path], user="bob", check=False)
            assert b"Permission denied" in said.stderr
        assert {each.state for each in (await final(element, refs, PATIENCE)).values()} == {JobState.SUCCEEDED}
        for ref in refs:
            output = await fetch_one(element, ref, tmp_path)
            assert output.stdout is not None
            mode, subject, lasts = output.stdout.read_text().splitlines()
            assert (mode, lasts) == ("600 alice", "Certificate will not expire")
            # delegated on its way: no key of it was sent
            assert "O=Test,CN=alice,CN=" in subject.replace(" ", "")
        assert set((await element.purge(refs)).values()) == {Outcome.DONE}
    bare = FileCredentials(condor_token=ce.given / "idtoken-alice")
    async with opened(ce, request, endpoint={"proxy_with_jobs": True}, credentials=bare) as element:
        with pytest.raises(CredentialError, match="there is none"):
            await element.submit(script(":"))


async def test_a_job_that_is_started_again_behind_the_ce(ce: Stack, request: pytest.FixtureRequest) -> None:
    async with opened(ce, request) as element:
        (ref,) = (await element.submit(script("sleep 307"))).refs
        await asyncio.to_thread(ce.exec, ["sh", "-c", VACATE, "sh", ref.native], timeout=PATIENCE)
        ended = (await final(element, [ref], PATIENCE))[ref]
        assert (ended.state, ended.reason, ended.signal) == (JobState.FAILED, Reason.NODE, None)


# a worker that dies when the jobs are queued, and before it has sent their files
DYING = (
    "import os, htcondor2; htcondor2.Schedd.spool = lambda *_: os._exit(1); "
    "from intercede.htcondor_ce.worker import main; main()"
)


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements that are opened meanwhile have such a worker."""
    monkeypatch.setattr(htcondor_ce_access, "RemoteSchedd", partial(RemoteSchedd, worker=("-P", "-c", DYING)))


async def queued_without_files(element: Element, description: JobDescription, copies: int, tag: str) -> None:
    with pytest.raises(SubmissionUnknown, match="process that asked has ended"):
        await element.submit(description, copies, tag=tag)


@pytest.mark.usefixtures("dying")
async def test_jobs_whose_files_never_came(
    ce: Stack, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = f"unsent-{asyncio.get_running_loop().time():.6f}"
    description = script('exit "$INTERCEDE_COPY"')
    async with opened(ce, request) as element:
        await queued_without_files(element, description, 2, tag)
        old = (await element.find(tag)).refs
        held = await reached(element, old[0], JobState.HELD)
        assert held.reason is Reason.STAGING
        assert await element.release(old) == dict.fromkeys(old, Outcome.NOT_NEEDED)
        monkeypatch.undo()
        async with opened(ce, request) as other:
            new = (await other.submit(description, 2, tag=tag)).refs
        assert not set(old) & set(new)
        assert (await element.find(tag)).refs == new
        assert [each.exit_code for each in (await final(element, new, PATIENCE)).values()] == [0, 1]
        assert {each.state for each in (await final(element, old)).values()} == {JobState.CANCELLED}


@pytest.mark.usefixtures("dying")
async def test_jobs_whose_files_never_came_are_given_up(ce: Stack, request: pytest.FixtureRequest) -> None:
    tag = f"given-up-{asyncio.get_running_loop().time():.6f}"
    async with opened(ce, request) as element:
        await queued_without_files(element, script(":"), 2, tag)
        (first, second) = (await element.abandon(tag)).errors.values()
        assert isinstance(first, SubmissionUnknown)
        assert "abandoned" in str(second)
        # nothing is begun anew under that tag
        assert len((await element.submit(script(":"), 2, tag=tag)).errors) == 2


async def test_jobs_whose_files_could_not_all_be_sent(ce: Stack, request: pytest.FixtureRequest) -> None:
    tag = f"half-{asyncio.get_running_loop().time():.6f}"
    copies = [Copy(secrets={"s": "x"})] * 2
    async with opened(ce, request) as element:
        ask = element._access.ask  # ty: ignore[missing-attribute]

        async def with_one_missing(asked: Any, *words: Any) -> Any:
            if isinstance(asked, Submit):
                asked = Submit(asked.lines, (asked.items[0], {**asked.items[1], "ic_own": "/nonexistent/own"}))
            return await ask(asked, *words)

        element._access.ask = with_one_missing  # ty: ignore[missing-attribute]
        with pytest.raises(SubmissionUnknown, match="wait for their files") as caught:
            await element.submit(script(":"), copies, tag=tag)
        old = caught.value.refs
        assert len(old) == 2
        element._access.ask = ask  # ty: ignore[missing-attribute]
        # the schedd sees to that by itself
        ended = await final(element, old, PATIENCE)
        assert {(each.state, each.reason) for each in ended.values()} == {(JobState.FAILED, Reason.STAGING)}
        new = (await element.submit(script(":"), copies, tag=tag)).refs
        assert not set(old) & set(new)
        assert {each.state for each in (await final(element, new, PATIENCE)).values()} == {JobState.SUCCEEDED}


async def test_a_thousand_copies_each_with_its_secret(ce: Stack, request: pytest.FixtureRequest) -> None:
    copies = [Copy(secrets={"pin": f"{number:0100}"}, environment={"N": str(number)}) for number in range(1000)]
    async with opened(ce, request, limits={"submit_time": 120}) as element:
        held = script(":", native={"htcondor": ("My.JobStatusOnRelease = 5",)})
        refs = (await element.submit(held, copies)).refs
        assert [ref.native.partition(".")[2] for ref in refs] == [str(number) for number in range(1000)]
        before = element.counters.commands
        assert {each.state for each in (await element.status(refs)).values()} <= {JobState.QUEUED, JobState.HELD}
        assert element.counters.commands == before + 1
        assert set((await element.cancel(refs)).values()) == {Outcome.DONE}


@pytest.mark.timeout(300)
async def test_every_other_one_of_thousands(ce: Stack, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """`a || b || c` of more than 395 terms is true of no job, without a word: nobody was lost, and nobody cancelled."""
    async with opened(ce, request, limits={"submit_time": 200}) as element, opened(ce, request) as fresh:
        refs = (await element.submit(script(":", native=NEVER), 2000)).refs
        some, before = refs[::2], element.counters.commands
        assert {each.state for each in (await element.status(some)).values()} == {JobState.QUEUED}
        assert element.counters.commands == before + 1
        outputs = await element.fetch_output(some, tmp_path)
        assert [type(each) for each in outputs.values()] == [JobOutput] * 1000
        assert element.counters.commands == before + 2
        assert await element.cancel(some) == dict.fromkeys(some, Outcome.DONE)
        assert element.counters.commands == before + 4
        assert {each.state for each in (await element.status(refs[1::2])).values()} == {JobState.QUEUED}
        assert {each.state for each in (await final(element, some, PATIENCE)).values()} == {JobState.CANCELLED}
        # the queue, and the history
        assert {each.state for each in (await fresh.status(some)).values()} == {JobState.CANCELLED}
        assert fresh.counters.commands == 2
        assert set((await fresh.purge(some)).values()) == {Outcome.DONE}
        assert set((await element.cancel(refs)).values()) == {Outcome.DONE, Outcome.NOT_NEEDED}


@pytest.mark.timeout(300)
async def test_one_job_whose_files_cannot_be_sent(ce: Stack, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    async with opened(ce, request) as element:
        refs = tuple(await run(element, script("echo said"), 3))
        lose = (
            f"find /var/spool/condor-ce -path '*cluster{refs[1].native.partition('.')[0]}.*' -name 1.out -delete -print"
        )
        assert (await asyncio.to_thread(ce.exec, ["sh", "-c", lose])).stdout.strip()
        outputs = await element.fetch_output(refs, tmp_path)
        assert [type(each) for each in outputs.values()] == [JobOutput, CommandError, JobOutput]
        assert isinstance((await element.fetch_output([refs[1]], tmp_path))[refs[1]], CommandError)


async def test_an_ended_job_that_the_site_clears_away(ce: Stack, request: pytest.FixtureRequest) -> None:
    async with opened(ce, request) as element, opened(ce, request) as fresh:
        (first, second) = await run(element, script('exit "$INTERCEDE_COPY"'), 2)
        clear = f"CONDOR_CONFIG=/etc/condor-ce/condor_config condor_rm {first.native.partition('.')[0]}"
        await asyncio.to_thread(ce.exec, ["sh", "-c", clear])
        for told in (await fresh.status([first, second]), await final(fresh, [first, second])):
            assert [(each.state, each.exit_code) for each in told.values()] == [
                (JobState.SUCCEEDED, 0),
                (JobState.FAILED, 1),
            ]


async def test_a_daemon_that_never_answers_holds_up_nobody_else(ce: Stack, request: pytest.FixtureRequest) -> None:
    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    silence = asyncio.Event()
    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        where = {"port": server.sockets[0].getsockname()[1]}
        hasty = {"command_time": 5, "submit_time": 5}
        async with opened(ce, request, endpoint=where, limits=hasty) as silent, opened(ce, request) as element:
            pending = [asyncio.ensure_future(silent.capacity()), asyncio.ensure_future(silent.submit(script(":")))]
            for _ in range(5):
                assert await element.capacity()
            assert not any(each.done() for each in pending)
            answers = await asyncio.gather(*pending, return_exceptions=True)
            assert isinstance(answers[0], SchedulerUnavailable)
            assert isinstance(answers[1], SubmissionUnknown | TransportError)
        silence.set()


@pytest.mark.alone
async def test_a_schedd_that_is_restarted_with_jobs_in_it(
    ce: Stack, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with opened(ce, request, limits={"command_time": 20}) as element:
        (ref,) = (await element.submit(script("sleep 5; echo said; exit 4"))).refs
        await reached(element, ref, JobState.RUNNING)
        daemon = ce.daemon("ce_schedd")
        daemon.stop()
        daemon.start()
        # a watch bears with it
        assert (await final(element, [ref], PATIENCE))[ref].exit_code == 4
        output = await fetch_one(element, ref, tmp_path)
        assert output.stdout is not None
        assert output.stdout.read_text() == "said\n"
