"""A gateway's cookies are not kept, and its redirects are not followed."""

from __future__ import annotations

import contextlib

import pytest

from pi_native import AuthGatewayError, Client
from pi_native.testing import FakeGateway, HTTPError

from ..calls import KEY, Turn, start
from ..frames import FINISHED, frame
from ..peer import Connection, Peer


@pytest.mark.parametrize("kind", ["client", "low-level"])
def test_cookies_are_not_kept(kind: str) -> None:
    """A cookie that a gateway sets, on a success or an error, is not sent back."""
    cookies = {"Set-Cookie": "spy=1; Path=/"}
    with FakeGateway(KEY) as gateway, Client(gateway.url, KEY, max_retries=0) as client:
        for path in ("/v1/pi/stream", "/v1/models"):
            gateway.add(HTTPError(500, headers=cookies), path=path)
        gateway.raw([frame(FINISHED)], headers=cookies)
        with pytest.raises(AuthGatewayError):
            client.models()
        for _ in range(3):
            stream = client.stream("x/y", "hi") if kind == "client" else start(gateway.url)
            with contextlib.suppress(AuthGatewayError):
                stream.result(5)
        client.models()
        assert [request.headers["cookie"] for request in gateway.requests] == [None] * 5


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(turn: Turn, status: int) -> None:
    """A redirect is the gateway's error; no byte of the turn reaches the place it names."""
    with Peer(lambda _: None) as target, FakeGateway(KEY) as gateway:
        headers = {"Location": f"{target.url}/v1/pi/stream", "x-request-id": "r-1"}
        gateway.error(status, headers=headers, body=b"moved")
        with pytest.raises(AuthGatewayError) as caught:
            turn(gateway.url).result(5)
        assert type(caught.value) is AuthGatewayError
        assert (caught.value.status, caught.value.body) == (status, "moved")
        assert (caught.value.request_id, caught.value.retryable) == ("r-1", False)
        assert len(gateway.requests) == 1
        assert target.accepted == 0


def test_a_redirect_of_another_page_is_not_followed() -> None:
    """Nor is the key carried away from a question about models."""
    with Peer(lambda _: None) as target, FakeGateway(KEY) as gateway:
        gateway.add(HTTPError(302, headers={"Location": target.url}), path="/v1/models")
        with Client(gateway.url, KEY) as client, pytest.raises(AuthGatewayError):
            client.models()
        assert target.accepted == 0


def test_a_redirect_to_the_gateway_itself_is_not_followed() -> None:
    """Not even to the same host: the conversation is sent once."""
    with FakeGateway(KEY) as gateway:
        gateway.error(307, headers={"Location": "/v1/pi/stream"})
        with pytest.raises(AuthGatewayError):
            start(gateway.url).result(5)
        assert len(gateway.requests) == 1


def test_an_endless_redirect_is_not_read_to_its_end(
    turn: Turn,
) -> None:
    """A redirect's body that never ends is closed after a mebibyte or so."""
    poured = 0

    def pour(connection: Connection) -> None:
        nonlocal poured
        connection.read_request()
        connection.send(b"HTTP/1.1 302 Found\r\nLocation: http://gateway.invalid/\r\n\r\n")
        for _ in range(2_000):
            connection.send(b"x" * 100_000)
            poured += 100_000

    with Peer(pour) as peer:
        with pytest.raises(AuthGatewayError) as caught:
            turn(peer.url).result(20)
        assert peer.closed.wait(5)
    assert caught.value.status == 302
    assert poured < 50_000_000
