"""The classes under requests, and the private names that they rely on."""

from __future__ import annotations

import contextlib
import gc
import http.client
import select
import socket
import ssl
import struct
from typing import Any

import pytest
import requests
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from pi_native._http import adapter
from pi_native._http.adapter import CancellableAdapter, direct_response
from pi_native._http.connection import SocketHandle
from pi_native._http.response import ChunkedResponse
from pi_native._http.sending import DeadConnectionError, in_this_thread
from pi_native._http.tls import CancellableTLSSocket
from pi_native._http.transport import Transport
from pi_native._protocol.request import Request
from pi_native._threads.clock import monotonic
from pi_native.testing import FakeGateway

from ...conftest import wait_until


@pytest.mark.parametrize(
    ("owner", "name", "words"),
    [
        (HTTPConnection, "_new_conn", "urllib3 "),
        (HTTPConnectionPool, "_put_conn", "urllib3 "),
        (requests.adapters.HTTPAdapter, "init_poolmanager", "requests "),
        (HTTPConnection, "is_connected", "urllib3 "),
    ],
)
def test_a_missing_private_name_is_an_import_error(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, words: str
) -> None:
    """A library without a name that is relied on is refused, with its version and the name."""
    adapter.check_private_names()
    monkeypatch.delattr(owner, name)
    with pytest.raises(
        ImportError, match=f"does not work with {words}[0-9.]+, which has no {name}"
    ):
        adapter.check_private_names()


def test_pools_and_connections_are_ours() -> None:
    """The pools of a manager, and the connections of a pool, are of the package's classes."""
    made = CancellableAdapter()
    for scheme in ("http", "https"):
        pool = made.poolmanager.connection_from_url(f"{scheme}://gateway.invalid:4000")
        assert type(pool).__module__ == "pi_native._http.adapter"
        assert type(pool._new_conn()).__module__ == "pi_native._http.adapter"
    made.close()


def test_a_chunked_body_is_read_directly() -> None:
    """The response of urllib3 names the response that it reads, so urllib3 can be left out."""
    with FakeGateway() as gateway, requests.Session() as session:
        session.mount("http://", CancellableAdapter())
        response = session.post(
            f"{gateway.url}/v1/pi/stream",
            headers={"Authorization": f"Bearer {gateway.api_key}"},
            json={"modelId": "fake/model", "context": {"messages": []}},
            stream=True,
        )
        assert response.ok
        assert direct_response(response.raw) is not None
        response.close()


