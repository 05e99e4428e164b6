"""Whether to try a turn again, and how long to wait before: pure rules, without a clock.

Content is billed, so only a turn that failed before any content is tried again; the caller of
these rules checks that.
"""

from __future__ import annotations

import random

from ..errors import AuthGatewayError, GatewayConnectionError, ProviderError

_BASE_SECONDS = 0.5
_MAX_SECONDS = 8.0
_JITTER = 0.2  # 20 turns that were refused at once came back within 0.08 s of each other without
# A gateway that asks for a longer wait is believed, and the error is raised at once.
_MAX_RETRY_AFTER = 60.0
# The model has been thinking for so long, and that is billed.
MAX_HEADERS_SECONDS = 30.0


def retry_delay(failure: BaseException, attempt: int, provider_failures: int = 0) -> float | None:
    """Return the seconds to wait before another attempt; None if there should be none.

    `attempt` is the number of the one that failed, from 1. The wait grows exponentially, and is
    never shorter than what the response or the provider asks for; up to 20 % come on top of it.
    The gateway itself has tried a provider ten times when it reports a failure, so of failures by
    the provider (`provider_failures` before this one) only the first is tried again.
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
