"""A turn that the provider failed, as an error: its kind, its wait, and its words.

The gateway reports such a failure as a message. `error_id` is a 32-bit number of flags that
classifies it more precisely than `error_status`, which errors inside a provider's 200 do not have.
The provider's own words are often inside a JSON object, behind a status and in front of the name of
a file on the gateway's host; the error says the words first.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from .._hints import provider_hint
from ..errors import FailureKind, ProviderError

if TYPE_CHECKING:
    from .messages import AssistantMessage

_FIRST_FLAG = 0x1000  # an id below is an HTTP status
_EMPTY_RESPONSE = 0x2000
_ACCOUNT_POLICY = 0x4000
_CONTENT_BLOCKED = 0x8000
_TRANSIENT = 0x20000
_TIMEOUT = 0x40000
_USAGE_LIMIT = 0x80000
_CONTEXT_OVERFLOW = 0x800000
_AUTH_FAILED = 0x1000000

# The first match counts: a timeout has the transient flag as well.
_KINDS: tuple[tuple[int, FailureKind], ...] = (
    (_USAGE_LIMIT, "usage_limit"),
    (_AUTH_FAILED, "auth"),
    (_CONTEXT_OVERFLOW, "context_overflow"),
    (_CONTENT_BLOCKED | _ACCOUNT_POLICY, "content_blocked"),
    (_TIMEOUT, "timeout"),
)
_RETRY_AFTER = re.compile(r"\bretry-after-ms=(\d+(?:\.\d+)?)")
_LONGEST_TEXT = 4096


def failure_of(message: AssistantMessage) -> ProviderError:
    """Return the error for a failed message."""
    text = message.error_message or ""
    kind = failure_kind(message.error_id, message.error_status)
    words = provider_words(text) or f"the turn ended with stop reason {message.stop_reason!r}"
    if message.stop_reason == "aborted":
        words = f"the turn was cancelled: {words}"
    error = ProviderError(
        words,
        message=message,
        kind=kind,
        retry_after=retry_after(text),
        hint=provider_hint(kind),
    )
    error.request_id = message.request_id
    return error


def failure_kind(error_id: float | None, error_status: float | None) -> FailureKind:
    """Return the kind of a failure from its id, else from its HTTP status."""
    flags = int(error_id or 0) & 0xFFFFFFFF  # it is signed on the wire
    status = error_status
    if flags < _FIRST_FLAG:
        flags, status = 0, flags or error_status
    for flag, kind in _KINDS:
        if flags & flag:
            return kind
    if status == 429:
        return "rate_limit"
    server_failed = status is not None and (status == 408 or 500 <= status <= 599)
    if flags & (_TRANSIENT | _EMPTY_RESPONSE) or server_failed:
        return "transient"
    return "other"


def retry_after(text: str) -> float | None:
    """Return the wait in seconds that an error message asks for, or None."""
    found = _RETRY_AFTER.findall(text)
    return max(map(float, found)) / 1000 if found else None


def provider_words(text: str) -> str:
    """Return an error message with the provider's own words first, and without JSON."""
    start = text.find("{")
    words = _words_in(text[start:]) if start >= 0 else None
    if not words:
        return text[:_LONGEST_TEXT]
    status = text[:start].strip(" :\n\t-")
    return f"{words} ({status})"[:_LONGEST_TEXT] if status else words[:_LONGEST_TEXT]


def _words_in(text: str) -> str | None:
    """Return the message inside a JSON object that the text begins with, or None."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return message_in(value)


def message_in(value: Any) -> str | None:
    """Return the text in an error object: its `message`, or that of its `error`."""
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    candidates = (
        inner.get("message") if isinstance(inner, dict) else inner,
        value.get("message"),
    )
    return next((text for text in candidates if isinstance(text, str) and text), None)
