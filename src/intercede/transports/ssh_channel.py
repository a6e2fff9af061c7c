"""One remote execution: a channel of a connection, from its opening to its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import asyncssh

from intercede.errors import ConnectFailed, ConnectionLost, IntercedeError
from intercede.steps import Completed
from intercede.transports.flow import shown

if TYPE_CHECKING:
    from intercede.transports.flow import Flow
    from intercede.transports.ssh_shell import Mark

__all__ = ["Channel", "Gone", "Refused", "open_channel"]

TIMED_OUT = 124  # as timeout(1) has it
KILLED = 137
LONGEST_BANNER = 256 * 1024
WINDOW = 4 * 1024 * 1024
PACKET = 256 * 1024


class Refused(ConnectFailed):
    """The server opens no (further) channel; nothing ran."""


class Gone(ConnectFailed):
    """The connection was lost before anything was sent on it; nothing ran."""


class Channel(asyncssh.SSHClientSession[bytes]):
    """The session on a channel; also the pipe of its flow.

    Args:
        flow: Where its bytes go.
        mark: The marks that its script prints.
        where: The server, for messages.
    """

    def __init__(self, flow: Flow, mark: Mark, where: str) -> None:
        self.flow = flow
        self.sent = False
        self.lost = False
        self.timed_out = False
        self.began: float | None = None
        self._mark = mark
        self._where = where
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._banner = bytearray()
        self._status: int | None = None
        self._eof = False
        self._closed = asyncio.Event()
        flow.pipe = self

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open, and the line is about to be sent."""
        # AsyncSSH sends the exec request right after this call: from here on, the command may have run.
        self.sent = True
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Sort bytes into stdout, stderr, and what came before the command."""
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self.flow.feed_stderr(data)
        elif self.began is not None:
            self.flow.feed_stdout(data)
        else:
            self._await_start(data)
        if self.flow.failure is not None:
            self.abort()

    def _await_start(self, data: bytes) -> None:
        """Discard what the account's profile prints, up to the mark."""
        self._banner += data
        before, found, after = bytes(self._banner).partition(self._mark.start)
        if found:
            self.began = time.monotonic()
            self._banner.clear()
            if after:
                self.flow.feed_stdout(after)
        elif len(before) > LONGEST_BANNER:
            self.flow.fail(self._no_shell(f"more than {LONGEST_BANNER} bytes before the command began"))

    def eof_received(self) -> bool:
        """Both streams have ended; stdin may still be open."""
        self._eof = True
        return True

    def exit_status_received(self, status: int) -> None:
        """Remember the exit status."""
        self._status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Remember the signal as a shell would tell it."""
        number = self._channel.get_returncode() if self._channel is not None else None
        self._status = 128 - number if number is not None and number < 0 else 255

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, in order or not."""
        self.lost = True
        complete = self._status is not None and (exc is None or self._eof)
        if not complete and not self.timed_out:
            reason = str(exc) if exc else "the channel was closed without an exit status"
            self.flow.fail(ConnectionLost(f"{shown(self.flow.command)} on {self._where}", reason, "It may have run."))
        elif self.began is None and not self.timed_out:
            self.flow.fail(self._no_shell(f"exit status {self._status}"))
        self._closed.set()
        self.flow.end()

    def _no_shell(self, what: str) -> ConnectFailed:
        text = bytes(self._banner + self.flow.errors).decode("utf-8", "replace").strip()[-500:]
        answer = f"the login shell did not start our command: {what}" + (f"; it said {text!r}" if text else "")
        advice = f"Try `ssh {self._where.partition(':')[0]} true`: the account needs a login shell, and a POSIX `sh`."
        return ConnectFailed(f"a command on {self._where}", answer, advice)

    def pause_writing(self) -> None:
        """The window is full: stdin waits."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """The window is open again."""
        self.flow.resume_writing()

    def write(self, data: bytes) -> None:
        """Send bytes to stdin."""
        if self._channel is None:
            raise BrokenPipeError
        self._channel.write(data)

    def write_eof(self) -> None:
        """End stdin."""
        if self._channel is not None:
            self._channel.write_eof()

    def pause_reading(self) -> None:
        """Let the window fill."""
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Let stdout come again."""
        if self._channel is not None:
            self._channel.resume_reading()

    def expire(self) -> None:
        """The watchdog on the other side should have ended it long ago: give up."""
        if not self.lost:
            self.timed_out = True
            if self.began is None:
                self.flow.fail(
                    ConnectionLost(f"a command on {self._where}", "it did not begin in time", "It may still run.")
                )
            self.abort()

    def abort(self) -> None:
        """Send TERM, then close the channel at once.

        OpenSSH's server honours the signal since 7.9, others may not: then the watchdog ends the command in time.
        """
        if self._channel is not None and not self.lost:
            with contextlib.suppress(OSError):
                self._channel.terminate()
            self._channel.abort()
        self.flow.end()

    def completed(self, stdout: bytes, limit: float) -> Completed:
        """What a single command gave.

        Args:
            stdout: What was read of it.
            limit: Its time limit on the other side, in seconds.
        """
        errors, told = self.errors(bytes(self.flow.errors))
        status = self._status
        # what came late may have begun late here: a little is let pass
        late = self.began is not None and time.monotonic() - self.began >= limit - min(1, limit / 10)
        timed_out = self.timed_out or told or (status in {KILLED, TIMED_OUT} and late)
        return Completed(TIMED_OUT if status is None or told else status, stdout, errors, timed_out)

    def errors(self, text: bytes) -> tuple[bytes, bool]:
        """Stderr without banner and marks, and whether the watchdog said there that it ended the command."""
        _, found, after = text.partition(self._mark.start)
        text = after if found else text
        plain = text
        for mark in (self._mark.timed_out, self._mark.has_timeout, self._mark.is_plain):
            plain = plain.replace(mark, b"")
        return plain, self._mark.timed_out in text

    @property
    def has_timeout(self) -> bool:
        """Whether the host was found to have a timeout(1) that ends process groups."""
        return self._mark.has_timeout in self.flow.errors

    @property
    def is_plain(self) -> bool:
        """Whether the account's login shell was found to be a POSIX shell."""
        return self._mark.is_plain in self.flow.errors


