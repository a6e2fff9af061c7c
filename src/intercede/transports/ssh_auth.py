"""Who we are, for one SSH server: keys from files and agents, and secrets that the caller's provider supplies."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import asyncssh

from intercede.credentials import CredentialRequest, SSHAnswers, SSHPassword, SSHPrivateKey
from intercede.errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from intercede.credentials import Credential, CredentialProvider
    from intercede.transports.ssh_config import Target

__all__ = ["Client", "fingerprint"]

# "One-time password (OATH) for `alice':" of pam_oath asks for no password of an account
_CODE = re.compile(r"one[- ]?time|\botp\b|code|token", re.IGNORECASE)


def fingerprint(key: asyncssh.SSHKey) -> str:
    """A host key as `ssh-keygen -lf` shows it: type and SHA256 fingerprint."""
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


class Client(asyncssh.SSHClient):
    """Answers AsyncSSH's questions during one connection attempt, and keeps what an error message needs.

    Keys are tried in this order: files of our settings, the provider's key, files of the OpenSSH configuration, the
    agent's. The provider is asked only when it comes to that; each method is tried once, so that a wrong password is
    not sent until the account is locked.

    Args:
        target: The server.
        resource: For the provider: which resource this is for.
        credentials: The provider, or None.
        deadline: The connection's time limit, which stands still while the provider is being asked: a person may have
            to type a one-time code.
    """

    def __init__(
        self, target: Target, resource: str, credentials: CredentialProvider | None, deadline: asyncio.Timeout
    ) -> None:
        self.offered: str | None = None
        self.tried: list[str] = []
        self.notes: list[str] = []
        self.accepts: list[str] = []
        self._target = target
        self._resource = resource
        self._credentials = credentials
        self._deadline = deadline
        self._connection: asyncssh.SSHClientConnection | None = None
        self._agent: asyncssh.SSHAgentClient | None = None
        self._keys: AsyncIterator[asyncssh.SSHKeyPair] | None = None
        self._interactive = False
        self._password_sent = False

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Remember the connection, which knows the methods that the server accepts."""
        self._connection = conn

    @property
    def hung_up(self) -> bool:
        """Whether the server took the connection, and has not said its version."""
        return self._connection is not None and not self._connection.get_extra_info("server_version")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the agent."""
        self.forget()

    def forget(self) -> None:
        """Let go of the agent; it is needed for authentication only."""
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Refuse a key that is not among the known ones, and remember it for the message."""
        self.offered = fingerprint(key)
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Refuse a certificate of an authority that is not known, and remember it for the message."""
        self.offered = f"a certificate of {fingerprint(key)}"
        return False

    def auth_completed(self) -> None:
        """Let go of the agent."""
        self.forget()

    async def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        """Give the next key to try."""
        self._heed()
        if self._keys is None:
            self._keys = self._all_keys()
        return await anext(self._keys, None)

    async def password_auth_requested(self) -> str | None:
        """Give the password, once."""
        self._heed()
        if self._password_sent:
            return None
        credential = await self._ask(SSHPassword)
        if not isinstance(credential, SSHPassword):
            return None
        self._password_sent = True
        self.tried.append("password")
        return credential.password.get_secret_value()

    def password_change_requested(self, prompt: str, lang: str) -> object:  # ty: ignore[incompatible-method-override]
        """Decline to change an expired password."""
        self.notes.append("the password has expired: change it with ssh(1)")
        return NotImplemented

    def kbdint_auth_requested(self) -> str | None:
        """Agree to be asked questions, once."""
        self._heed()
        if self._interactive or self._credentials is None:
            return None
        self._interactive = True
        return ""

    async def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """Have the provider answer the questions of the server."""
        if not prompts:  # a server's way to show a text
            return []
        password = len(prompts) == 1 and "password" in prompts[0][0].lower() and not _CODE.search(prompts[0][0])
        credential = await self._ask(
            SSHAnswers, *((SSHPassword,) if password else ()), prompts=tuple(prompts), instruction=instructions or name
        )
        asked = ", ".join(repr(prompt.strip()) for prompt, _ in prompts)
        if isinstance(credential, SSHPassword):
            self._password_sent = True
            answers = [credential.password.get_secret_value()]
        elif isinstance(credential, SSHAnswers):
            answers = [answer.get_secret_value() for answer in credential.answers]
        else:
            self.notes.append(f"nobody answers its question {asked}")
            return None
        if len(answers) != len(prompts):
            self.notes.append(f"it asked {asked}, and there were {len(answers)} answers")
            return None
        self.tried.append(f"keyboard-interactive ({asked})")
        return answers

    def _heed(self) -> None:
        methods = self._connection.get_server_auth_methods() if self._connection is not None else ()
        self.accepts += [method for method in methods if method not in self.accepts]

    async def _ask(
        self, *kinds: type[Credential], prompts: tuple[tuple[str, bool], ...] = (), instruction: str = ""
    ) -> Credential | None:
        if self._credentials is None:
            return None
        request = CredentialRequest(
            resource=self._resource,
            kinds=kinds,
            user=self._target.user,
            host=f"{self._target.host}:{self._target.port}",
            prompts=prompts,
            instruction=instruction,
            jump=self._target.jump,
        )
        loop = asyncio.get_running_loop()
        until = self._deadline.when()
        left = until - loop.time() if until is not None else None
        self._deadline.reschedule(None)
        try:
            return await self._credentials.get(request)
        finally:
            if left is not None and not self._deadline.expired():
                self._deadline.reschedule(loop.time() + left)

    async def _all_keys(self) -> AsyncIterator[asyncssh.SSHKeyPair]:
        agent = await self._agent_keys()
        wanted: set[bytes] = set()
        for path in [path for path, own in self._target.identities if own]:
            async for pair in self._from_file(path, agent, wanted, own=True):
                yield pair
        credential = await self._ask(SSHPrivateKey)
        if isinstance(credential, SSHPrivateKey):
            for pair in await asyncio.to_thread(_from_credential, credential):
                yield self._trying(pair, "the provider's key")
        for path in [path for path, own in self._target.identities if not own]:
            async for pair in self._from_file(path, agent, wanted, own=False):
                yield pair
        for blob, pair in agent.items():
            if blob not in wanted and not self._target.only_identities:
                yield self._trying(pair, "of the agent")

    async def _from_file(
        self, path: Path, agent: dict[bytes, asyncssh.SSHKeyPair], wanted: set[bytes], *, own: bool
    ) -> AsyncIterator[asyncssh.SSHKeyPair]:
        """The key of a file; if that is locked (or only its public half is there), the agent's copy of it."""
        public = await asyncio.to_thread(_public_half, path)
        if public is not None and public in agent:
            wanted.add(public)
            yield self._trying(agent[public], f"{path} through the agent")
            return
        try:
            pairs = await asyncio.to_thread(_from_path, path, self._target.certificates)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as error:
            reason = _reason(error)
            if own and isinstance(error, OSError):
                advice = "Mend identity_files in the resource's configuration."
                raise CredentialError(f"the SSH identity {path}", reason, advice) from error
            if own or not isinstance(error, FileNotFoundError):
                self.notes.append(f"{path}: {reason}")
            return
        for pair in pairs:
            wanted.add(pair.public_data)
            yield self._trying(pair, str(path))

    async def _agent_keys(self) -> dict[bytes, asyncssh.SSHKeyPair]:
        if self._target.agent is None:
            return {}
        try:
            self._agent = await asyncssh.connect_agent(str(self._target.agent))
            return {pair.public_data: pair for pair in await self._agent.get_keys()}
        except (OSError, ValueError, asyncssh.Error) as error:
            self.notes.append(f"the agent at {self._target.agent} does not answer ({error})")
            return {}

    def _trying(self, pair: asyncssh.SSHKeyPair, origin: str) -> asyncssh.SSHKeyPair:
        self.tried.append(f"publickey ({origin})")
        return pair


