"""Exceptions that callers catch, one class for each party that can act on the failure.

The caller (`ConfigurationError`, `AbortError`), the connection (`GatewayConnectionError`), the
gateway (`AuthGatewayError`), a time limit (`StreamTimeoutError`), the protocol
(`StreamProtocolError`, `IncompleteStreamError`), the provider (`ProviderError`), or a limit of a
batch, a tool or an extraction.

Every error can be pickled: it is rebuilt from its text alone, and its attributes are in its
`__dict__`, which pickle carries over. No error holds the gateway's bearer token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ._types.messages import AssistantMessage

TimeoutPhase = Literal["connect", "headers", "first_event", "idle", "total"]
ConnectionPhase = Literal["connect", "headers", "body"]
FailureKind = Literal[
    "rate_limit",
    "usage_limit",
    "context_overflow",
    "content_blocked",
    "auth",
    "transient",
    "timeout",
    "other",
]
_LONGEST_RETRY_AFTER = 60.0
"""A provider that asks for a longer wait, in seconds, is not asked again."""


class PiNativeError(Exception):
    """Base class of the package's errors.

    `partial` is the newest snapshot of the message that had arrived on this stream before it
    failed, or None. `request_id` is the id of the response that the turn had, or None. `hint` says
    what to do about the failure, or is None; the text of the error ends with it.

        >>> try:
        ...     Client().complete("acme/broken", "Why?")
        ... except PiNativeError as error:
        ...     print(f"{error}; so far: {error.partial.text!r}")
        overloaded; so far: 'Because'
    """

    partial: AssistantMessage | None = None
    request_id: str | None = None
    hint: str | None = None

    def __init__(self, *args: object, hint: str | None = None) -> None:
        super().__init__(*args)
        if hint is not None:
            self.hint = hint

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of every frame."""
        from ._notebook.short_traceback import short_traceback  # only IPython needs it

        return short_traceback(self)

    def __str__(self) -> str:
        """Return the text, with the hint after it."""
        text = super().__str__()
        return f"{text}; {self.hint}" if self.hint else text


class ConfigurationError(PiNativeError, ValueError):
    """The call cannot be made with these settings; nothing was sent."""


class ConversationBusyError(PiNativeError, RuntimeError):
    """Another turn of the same conversation is still running; nothing was sent."""


class AbortError(PiNativeError):
    """The caller cancelled the turn. `reason` is the argument of `abort()`."""

    def __init__(self, message: str = "aborted", *, reason: object = None) -> None:
        super().__init__(message)
        self.reason = reason


class GatewayConnectionError(PiNativeError, ConnectionError):
    """The connection to the gateway failed: DNS, refused, TLS, reset, cut short, or not HTTP.

    `phase` is "connect" (DNS, TCP, TLS and proxies), "headers" (sent, no response yet) or "body".
    `retryable` is False for a failure that time does not heal, such as a bad certificate.
    """

    retryable: bool = True
    phase: ConnectionPhase

    def __init__(
        self, message: str, *, phase: ConnectionPhase = "connect", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.phase = phase


class AuthGatewayError(PiNativeError):
    """The gateway, or a proxy in front of it, refused the request.

    `status` is the HTTP status, `headers` the response's headers (names compared without case),
    `code` the machine-readable type when the body has one, `body` the body decoded from JSON (else
    its text), `request_id` the id to quote to the gateway's operator, and `retry_after` the seconds
    that the response asks to wait, or None.
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
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.headers: Mapping[str, str] = headers if headers is not None else {}
        self.code = code
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """True when the same request may succeed later: 408, 429 and 5xx."""
        return self.status in (408, 429) or 500 <= self.status <= 599


class AuthenticationError(AuthGatewayError):
    """401 or 403: the bearer token is missing or wrong, or the gateway has no credential."""


class RateLimitError(AuthGatewayError):
    """429: too many requests; `retry_after` is the wait that the response asks for."""


class InvalidRequestError(AuthGatewayError):
    """Any other 4xx: the request is refused as it is, for example for an unknown model."""


class GatewayServerError(AuthGatewayError):
    """5xx: the gateway, or a server behind it, failed."""


class StreamTimeoutError(PiNativeError, TimeoutError):
    """A time limit was exceeded. `phase` names the limit, `limit` is its length in seconds."""

    phase: TimeoutPhase
    limit: float | None

    def __init__(
        self,
        message: str,
        *,
        phase: TimeoutPhase = "total",
        limit: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.phase = phase
        self.limit = limit


class StreamProtocolError(PiNativeError):
    """The response does not follow the protocol: bad JSON, an oversized event, an HTML page."""


class DecodeError(StreamProtocolError):
    """JSON that does not fit its type. `problems` lists every problem, each with its path."""

    def __init__(
        self, message: str, *, problems: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems: tuple[str, ...] = tuple(problems)


class IncompleteStreamError(PiNativeError):
    """The response ended in good order, but before the message was complete."""


class ProviderError(PiNativeError):
    """The provider failed the turn.

    * `message` is the failed message, with the content that had arrived.
    * `kind` classifies the failure: "rate_limit", "usage_limit", "context_overflow",
      "content_blocked", "auth", "transient", "timeout" or "other".
    * `retry_after` is the wait in seconds that the provider asks for, or None.
    """

    kind: FailureKind

    def __init__(
        self,
        text: str,
        *,
        message: AssistantMessage | None = None,
        kind: FailureKind = "other",
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(text, hint=hint)
        self.message = message
        self.partial = message
        self.kind = kind
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """True for a rate limit or a transient failure with a wait of at most 60 s."""
        passing = self.kind in ("rate_limit", "transient")
        return passing and (self.retry_after or 0.0) <= _LONGEST_RETRY_AFTER


class BudgetError(PiNativeError):
    """A batch reached its budget; raised after all results that were paid for.

    `spent` is the `Budget` that was used, `left` the number of prompts that were not sent, and
    `results` the results of the batch.
    """

    def __init__(
        self, message: str, *, spent: Any = None, left: int = 0, results: Sequence[Any] = ()
    ) -> None:
        super().__init__(message)
        self.spent = spent
        self.left = left
        self.results = results


class ExtractionError(PiNativeError):
    """The model's answer does not fit the requested type, after all corrections.

    `problems` is a list of pairs of a path and a text, `attempts` the number of requests, and
    `partial` the last message.
    """

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[tuple[str, str]] = (),
        attempts: int = 0,
        partial: AssistantMessage | None = None,
    ) -> None:
        super().__init__(message)
        self.problems: list[tuple[str, str]] = list(problems)
        self.attempts = attempts
        self.partial: AssistantMessage | None = partial


class ToolError(PiNativeError):
    """Raised by a tool: its text becomes the tool's result, which is marked as an error."""


class ToolRoundsError(PiNativeError):
    """The model still calls tools after the allowed number of rounds.

    Also raised when the model repeats a call that fails. The calls of the last message are answered
    as not run, and the conversation can be continued. `rounds` is the number of requests that were
    made, `partial` the last message.
    """

    def __init__(
        self,
        message: str,
        *,
        rounds: int = 0,
        partial: AssistantMessage | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.rounds = rounds
        self.partial: AssistantMessage | None = partial


_BY_STATUS: dict[int, type[AuthGatewayError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    429: RateLimitError,
}


def error_class_for_status(status: int) -> type[AuthGatewayError]:
    """Return the class for an HTTP status; the base class for what is neither 4xx nor 5xx."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status <= 499:
        return InvalidRequestError
    if 500 <= status <= 599:
        return GatewayServerError
    return AuthGatewayError
