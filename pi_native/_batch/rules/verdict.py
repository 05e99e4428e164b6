"""The meaning of a failed attempt for a batch: refused, worth a retry, or final. Pure."""

from __future__ import annotations

import attrs

from ...errors import AuthGatewayError, GatewayConnectionError, ProviderError

# The model has been thinking all that time, and that is billed.
_LONGEST_WAIT_FOR_HEADERS = 30.0
# The gateway itself has tried a failed provider ten times before it reports an error event.
_RETRIES_OF_ERROR_EVENTS = 1


@attrs.frozen
class Refused:
    """The gateway or the provider asks for fewer requests. `wait` is the hint in seconds."""

    wait: float | None = None


@attrs.frozen
class Retry:
    """The same request may succeed later, at most `limit` times. `wait` is the hint in seconds."""

    limit: int | None = None


@attrs.frozen
class Final:
    """The same request fails again, or its content is billed already."""


Verdict = Refused | Retry | Final


def verdict_of(error: BaseException, seconds: float) -> Verdict:
    """Return what a failed attempt that took `seconds` means."""
    if _has_content(error):
        return Final()
    if isinstance(error, ProviderError):
        return _provider_verdict(error)
    if isinstance(error, AuthGatewayError):
        if not error.retryable:
            return Final()
        if error.status == 429 or error.retry_after is not None:
            return Refused(error.retry_after)
        return Final() if seconds > _LONGEST_WAIT_FOR_HEADERS else Retry()
    if isinstance(error, GatewayConnectionError):
        waited = error.phase != "connect" and seconds > _LONGEST_WAIT_FOR_HEADERS
        return Final() if waited or not error.retryable else Retry()
    return Final()


def _provider_verdict(error: ProviderError) -> Verdict:
    if error.kind == "rate_limit":
        return Refused(error.retry_after)
    if error.kind != "transient":
        return Final()
    if error.retry_after is not None:
        return Refused(error.retry_after)
    return Retry(_RETRIES_OF_ERROR_EVENTS)


def _has_content(error: BaseException) -> bool:
    """Return True when content had arrived before the failure: it is billed."""
    partial = getattr(error, "partial", None)
    return bool(getattr(partial, "content", None))
