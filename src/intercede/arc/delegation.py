"""Proxy certificates (RFC 3820): a request comes in, a certificate of ours goes out. No I/O, no clock.

A proxy lets its holder act for its issuer until it ends. The CE makes a key of its own and asks for one; the key that
signs never leaves this process.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from intercede.errors import CredentialError, ParseError

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

__all__ = ["Holder", "answer_request", "read_holder", "read_request", "sign_proxy"]

_PROXY_CERT_INFO = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
# SEQUENCE { SEQUENCE { id-ppl-inheritAll } }: the holder may do all that the issuer may
_INHERIT_ALL = bytes.fromhex("300c300a06082b06010505071501")
_BLOCK = re.compile(rb"-----BEGIN (?P<kind>[A-Z ]+)-----\s.*?-----END (?P=kind)-----\n?", re.DOTALL)
_SKEW = timedelta(hours=1)
_KEYS = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who signs: the key, its certificate, and the certificates above it.

    Attributes:
        key: Of the certificate. It is not shown when this is printed.
        certificate: A user's, or a proxy's.
        chain: Above `certificate`, the nearest first, without the CA's.
    """

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    def __repr__(self) -> str:
        return f"Holder({self.certificate.subject.rfc4514_string()!r}, until {self.ends:%Y-%m-%d %H:%M:%S %Z})"

    @property
    def ends(self) -> datetime:
        """When the first certificate of the chain ends."""
        return min(each.not_valid_after_utc for each in (self.certificate, *self.chain))

    def certificates(self) -> bytes:
        """Its certificates, in PEM, as a server or a proxy file wants them."""
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (self.certificate, *self.chain))


def read_holder(pem: bytes) -> Holder:
    """Read a proxy file, or a certificate and a key one after the other.

    Args:
        pem: Certificates, the holder's first, and one private key without a passphrase, in any order.

    Raises:
        CredentialError: Something is missing, has a passphrase, or does not belong together.
    """
    asked = "X.509 credential"
    blocks = [(match["kind"].decode(), match[0]) for match in _BLOCK.finditer(pem)]
    keys = [text for kind, text in blocks if kind.endswith("PRIVATE KEY")]
    certificates = [text for kind, text in blocks if kind == "CERTIFICATE"]
    if len(keys) != 1 or not certificates:
        answer = f"{len(certificates)} certificates and {len(keys)} private keys"
        raise CredentialError(asked, answer, "It must hold at least one certificate and exactly one key, in PEM.")
    try:
        key = serialization.load_pem_private_key(keys[0], None)
        first, *others = (x509.load_pem_x509_certificate(text) for text in certificates)
    except (TypeError, ValueError) as error:  # TypeError: it has a passphrase
        raise CredentialError(asked, str(error), "A key with a passphrase must be opened first.") from None
    if not isinstance(key, _KEYS) or _public(key.public_key()) != _public(first.public_key()):
        raise CredentialError(asked, "the key is not that of the first certificate")
    return Holder(key, first, tuple(each for each in others if each.issuer != each.subject))


def _public(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_request(pem: bytes) -> CertificatePublicKeyTypes:
    """Take the public key out of a certificate signing request.

    The request's own signature is not looked at: it came over a connection to the server that holds the key, and
    ARC 6.17 writes a version into its requests that does not exist (2), which it has signed.

    Raises:
        ParseError: It is no request.
    """
    found = re.search(rb"-----BEGIN CERTIFICATE REQUEST-----(.*?)-----END", pem, re.DOTALL)
    try:
        der = base64.b64decode(found[1]) if found else b""
        return x509.load_der_x509_csr(_with_a_version_that_exists(der)).public_key()
    except (ValueError, x509.InvalidVersion) as error:
        text = pem.decode("utf-8", "replace")
        raise ParseError("certificate request", str(error), "Is this an ARC CE?", text=text) from None


def _with_a_version_that_exists(der: bytes) -> bytes:
    """A request begins SEQUENCE { SEQUENCE { INTEGER version ..., the two lengths being of one to three bytes."""
    found = re.match(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)\x30(?:[\x00-\x7f]|\x81.|\x82..)\x02\x01", der, re.DOTALL)
    return der if not found else der[: found.end()] + b"\0" + der[found.end() + 1 :]


def sign_proxy(
    public_key: CertificatePublicKeyTypes, issuer: Holder, *, now: datetime, lifetime: timedelta
) -> x509.Certificate:
    """Sign a proxy certificate, which may do all that its issuer may.

    Args:
        public_key: Of who shall hold it.
        issuer: Who signs.
        now: The time; it is valid from an hour before, since clocks differ, and never before or after its issuer.
        lifetime: From `now`.

    Raises:
        CredentialError: The issuer has ended, or not begun.
    """
    ends = min(issuer.ends, now + lifetime)
    begins = max(now - _SKEW, issuer.certificate.not_valid_before_utc)
    if begins >= ends:
        raise CredentialError("X.509 credential", f"not valid before {begins:%Y-%m-%d %H:%M:%S %Z}")
    if ends <= now:
        raise CredentialError(
            "X.509 credential", f"expired at {issuer.ends:%Y-%m-%d %H:%M:%S %Z}", "Renew the certificate or the proxy."
        )
    serial = x509.random_serial_number() >> 96  # 63 bits: it is a name as well
    name = x509.NameAttribute(NameOID.COMMON_NAME, str(serial))
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, content_commitment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*issuer.certificate.subject.rdns, x509.RelativeDistinguishedName([name])]))
        .issuer_name(issuer.certificate.subject)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.UnrecognizedExtension(_PROXY_CERT_INFO, _INHERIT_ALL), critical=True)
        .add_extension(usage, critical=True)
        .sign(issuer.key, hashes.SHA256())
    )


def answer_request(pem: bytes, issuer: Holder, *, now: datetime, lifetime: timedelta) -> bytes:
    """Answer a server's request: the proxy for its key, and the certificates above it, in PEM.

    Raises:
        CredentialError: The issuer has ended.
        ParseError: It is no request.
    """
    proxy = sign_proxy(read_request(pem), issuer, now=now, lifetime=lifetime)
    return proxy.public_bytes(serialization.Encoding.PEM) + issuer.certificates()
