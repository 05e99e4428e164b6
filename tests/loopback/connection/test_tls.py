"""Certificates: whose are trusted, and that nothing is sent where they are not."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from pi_native import GatewayConnectionError
from pi_native.testing import FakeGateway

from ..calls import KEY, Turn, start
from ..peer import Connection, Peer


def test_a_certificate_that_is_not_trusted_is_refused(
    turn: Turn, server_tls: ssl.SSLContext
) -> None:
    """The turn fails with a clear error, and the gateway's stand-in gets no request."""
    with FakeGateway(KEY, tls=server_tls) as gateway:
        with pytest.raises(GatewayConnectionError, match="certificate verify failed") as caught:
            turn(f"https://localhost:{gateway.port}").result(5)
        assert caught.value.phase == "connect"
        assert f"https://localhost:{gateway.port}" in str(caught.value)
        assert gateway.requests == []


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_name_is_refused(turn: Turn, authority: Any) -> None:
    """Trusting the authority is not enough: the name must be the gateway's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.invalid").configure_cert(context)
    with FakeGateway(KEY, tls=context) as gateway:
        with pytest.raises(GatewayConnectionError, match="certificate verify failed"):
            turn(f"https://localhost:{gateway.port}").result(5)
        assert gateway.requests == []


@pytest.mark.usefixtures("trusted")
def test_the_environments_authorities_are_trusted(turn: Turn, server_tls: ssl.SSLContext) -> None:
    """With REQUESTS_CA_BUNDLE the same gateway answers, and its connection is kept."""
    with FakeGateway(KEY, tls=server_tls) as gateway:
        for _ in range(2):
            assert turn(f"https://localhost:{gateway.port}").result(5).text
        assert gateway.connections == 1


def test_a_gateway_that_speaks_no_tls_is_a_connection_error() -> None:
    """TLS to a plain gateway is an error that says so, and the key is not sent in the clear."""
    came: list[bytes] = []

    def plain(connection: Connection) -> None:
        came.append(connection.sock.recv(65536))
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with Peer(plain) as peer:
        with pytest.raises(GatewayConnectionError, match="SSL") as caught:
            start(peer.url.replace("http:", "https:")).result(5)
        assert caught.value.phase == "connect"
        assert peer.closed.wait(2)
    assert KEY.encode() not in b"".join(came)
