"""Secrets from the person at the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretBytes, SecretStr

from intercede.cli.screen import printable
from intercede.credentials import FileCredentials, SSHAnswers, SSHPassword, SSHPrivateKey
from intercede.errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intercede.credentials import Credential, CredentialRequest

__all__ = ["Interrupted", "TerminalCredentials", "ask"]

_CTRL_C = b"\x03"


class TerminalCredentials:
    """Asks for passwords, one-time codes and passphrases on the terminal, if there is one.

    Args:
        identity: A private key; its passphrase is asked for if it has one.
        files: Where secrets are, by the names that `FileCredentials` has for them; a password that is in one is not
            asked for.
    """

    def __init__(self, identity: str | None = None, files: Mapping[str, str] | None = None) -> None:
        self._identity = Path(identity).expanduser() if identity else None
        self._files = FileCredentials(**files) if files else None
        self._passphrase: str | None = None
        self._one_at_a_time = asyncio.Lock()

    async def get(self, request: CredentialRequest) -> Credential | None:
        """Give what the file has, or what is typed.

        Raises:
            CredentialError: A file cannot be read, or nobody is there to be asked.
        """
        if self._files and (found := await self._files.get(request)):
            return found
        async with self._one_at_a_time:
            if SSHPrivateKey in request.kinds:
                return await self._key()
            who = f"{request.user}@{request.host}".removesuffix(":22")
            if SSHAnswers in request.kinds:
                return await _answers(request, who)
            if SSHPassword in request.kinds and _is_there():
                return SSHPassword(password=SecretStr(await ask(f"Password of {who}: ")))
        return None

    async def _key(self) -> Credential | None:
        if self._identity is None or not _is_locked(self._identity):
            return None
        if self._passphrase is None:
            if not _is_there():
                raise CredentialError(str(self._identity), "it has a passphrase, and nobody is there to be asked")
            self._passphrase = await ask(f"Passphrase of {self._identity}: ")
        content = self._identity.read_bytes()
        return SSHPrivateKey(key=SecretBytes(content), passphrase=SecretStr(self._passphrase))


class Interrupted(CredentialError):
    """Ctrl-C was the answer."""


async def ask(prompt: str, *, echo: bool = False) -> str:
    """Ask on the terminal for a line; it is not shown while it is typed unless `echo`. Can be cancelled.

    Raises:
        Interrupted: Ctrl-C was typed.
        CredentialError: There is no terminal, or it was closed.
    """
    loop = asyncio.get_running_loop()
    asked = prompt.strip(" :")
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise CredentialError(asked, "there is no terminal to ask on") from error
    readable = asyncio.Event()
    before = termios.tcgetattr(terminal)
    try:
        termios.tcsetattr(terminal, termios.TCSADRAIN, _asking(before, echo=echo))
        os.write(terminal, printable(prompt).encode("utf-8", "replace"))
        loop.add_reader(terminal, readable.set)
        # Reading in a thread could not be cancelled. The terminal hands out whole lines.
        await readable.wait()
        answer = os.read(terminal, 4096)
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        if not echo:
            with suppress(OSError):
                os.write(terminal, b"\n")
        os.close(terminal)
    if answer.endswith(_CTRL_C):
        raise Interrupted(asked, "interrupted")
    if not answer:
        raise CredentialError(asked, "no answer was given")
    return answer.decode("utf-8", "replace").rstrip("\r\n")


def _asking(attributes: list[Any], *, echo: bool) -> list[Any]:
    """The terminal's attributes for a prompt: Ctrl-C ends the line, so that only the prompt is interrupted by it."""
    changed: list[Any] = [*attributes[:6], list(attributes[6])]
    if not echo:
        changed[3] &= ~termios.ECHO
    changed[6][termios.VINTR] = b"\0"
    changed[6][termios.VEOL] = _CTRL_C
    return changed


async def _answers(request: CredentialRequest, who: str) -> Credential | None:
    if not _is_there():
        return None
    if request.instruction:
        sys.stderr.write("".join(f"{printable(line)}\n" for line in request.instruction.splitlines()))
    given = [SecretStr(await ask(f"{who}: {prompt}", echo=echo)) for prompt, echo in request.prompts]
    return SSHAnswers(answers=tuple(given))


def _is_there() -> bool:
    return sys.stdin.isatty()


def _is_locked(path: Path) -> bool:
    import asyncssh

    try:
        asyncssh.import_private_key(path.read_bytes())
    except asyncssh.KeyImportError as error:
        return "assphrase" in str(error)
    except asyncssh.KeyEncryptionError:
        return True
    except OSError as error:
        raise CredentialError(str(path), error.strerror or str(error)) from error
    return False
