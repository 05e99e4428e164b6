"""Failures in one line: the text of the error, its status or time limit, and its hint."""

from __future__ import annotations

import pytest

from pi_native import (
    AssistantMessage,
    AuthenticationError,
    GatewayConnectionError,
    InvalidRequestError,
    PiNativeError,
    ProviderError,
    RateLimitError,
    StreamTimeoutError,
)
from pi_native._cli.console import explain, what_happened

FAILURES = [
    (PiNativeError("oh"), "oh"),
    (GatewayConnectionError("cut", phase="body"), "cut"),
    (AuthenticationError("auth-gateway 401: no", status=401), "auth-gateway 401: no"),
    (InvalidRequestError("too long", status=400), "too long (HTTP 400)"),
    (RateLimitError("slow down", status=429, retry_after=7.0), "slow down (HTTP 429)"),
    (StreamTimeoutError("stalled", phase="idle", limit=0.5), "stalled (0.5 s)"),
    (StreamTimeoutError("stalled for 0.5 s", limit=0.5), "stalled for 0.5 s"),
    (StreamTimeoutError("stalled"), "stalled"),
    (ProviderError("overloaded"), "the turn failed: overloaded"),
    (
        ProviderError("overloaded", message=AssistantMessage(error_status=529)),
        "the turn failed: overloaded (HTTP 529)",
    ),
]


@pytest.mark.parametrize(("failure", "words"), FAILURES)
def test_a_failure_is_explained(failure: PiNativeError, words: str) -> None:
    """The line has the status or the limit, unless the text has it already."""
    assert explain(failure) == words


def test_the_hint_is_last() -> None:
    """The status belongs to the text of the error, not to its hint."""
    failure = InvalidRequestError("Unknown model", status=404, hint="list them")
    assert what_happened(failure) == "Unknown model (HTTP 404)"
    assert explain(failure) == "Unknown model (HTTP 404); list them"


def test_a_limit_in_the_hint_is_not_repeated() -> None:
    """A hint that says how long the client waited is enough."""
    failure = StreamTimeoutError("stalled", limit=0.5, hint="waited 0.5 s")
    assert explain(failure) == "stalled; waited 0.5 s"
