"""When a turn is tried again, and after how long."""

from __future__ import annotations

import pytest

from pi_native import (
    AbortError,
    AssistantMessage,
    ConfigurationError,
    GatewayConnectionError,
    GatewayServerError,
    IncompleteStreamError,
    InvalidRequestError,
    RateLimitError,
    StreamProtocolError,
    StreamTimeoutError,
)
from pi_native._turn.retry import may_succeed_later, retry_delay, turn_delay


@pytest.mark.parametrize(
    "failure",
    [
        GatewayConnectionError("reset"),
        RateLimitError("slow down", status=429),
        GatewayServerError("busy", status=503),
        InvalidRequestError("too slow", status=408),
    ],
)
def test_what_may_pass_is_tried_again(failure: Exception) -> None:
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
def test_what_would_fail_again_is_not_tried_again(failure: Exception) -> None:
    """Neither the caller's mistakes, nor the protocol's, nor a deadline or a cancel have one."""
    assert retry_delay(failure, 1) is None


def test_the_delay_doubles_with_jitter_up_to_a_limit() -> None:
    """Each attempt waits up to twice as long as the one before, never longer than 8 s."""
    for attempt, longest in enumerate([0.5, 1, 2, 4, 8, 8, 8], start=1):
        delays = {turn_delay(attempt) for _ in range(200)}
        assert longest / 2 <= min(delays) < max(delays) <= longest


def test_retry_after_is_a_lower_bound() -> None:
    """The wait is never shorter than what the answer asked for."""
    assert retry_delay(RateLimitError("x", status=429, retry_after=20.0), 1) == 20.0


def test_a_gateway_that_asks_for_too_much_patience_is_not_waited_for() -> None:
    """Beyond a minute the error is handed on at once."""
    assert retry_delay(RateLimitError("x", status=429, retry_after=61.0), 1) is None


@pytest.mark.parametrize(
    ("stop_reason", "status", "later"),
    [
        ("error", 429, True),
        ("error", 408, True),
        ("error", 500, True),
        ("error", 599, True),
        ("error", 400, False),
        ("error", None, False),
        ("aborted", 503, False),
        ("stop", 503, False),
    ],
)
def test_a_providers_failure_may_pass_by_its_status(
    stop_reason: str, status: int | None, later: bool
) -> None:
    """The status that the provider answered decides, and only for a failed turn."""
    message = AssistantMessage([], stop_reason=stop_reason, error_status=status)  # type: ignore[arg-type]
    assert may_succeed_later(message) is later
