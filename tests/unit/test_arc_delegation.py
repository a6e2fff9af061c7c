"""Proxies: what is signed, that OpenSSL believes it, and whom the client believes."""

from __future__ import annotations

import contextlib
import resource
import ssl
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from intercede.arc.delegation import Holder, answer_request, read_holder, read_request, sign_proxy
from intercede.arc.tls import client_context
from intercede.errors import ConfigurationError, CredentialError, ParseError, StorageError

if TYPE_CHECKING:
    from collections.abc import Generator

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
REQUEST = (Path(__file__).parent.parent / "transcripts" / "arc-7.0" / "request.pem").read_bytes()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


@dataclass
class Authority:
    """A CA of this test's own."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        built = cls._builder("CA", "CA", key.public_key()).add_extension(usage, critical=True)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return cls(key, built.sign(key, hashes.SHA256()))

    @staticmethod
    def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(issuer))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
        )

    def issue(self, subject: str) -> Holder:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(subject)])
        built = self._builder(subject, "CA", key.public_key()).add_extension(names, critical=False)
        return Holder(key, built.sign(self.key, hashes.SHA256()))

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def revoke(self, *revoked: Holder) -> bytes:
        builder = x509.CertificateRevocationListBuilder().issuer_name(_name("CA"))
        builder = builder.last_update(NOW - DAY).next_update(NOW + DAY)
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW - DAY).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def ca() -> Authority:
    return Authority.make()


def _proxy_of(holder: Holder, lifetime: timedelta = DAY / 2) -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    signed = sign_proxy(key.public_key(), holder, now=NOW, lifetime=lifetime)
    return Holder(key, signed, (holder.certificate, *holder.chain))


def test_openssl_believes_a_proxy_of_a_proxy(ca: Authority, tmp_path: Path) -> None:
    holder = _proxy_of(_proxy_of(ca.issue("alice")))
    (tmp_path / "ca.pem").write_bytes(ca.pem())
    (tmp_path / "chain.pem").write_bytes(holder.certificates())
    argv = ["openssl", "verify", "-allow_proxy_certs", "-CAfile", "ca.pem", "-untrusted", "chain.pem", "chain.pem"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "chain.pem: OK\n", done.stderr
    assert [each.value for each in holder.certificate.subject][0] == "alice"  # noqa: RUF015 - the order counts
    assert len(holder.certificate.subject.rdns) == 3


def test_a_proxy_ends_no_later_than_its_issuer(ca: Authority) -> None:
    user = ca.issue("alice")
    assert _proxy_of(user, 7 * DAY).certificate.not_valid_after_utc == user.certificate.not_valid_after_utc
    short = _proxy_of(user, timedelta(hours=1))
    assert short.ends == NOW + timedelta(hours=1)
    assert _proxy_of(short, DAY).ends == short.ends
    with pytest.raises(CredentialError, match="expired at"):
        sign_proxy(short.key.public_key(), short, now=NOW + timedelta(minutes=90), lifetime=DAY)
    with pytest.raises(CredentialError, match="not valid before"):
        sign_proxy(user.key.public_key(), user, now=NOW - 3 * DAY, lifetime=DAY)


def test_a_request_of_the_server_is_answered(ca: Authority) -> None:
    user = _proxy_of(ca.issue("alice"))
    signed = x509.load_pem_x509_certificates(answer_request(REQUEST, user, now=NOW, lifetime=DAY / 4))
    assert len(signed) == 3
    assert signed[0].public_key() == read_request(REQUEST)
    assert signed[1] == user.certificate


def test_a_request_of_a_version_that_does_not_exist_is_read() -> None:
    wanted = read_request(REQUEST)
    der = ssl.PEM_cert_to_DER_cert(REQUEST.decode().replace("CERTIFICATE REQUEST", "CERTIFICATE"))
    odd = der.replace(b"\x02\x01\x00", b"\x02\x01\x02", 1)
    with pytest.raises(x509.InvalidVersion):
        x509.load_der_x509_csr(odd)
    pem = ssl.DER_cert_to_PEM_cert(odd).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    assert read_request(pem) == wanted


@pytest.mark.parametrize("text", [b"", b"<html>", REQUEST[:300], REQUEST.replace(b"MIIC", b"AAAA")])
def test_what_is_no_request_is_a_parse_error(text: bytes) -> None:
    with pytest.raises(ParseError):
        read_request(text)


def test_a_credential_is_read_in_any_order(ca: Authority) -> None:
    proxy = _proxy_of(ca.issue("alice"))
    first, *above = [each.public_bytes(serialization.Encoding.PEM) for each in (proxy.certificate, *proxy.chain)]
    for pem in (first + _pem(proxy.key) + b"".join(above) + ca.pem(), _pem(proxy.key) + first + b"".join(above)):
        holder = read_holder(pem)
        assert (holder.certificate, holder.chain) == (proxy.certificate, proxy.chain)
        assert "PRIVATE" not in repr(holder)
        assert "alice" in repr(holder)


def test_a_credential_that_is_not_whole_is_refused(ca: Authority) -> None:
    user, other = ca.issue("alice"), ca.issue("bob")
    with pytest.raises(CredentialError, match="1 certificates and 0 private keys"):
        read_holder(user.certificates())
    with pytest.raises(CredentialError, match="not that of the first certificate"):
        read_holder(user.certificates() + _pem(other.key))
    locked = user.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    with pytest.raises(CredentialError, match="passphrase"):
        read_holder(user.certificates() + locked)


# ------------------------------------------------------------------ TLS, without a socket


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Let both sides talk until they agree; raises what either of them has against the other."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert sides == []


def _serving(tmp_path: Path, holder: Holder) -> ssl.SSLContext:
    path = tmp_path / "server.pem"
    path.write_bytes(_pem(holder.key) + holder.certificates())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _hashed(tmp_path: Path, ca: Authority) -> Path:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "ca.pem").write_bytes(ca.pem())
    subprocess.run(["openssl", "rehash", "ca"], cwd=tmp_path, check=True)
    return tmp_path / "ca"


def test_the_server_and_its_name_are_checked(ca: Authority, tmp_path: Path) -> None:
    server = _serving(tmp_path, ca.issue("ce.example"))
    (tmp_path / "file.pem").write_bytes(ca.pem())
    (tmp_path / "other.pem").write_bytes(Authority.make().pem())
    for trusted in (tmp_path / "file.pem", _hashed(tmp_path, ca)):
        _shake_hands(client_context(trusted), server, "ce.example")
        with pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"):
            _shake_hands(client_context(trusted), server, "other.example")
    for trusted in (tmp_path / "other.pem", None):
        with pytest.raises(ssl.SSLCertVerificationError):
            _shake_hands(client_context(trusted), server, "ce.example")


def test_a_revoked_server_is_refused_where_there_are_lists(ca: Authority, tmp_path: Path) -> None:
    good, bad = ca.issue("ce.example"), ca.issue("ce.example")
    directory = _hashed(tmp_path, ca)
    (hashed,) = directory.glob("*.0")
    _shake_hands(client_context(directory), _serving(tmp_path, bad), "ce.example")
    hashed.with_suffix(".r0").write_bytes(ca.revoke(bad))
    _shake_hands(client_context(directory), _serving(tmp_path, good), "ce.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="revoked"):
        _shake_hands(client_context(directory), _serving(tmp_path, bad), "ce.example")


def test_the_client_shows_its_proxy_and_leaves_no_file(
    ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "tmp"
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))
    server = _serving(tmp_path, ca.issue("ce.example"))
    (tmp_path / "ca.pem").write_bytes(ca.pem())
    server.load_verify_locations(tmp_path / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= 0x40  # X509_V_FLAG_ALLOW_PROXY_CERTS, as A-REX has it
    proxy = _proxy_of(ca.issue("alice"))
    credential = proxy.certificates() + _pem(proxy.key)
    _shake_hands(client_context(tmp_path / "ca.pem", credential), server, "ce.example")
    assert list(private.iterdir()) == []


def test_no_room_for_a_credential(ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="TMPDIR"):
        client_context(None, ca.pem())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _limited(resource.RLIMIT_FSIZE, 10), pytest.raises(StorageError, match="File too large"):
        client_context(None, ca.pem())
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def _limited(what: int, most: int) -> Generator[None]:
    before = resource.getrlimit(what)
    resource.setrlimit(what, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def test_wrong_files_are_named(tmp_path: Path, ca: Authority) -> None:
    with pytest.raises(ConfigurationError, match=r"no hashed names"):
        client_context(tmp_path)
    with pytest.raises(ConfigurationError, match=r"nowhere.*No such file"):
        client_context(tmp_path / "nowhere")
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ConfigurationError, match=r"empty\.pem"):
        client_context(tmp_path / "empty.pem")
    with pytest.raises(CredentialError):
        client_context(None, ca.pem())
