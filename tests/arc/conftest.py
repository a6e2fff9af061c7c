"""Clients of an ARC CE of the testbed, as each of its users."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretBytes

from intercede.arc.client import ArcClient
from intercede.arc.delegation import Holder, read_holder, sign_proxy
from intercede.arc.tls import client_context
from intercede.credentials import StaticCredentials, X509Proxy
from intercede.elements.arc import ArcElement
from intercede.settings import ResourceSettings
from testbed.manifest import load_manifest

if TYPE_CHECKING:
    from testbed.stack import Stack

# Every version that the testbed has
STACKS = [name for name, spec in load_manifest().items() if (spec.system, spec.shape) == ("arc", "plain")]
# 6.17 takes no tokens here, and speaks 1.0
NEWER = [name for name in STACKS if not name.startswith("arc-6")]
# CEs with a batch system behind them, by its shape
BEHIND = {
    name: spec.shape
    for name, spec in load_manifest().items()
    if spec.system == "arc" and spec.shape in {"slurm", "htcondor"}
}
ClientFor = Callable[..., ArcClient]
Opener = Callable[..., ArcElement]


def credential(stack: Stack, user: str) -> bytes:
    """A user's certificate and key."""
    return b"".join((stack.given / f"{user}-{part}.pem").read_bytes() for part in ("cert", "key"))


def proxy(stack: Stack, user: str, lifetime: timedelta, *, at: datetime | None = None) -> bytes:
    """A proxy file of a user's, made now or at another time."""
    holder = read_holder(credential(stack, user))
    # a proxy with a key on an elliptic curve is refused by 7.0.0 with the alert "illegal parameter"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signed = sign_proxy(key.public_key(), holder, now=at or datetime.now(UTC), lifetime=lifetime)
    made = Holder(key, signed, (holder.certificate,)).certificates()
    plain = serialization.NoEncryption()
    return made + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


@pytest.fixture(params=STACKS)
def arc(request: pytest.FixtureRequest, stack_factory: Callable[[str], Stack]) -> Stack:
    return stack_factory(request.param)


@pytest.fixture
async def client_for(arc: Stack) -> AsyncIterator[ClientFor]:
    """Make clients: `client_for("alice")`, `client_for(token="alice")`, `client_for(pem=...)`."""
    async with contextlib.AsyncExitStack() as closing:

        def make(user: str = "", *, token: str = "", pem: bytes | None = None) -> ArcClient:
            pem = credential(arc, user) if user else pem
            said = (arc.given / f"token-{token}").read_text() if token else None

            async def give() -> str | None:
                return said

            tls = client_context(arc.given / "certificates", pem)
            made = ArcClient(arc.host, arc.port, tls=tls, token=give if token else None)
            closing.push_async_callback(made.aclose)
            return made

        yield make


def settings(arc: Stack, **changes: Any) -> ResourceSettings:
    """Of a resource that nobody else uses."""
    return ResourceSettings.model_validate({
        "id": f"test-{secrets.token_hex(4)}", "scheduler": "arc", "grace": 2,
        "endpoint": {"host": arc.host, "port": arc.port, "ca": str(arc.given / "certificates")},
        "politeness": {"min_interval": 0.2, "max_interval": 0.5},
        **changes,
    })  # fmt: skip


def shown(pem: bytes) -> StaticCredentials:
    return StaticCredentials(X509Proxy(pem=SecretBytes(pem)))


@pytest.fixture
async def opened(arc: Stack) -> AsyncIterator[Opener]:
    """Open elements of one resource, as alice by certificate if nothing else is said; what they leave is ended."""
    async with contextlib.AsyncExitStack() as closing:
        made = settings(arc)

        def opener(credentials: Any = None, **changes: Any) -> ArcElement:
            provider = credentials or shown(credential(arc, "alice"))
            element = ArcElement(made.model_copy(update=changes), provider)
            closing.push_async_callback(element.aclose)
            return element

        yield opener
        cleaner = opener()
        await cleaner.cancel([ref for info in await cleaner.list() if not info.purged for ref in info.refs])
