"""A SOCKS5 server as the proxy of the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pi_native import Client, GatewayConnectionError, StreamTimeoutError
from pi_native.testing import FakeGateway, Stall

from ..conftest import wait_until
from ..loopback.calls import KEY
from ..loopback.peer import Peer
from .checks import check_all, client_of, next_request
from .programs import find, free_port, running

pytestmark = pytest.mark.boxes

LOOPBACK = "127.1"  # an address of this machine that the client does not take for one


@contextmanager
def microsocks(place: Path, *options: str) -> Iterator[int]:
    """Run microsocks; yield its port."""
    pytest.importorskip("socks", reason="requests[socks] is not installed")
    program, port = find("microsocks"), free_port()
    command = [program, "-i", "127.0.0.1", "-p", str(port), *options]
    with running(command, port, place):
        yield port


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_plain(
    place: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Everything works through SOCKS, with names resolved here or by the proxy."""
    with microsocks(place) as port:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{port}")
        check_all(f"http://{LOOPBACK}:{gateway.port}", port, gateway)


def test_with_a_password(
    place: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user and password of the proxy's URL are used; wrong ones are named, not shown."""
    with microsocks(place, "-u", "user", "-P", "hush") as port:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://user:hush@127.0.0.1:{port}")
        with client_of(f"http://{LOOPBACK}:{gateway.port}") as client:
            assert client.complete("x/y", "hi").text
        monkeypatch.setenv("ALL_PROXY", f"socks5h://user:wrong@127.0.0.1:{port}")
        with (
            client_of(f"http://{LOOPBACK}:{gateway.port}") as client,
            pytest.raises(GatewayConnectionError) as caught,
        ):
            client.complete("x/y", "hi")
    assert f"through the proxy 127.0.0.1:{port} (ALL_PROXY)" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_gateway_that_is_down(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the proxy and says what the proxy said."""
    with microsocks(place) as port:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{port}")
        with (
            client_of(f"http://{LOOPBACK}:{free_port()}") as client,
            pytest.raises(GatewayConnectionError, match="refused") as caught,
        ):
            client.complete("x/y", "hi")
    assert f"127.0.0.1:{port} (ALL_PROXY)" in str(caught.value)


def test_headers_may_take_longer_than_connecting(
    place: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connect timeout does not bound the wait for the response, as without a proxy."""
    gateway.reply("late", fault=Stall(after=None))
    with microsocks(place) as port:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{port}")
        with Client(f"http://{LOOPBACK}:{gateway.port}", KEY, connect_timeout=0.5) as client:
            stream = client.stream("x/y", "hi")
            request = next_request(gateway)
            with pytest.raises(TimeoutError, match="no result within"):
                stream.result(1.5)
            request.release()
            assert stream.result(20).text == "late"


def test_a_proxy_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent SOCKS proxy is named by the connect timeout, and can be cancelled."""
    pytest.importorskip("socks", reason="requests[socks] is not installed")
    with Peer(lambda connection: connection.sock.recv(1)) as peer:
        monkeypatch.setenv("ALL_PROXY", peer.url.replace("http:", "socks5h:"))
        with Client(f"http://{LOOPBACK}:9", KEY, connect_timeout=0.3, max_retries=0) as client:
            with pytest.raises(StreamTimeoutError, match="waiting for the SOCKS proxy") as caught:
                client.health()
            assert caught.value.phase == "connect"
            assert peer.closed.wait(10)
            peer.closed.clear()
        with client_of(f"http://{LOOPBACK}:9") as client:
            stream = client.stream("x/y", "hi")
            assert wait_until(lambda: peer.accepted == 2, 20)
            stream.abort()
            assert peer.closed.wait(2)