async def open_channel(connection: asyncssh.SSHClientConnection, line: str, channel: Channel) -> None:
    """Open a channel and have the line executed.

    Cancelling it closes a channel that the server opens afterwards; otherwise it would count against the server's
    limit for as long as the connection lives.

    Raises:
        Refused: The server opens no (further) channel; nothing ran.
        Gone: The connection was lost before the line was sent.
        ConnectFailed: The server does not execute commands.
        ConnectionLost: It broke afterwards.
    """
    opening = asyncio.create_task(
        connection.create_session(
            lambda: channel, line, encoding=None, window=WINDOW, max_pktsize=PACKET, request_pty=False
        )
    )
    try:
        await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda done: _abandoned(done, channel))
        channel.abort()
        raise
    except (asyncssh.Error, OSError) as error:
        raise _explain(error, connection, channel) from error


def _abandoned(opening: asyncio.Task[object], channel: Channel) -> None:
    if not opening.cancelled():
        opening.exception()
    channel.abort()


def _explain(error: Exception, connection: asyncssh.SSHClientConnection, channel: Channel) -> IntercedeError:
    where = f"a command on {connection.get_extra_info('username')}@{connection.get_extra_info('host')}"
    reason = getattr(error, "reason", "") or str(error)
    if channel.sent and (channel.lost or not isinstance(error, asyncssh.ChannelOpenError)):
        return ConnectionLost(where, f"the connection broke: {reason}", "It may have run.")
    if channel.sent:
        return ConnectFailed(where, f"the server does not execute commands: {reason}", "Does the account allow them?")
    if isinstance(error, asyncssh.ChannelOpenError) and reason != "SSH connection closed":
        return Refused(where, f"the server opens no further channel: {reason}", "See MaxSessions in its sshd_config.")
    return Gone(where, f"the connection is gone: {reason}")
