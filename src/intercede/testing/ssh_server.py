"""An SSH server inside the test's own process, whose commands really run, in a home directory of its own.

It does what OpenSSH's server does where that matters to a client: the command goes to a login shell as `SHELL -c LINE`,
a session counts until its process has ended, a signal goes to the process group, and a closed channel does not end the
process. And it fails on demand, at a given point.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import asyncssh

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

__all__ = ["Faults", "SSHServer", "ssh_server"]

USER = "alice"


@dataclass(slots=True)
class Faults:
    """When to drop the connection. Executions are counted from 1, over all connections.

    Attributes:
        before: On the request of that execution, before it runs.
        after: After that execution has begun.
        output: After that many bytes of the stdout of that execution: (execution, bytes).
        refuse: Refuse that execution, and keep the connection.
    """

    before: int = 0
    after: int = 0
    output: tuple[int, int] = (0, 0)
    refuse: int = 0


@dataclass(eq=False)
class SSHServer:
    """A running server, what it demands, and what it has seen.

    Attributes:
        directory: Where its files are: `home`, keys, `known_hosts`.
        login: The words of the login shell before the command line, such as `("bash", "-c")`.
        password: What opens it, or None for no password authentication.
        code: A one-time code that opens it through keyboard-interactive authentication, or None.
        public_key: Whether the key of `client_key` opens it.
        max_sessions: Sessions at once on a connection, as sshd_config's MaxSessions.
        forwards: Whether it may be a jump host.
        profile: What the account's profile prints on stdout and stderr before the command.
        deaf: Whether it ignores signals, as OpenSSH before 7.9 does.
        faults: When to fail.
        connections: Connections that were let in.
        executions: Commands that were asked for.
        challenges: Times that the one-time code was asked for.
        forwarded: Connections that it forwarded, as (host, port).
    """

    directory: Path
    login: Sequence[str] = ("bash", "-c")
    password: str | None = None
    code: str | None = None
    public_key: bool = True
    max_sessions: int = 10
    forwards: bool = False
    profile: tuple[bytes, bytes] = (b"", b"")
    deaf: bool = False
    faults: Faults = field(default_factory=Faults)
    host: str = "127.0.0.1"
    port: int = 0
    user: str = USER
    connections: int = 0
    executions: int = 0
    challenges: int = 0
    most_sessions: int = 0
    forwarded: list[tuple[str, int]] = field(default_factory=list)
    live: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    processes: set[_Execution] = field(default_factory=set)

    @property
    def home(self) -> Path:
        """The home directory of the account."""
        return self.directory / "home"

    @property
    def client_key(self) -> Path:
        """The private key that opens the account; its public half is beside it (`.pub`)."""
        return self.directory / "client_key"

    @property
    def known_hosts(self) -> Path:
        """A file that knows this server's key."""
        return self.directory / "known_hosts"

    @property
    def host_key(self) -> str:
        """The server's public key, as one pins it."""
        return (self.directory / "host_key.pub").read_text().strip()

    def drop(self) -> None:
        """Cut all connections."""
        for connection in list(self.live):
            connection.abort()


@contextlib.asynccontextmanager
async def ssh_server(directory: Path, **options: Any) -> AsyncGenerator[SSHServer, None]:
    """Run a server on a free port of the loopback interface.

    Args:
        directory: An empty directory for its files.
        options: As the attributes of `SSHServer`.
    """
    server = SSHServer(directory, **options)
    server.home.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "client_key"):
        if not (directory / name).exists():
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(str(directory / name))
            key.write_public_key(str(directory / f"{name}.pub"))
            (directory / name).chmod(0o600)
    listener = await asyncssh.listen(
        server.host,
        server.port,
        server_factory=lambda: _Server(server),
        server_host_keys=[str(directory / "host_key")],
        encoding=None,
        config=None,
        line_editor=False,
        window=16 * 1024 * 1024,
    )
    server.port = listener.get_port()
    server.known_hosts.write_text(f"[{server.host}]:{server.port} {server.host_key}\n")
    try:
        yield server
    finally:
        listener.close()
        server.drop()
        await listener.wait_closed()
        for execution in list(server.processes):
            await execution.end()


class _Server(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, server: SSHServer) -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self.sessions = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server.live.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._server.live.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        if self._server.public_key and username == self._server.user and self._connection is not None:
            self._connection.set_authorized_keys(str(self._server.directory / "client_key.pub"))
        return True

    def auth_completed(self) -> None:
        self._server.connections += 1

    def public_key_auth_supported(self) -> bool:
        return self._server.public_key

    def password_auth_supported(self) -> bool:
        return self._server.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        return username == self._server.user and password == self._server.password

    def kbdint_auth_supported(self) -> bool:
        return self._server.code is not None

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        self._server.challenges += 1
        return ("", "Second factor", "en", [("One-time code: ", False)])

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return list(responses) == [self._server.code]

    def session_requested(self) -> _Session:
        if self.sessions >= self._server.max_sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        self.sessions += 1
        self._server.most_sessions = max(self._server.most_sessions, self.sessions)
        return _Session(self._server, self)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        if self._server.forwards:
            self._server.forwarded.append((dest_host, dest_port))
        return self._server.forwards

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()


