"""What needs a terminal: prompts, and Ctrl-C."""

import asyncio
import io
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from pydantic import SecretBytes, SecretStr
from rich.console import Console

from intercede.answers import JobState, JobStatus
from intercede.cli import prompts, screen
from intercede.cli.following import Interrupts, Waiting, end
from intercede.credentials import (
    BearerToken,
    CredentialRequest,
    SSHAnswers,
    SSHPassword,
    SSHPrivateKey,
    X509Proxy,
)
from intercede.errors import CredentialError
from intercede.model import JobRef

ASK = """
import asyncio, os, sys
from intercede.cli.prompts import TerminalCredentials
from intercede.credentials import *
os.close(os.open(os.ttyname(0), os.O_RDWR))  # the leader of a session gets its terminal so
kinds, prompts = (SSHPassword,), ()
if sys.argv[1] == "code":
    kinds, prompts = (SSHAnswers,), (("Code: ", True), ("PIN\\x1b[2J: ", False))
request = CredentialRequest("r", kinds, "alice", "host:22", prompts, "Welcome")
try:
    found = asyncio.run(TerminalCredentials().get(request))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
words = [found.password] if sys.argv[1] == "password" else found.answers
print("GOT", [word.get_secret_value() for word in words])
"""


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *words):
        self.fd, inner = pty.openpty()
        command = [sys.executable, "-c", ASK, *words]
        self.process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
        os.close(inner)
        self.seen = ""

    def until(self, text):
        limit = time.monotonic() + 20
        while text not in self.seen:
            assert select.select([self.fd], [], [], limit - time.monotonic())[0], self.seen
            try:
                self.seen += os.read(self.fd, 4096).decode()
            except OSError:
                break
        assert text in self.seen

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        code = self.process.wait(20)
        os.close(self.fd)
        return code


def test_a_password_is_asked_for_and_not_shown():
    terminal = Terminal("password")
    terminal.until("Password of alice@host: ")
    terminal.type("s3cret\n")
    terminal.until("GOT ['s3cret']")
    assert terminal.seen.count("s3cret") == 1
    assert terminal.end() == 0


def test_a_challenge_shows_what_may_be_shown():
    terminal = Terminal("code")
    terminal.until("Welcome")
    terminal.until("Code: ")
    terminal.type("123\n")
    terminal.until(r"PIN\x1b[2J: ")
    terminal.type("456\n")
    terminal.until("GOT ['123', '456']")
    assert terminal.seen.count("123") == 2
    assert terminal.seen.count("456") == 1
    assert terminal.end() == 0


def test_a_prompt_can_be_interrupted():
    terminal = Terminal("password")
    terminal.until("Password of alice@host: ")
    terminal.type("\x03")
    terminal.until("Interrupted: Password of alice@host: interrupted")
    assert terminal.end() != 0


REQUEST = CredentialRequest("r", (SSHPassword,), "alice", "host:22")


async def test_nobody_is_asked_without_a_terminal(monkeypatch):
    monkeypatch.setattr(prompts, "_is_there", lambda: False)
    provider = prompts.TerminalCredentials()
    assert await provider.get(REQUEST) is None
    assert await provider.get(CredentialRequest("r", (SSHAnswers,), prompts=(("Code: ", True),))) is None
    assert await provider.get(CredentialRequest("r", (SSHPrivateKey,))) is None


async def test_a_password_file_is_used_instead(tmp_path):
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    found = await prompts.TerminalCredentials(files={"password": str(path)}).get(REQUEST)
    assert found == SSHPassword(password=SecretStr("s3cret"))
    path.chmod(0o644)
    with pytest.raises(CredentialError, match="chmod"):
        await prompts.TerminalCredentials(files={"password": str(path)}).get(REQUEST)


async def test_a_token_or_a_proxy_comes_from_its_file(tmp_path):
    for name in ("token", "proxy"):
        (tmp_path / name).write_text(f"{name}\n")
        (tmp_path / name).chmod(0o600)
    files = {name: str(tmp_path / name) for name in ("token", "proxy")}
    provider = prompts.TerminalCredentials(files=files)
    assert await provider.get(CredentialRequest("r", (BearerToken,))) == BearerToken(token=SecretStr("token"))
    both = CredentialRequest("r", (X509Proxy, BearerToken))
    assert await provider.get(both) == X509Proxy(pem=SecretBytes(b"proxy\n"))


async def test_the_passphrase_of_an_identity_is_asked_for_once(tmp_path, monkeypatch):
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    plain, locked = tmp_path / "plain", tmp_path / "locked"
    key.write_private_key(plain)
    locked.write_bytes(key.export_private_key("pkcs8-pem", "pass"))
    asked = []

    async def ask(prompt, **_):
        asked.append(prompt)
        return "pass"

    monkeypatch.setattr(prompts, "ask", ask)
    monkeypatch.setattr(prompts, "_is_there", lambda: True)
    request = CredentialRequest("r", (SSHPrivateKey,))
    assert await prompts.TerminalCredentials(identity=str(plain)).get(request) is None
    provider = prompts.TerminalCredentials(identity=str(locked))
    for _ in range(2):
        found = await provider.get(request)
        assert isinstance(found, SSHPrivateKey)
        assert found.passphrase == SecretStr("pass")
    assert asked == [f"Passphrase of {locked}: "]
    monkeypatch.setattr(prompts, "_is_there", lambda: False)
    with pytest.raises(CredentialError, match="passphrase"):
        await prompts.TerminalCredentials(identity=str(locked)).get(request)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_is_told_and_does_not_end_the_task(number):
    before = signal.getsignal(number)
    task = asyncio.create_task(asyncio.sleep(60))
    with Interrupts() as interrupts:
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), number)
        assert not await interrupts.until(task)
        assert not task.done()
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), number)
        assert not await interrupts.until(task)
        await end(task)
        assert task.cancelled()
        assert await interrupts.until(asyncio.create_task(asyncio.sleep(0)))
    assert signal.getsignal(number) is before


def test_what_a_job_says_is_no_markup(monkeypatch):
    shown = Console(file=io.StringIO(), force_terminal=True, width=200)
    monkeypatch.setattr(screen, "is_terminal", lambda **_: True)
    monkeypatch.setattr(screen, "console", lambda **_: shown)
    ref = JobRef(resource="local", submission="t", copy_index=0, native="7")
    evil = "[/nothing] [link=http://example.org]free[/link]"
    with Waiting(ref) as waiting:
        for _ in range(2):
            waiting.show(JobStatus(ref, JobState.QUEUED, detail=evil))
    assert isinstance(shown.file, io.StringIO)
    assert evil in shown.file.getvalue()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_may_be_closed_or_know_few_letters(closed):
    said = r"from intercede.cli import main, screen; main.app = lambda **_: screen.line('caf\xe9'); main.main()"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    words = ["sh", "-c", f'"$@" {closed}', "-", sys.executable, "-c", said]
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (b"" if closed == ">&-" else b"caf\\xe9\n")


def test_help_is_fast_because_nothing_heavy_is_imported():
    heavy = ("asyncio", "asyncssh", "intercede.model", "intercede.config", "sqlite3", "rich.progress", "rich.table")
    code = f"import sys, intercede.cli.main; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