def test_the_head_of_an_interim_response_is_skipped() -> None:
    """`begin` reads until the final head, and accepts the argument that Python 3.15 gives it."""
    near, far = socket.socketpair()
    with near, far:
        response = ChunkedResponse(near, method="POST")
        far.sendall(
            b"HTTP/1.1 103 Soon\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        response.begin()
        assert response.status == 200
        assert response.chunked
        response.close()


def test_begin_passes_the_limits_of_newer_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.15 calls `begin(_max_headers=...)`, which reaches http.client's own."""
    seen: list[object] = []
    original = http.client.HTTPResponse.begin

    def begin(self: http.client.HTTPResponse, *, _max_headers: int | None = None) -> None:
        seen.append(_max_headers)
        original(self)

    monkeypatch.setattr(http.client.HTTPResponse, "begin", begin)
    near, far = socket.socketpair()
    with near, far:
        response = ChunkedResponse(near, method="POST")
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        response.begin(_max_headers=7)
        response.close()
    assert seen == [7]


# Kept connections


def ask(transport: Transport, url: str) -> int:
    """Send a GET and read the response to its end; return its status."""
    response = transport.send(Request("GET", f"{url}/healthz", {}), SocketHandle())
    for _ in response.chunks():
        pass
    response.close()
    return response.info.status


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After 60 idle seconds, on a clock that runs while the machine sleeps, a new one is made."""
    now = [1000.0]
    monkeypatch.setattr(adapter, "since_boot", lambda: now[0])
    transport = Transport()
    with FakeGateway() as gateway:
        for seconds, connections in ((0, 1), (59, 1), (59, 1), (61, 2), (59, 2)):
            now[0] += seconds
            assert ask(transport, gateway.url) == 200
            assert gateway.connections == connections
        transport.close()


def test_connections_have_tcp_keep_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection sends keep-alive packets after a minute without data."""
    seen: list[socket.socket] = []
    original = adapter.keep_alive

    def keep(sock: socket.socket) -> None:
        original(sock)
        seen.append(sock.dup())

    monkeypatch.setattr(adapter, "keep_alive", keep)
    transport = Transport()
    with FakeGateway() as gateway:
        ask(transport, gateway.url)
        transport.close()
    [sock] = seen
    with sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value


@pytest.mark.parametrize("error", [ssl.SSLEOFError, ssl.SSLZeroReturnError])
def test_a_tls_peer_that_has_closed_is_a_broken_pipe(
    monkeypatch: pytest.MonkeyPatch, error: type[ssl.SSLError]
) -> None:
    """The errors of TLS for a closed peer become those of TCP, which urllib3 and http.client know.

    urllib3 then reads the response that is there already, and a dead connection is replaced.
    """

    def closed(*_: Any) -> None:
        raise error(8, "EOF occurred in violation of protocol")

    with FakeGateway() as gateway:
        transport = Transport()
        assert ask(transport, gateway.url) == 200
        with monkeypatch.context() as broken:
            broken.setattr(adapter, "send_all", closed)
            connection = adapter._Connection("127.0.0.1", gateway.port)
            with in_this_thread(SocketHandle()), pytest.raises(BrokenPipeError):
                connection.request("GET", "/healthz")
            assert connection._send_failed
            connection.close()
        transport.close()
    assert wait_until(lambda: gateway.open_connections == 0)


def test_a_connection_that_is_reset_before_the_handshake_is_closed() -> None:
    """TLS over a socket without a peer is refused, and no socket is left open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()  # sends a reset
        select.select([ours], [], [], 30)
    context = ssl.create_default_context()
    context.sslsocket_class = CancellableTLSSocket
    with pytest.raises(ConnectionResetError, match="before the TLS handshake"):
        context.wrap_socket(ours, server_hostname="localhost")
    gc.collect()


RESET = ConnectionResetError(104, "reset")
GONE = http.client.RemoteDisconnected("the connection ended within the headers")


@pytest.mark.parametrize(
    ("error", "kept", "waited", "send_failed", "dead"),
    [
        pytest.param(RESET, True, 0.0, False, True, id="reset"),
        pytest.param(GONE, True, 0.0, False, True, id="closed"),
        pytest.param(ssl.SSLEOFError(8, "EOF"), True, 0.0, False, True, id="closed in TLS"),
        # It may have reached the model, which is billed.
        pytest.param(RESET, True, 0.6, False, False, id="after a wait"),
        pytest.param(OSError(5, "other"), True, 0.0, False, False, id="other error"),
        pytest.param(ssl.SSLError("bad record"), True, 0.0, False, False, id="other TLS error"),
        pytest.param(RESET, True, 60.0, True, True, id="not sent"),
        pytest.param(OSError(5, "other"), True, 60.0, True, True, id="not sent, other error"),
        pytest.param(RESET, False, 0.0, False, False, id="new connection"),
        pytest.param(RESET, False, 0.0, True, False, id="new connection, not sent"),
    ],
)
def test_a_kept_connection_is_dead_if_the_request_cannot_have_arrived(
    error: Exception, kept: bool, waited: float, send_failed: bool, dead: bool
) -> None:
    """A failed request is sent again if sending failed, or if the connection ended at once."""
    connection = adapter._Connection("127.0.0.1", 1)
    connection._belong_to(SocketHandle())
    connection._opened_for = None if kept else connection._owner
    connection._sent_at = monotonic() - waited
    connection._send_failed = send_failed
    with pytest.raises(DeadConnectionError) if dead else contextlib.nullcontext():
        connection._raise_if_dead(error)
