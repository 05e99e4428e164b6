"""Whether to try a turn again, and how long to wait before: pure rules, no clock, no sleeping.

Only what failed before any content came is tried again; that is for the caller of these rules to
know, since content is billed.
"""

from __future__ import annotations

import random

from .._types.messages import AssistantMessage
from ..errors import AuthGatewayError, GatewayConnectionError

_BASE_SECONDS = 0.5
_MAX_SECONDS = 8.0
# A gateway that asks for more patience than this is believed, and the error is handed on at once.
_MAX_RETRY_AFTER = 60.0


def retry_delay(failure: BaseException, attempt: int) -> float | None:
    """The seconds to wait before another attempt; None if there should be none.

    `attempt` is the number of the one that failed, from 1. Exponential with jitter, and never less
    than what the answer's `Retry-After` asks for.
    """
    asked = 0.0
    if isinstance(failure, AuthGatewayError):
        if not failure.retryable:
            return None
        asked = failure.retry_after or 0.0
    elif not isinstance(failure, GatewayConnectionError) or not failure.retryable:
        return None
    if asked > _MAX_RETRY_AFTER:
        return None
    return max(asked, _backoff(attempt))


def may_succeed_later(message: AssistantMessage) -> bool:
    """Whether the provider's failure is one that may pass: 408, 429, or 5xx."""
    status = message.error_status
    return message.stop_reason == "error" and (
        status in (408, 429) or (status is not None and 500 <= status <= 599)
    )


def turn_delay(attempt: int) -> float:
    """The seconds to wait before another attempt at a turn that the provider failed."""
    return _backoff(attempt)


def _backoff(attempt: int) -> float:
    longest = min(_MAX_SECONDS, _BASE_SECONDS * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)
