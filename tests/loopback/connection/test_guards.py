"""Other libraries that tests use around the client: guards of the network, and a stopped clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from pi_native import (
    AbortSignal,
    Client,
    GatewayConnectionError,
    PiNativeError,
    StreamTimeoutError,
)
from pi_native.testing import FakeGateway, Slow, Stall

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


@pytest.mark.slow
def test_a_cassette_of_vcr_stops_a_session(gateway: FakeGateway, tmp_path: Path) -> None:
    """VCR.py in the mode "none" stops a turn of a client that has a session."""
    vcr = pytest.importorskip("vcr")
    with (
        requests.Session() as session,
        Client(gateway.url, KEY, session=session, max_retries=0) as client,
    ):
        with (
            vcr.use_cassette(str(tmp_path / "cassette.yaml"), record_mode="none"),
            pytest.raises(GatewayConnectionError, match=r"play back|cassette"),
        ):
            client.complete("x/y", "hi")
        assert gateway.requests == []
        assert client.complete("x/y", "hi").text


@pytest.mark.parametrize("own", [True, False])
def test_responses_replaces_a_response(gateway: FakeGateway, own: bool) -> None:
    """A mock of `responses` answers, with and without a session of the caller."""
    page = {"ok": True, "version": "mocked"}
    with requests.Session() as session, responses.RequestsMock() as mock:
        mock.get(f"{gateway.url}/healthz", json=page)
        with Client(gateway.url, KEY, session=None if own else session) as client:
            assert client.health().version == "mocked"
    assert gateway.requests == []


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


def _after_a_refusal(client: Client, gateway: FakeGateway) -> object:
    gateway.error(429, "slow down", headers={"Retry-After": "0.2"})
    return client.complete("x/y", "hi", max_retries=1)


def _after_an_event(client: Client, gateway: FakeGateway) -> object:
    gateway.reply("never", fault=Stall(after=3))
    signal = threading.Event()
    timer = threading.Timer(0.2, signal.set)
    timer.start()
    try:
        return client.stream("x/y", "hi", signal=signal).result()
    finally:
        timer.join()


def _with_heartbeats(client: Client, gateway: FakeGateway) -> object:
    gateway.reply("late", fault=Stall(after=3, seconds=0.3))
    return list(client.stream("x/y", "hi").sse(heartbeat=0.05))


def _stalled(client: Client, gateway: FakeGateway, **limits: Any) -> object:
    gateway.reply("never", fault=Stall(after=limits.pop("after", 3)))
    with pytest.raises(StreamTimeoutError):
        client.complete("x/y", "hi", **limits)
    return True


WAITS: dict[str, Callable[[Client, FakeGateway], object]] = {
    "total_timeout": lambda c, g: _stalled(c, g, total_timeout=0.2),
    "idle_timeout": lambda c, g: _stalled(c, g, idle_timeout=0.2),
    "first_event_timeout": lambda c, g: _stalled(c, g, after=0, first_event_timeout=0.2),
    "a retry": _after_a_refusal,
    "a signal": lambda c, g: AbortSignal.timeout(0.2).wait(20),  # noqa: ARG005
    "one of several signals": lambda c, g: (  # noqa: ARG005
        AbortSignal.any([AbortSignal.timeout(0.2), AbortSignal.timeout(60)]).wait(20)
    ),
    "a plain event": _after_an_event,
    "heartbeats": _with_heartbeats,
    "a stall of some seconds": lambda c, g: (
        g.reply("late", fault=Stall(after=3, seconds=0.2)) and c.complete("x/y", "hi")
    ),
    "slow events": lambda c, g: g.reply("a b c", fault=Slow(0.05)) and c.complete("x/y", "hi"),
    "a batch": lambda c, g: list(c.map("x/y", ["1", "2", "3"], concurrency=2)),  # noqa: ARG005
    "the gateway's start": lambda c, g: c.wait_until_ready(5),  # noqa: ARG005
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_every_wait_ends_under_a_stopped_clock(
    gateway: FakeGateway, wait: Callable[[Client, FakeGateway], object]
) -> None:
    """No wait of the client or of the fake gateway depends on a clock that freezegun stops."""
    freezegun = pytest.importorskip("freezegun")
    with Client(gateway.url, KEY, max_retries=0) as client, freezegun.freeze_time("2030-01-01"):
        assert wait(client, gateway)


def test_the_wait_for_a_gateway_ends_under_a_stopped_clock() -> None:
    """`wait_until_ready` gives up on a gateway that is down under `freezegun.freeze_time`."""
    freezegun = pytest.importorskip("freezegun")
    with (
        Client("http://127.0.0.1:9", KEY) as client,
        freezegun.freeze_time("2030-01-01"),
        pytest.raises(GatewayConnectionError),
    ):
        client.wait_until_ready(0.2)


def test_a_refused_connection_is_still_an_error_under_a_stopped_clock() -> None:
    """A gateway that is down is reported under `freezegun.freeze_time`."""
    freezegun = pytest.importorskip("freezegun")
    with (
        Client("http://127.0.0.1:9", KEY, max_retries=0) as client,
        freezegun.freeze_time("2030-01-01"),
        pytest.raises(GatewayConnectionError),
    ):
        client.complete("x/y", "hi")
