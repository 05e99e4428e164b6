"""Which turns go through a proxy, and what it gets to see."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from pi_native import (
    AbortError,
    Client,
    GatewayConnectionError,
    StreamTimeoutError,
)
from pi_native.testing import FakeGateway, HangUp, Stall

from ...conftest import wait_until
from ..calls import KEY, Turn, start, workers
from ..frames import WHOLE
from ..peer import Connection, Peer


def head(request: bytes) -> dict[str, str]:
    """Return the headers of a request, by their names in small letters."""
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in pairs}


PROXY_VARIABLES = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_loopback_gateway_is_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
    turn: Turn,
    variable: str,
    host: str,
) -> None:
    """A proxy in the environment gets no byte of a turn for this machine."""
    with Peer(lambda _: None) as proxy, FakeGateway(KEY) as gateway:
        monkeypatch.setenv(variable, proxy.url)
        assert turn(gateway.url.replace("127.0.0.1", host)).result(5).text
        assert len(gateway.requests) == 1
        assert proxy.accepted == 0


def test_a_loopback_gateways_pages_are_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does a proxy get any of the other questions."""
    with Peer(lambda _: None) as proxy, FakeGateway(KEY) as gateway:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with Client(gateway.url, KEY) as client:
            assert client.health().ok
            assert client.models()
        assert proxy.accepted == 0


def test_a_sessions_own_proxy_is_not_used_for_loopback(session: requests.Session) -> None:
    """A proxy that is set on an injected session gets nothing for this machine either."""
    with Peer(lambda _: None) as proxy, FakeGateway(KEY) as gateway:
        session.proxies = {"http": proxy.url, "https": proxy.url}
        assert start(gateway.url, session=session).result(5).text
        assert proxy.accepted == 0


@pytest.mark.parametrize("variable", PROXY_VARIABLES)
def test_another_gateway_is_asked_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
    turn: Turn,
    variable: str,
) -> None:
    """For any other host the proxy gets the request, in the form that proxies want."""
    requests_: list[bytes] = []

    def forward(connection: Connection) -> None:
        while True:
            requests_.append(connection.read_request())
            connection.send(WHOLE)

    with Peer(forward) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        for _ in range(2):
            assert turn("http://gateway.invalid:4000").result(5).text == "Hello"
        assert proxy.accepted == 1
    for request in requests_:
        assert request.startswith(b"POST http://gateway.invalid:4000/v1/pi/stream HTTP/1.1\r\n")
        assert head(request)["host"] == "gateway.invalid:4000"
        assert head(request)["authorization"] == f"Bearer {KEY}"


def test_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that NO_PROXY names is not asked for at the proxy."""
    with Peer(lambda _: None) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "gateway.invalid")
        with pytest.raises(GatewayConnectionError):
            start("http://gateway.invalid").result(5)
        assert proxy.accepted == 0


def test_a_proxy_that_stalls_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for an http proxy's answer is cancelled like waiting for the gateway's."""
    asked = threading.Event()

    def stall(connection: Connection) -> None:
        connection.read_request()
        asked.set()

    with Peer(stall) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        stream = start("http://gateway.invalid")
        assert asked.wait(5)
        stream.abort()
        assert proxy.closed.wait(2)
    with pytest.raises(AbortError):
        stream.result(5)


TUNNELS = ["silent proxy", "silent gateway"]


@pytest.fixture(params=TUNNELS)
def tunnel(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Peer, threading.Event, list[bytes]]]:
    """Name an https proxy that does not answer CONNECT, or opens a silent tunnel."""
    stuck, came = threading.Event(), []

    def script(connection: Connection) -> None:
        came.append(connection.read_request())
        if request.param == "silent gateway":
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            came.append(connection.sock.recv(1))
        stuck.set()

    with Peer(script) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy, stuck, came


def test_a_tunnel_can_be_cancelled(tunnel: tuple[Peer, threading.Event, list[bytes]]) -> None:
    """Waiting for CONNECT, and for TLS behind it, is cancelled at once and closes the tunnel."""
    proxy, stuck, came = tunnel
    best = math.inf
    for _ in range(5):
        stuck.clear()
        stream = start("https://gateway.invalid")
        assert stuck.wait(5)
        began = time.monotonic()
        stream.abort("enough")
        with pytest.raises(AbortError):
            stream.result(5)
        best = min(best, time.monotonic() - began)
        assert proxy.closed.wait(2)
        assert wait_until(lambda: not workers())
    assert best < 0.05
    assert came[0].startswith(b"CONNECT gateway.invalid:443 HTTP/1.")


