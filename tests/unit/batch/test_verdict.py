"""The meaning of a failed attempt for a batch."""

from __future__ import annotations

import pytest

from pi_native import AssistantMessage, TextContent, errors
from pi_native._batch.rules.verdict import Final, Refused, Retry, Verdict, verdict_of


def provider(kind: errors.FailureKind, wait: float | None = None) -> errors.ProviderError:
    """Return a provider's failure without content."""
    return errors.ProviderError("x", message=AssistantMessage(), kind=kind, retry_after=wait)


CASES: list[tuple[BaseException, Verdict]] = [
    (errors.RateLimitError("x", status=429), Refused()),
    (errors.RateLimitError("x", status=429, retry_after=7.0), Refused(7.0)),
    (errors.GatewayServerError("x", status=503, retry_after=2.0), Refused(2.0)),
    (errors.GatewayServerError("x", status=503), Retry()),
    (errors.InvalidRequestError("x", status=408), Retry()),
    (errors.InvalidRequestError("x", status=404), Final()),
    (errors.AuthenticationError("x", status=401, retry_after=1.0), Final()),
    (errors.GatewayConnectionError("x", phase="connect"), Retry()),
    (errors.GatewayConnectionError("x", phase="headers"), Retry()),
    (errors.StreamTimeoutError("x"), Final()),
    (errors.StreamProtocolError("x"), Final()),
    (errors.ConfigurationError("x"), Final()),
    (provider("rate_limit"), Refused()),
    (provider("rate_limit", 90.0), Refused(90.0)),
    (provider("transient"), Retry(1)),
    (provider("transient", 3.0), Refused(3.0)),
    (provider("usage_limit", 3.0), Final()),
    (provider("auth"), Final()),
    (provider("context_overflow"), Final()),
    (provider("content_blocked"), Final()),
    (provider("timeout"), Final()),
    (provider("other"), Final()),
    (ValueError("x"), Final()),
]


@pytest.mark.parametrize(
    ("error", "verdict"), CASES, ids=lambda value: repr(value) if not isinstance(value, str) else ""
)
def test_a_failure_is_refused_retried_or_final(error: BaseException, verdict: Verdict) -> None:
    """A failure without content is judged by its class, status, kind and hint."""
    assert verdict_of(error, 0.1) == verdict


@pytest.mark.parametrize("error", [error for error, _ in CASES], ids=repr)
def test_a_failure_after_content_is_final(error: BaseException) -> None:
    """Content is billed, so that a turn which had some is not sent again."""
    error.partial = AssistantMessage([TextContent("So far")])  # type: ignore[attr-defined]
    try:
        assert verdict_of(error, 0.1) == Final()
    finally:
        error.partial = None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (errors.GatewayConnectionError("x", phase="connect"), Retry()),
        (errors.GatewayConnectionError("x", phase="headers"), Final()),
        (errors.GatewayServerError("x", status=502), Final()),
        (errors.RateLimitError("x", status=429), Refused()),
    ],
    ids=repr,
)
def test_a_request_that_waited_long_for_its_headers_is_not_sent_again(
    error: BaseException, verdict: Verdict
) -> None:
    """After 30 seconds the model has been thinking, and that is billed."""
    assert verdict_of(error, 31.0) == verdict
