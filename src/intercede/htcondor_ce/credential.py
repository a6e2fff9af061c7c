"""A credential as the files and settings of one worker: nothing of it is in an environment or a command line."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from intercede.credentials import BearerToken, CondorToken, X509Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

    from intercede.credentials import Credential

__all__ = ["configuration", "write_credential"]


def write_credential(directory: Path, credential: Credential | None) -> dict[str, str]:
    """Write a credential into a worker's private directory.

    Args:
        directory: The worker's own, mode 0700.
        credential: A token or a certificate; None for none, with which HTCondor lets nobody in.

    Returns:
        HTCondor's settings that lead to it.

    Raises:
        TypeError: It is of a kind that HTCondor does not know.
    """
    for name in ("tokens", "none"):
        (directory / name).mkdir(mode=0o700)
    settings = {
        "SEC_TOKEN_DIRECTORY": f"{directory}/tokens",
        "SEC_TOKEN_SYSTEM_DIRECTORY": f"{directory}/none",
        "SEC_PASSWORD_DIRECTORY": f"{directory}/none",
        # it would look for one in well-known places otherwise
        "SCITOKENS_FILE": f"{directory}/scitoken",
        "SEC_CLIENT_AUTHENTICATION_METHODS": "SCITOKENS",
    }
    if isinstance(credential, CondorToken):
        _write(directory / "tokens" / "token", _encoded(credential.token))
        settings |= {"SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS"}
    elif isinstance(credential, BearerToken):
        _write(directory / "scitoken", _encoded(credential.token))
    elif isinstance(credential, X509Proxy):
        path = _write(directory / "proxy", credential.pem.get_secret_value())
        settings |= {"SEC_CLIENT_AUTHENTICATION_METHODS": "SSL"}
        settings |= {"AUTH_SSL_CLIENT_CERTFILE": path, "AUTH_SSL_CLIENT_KEYFILE": path}
    elif credential is not None:
        raise TypeError(f"HTCondor knows no {type(credential).__name__}")
    return settings


def _encoded(token: SecretStr) -> bytes:
    # the exception of a character that cannot be encoded would have all of them
    return token.get_secret_value().encode(errors="replace")


def _write(path: Path, secret: bytes) -> str:
    path.touch(mode=0o600)
    path.write_bytes(secret.strip() + b"\n")
    return str(path)


def configuration(directory: Path, ca_file: str, ca_directory: str) -> dict[str, str]:
    """HTCondor's settings that are the same whatever the credential.

    Args:
        directory: The worker's own.
        ca_file: Whom to trust; with `ca_directory` empty as well, what this Python trusts.
        ca_directory: Whom else to trust.
    """
    paths = ssl.get_default_verify_paths()
    if not ca_file and not ca_directory:
        ca_file, ca_directory = paths.cafile or "", paths.capath or ""
    return {
        # the bindings bring an OpenSSL of their own, which knows no CA of the system
        "AUTH_SSL_CLIENT_CAFILE": ca_file,
        "AUTH_SSL_CLIENT_CADIR": ca_directory or f"{directory}/none",
        # else any CA of the system might vouch for a daemon as well
        "AUTH_SSL_CLIENT_USE_DEFAULT_CAS": "False",
        # else who is not let in may still read, as nobody
        "SEC_CLIENT_AUTHENTICATION": "REQUIRED",
        "SEC_CLIENT_ENCRYPTION": "REQUIRED",
        "SEC_CLIENT_INTEGRITY": "REQUIRED",
        # a schedd decides what is fetched: it is to start no program of ours for it
        "ENABLE_URL_TRANSFERS": "False",
        "TOOL_DEBUG": "D_ALWAYS",
        "LOG": str(directory),
    }
