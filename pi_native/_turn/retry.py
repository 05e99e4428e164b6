"""The rules for a retry: which failures permit one, and the delay before it. No clock is used.

Content is billed, so only a turn that failed before any content is retried. The caller of these
rules checks that.
"""

from __future__ import annotations

import random

from ..errors import AuthGatewayError, GatewayConnectionError, ProviderError

_BASE_SECONDS = 0.5
_MAX_SECONDS = 8.0
_JITTER = 0.2  # without it, 20 turns refused at once were retried within 0.08 s
# If the gateway asks for a longer wait, the error is raised at once.
_MAX_RETRY_AFTER = 60.0
# After a longer wait the model may have been thinking, and that is billed.
MAX_HEADERS_SECONDS = 30.0


def retry_delay(failure: BaseException, attempt: int, provider_failures: int = 0) -> float | None:
    """Return the seconds to wait before another attempt; None if no retry is permitted.

    `attempt` is the number of the failed attempt, from 1. The wait grows exponentially, and is
    never shorter than the response or the provider asks for. Jitter adds up to 20 %.
    The gateway itself has tried a provider ten times when it reports a failure, so only the
    first failure of the provider is retried (`provider_failures` counts those before this one).
    """
    asked = 0.0
    if isinstance(failure, (AuthGatewayError, ProviderError)):
        if not failure.retryable or (isinstance(failure, ProviderError) and provider_failures):
            return None
        asked = failure.retry_after or 0.0
    elif not isinstance(failure, GatewayConnectionError) or not failure.retryable:
        return None
    if asked > _MAX_RETRY_AFTER:
        return None
    return max(asked, _backoff(attempt)) * random.uniform(1.0, 1.0 + _JITTER)


def _backoff(attempt: int) -> float:
    return min(_MAX_SECONDS, _BASE_SECONDS * 2.0 ** (attempt - 1))
