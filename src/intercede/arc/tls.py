"""TLS to a grid service: whom to believe, and who we are."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from intercede.errors import ConfigurationError, CredentialError, StorageError

__all__ = ["client_context"]


def client_context(trusted: Path | None = None, credential: bytes | None = None) -> ssl.SSLContext:
    """Make a context that always checks the server's certificate and its name.

    Args:
        trusted: A file of CA certificates in PEM, or a directory of hashed names (`/etc/grid-security/certificates`);
            the system's own by default. Where a directory has revocation lists (`*.r0`), the server's certificate must
            be in none of them, and that of its CA must be there.
        credential: What a proxy file holds; none if the client shows no certificate.

    Raises:
        ConfigurationError: `trusted` is not there, or holds no certificate.
        CredentialError: The credential cannot be used.
        StorageError: There is no room for it in the directory of temporary files.
    """
    # Not ssl.create_default_context: from Python 3.13 on it is strict about forms that CAs of grids do not have
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if trusted is None:
        context.load_default_certs()
    else:
        _believe(context, trusted)
    if credential is not None:
        _show(context, credential)
    return context


def _believe(context: ssl.SSLContext, trusted: Path) -> None:
    asked = f"CA certificates in {trusted}"
    if trusted.is_dir():
        if not any(trusted.glob("*.0")):
            advice = "Give the directory that fetch-crl and the CAs' packages fill, or a file in PEM."
            raise ConfigurationError(asked, "no hashed names (such as 5168735f.0)", advice)
        context.load_verify_locations(capath=trusted)
        if any(trusted.glob("*.r0")):
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        return
    try:
        context.load_verify_locations(cafile=trusted)
    except OSError as error:  # ssl.SSLError among them
        raise ConfigurationError(asked, error.strerror or str(error)) from None


def _show(context: ssl.SSLContext, credential: bytes) -> None:
    # OpenSSL reads it from a file only: one that this user alone can read, for that moment
    try:
        with tempfile.TemporaryDirectory(prefix="intercede-") as directory:
            path = Path(directory, "credential")
            path.touch(0o600)
            path.write_bytes(credential)
            # a password that is asked for would be asked on the terminal
            context.load_cert_chain(path, password=lambda: "")
    except ssl.SSLError as error:
        answer = error.reason or "it cannot be read"
        raise CredentialError("X.509 credential", answer, "Is it a certificate and its key, in PEM?") from None
    except OSError as error:
        asked = "writing a credential to the directory of temporary files"
        raise StorageError(asked, error.strerror or str(error), "Free space there, or set TMPDIR.") from None
