"""A gateway, certificates, and folders for the tests with real proxies and servers."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from pi_native.testing import FakeGateway

from ..loopback.calls import KEY
from .programs import folder

NAME = "gateway.test"  # known to the proxies alone; loopback names never go through a proxy


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Start a gateway."""
    with FakeGateway(KEY) as gateway:
        yield gateway


@pytest.fixture
def tls_gateway(authority: trustme.CA) -> Iterator[FakeGateway]:
    """Start a gateway with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME, "localhost").configure_cert(context)
    with FakeGateway(KEY, tls=context) as gateway:
        yield gateway


@pytest.fixture
def place() -> Iterator[Path]:
    """Make an empty folder for one program."""
    with folder() as path:
        yield path


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Make the authority that signs the certificates of this run."""
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, place: Path) -> Path:
    """Write a PEM file with key and certificate for `localhost`."""
    path = place / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.fixture
def trusted(authority: trustme.CA, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let clients trust the authority."""
    bundle = place / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    return bundle
