"""The rules for a retry and its delay."""

from __future__ import annotations

from typing import Any

import pytest

from pi_native import (
    AbortError,
    ConfigurationError,
    GatewayConnectionError,
    GatewayServerError,
    IncompleteStreamError,
    InvalidRequestError,
    Model,
    ProviderError,
    RateLimitError,
    StreamOptions,
    StreamProtocolError,
    StreamTimeoutError,
)
from pi_native._protocol.request import Request
from pi_native._turn.retry import retry_delay
from pi_native._turn.turn import Turn


@pytest.mark.parametrize(
    "failure",
    [
        GatewayConnectionError("reset"),
        RateLimitError("slow down", status=429),
        GatewayServerError("busy", status=503),
        InvalidRequestError("too slow", status=408),
    ],
)
def test_a_transient_failure_is_retried(failure: Exception) -> None:
    """Connection errors, 408, 429 and 5xx have a delay."""
    assert retry_delay(failure, 1) is not None


@pytest.mark.parametrize(
    "failure",
    [
        InvalidRequestError("no", status=400),
        ConfigurationError("no"),
        StreamProtocolError("no"),
        StreamTimeoutError("no"),
        IncompleteStreamError("no"),
        AbortError("no"),
        KeyError("no"),
    ],
)
def test_a_permanent_failure_is_not_retried(failure: Exception) -> None:
    """Errors of the caller or the protocol, a timeout and a cancel have no delay."""
    assert retry_delay(failure, 1) is None


def test_the_delay_doubles_up_to_a_limit_with_jitter_on_top() -> None:
    """Each attempt waits twice as long as the one before, at most 8 s, plus up to 20 %."""
    for attempt, least in enumerate([0.5, 1, 2, 4, 8, 8, 8], start=1):
        delays = {delay_of(GatewayConnectionError("reset"), attempt) for _ in range(200)}
        assert least <= min(delays) < max(delays) <= least * 1.2


def delay_of(failure: Exception, attempt: int) -> float:
    """Return the delay, and fail without one."""
    delay = retry_delay(failure, attempt)
    assert delay is not None
    return delay


@pytest.mark.parametrize(
    "failure",
    [
        RateLimitError("x", status=429, retry_after=20.0),
        ProviderError("x", kind="rate_limit", retry_after=20.0),
    ],
)
def test_a_hint_is_a_lower_bound_with_jitter_on_top(failure: Exception) -> None:
    """The wait is never shorter than the response or the provider asks for, and jitter is added."""
    delays = {delay_of(failure, 1) for _ in range(200)}
    assert 20.0 <= min(delays) < max(delays) <= 24.0


@pytest.mark.parametrize(
    ("seconds", "tried"), [(60.0, True), (60.1, False)], ids=["a minute", "more"]
)
def test_a_requested_wait_of_more_than_a_minute_is_not_retried(seconds: float, tried: bool) -> None:
    """If more than a minute is requested, the error is raised at once."""
    for failure in (
        RateLimitError("x", status=429, retry_after=seconds),
        ProviderError("x", kind="transient", retry_after=seconds),
    ):
        assert (retry_delay(failure, 1) is not None) is tried


@pytest.mark.parametrize(
    ("kind", "tried"),
    [
        ("rate_limit", True),
        ("transient", True),
        ("usage_limit", False),
        ("context_overflow", False),
        ("content_blocked", False),
        ("auth", False),
        ("timeout", False),
        ("other", False),
    ],
)
def test_a_failure_of_the_provider_is_retried_by_its_kind(kind: Any, tried: bool) -> None:
    """Only a rate limit and a transient failure are retried, and only the first of a turn."""
    failure = ProviderError("x", kind=kind)
    assert (retry_delay(failure, 1) is not None) is tried
    assert retry_delay(failure, 1, provider_failures=1) is None


def test_a_request_that_waited_long_for_its_headers_is_not_sent_again() -> None:
    """After 30 s of waiting for headers there is no retry: the model may have been thinking."""
    turn = Turn(Model("y", "x"), StreamOptions(max_retries=1))
    failure = GatewayServerError("busy", status=503)
    turn.begin_attempt(Request("POST", "http://x"), may_retry=True)
    turn.connected()
    assert turn.retry_delay(failure) is not None
    assert turn._sent_at is not None
    turn._sent_at -= 30.1
    assert turn.retry_delay(failure) is None
    turn.finish()


def test_a_permanent_connection_failure_is_not_retried() -> None:
    """A failure such as a certificate or a proxy's 407, marked as final, is raised at once."""
    failure = GatewayConnectionError("certificate verify failed")
    failure.retryable = False
    assert retry_delay(failure, 1) is None
