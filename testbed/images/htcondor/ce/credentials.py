"""Throw-away credentials of the stand-in CE, made anew at each start.

`make OUT PORT`: a CA, certificates of the host and of users, SciTokens for the audience 127.0.0.1:PORT, below OUT, and
what the server needs below /etc/condor-ce. `serve`: the issuer's keys at https://localhost:8443, for the schedd alone.
"""

import base64
import http.server
import ipaddress
import json
import ssl
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

ETC = Path("/etc/condor-ce")
ISSUER = "https://localhost:8443"
SCOPES = "compute.read compute.create compute.modify compute.cancel"
NOW = datetime.now(UTC)
WEEK = timedelta(days=7)


def write(path: Path, data: bytes | str, mode: int = 0o600) -> None:
    """Write a file whose mode holds from its first byte on."""
    path.touch(mode=0o600)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)


def _name(common_name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """One that signs certificates."""

    def __init__(self, common_name: str) -> None:
        self.name = _name(common_name)
        self.key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        itself = [(x509.BasicConstraints(True, None), True), (usage, True)]
        self.cert = self.sign(self.name, self.key.public_key(), itself, NOW + WEEK)

    def sign(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, extensions, end) -> x509.Certificate:
        """Sign a certificate that began a week ago, so that one that has ended began before."""
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = x509.CertificateBuilder(self.name, subject, public_key, x509.random_serial_number())
        builder = builder.not_valid_before(NOW - WEEK).not_valid_after(end)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        builder = builder.add_extension(identifier, False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, folder: Path, stem: str, common_name: str, names=(), end=NOW + WEEK) -> None:
        """Write STEM-cert.pem and STEM-key.pem."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [(x509.BasicConstraints(False, None), True)]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        cert = self.sign(_name(common_name), key.public_key(), extensions, end)
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        write(folder / f"{stem}-cert.pem", cert.public_bytes(pem), 0o644)
        write(folder / f"{stem}-key.pem", key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def scitoken(
    key: ec.EllipticCurvePrivateKey, audience: str, subject: str, scope: str = SCOPES, life: int = 86400
) -> str:
    """Sign a token; one of negative life has ended."""
    now = int(time.time())
    begin = now + min(life, 0) - 60
    claims = {
        "iss": ISSUER, "sub": subject, "aud": audience, "scope": scope, "jti": str(uuid.uuid4()),
        "iat": begin, "nbf": begin, "exp": now + life, "wlcg.ver": "1.0",
    }  # fmt: skip
    header = {"alg": "ES256", "typ": "JWT", "kid": "test"}
    body = ".".join(_b64(json.dumps(each).encode()) for each in (header, claims))
    r, s = decode_dss_signature(key.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{body}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}\n"


def make(out: Path, port: int) -> None:
    """Write everything."""
    authority = Authority("Test CA")
    ca = authority.cert.public_bytes(serialization.Encoding.PEM)
    for folder in (ETC, out):
        write(folder / "ca.pem", ca, 0o644)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    # ce.test.local: clients check the name that the daemons tell, whatever address they were given
    names = [x509.DNSName("localhost"), x509.DNSName("ce.test.local"), loopback]
    authority.issue(ETC, "host", "ce.test.local", names)
    for user in "alice", "bob":
        authority.issue(out, user, user)
    authority.issue(out, "expired", "alice", end=NOW - timedelta(days=1))
    Authority("Other CA").issue(out, "stranger", "alice")

    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_numbers()
    x, y = (_b64(number.to_bytes(32, "big")) for number in (point.x, point.y))
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "test", "alg": "ES256", "use": "sig"}
    write(ETC / "jwks.json", json.dumps({"keys": [jwk]}), 0o644)
    audience = f"127.0.0.1:{port}"
    tokens = {
        "alice": scitoken(key, audience, "alice"),
        "bob": scitoken(key, audience, "bob"),
        "expired": scitoken(key, audience, "alice", life=-3600),
        "stranger": scitoken(ec.generate_private_key(ec.SECP256R1()), audience, "alice"),
        "unmapped": scitoken(key, audience, "carol"),
        "readonly": scitoken(key, audience, "alice", "compute.read"),
        "wrong-audience": scitoken(key, "ce.example.org:9619", "alice"),
    }
    for name, token in tokens.items():
        write(out / f"scitoken-{name}", token)


class Issuer(http.server.BaseHTTPRequestHandler):
    """Tells its public keys."""

    def do_GET(self) -> None:
        """Answer."""
        pages = {
            "/.well-known/openid-configuration": json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}),
            "/jwks": (ETC / "jwks.json").read_text(),
        }
        page = pages.get(self.path, "")
        self.send_response(200 if page else 404)
        self.send_header("Content-Type", "application/json")
        # without a length libSciTokens gives up, and remembers the issuer as bad
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def serve() -> None:
    """Serve for ever."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ETC / "host-cert.pem", ETC / "host-key.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Issuer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        serve()
