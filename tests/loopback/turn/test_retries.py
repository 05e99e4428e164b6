"""Turns are retried over a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from pi_native import (
    AbortController,
    AbortError,
    AbortSignal,
    AssistantMessage,
    Client,
    DoneEvent,
    ErrorEvent,
    GatewayConnectionError,
    GatewayServerError,
    PiNativeError,
    ProviderError,
    RateLimitError,
    RetryInfo,
    TextContent,
)
from pi_native.testing import Answer, Events, FakeGateway, HangUp, HTTPError, Reply, Stall

from ...conftest import wait_until
from ..frames import START

BUSY = AssistantMessage(
    [], provider="x", model="y", stop_reason="error", error_message="busy", error_status=503
)


def _aborted() -> AbortSignal:
    controller = AbortController()
    controller.abort()
    return controller.signal


pytestmark = pytest.mark.usefixtures("quick_retries")

FAILED = [START, ErrorEvent("error", BUSY)]


@pytest.mark.parametrize(
    "failing",
    [
        HTTPError(503, "busy"),
        HTTPError(429, "slow down"),
        Reply("never", fault=HangUp(after=None)),
        Reply("never", fault=HangUp(after=None, reset=True)),
        Reply("never", fault=HangUp(after=0)),
        Reply("never", fault=HangUp(after=1)),
        Events(FAILED),
    ],
    ids=["503", "429", "no answer", "reset", "no event", "only a start", "a failed turn"],
)
def test_a_turn_that_failed_before_any_content_is_retried(failing: Answer) -> None:
    """The caller sees one turn with one start event, as without a failure."""
    failures = [failing] * most_failures(failing)
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.add(*failures, Reply("Hello world"))
        with client.stream("x/y", "hi") as stream:
            types = [event.type for event in stream]
        assert types.count("start") == 1
        assert types[-1] == "done"
        assert stream.result().text == "Hello world"
        assert len(gateway.requests) == len(failures) + 1
        assert len({request.body for request in gateway.requests}) == 1


def most_failures(failing: Answer) -> int:
    """Return the number of retries: 2, or 1 after a failure of the provider."""
    return 1 if isinstance(failing, Events) else 2


def test_a_second_failure_of_the_provider_is_the_result() -> None:
    """Only the first `error` event is retried: the gateway itself makes ten attempts."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key, max_retries=5) as client:
        gateway.add(Events(FAILED), HTTPError(503, "busy"), Events(FAILED), Reply("never"))
        message = client.stream("x/y", "hi").result()
    assert message.error_message == "busy"
    assert len(gateway.requests) == 3


def test_an_error_body_that_stalls_does_not_prevent_a_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error response whose body stalls is retried over another connection."""
    monkeypatch.setattr("pi_native._turn.attempt._ERROR_BODY_SECONDS", 0.05)
    retries: list[RetryInfo] = []
    with FakeGateway() as gateway:
        gateway.error(503, "busy", fault=Stall(after=0))
        gateway.reply("at last")
        with Client(gateway.url, gateway.api_key, max_retries=2) as client:
            message = client.complete("x/y", "hi", on_retry=retries.append)
    assert message.text == "at last"
    assert [type(retry.failure) for retry in retries] == [GatewayServerError]
    assert len(gateway.requests) == 2


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (HTTPError(429, "slow down, secret-of-a-prompt"), RateLimitError),
        (Reply("never", fault=HangUp(after=1)), GatewayConnectionError),
        (Events(FAILED), ProviderError),
    ],
    ids=["refused", "lost", "a failed turn"],
)
def test_each_retry_is_reported(
    failing: Answer, kind: type[PiNativeError], caplog: pytest.LogCaptureFixture
) -> None:
    """The hook and the log get each failure before the wait, and the stream counts it."""
    retries: list[RetryInfo] = []
    caplog.set_level("INFO", logger="pi_native")
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        numbers = [*range(1, 1 + most_failures(failing))]
        gateway.add(*[failing for _ in numbers], Reply("Hello"))
        stream = client.stream("x/y", "hi", on_retry=retries.append)
        assert stream.result().text == "Hello"
    assert [retry.attempt for retry in retries] == numbers
    assert {type(retry.failure) for retry in retries} == {kind}
    assert all(0 < retry.delay < 1 for retry in retries)
    assert stream.attempts == len(numbers) + 1
    lines = [record.getMessage() for record in caplog.records if record.name == "pi_native"]
    assert [line.split(",")[0] for line in lines] == [
        f"attempt {number} failed ({kind.__name__})" for number in numbers
    ]
    assert "secret" not in caplog.text


def test_a_hook_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of on_retry is logged, and the next attempt is made."""

    def broken(retry: RetryInfo) -> None:
        raise ValueError(f"no more than {retry.attempt}")

    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.error(503, "busy").reply("Hello")
        assert client.complete("x/y", "hi", on_retry=broken).text == "Hello"
    assert "on_retry raised" in caplog.text
    assert "no more than 1" in caplog.text


