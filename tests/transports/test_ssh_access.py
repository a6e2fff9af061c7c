"""Host keys, ways to authenticate, jump hosts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest
from pydantic import SecretBytes, SecretStr

from intercede.credentials import (
    CredentialRequest,
    FileCredentials,
    SSHAnswers,
    SSHPassword,
    SSHPrivateKey,
    StaticCredentials,
    from_function,
)
from intercede.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectFailed,
    CredentialError,
    HostKeyRejected,
)
from intercede.settings import Hop
from intercede.steps import Command
from tests.transports.conftest import way_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercede.testing.ssh_server import SSHServer
    from tests.transports.conftest import MakeTransport, StartServer

HELLO = Command(("echo", "hello"))
SECRET = "correct horse"


def password(text: str = SECRET) -> StaticCredentials:
    return StaticCredentials(SSHPassword(password=SecretStr(text)))


def other_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


def locked(server: SSHServer, passphrase: str = SECRET) -> Path:
    path = server.directory / "locked"
    asyncssh.read_private_key(str(server.client_key)).write_private_key(str(path), passphrase=passphrase)
    path.chmod(0o600)
    return path


@pytest.fixture
def agent(short_path: Path) -> Iterator[Path]:
    path = short_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        while not path.exists():
            assert process.poll() is None
        yield path
        process.send_signal(signal.SIGTERM)


def ssh_add(agent: Path, key: Path) -> None:
    key.chmod(0o600)
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment, timeout=10)


async def test_an_unknown_host_is_refused(start: StartServer, connect: MakeTransport, tmp_path: Path) -> None:
    server = await start()
    with pytest.raises(HostKeyRejected) as caught:
        await connect(server, known_hosts=tmp_path / "none").run([HELLO])
    text = str(caught.value)
    fingerprint = asyncssh.import_public_key(server.host_key).get_fingerprint()
    assert fingerprint in text
    assert str(tmp_path / "none") in text
    assert "unknown" in text
    assert str(server.port) in text


async def test_a_changed_host_key_is_refused(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    server.known_hosts.write_text(f"[{server.host}]:{server.port} {other_key()}\n")
    with pytest.raises(HostKeyRejected, match="CHANGED"):
        await connect(server).run([HELLO])
    assert server.connections == 0


async def test_a_host_key_of_another_type_is_refused(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode().strip()
    server.known_hosts.write_text(f"[{server.host}]:{server.port} {key}\n")
    with pytest.raises(HostKeyRejected):
        await connect(server).run([HELLO])


async def test_a_pinned_key_is_enough_and_alone_counts(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    await connect(server, host_keys=(server.host_key,), known_hosts=Path("/nonexistent")).run([HELLO])
    with pytest.raises(HostKeyRejected, match="host_keys of the configuration"):
        await connect(server, host_keys=(other_key(),)).run([HELLO])
    with pytest.raises(ConfigurationError, match="no public key"):
        await connect(server, host_keys=("ssh-ed25519 rubbish",)).run([HELLO])


async def test_a_configuration_cannot_turn_checking_off(
    start: StartServer, connect: MakeTransport, tmp_path: Path
) -> None:
    server = await start()
    config = tmp_path / "config"
    config.write_text("StrictHostKeyChecking no\nUserKnownHostsFile none\nGlobalKnownHostsFile none\n")
    with pytest.raises(HostKeyRejected, match="no file at all"):
        await connect(server, config_file=config, known_hosts=None).run([HELLO])


async def test_a_bad_line_in_known_hosts_does_not_spoil_the_others(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    server.known_hosts.write_text("rubbish\n@marker x y z\n" + server.known_hosts.read_text())
    await connect(server).run([HELLO])


async def test_a_revoked_key_is_refused(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    server.known_hosts.write_text(server.known_hosts.read_text() + f"@revoked * {server.host_key}\n")
    with pytest.raises(HostKeyRejected, match="revoked"):
        await connect(server).run([HELLO])


async def test_everything_from_the_openssh_configuration(
    start: StartServer, connect: MakeTransport, tmp_path: Path
) -> None:
    server = await start()
    config = tmp_path / "config"
    config.write_text(
        f"Host cluster\n HostName {server.host}\n Port {server.port}\n User {server.user}\n"
        f" IdentityFile {server.client_key}\n UserKnownHostsFile {server.known_hosts}\n"
        " SendEnv *\n SetEnv A=b\n RequestTTY force\n RemoteCommand false\n ForwardAgent yes\n"
    )
    settings: dict[str, Any] = {"port": None, "user": None, "identity_files": (), "known_hosts": None}
    transport = connect(server, host="cluster", config_file=config, **settings)
    assert (await transport.run([HELLO]))[0].stdout == b"hello\n"


async def test_a_proxy_command(start: StartServer, connect: MakeTransport, tmp_path: Path) -> None:
    server = await start()
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import socket, sys, threading, os\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536): s.sendall(data)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := s.recv(65536): os.write(1, data)\n"
    )
    config = tmp_path / "config"
    config.write_text(f"ProxyCommand python3 {relay} %h %p\n")
    transport = connect(server, config_file=config)
    assert (await transport.run([HELLO]))[0].stdout == b"hello\n"
    await transport.aclose()


async def test_a_password(start: StartServer, connect: MakeTransport) -> None:
    server = await start(password=SECRET, public_key=False)
    assert (await connect(server, credentials=password()).run([HELLO]))[0].stdout == b"hello\n"
    with pytest.raises(AuthenticationFailed) as caught:
        await connect(server, credentials=password("wrong horse")).run([HELLO])
    text = str(caught.value)
    assert "alice" in text
    assert "tried password" in text
    assert "accepts password" in text
    assert "horse" not in text


async def test_nothing_to_authenticate_with(start: StartServer, connect: MakeTransport) -> None:
    server = await start(password=SECRET)
    with pytest.raises(AuthenticationFailed, match="tried nothing"):
        await connect(server, identity_files=()).run([HELLO])
    with pytest.raises(AuthenticationFailed, match=r"mallory@.*tried publickey.*accepts publickey, password"):
        await connect(server, user="mallory", credentials=None).run([HELLO])


async def test_the_provider_is_asked_only_when_needed(start: StartServer, connect: MakeTransport) -> None:
    async def never(request: CredentialRequest) -> None:
        raise AssertionError(request)

    await connect(await start(), credentials=from_function(never)).run([HELLO])


async def test_an_error_of_the_provider_reaches_the_caller(start: StartServer, connect: MakeTransport) -> None:
    async def fails(request: CredentialRequest) -> None:
        raise CredentialError("the vault", "sealed")

    with pytest.raises(CredentialError, match="sealed"):
        await connect(await start(), identity_files=(), credentials=from_function(fails)).run([HELLO])


@pytest.mark.parametrize("passphrase", [None, SECRET])
async def test_a_key_of_the_provider(start: StartServer, connect: MakeTransport, passphrase: str | None) -> None:
    server = await start()
    path = locked(server) if passphrase else server.client_key
    secret = SecretStr(passphrase) if passphrase else None
    key = SSHPrivateKey(key=SecretBytes(path.read_bytes()), passphrase=secret)
    await connect(server, identity_files=(), credentials=StaticCredentials(key)).run([HELLO])
    bad = SSHPrivateKey(key=SecretBytes(path.read_bytes()[:50]), passphrase=secret)
    with pytest.raises(CredentialError) as caught:
        await connect(server, identity_files=(), credentials=StaticCredentials(bad)).run([HELLO])
    assert SECRET not in str(caught.value)


async def test_an_identity_that_is_locked(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    with pytest.raises(AuthenticationFailed, match=r"locked: it is protected by a passphrase.*ssh-add"):
        await connect(server, identity_files=(locked(server),)).run([HELLO])


async def test_an_identity_that_is_not_there(start: StartServer, connect: MakeTransport) -> None:
    server = await start()
    with pytest.raises(CredentialError, match="identity_files"):
        await connect(server, identity_files=(server.directory / "gone",)).run([HELLO])


async def test_an_agent(start: StartServer, connect: MakeTransport, agent: Path, tmp_path: Path) -> None:
    server = await start()
    with pytest.raises(AuthenticationFailed):
        await connect(server, identity_files=(), agent=True, agent_path=agent).run([HELLO])
    for name in ("one", "two"):
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / name))
        ssh_add(agent, tmp_path / name)
    ssh_add(agent, server.client_key)
    await connect(server, identity_files=(), agent=True, agent_path=agent, keepalive=14).run([HELLO])
    assert server.connections == 1


async def test_a_locked_identity_that_the_agent_holds(start: StartServer, connect: MakeTransport, agent: Path) -> None:
    server = await start()
    ssh_add(agent, server.client_key)
    await connect(server, identity_files=(locked(server),), agent=True, agent_path=agent).run([HELLO])


async def test_an_agent_that_is_not_there(start: StartServer, connect: MakeTransport, tmp_path: Path) -> None:
    server = await start()
    await connect(server, agent=True, agent_path=tmp_path / "gone").run([HELLO])
    with pytest.raises(AuthenticationFailed, match="does not answer"):
        await connect(server, identity_files=(), agent=True, agent_path=tmp_path / "gone").run([HELLO])


async def test_a_one_time_code_is_asked_once_for_many_commands(start: StartServer, connect: MakeTransport) -> None:
    server = await start(code="123456", public_key=False)
    asked: list[CredentialRequest] = []

    async def types(request: CredentialRequest) -> SSHAnswers | None:
        if SSHAnswers not in request.kinds:
            return None
        asked.append(request)
        await asyncio.sleep(2.5)  # longer than connect_timeout: a person types
        return SSHAnswers(answers=(SecretStr("123456"),))

    provider = from_function(types)
    transports = [connect(server, credentials=provider, connect_timeout=2) for _ in range(3)]
    await asyncio.gather(*(each.run([HELLO]) for each in transports for _ in range(4)))
    assert server.challenges == server.connections == len(asked) == 1
    assert asked[0].prompts == (("One-time code: ", False),)
    assert asked[0].instruction == "Second factor"
    assert (asked[0].user, asked[0].host) == ("alice", f"{server.host}:{server.port}")


async def test_a_wrong_code_is_sent_once(start: StartServer, connect: MakeTransport) -> None:
    server = await start(code="123456", public_key=False)
    answers = StaticCredentials(SSHAnswers(answers=(SecretStr("000000"),)))
    with pytest.raises(AuthenticationFailed) as caught:
        await connect(server, credentials=answers).run([HELLO])
    assert server.challenges == 1
    assert "One-time code" in str(caught.value)
    assert "000000" not in str(caught.value)
    few = StaticCredentials(SSHAnswers(answers=()))
    with pytest.raises(AuthenticationFailed, match="there were 0 answers"):
        await connect(server, credentials=few).run([HELLO])


def hop(server: SSHServer, **changes: Any) -> Hop:
    names = ("host", "port", "user", "identity_files", "known_hosts")
    way = way_to(server)
    return Hop(**({name: way[name] for name in names} | changes))


async def test_two_jump_hosts_with_identities_of_their_own(start: StartServer, connect: MakeTransport) -> None:
    outer, inner, last = [await start(name, forwards=True) for name in ("outer", "inner", "last")]
    jump = (hop(outer), hop(inner))
    first, second = connect(last, jump=jump), connect(last, jump=jump, user="alice")
    answers = await asyncio.gather(*(each.run([HELLO]) for each in (first, second) for _ in range(5)))
    assert {answer.stdout for (answer,) in answers} == {b"hello\n"}
    assert [each.connections for each in (outer, inner, last)] == [1, 1, 1]
    assert outer.forwarded == [(inner.host, inner.port)]
    assert inner.forwarded == [(last.host, last.port)]
    behind = connect(inner, jump=(hop(outer),))
    await behind.run([HELLO])
    assert [each.connections for each in (outer, inner)] == [1, 1]
    last.drop()
    await first.run([HELLO])
    outer.drop()
    await asyncio.gather(first.run([HELLO]), behind.run([HELLO]))
    assert [each.connections for each in (outer, inner, last)] == [2, 2, 3]


async def test_jump_hosts_are_checked_and_named(start: StartServer, connect: MakeTransport) -> None:
    outer, last = await start("outer", forwards=True), await start("last")
    with pytest.raises(HostKeyRejected, match=str(outer.port)):
        await connect(last, jump=(hop(outer, host_keys=(other_key(),)),)).run([HELLO])
    with pytest.raises(AuthenticationFailed, match=str(outer.port)):
        await connect(last, jump=(hop(outer, identity_files=(last.client_key,)),)).run([HELLO])
    with pytest.raises(ConnectFailed, match="jump host could not reach"):
        await connect(last, jump=(hop(last),)).run([HELLO])


async def test_a_password_in_a_file_is_told_to_the_submit_host_only(
    start: StartServer, connect: MakeTransport, tmp_path: Path
) -> None:
    path = tmp_path / "password"
    path.write_text(SECRET)
    path.chmod(0o600)
    outer = await start("outer", forwards=True, public_key=False, password=SECRET)
    last = await start("last", public_key=False, password=SECRET)
    credentials = FileCredentials(password=path)
    with pytest.raises(AuthenticationFailed, match=str(outer.port)) as caught:
        await connect(last, jump=(hop(outer),), credentials=credentials).run([HELLO])
    assert "tried password" not in str(caught.value)
    outer.public_key = True
    assert (await connect(last, jump=(hop(outer),), credentials=credentials).run([HELLO]))[0].stdout == b"hello\n"


async def test_the_jump_hosts_own_key_does_not_do_for_what_is_behind(
    start: StartServer, connect: MakeTransport, tmp_path: Path
) -> None:
    outer, last = await start("outer", forwards=True), await start("last")
    known = tmp_path / "known"
    known.write_text(f"127.0.0.1 {last.host_key}\n")  # the jump host's address, as the socket has it
    with pytest.raises(HostKeyRejected):
        await connect(last, host="localhost", jump=(hop(outer),), known_hosts=known).run([HELLO])


async def test_a_jump_host_of_the_openssh_configuration(
    start: StartServer, connect: MakeTransport, tmp_path: Path
) -> None:
    outer, last = await start("outer", forwards=True), await start("last")
    config = tmp_path / "config"
    known = tmp_path / "known"
    config.write_text(
        f"Host {last.host}\n ProxyJump gate\n"
        f"Host gate\n HostName localhost\n Port {outer.port}\n User alice\n IdentityFile {outer.client_key}\n"
        f" UserKnownHostsFile {known}\n"
    )
    known.write_text(f"[localhost]:{outer.port} {outer.host_key}\n")
    assert (await connect(last, config_file=config).run([HELLO]))[0].stdout == b"hello\n"
    assert outer.forwarded == [(last.host, last.port)]