def _public_half(path: Path) -> bytes | None:
    for name in (path.with_name(path.name + ".pub"), path):
        try:
            return asyncssh.read_public_key(str(name)).public_data
        except (OSError, asyncssh.KeyImportError, ValueError):
            continue
    return None


def _from_path(path: Path, certificates: tuple[Path, ...]) -> list[asyncssh.SSHKeyPair]:
    found = [str(each) for each in certificates if each.is_file()]
    return list(asyncssh.load_keypairs([str(path)], certlist=asyncssh.load_certificates(found) if found else ()))


def _from_credential(credential: SSHPrivateKey) -> list[asyncssh.SSHKeyPair]:
    passphrase = credential.passphrase.get_secret_value() if credential.passphrase else None
    try:
        key = asyncssh.import_private_key(credential.key.get_secret_value(), passphrase)
        return list(asyncssh.load_keypairs([(key, credential.certificate) if credential.certificate else key]))
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise CredentialError("the SSH private key that the provider gave", _reason(error)) from error


def _reason(error: Exception) -> str:
    """Why a key cannot be used, in words that hold nothing of the key."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = str(error)
    if "assphrase must be specified" in text:
        return (
            "it is protected by a passphrase; add it to an agent (ssh-add), or give key and passphrase as a credential"
        )
    if "bcrypt" in text:
        return "to open it takes the package bcrypt: pip install 'asyncssh[bcrypt]'"
    if isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in text:
        return "the passphrase does not open it"
    return "it is not a private key that can be read"
