"""Every way a turn can fail, as exceptions that say whose turn it is to act.

You (`ConfigurationError`), the road (`GatewayConnectionError`), the gateway (`AuthGatewayError`),
the clock (`StreamTimeoutError`), the wire (`StreamProtocolError`, `IncompleteStreamError`), the
provider (`ProviderError`), or the caller who called it off (`AbortError`).

All of them can be pickled: each is built from its message alone, and what it knows besides lives
in its `__dict__`, which pickle carries over. None of them ever holds the gateway's bearer token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ._types.messages import AssistantMessage

TimeoutPhase = Literal["connect", "headers", "first_event", "idle", "total"]
ConnectionPhase = Literal["connect", "headers", "body"]


class PiNativeError(Exception):
    """Base of everything this package raises on its own account.

    `partial` is the newest snapshot of the message that had arrived on this stream before it
    failed, or None when nothing had.

        >>> try:
        ...     Client().complete("acme/broken", "Why?")
        ... except PiNativeError as error:
        ...     print(f"{error}; so far: {error.partial.text!r}")
        overloaded; so far: 'Because'
    """

    partial: AssistantMessage | None = None


class ConfigurationError(PiNativeError, ValueError):
    """The call could not be made as it was set up; nothing was sent."""


class AbortError(PiNativeError):
    """The caller called it off. `reason` is what was given to `abort()`."""

    def __init__(self, message: str = "aborted", *, reason: object = None) -> None:
        super().__init__(message)
        self.reason = reason


class GatewayConnectionError(PiNativeError, ConnectionError):
    """The road to the gateway failed: DNS, refused, TLS, reset, cut short, or not HTTP.

    `phase` is "connect" (DNS, TCP, TLS and proxies), "headers" (sent, no answer yet) or "body".
    """

    def __init__(self, message: str, *, phase: ConnectionPhase = "connect") -> None:
        super().__init__(message)
        self.phase = phase


class AuthGatewayError(PiNativeError):
    """The gateway, or a proxy before it, answered with something else than a stream.

    `status` is the HTTP status, `headers` the answer's headers (names without case), `code` the
    machine-readable type when the body had one, `body` the body decoded from JSON (else its text),
    `request_id` what to quote to the gateway's operator, and `retry_after` the seconds the answer
    asked to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
        body: Any = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers: Mapping[str, str] = headers if headers is not None else {}
        self.code = code
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later: 408, 429 and 5xx."""
        return self.status in (408, 429) or 500 <= self.status <= 599


class AuthenticationError(AuthGatewayError):
    """401 or 403: the bearer token is missing or wrong, or the gateway has no credential."""


class RateLimitError(AuthGatewayError):
    """429: too many requests; `retry_after` may say for how long."""


class InvalidRequestError(AuthGatewayError):
    """Any other 4xx: the request as it is will not be answered, for example an unknown model."""


class GatewayServerError(AuthGatewayError):
    """5xx: the gateway, or what is behind it, broke."""


class StreamTimeoutError(PiNativeError, TimeoutError):
    """A deadline passed. `phase` says which, `limit` how long it was, in seconds."""

    def __init__(
        self, message: str, *, phase: TimeoutPhase = "total", limit: float | None = None
    ) -> None:
        super().__init__(message)
        self.phase = phase
        self.limit = limit


class StreamProtocolError(PiNativeError):
    """What arrived is not the protocol: bad JSON, an oversized event, a page of HTML."""


class DecodeError(StreamProtocolError):
    """JSON that does not fit its type. `problems` names every fault, each with its path."""

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class IncompleteStreamError(PiNativeError):
    """The stream ended in good order, but before the message was complete."""


class ProviderError(PiNativeError):
    """The provider failed the turn. `message` is the failed message, with what it had said."""

    def __init__(self, text: str, *, message: AssistantMessage | None = None) -> None:
        super().__init__(text)
        self.message = message
        self.partial = message


_BY_STATUS: dict[int, type[AuthGatewayError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    429: RateLimitError,
}


def error_class_for_status(status: int) -> type[AuthGatewayError]:
    """The class for an HTTP status; the base class for what is neither 4xx nor 5xx."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status <= 499:
        return InvalidRequestError
    if 500 <= status <= 599:
        return GatewayServerError
    return AuthGatewayError
