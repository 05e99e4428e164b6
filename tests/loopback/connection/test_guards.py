"""Other libraries that tests use around the client: guards of the network, and a stopped clock."""

from __future__ import annotations

import pytest

from pi_native import Client, GatewayConnectionError, PiNativeError
from pi_native.testing import FakeGateway, Stall

from ..calls import KEY


def test_pytest_socket_stops_a_turn(gateway: FakeGateway) -> None:
    """`--disable-socket` and `--allow-hosts` of pytest-socket keep the client from connecting."""
    pytest_socket = pytest.importorskip("pytest_socket")
    with Client(gateway.url, KEY, max_retries=0) as client:
        try:
            pytest_socket.socket_allow_hosts(["192.0.2.1"])
            with pytest.raises(PiNativeError, match=r"127\.0\.0\.1"):
                client.complete("x/y", "hi")
            pytest_socket._remove_restrictions()
            pytest_socket.disable_socket()
            with pytest.raises(PiNativeError):
                client.complete("x/y", "hi")
        finally:
            pytest_socket._remove_restrictions()
        assert gateway.connections == 0
        assert client.complete("x/y", "hi").text


def test_limits_pass_while_freezegun_stops_the_clock(gateway: FakeGateway) -> None:
    """Time limits, and the wait for a result, end under `freezegun.freeze_time`."""
    freezegun = pytest.importorskip("freezegun")
    gateway.reply("never", fault=Stall(after=None)).reply("never", fault=Stall(after=None))
    with Client(gateway.url, KEY, max_retries=0) as client:
        with freezegun.freeze_time("2030-01-01"):
            with pytest.raises(PiNativeError, match="total timeout"):
                client.stream("x/y", "hi", total_timeout_ms=200).result(20)
            stream = client.stream("x/y", "hi")
            with pytest.raises(TimeoutError, match="no result within"):
                stream.result(0.2)
            stream.abort()
            gateway.release()
        assert client.complete("x/y", "hi").text


def test_a_refused_connection_is_still_an_error_under_a_stopped_clock() -> None:
    """A gateway that is down is reported under `freezegun.freeze_time`."""
    freezegun = pytest.importorskip("freezegun")
    with (
        Client("http://127.0.0.1:9", KEY, max_retries=0) as client,
        freezegun.freeze_time("2030-01-01"),
        pytest.raises(GatewayConnectionError),
    ):
        client.complete("x/y", "hi")
