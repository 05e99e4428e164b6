"""Failures in one line, with advice for errors without a hint."""

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
from pi_native._cli.console import explain

PROBLEMS = [
    (PiNativeError("oh"), "oh"),
    (GatewayConnectionError("cut", phase="body"), "cut"),
    (
        AuthenticationError("auth-gateway 401: no", status=401),
        "auth-gateway 401: no; "
        "give the gateway's key in PI_NATIVE_API_KEY, or its file with --api-key-file; "
        "`pi-native doctor` shows where the current one comes from",
    ),
    (
        AuthenticationError("No credential", status=401, code="authentication_error"),
        "No credential (HTTP 401); "
        "your key was accepted; the gateway has no credential for this provider",
    ),
    (
        InvalidRequestError("Unknown model: a/b", status=404, code="invalid_request_error"),
        "Unknown model: a/b (HTTP 404); `pi-native models` lists the models",
    ),
    (
        InvalidRequestError("auth-gateway 404: nothing here", status=404),
        "auth-gateway 404: nothing here; "
        "is this the URL of a pi-native gateway? See --base-url and PI_NATIVE_BASE_URL",
    ),
    (InvalidRequestError("too long", status=400), "too long (HTTP 400)"),
    (
        RateLimitError("slow down", status=429, retry_after=7.0),
        "slow down (HTTP 429); try again in 7 s",
    ),
    (RateLimitError("slow down", status=429), "slow down (HTTP 429)"),
    (StreamTimeoutError("stalled"), "stalled"),
    (ProviderError("overloaded"), "the turn failed: overloaded"),
    (
        ProviderError("overloaded", message=AssistantMessage(error_status=529)),
        "the turn failed: overloaded (HTTP 529)",
    ),
]


@pytest.mark.parametrize(("problem", "words"), PROBLEMS)
def test_a_failure_is_explained(problem: PiNativeError, words: str) -> None:
    """The line says what happened, and what the user can do about it."""
    assert explain(problem) == words


def test_a_hint_replaces_the_advice() -> None:
    """An error with a hint has it in its text; no second advice follows."""
    problem = GatewayConnectionError("cannot reach it", hint="start it")
    assert explain(problem) == "cannot reach it; start it"
