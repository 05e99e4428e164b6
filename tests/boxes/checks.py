"""The checks that pass through every proxy and server between a client and its gateway."""

from __future__ import annotations

import time

import pytest

from pi_native import Client, RateLimitError, TextDeltaEvent
from pi_native.testing import FakeGateway, RecordedRequest, Reply, Stall

from ..conftest import wait_until
from ..loopback.calls import KEY, workers
from .programs import connections


def client_of(url: str, **options: object) -> Client:
    """Return a client that retries nothing."""
    return Client(url, KEY, max_retries=0, **options)  # type: ignore[arg-type]


def next_request(gateway: FakeGateway) -> RecordedRequest:
    """Wait for a turn that the gateway holds back, and return its request."""

    def open_requests() -> list[RecordedRequest]:
        return [
            request
            for request in gateway.requests
            if request.stalled.is_set()
            and not request.answered.is_set()
            and not request.client_gone.is_set()
        ]

    assert wait_until(open_requests, 20)
    return open_requests()[-1]


def check_events_one_by_one(url: str, gateway: FakeGateway) -> None:
    """Check that an event is received while the gateway still holds back the next one."""
    gateway.reply(["one ", "two ", "three"], fault=Stall(after=3))
    with client_of(url) as client:
        stream = client.stream("x/y", "hi")
        request = next_request(gateway)
        text = next(event.delta for event in stream if isinstance(event, TextDeltaEvent))
        assert text == "one "
        assert not stream.done
        request.release()
        assert stream.result(20).text == "one two three"


def check_results_and_errors(url: str, gateway: FakeGateway) -> None:
    """Check that results, a failed turn and a refusal come out as without the box."""
    gateway.reply("Hello").reply(["word "] * 2000).reply("part", error_message="overloaded")
    gateway.error(429, headers={"Retry-After": "7"})
    with client_of(url) as client:
        assert client.complete("x/y", "hi").text == "Hello"
        assert client.complete("x/y", "x" * 200_000).text == "word " * 2000
        failed = client.stream("x/y", "hi").result(20)
        assert (failed.stop_reason, failed.error_message) == ("error", "overloaded")
        with pytest.raises(RateLimitError) as caught:
            client.complete("x/y", "hi")
        assert caught.value.retry_after == 7
        assert client.health().ok


def check_cancel(url: str, gateway: FakeGateway) -> None:
    """Check that the gateway sees a cancel within 1 s, and that the worker ends."""
    gateway.default = lambda _: Reply(["one ", "two"], fault=Stall(after=2))
    with client_of(url) as client:
        best = 10.0
        for _ in range(3):  # a busy machine may be late once
            stream = client.stream("x/y", "hi")
            request = next_request(gateway)
            assert request.stalled.wait(20)
            began = time.monotonic()
            stream.abort()
            assert request.client_gone.wait(10)
            best = min(best, time.monotonic() - began)
            assert wait_until(lambda: not workers(), 10)
    assert best < 1.0


def check_reuse(url: str, port: int, gateway: FakeGateway) -> None:
    """Check that turns in a row use one connection, which is closed with the client."""
    gateway.reply("one").reply("two").reply("three")
    before = connections(port)
    seen = []
    with client_of(url) as client:
        for text in ("one", "two", "three"):
            assert client.complete("x/y", "hi").text == text
            assert wait_until(lambda: not workers(), 10)
            seen.append(connections(port) - before)
    assert [len(ports) for ports in seen] == [1, 1, 1]
    assert seen[0] == seen[1] == seen[2]
    assert wait_until(lambda: not connections(port) - before, 10)


def check_all(url: str, port: int, gateway: FakeGateway) -> None:
    """Run all of the checks."""
    check_events_one_by_one(url, gateway)
    check_results_and_errors(url, gateway)
    check_reuse(url, port, gateway)
    check_cancel(url, gateway)