def test_a_turn_without_retries_has_one_attempt() -> None:
    """The count is 1 for a successful turn, and 0 for one that was never sent."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.reply("Hello")
        stream = client.stream("x/y", "hi")
        stream.result()
        assert stream.attempts == 1
        called_off = client.stream("x/y", "hi", signal=AbortSignal.any([_aborted()]))
        assert called_off.attempts == 0
        with pytest.raises(AbortError):
            called_off.result()


def test_the_last_failure_is_raised_when_no_attempt_is_left() -> None:
    """After max_retries the error is raised, and no further request is sent."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.default = lambda _: HTTPError(500, "broken")
        with pytest.raises(GatewayServerError, match="broken"):
            client.complete("x/y", "hi")
        assert len(gateway.requests) == 3
        with pytest.raises(GatewayServerError):
            client.complete("x/y", "hi", max_retries=0)
        assert len(gateway.requests) == 4


def test_a_failed_turn_is_a_message_when_no_attempt_is_left() -> None:
    """The delayed start and the error event are delivered, as without retries."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.default = lambda _: Events(FAILED)
        stream = client.stream("x/y", "hi", max_retries=1)
        assert [event.type for event in stream] == ["start", "error"]
        assert stream.result().error_message == "busy"
        assert len(gateway.requests) == 2


@pytest.mark.parametrize("after", [2, 3, 5])
def test_nothing_is_retried_once_content_has_come(after: int) -> None:
    """A connection lost after content is an error: its tokens are billed."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.reply("Hello big world", fault=HangUp(after=after))
        with pytest.raises(GatewayConnectionError) as caught:
            client.complete("x/y", "hi")
        assert caught.value.partial is not None
        assert len(gateway.requests) == 1


def test_a_failed_turn_with_content_is_not_retried() -> None:
    """A provider's failure after content is not retried: its tokens are billed."""
    said = {"type": "text_start", "contentIndex": 0, "partial": START["partial"]}
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.events([START, said, ErrorEvent("error", BUSY)])
        assert client.stream("x/y", "hi").result().stop_reason == "error"
        assert len(gateway.requests) == 1


def test_retry_after_is_waited_for() -> None:
    """The next attempt is not earlier than the response permits."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.error(429, "slow down", headers={"Retry-After": "1"}).reply("Hello")
        start = time.monotonic()
        assert client.complete("x/y", "hi").text == "Hello"
        assert time.monotonic() - start >= 1.0


def test_too_long_a_retry_after_is_raised_at_once() -> None:
    """A `Retry-After` of an hour is an error without a wait."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.error(429, "closed", headers={"Retry-After": "3600"})
        with pytest.raises(RateLimitError) as caught:
            client.complete("x/y", "hi")
        assert caught.value.retry_after == 3600


@pytest.mark.parametrize("means", ["signal", "close", "drop"])
def test_a_cancel_ends_the_wait_between_attempts(means: str) -> None:
    """No further request is sent, the caller is released, and the worker thread ends."""

    def workers() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name.startswith("pi-native-")]

    controller = AbortController()
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.error(429, "slow down", headers={"Retry-After": "50"})
        held = [client.stream("x/y", "hi", signal=controller.signal)]
        assert wait_until(lambda: held[0].response and gateway.requests[0].answered.is_set())
        cancel: dict[str, Callable[[], object]] = {
            "signal": controller.abort,
            "close": held[0].close,
            "drop": held.clear,
        }
        if means == "drop":
            del cancel["close"]  # which refers to the stream
            with pytest.warns(ResourceWarning, match="dropped"):
                cancel[means]()
        else:
            start = time.monotonic()
            cancel[means]()
            with pytest.raises(AbortError):
                held[0].result(10)
            assert time.monotonic() - start < 1.0
        assert wait_until(lambda: not workers())
        assert len(gateway.requests) == 1


def test_a_turn_that_is_all_in_its_end_keeps_its_start() -> None:
    """A delayed start is delivered before a terminal event with the first content."""
    done = AssistantMessage([TextContent("all at once")], provider="x", model="y")
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key) as client:
        gateway.events([START, DoneEvent("stop", done)])
        stream = client.stream("x/y", "hi")
        assert [event.type for event in stream] == ["start", "done"]
        assert len(gateway.requests) == 1
