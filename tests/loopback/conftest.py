"""Shared fixtures: a gateway, a client, a session, TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme

from pi_native import AssistantMessageEventStream, Client
from pi_native.testing import FakeGateway

from ..conftest import wait_until
from .calls import KEY, Turn, start, workers


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Start a gateway."""
    with FakeGateway(KEY) as gateway:
        yield gateway


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeGateway]:
    """Return a function that puts a gateway, its key and a model into the environment."""

    def named(gateway: FakeGateway, model: str | None = None) -> FakeGateway:
        monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url)
        monkeypatch.setenv("PI_NATIVE_API_KEY", str(gateway.api_key))
        if model is not None:
            monkeypatch.setenv("PI_NATIVE_MODEL", model)
        return gateway

    return named


@pytest.fixture
def client(gateway: FakeGateway) -> Iterator[Client]:
    """Return a client of the gateway that retries nothing."""
    with Client(gateway.url, KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Return a plain session, as an application may pass it."""
    with requests.Session() as session:
        yield session
        # What a failure holds on to is collected by then, and with it the session's sockets.
        assert wait_until(lambda: not workers())


@pytest.fixture(params=["client", "low-level", "session"])
def turn(request: pytest.FixtureRequest, session: requests.Session) -> Iterator[Turn]:
    """Return a function that starts a turn: with a client, the low-level call, or a session."""
    if request.param == "low-level":
        yield start
        return
    if request.param == "session":
        yield lambda url: start(url, session=session)
        return
    clients: list[Client] = []

    def through_client(url: str) -> AssistantMessageEventStream:
        if not clients:
            clients.append(Client(url, KEY, max_retries=0))
        return clients[0].stream("x/y", "hi")

    yield through_client
    for client in clients:
        client.close()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait before a retry, whose length has other tests."""
    monkeypatch.setattr("pi_native._turn.retry._BASE_SECONDS", 0.01)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return the authority that signs the certificates of the peers."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Return a TLS context of a server for `localhost` and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set REQUESTS_CA_BUNDLE, so that clients trust the authority; return the file."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    return bundle
