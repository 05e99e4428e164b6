"""What many of these tests start from: a gateway, a client of it, a session, TLS."""

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
    """A started gateway."""
    with FakeGateway(KEY) as gateway:
        yield gateway


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeGateway]:
    """Has the environment name a gateway, its key and perhaps a model; returns the gateway."""

    def named(gateway: FakeGateway, model: str | None = None) -> FakeGateway:
        monkeypatch.setenv("PI_NATIVE_BASE_URL", gateway.url)
        monkeypatch.setenv("PI_NATIVE_API_KEY", str(gateway.api_key))
        if model is not None:
            monkeypatch.setenv("PI_NATIVE_MODEL", model)
        return gateway

    return named


@pytest.fixture
def client(gateway: FakeGateway) -> Iterator[Client]:
    """A client of that gateway, which tries nothing twice."""
    with Client(gateway.url, KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A plain session, as an application may bring."""
    with requests.Session() as session:
        yield session
        # What a failure holds on to is collected by then, and with it the session's sockets.
        assert wait_until(lambda: not workers())


@pytest.fixture(params=["client", "low-level", "session"])
def turn(request: pytest.FixtureRequest, session: requests.Session) -> Iterator[Turn]:
    """Starts a turn at an address: through a client, the low-level call, or a session of ours."""
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
    """Nobody waits for a backoff; its rules have tests of their own."""
    monkeypatch.setattr("pi_native._turn.retry._BASE_SECONDS", 0.01)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Signs the certificates of this run's peers."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's context for `localhost` and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has clients trust the authority, in the way that requests' users know."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    return bundle