def test_a_tunnel_belongs_to_connecting(
    tunnel: tuple[Peer, threading.Event, list[bytes]],
) -> None:
    """CONNECT and TLS behind it are bounded by the connect timeout, and get no key."""
    proxy, _, came = tunnel
    with pytest.raises(StreamTimeoutError) as caught:
        start("https://gateway.invalid", connect_timeout_ms=250).result(5)
    assert (caught.value.phase, caught.value.limit) == ("connect", 0.25)
    assert proxy.closed.wait(2)
    assert KEY.encode() not in b"".join(came)


@pytest.mark.usefixtures("trusted")
def test_a_turn_through_a_tunnel(monkeypatch: pytest.MonkeyPatch, authority: Any) -> None:
    """An https gateway behind a proxy is spoken to inside of the tunnel, where no proxy reads."""
    seen: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("gateway.invalid").configure_cert(context)

    def proxy_to(gateway: FakeGateway) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            seen.append(connection.read_request())
            with socket.create_connection(("127.0.0.1", gateway.port)) as upstream:
                connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(upstream, connection.sock, None))
                back.start()
                pump(connection.sock, upstream, seen)
                back.join(5)

        return script

    with FakeGateway(KEY, tls=context) as gateway, Peer(proxy_to(gateway)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with Client("https://gateway.invalid", KEY) as client:
            assert client.complete("x/y", "hi").text
            assert client.complete("x/y", "hi").text
        assert proxy.accepted == 1
        sent = [request.headers["authorization"] for request in gateway.requests]
    assert sent == [f"Bearer {KEY}"] * 2
    assert seen[0].startswith(b"CONNECT gateway.invalid:443 HTTP/1.")
    assert KEY.encode() not in b"".join(seen)


def pump(source: socket.socket, sink: socket.socket, seen: list[bytes] | None) -> None:
    """Carry bytes until one side ends."""
    try:
        while data := source.recv(65536):
            if seen is not None:
                seen.append(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def tls_in_tls(
    monkeypatch: pytest.MonkeyPatch, authority: Any, server_tls: ssl.SSLContext
) -> Iterator[tuple[FakeGateway, Peer]]:
    """Start an https proxy in front of an https gateway."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("gateway.invalid").configure_cert(context)
    with FakeGateway(KEY, tls=context) as gateway:

        def script(connection: Connection) -> None:
            connection.read_request()
            with socket.create_connection(("127.0.0.1", gateway.port)) as upstream:
                connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(upstream, connection.sock, None))
                back.start()
                pump(connection.sock, upstream, None)
                back.join(5)

        with Peer(script, tls=server_tls) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            yield gateway, proxy


@pytest.mark.usefixtures("trusted")
def test_tls_in_tls(tls_in_tls: tuple[FakeGateway, Peer]) -> None:
    """An https gateway behind an https proxy is asked over one connection, and can be cancelled."""
    gateway, proxy = tls_in_tls
    gateway.reply("one").reply(["two "] * 2000).reply("three", fault=Stall(after=2))
    with Client("https://gateway.invalid", KEY, max_retries=0) as client:
        assert client.complete("x/y", "hi").text == "one"
        assert client.complete("x/y", "x" * 300_000).text == "two " * 2000
        assert proxy.accepted == 1
        stream = client.stream("x/y", "hi")
        assert wait_until(lambda: gateway.requests[-1].stalled.is_set())
        stream.abort()
        assert gateway.requests[-1].client_gone.wait(5)
        assert wait_until(lambda: not workers())


@pytest.mark.usefixtures("trusted")
def test_a_cut_in_tls_in_tls_is_a_connection_error(
    tls_in_tls: tuple[FakeGateway, Peer],
) -> None:
    """A proxy that breaks the inner connection is an error without urllib3's own terms."""
    gateway, _ = tls_in_tls
    gateway.reply("one two three", fault=HangUp(after=2))
    with (
        Client("https://gateway.invalid", KEY, max_retries=0) as client,
        pytest.raises(GatewayConnectionError, match="the response was cut short") as caught,
    ):
        client.complete("x/y", "hi")
    assert "has no len" not in str(caught.value)
