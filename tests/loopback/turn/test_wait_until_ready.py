"""`wait_until_ready` waits for a gateway that starts."""

from __future__ import annotations

import threading

import pytest

from pi_native import (
    AuthGatewayError,
    Client,
    ConfigurationError,
    GatewayConnectionError,
    GatewayServerError,
)
from pi_native.testing import FakeGateway, HTTPError


def unused_port() -> int:
    """Return a port on which nothing listens."""
    with FakeGateway() as gateway:
        return int(gateway.url.rpartition(":")[2])


def test_a_gateway_that_runs() -> None:
    """The health of a gateway that runs is returned after one request, without a key."""
    with FakeGateway("key") as gateway, Client(gateway.url) as client:
        assert client.wait_until_ready(5).ok
        assert len(gateway.requests) == 1


@pytest.mark.parametrize("timeout", [0, 0.2])
def test_no_gateway(timeout: float) -> None:
    """After the timeout, the error of the last attempt is raised."""
    url = f"http://127.0.0.1:{unused_port()}"
    with Client(url) as client, pytest.raises(GatewayConnectionError):
        client.wait_until_ready(timeout)


def test_a_gateway_that_starts_later() -> None:
    """A gateway that starts to listen during the wait is found."""
    port, started = unused_port(), threading.Event()
    done = threading.Event()

    def serve() -> None:
        with FakeGateway(port=port):
            started.set()
            done.wait(20)

    with Client(f"http://127.0.0.1:{port}") as client:
        thread = threading.Timer(0.1, serve)
        thread.start()
        try:
            assert client.wait_until_ready(20).ok
            assert started.is_set()
        finally:
            done.set()
            thread.join()


def test_a_proxy_whose_gateway_starts() -> None:
    """A 502 of a proxy is retried, and raised at the end; a 404 is raised at once."""
    with FakeGateway() as gateway, Client(gateway.url) as client:
        gateway.add(HTTPError(502), path="/healthz")
        assert client.wait_until_ready(20).ok
        gateway.add(HTTPError(404), path="/healthz")
        with pytest.raises(AuthGatewayError):
            client.wait_until_ready(20)
        gateway.add(HTTPError(503), path="/healthz")
        with pytest.raises(GatewayServerError):
            client.wait_until_ready(0)


@pytest.mark.parametrize("timeout", ["5", None, True])
def test_a_time_that_is_no_number(timeout: object) -> None:
    """The error names the argument and its unit."""
    words = "timeout is a number of seconds"
    with Client("http://127.0.0.1:1") as client, pytest.raises(ConfigurationError, match=words):
        client.wait_until_ready(timeout)  # type: ignore[arg-type]