class _Session(asyncssh.SSHServerSession[bytes]):
    """One session: what the client sees of an execution."""

    def __init__(self, server: SSHServer, connection: _Server) -> None:
        self.server = server
        self.connection = connection
        self.channel: asyncssh.SSHServerChannel[bytes] | None = None
        self.number = 0
        self._execution: _Execution | None = None
        self._line = ""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self.channel = chan

    def exec_requested(self, command: str) -> bool:
        self.server.executions += 1
        self.number = self.server.executions
        self._line = command
        if self.number == self.server.faults.before:
            self.connection.abort()
        return self.number not in {self.server.faults.before, self.server.faults.refuse}

    def session_started(self) -> None:
        self._execution = _Execution(self)
        self._execution.task = asyncio.create_task(self._execution.start(self._line))

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._execution is not None:
            self._execution.write(data)

    def eof_received(self) -> bool:
        if self._execution is not None:
            self._execution.write(None)
        return True

    def signal_received(self, signal: str) -> None:
        if self._execution is not None and not self.server.deaf:
            self._execution.signal(f"SIG{signal}")

    def pause_writing(self) -> None:
        if self._execution is not None:
            self._execution.pause(paused=True)

    def resume_writing(self) -> None:
        if self._execution is not None:
            self._execution.pause(paused=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.channel = None
        if self._execution is None:
            self.connection.sessions -= 1
        else:
            self._execution.hang_up()


class _Execution(asyncio.SubprocessProtocol):
    """One process, which may outlive its session."""

    def __init__(self, session: _Session) -> None:
        self.task: asyncio.Task[None] | None = None
        self._session = session
        self._server = session.server
        self._transport: asyncio.SubprocessTransport | None = None
        self._ready = False
        self._early: list[bytes | None] = []  # stdin that came before the process was there; None for its end
        self._early_signals: list[str] = []
        self._sent = 0
        self._over = asyncio.Event()

    async def start(self, line: str) -> None:
        channel = self._session.channel
        if channel is not None and not channel.is_closing() and any(self._server.profile):
            channel.write(self._server.profile[0])
            channel.write_stderr(self._server.profile[1])
        home, shell = str(self._server.home), self._server.login
        environment = {"HOME": home, "USER": USER, "LOGNAME": USER, "PATH": os.environ["PATH"], "SHELL": shell[0]}
        self._server.processes.add(self)
        await asyncio.get_running_loop().subprocess_exec(
            lambda: self, *shell, line, cwd=home, env=environment, start_new_session=True
        )
        self._ready = True
        for data in self._early:
            self.write(data)
        if self._session.number == self._server.faults.after:
            self._session.connection.abort()
        if self._session.channel is None:
            self.hang_up()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        for name in self._early_signals:
            self.signal(name)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        channel, (number, most) = self._session.channel, self._server.faults.output
        if channel is None or channel.is_closing():
            return
        if fd == 2:
            channel.write_stderr(data)
            return
        if number == self._session.number and self._sent + len(data) >= most:
            channel.write(data[: most - self._sent])
            asyncio.get_running_loop().call_later(0.05, self._session.connection.abort)
            self._server.faults.output = (0, 0)
            self.pause(paused=True)
            return
        self._sent += len(data)
        channel.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over.set()
        self._server.processes.discard(self)
        self._session.connection.sessions -= 1
        channel, code = self._session.channel, self._transport.get_returncode() if self._transport else None
        if channel is not None and code is not None:
            if code < 0:
                channel.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
            else:
                channel.exit(code)
        if self._transport is not None:
            self._transport.close()

    def write(self, data: bytes | None) -> None:
        if self._transport is None or not self._ready:
            self._early.append(data)
            return
        stdin = cast("asyncio.WriteTransport | None", self._transport.get_pipe_transport(0))
        if stdin is None or stdin.is_closing():
            return
        if data is None:
            stdin.close()
        else:
            stdin.write(data)

    def pause_writing(self) -> None:
        if self._session.channel is not None:
            self._session.channel.pause_reading()

    def resume_writing(self) -> None:
        # Not at once: were stdin closed within this call, asyncio (seen in 3.11) would drop what is still buffered.
        if self._session.channel is not None:
            asyncio.get_running_loop().call_soon(self._session.channel.resume_reading)

    def pause(self, *, paused: bool) -> None:
        stdout = cast("asyncio.ReadTransport | None", self._transport and self._transport.get_pipe_transport(1))
        if stdout is not None and not stdout.is_closing():
            (stdout.pause_reading if paused else stdout.resume_reading)()

    def signal(self, name: str) -> None:
        if self._transport is None:  # asyncio tells of a process a while after it runs; sshd(8) knows it at once
            self._early_signals.append(name)
        elif not self._over.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), signal.Signals[name])

    def hang_up(self) -> None:
        """The client is gone: the process finds its pipes closed, and goes on as it likes."""
        for fd in range(3):
            pipe = self._transport.get_pipe_transport(fd) if self._transport is not None else None
            if pipe is not None:
                pipe.close()

    async def end(self) -> None:
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)
        self.signal("SIGKILL")
        self.hang_up()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), 5)
        if self._transport is not None:
            self._transport.close()
