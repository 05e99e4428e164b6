"""What an answer that is not a stream means: the gateway's errors, and those of proxies before it.

The gateway's protocol handlers say `{"error": {"type", "message"}}`, the server around them
`{"error": "unauthorized"}`, and what stands in between may say anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import AuthGatewayError, error_class_for_status
from .strict_json import parse_json

MAX_BODY_BYTES = 1024 * 1024
_MAX_MESSAGE_CHARACTERS = 4096


def refusal(
    status: int,
    reason: str,
    headers: Mapping[str, str],
    content: bytes,
    *,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> AuthGatewayError:
    """The error for an answer outside of 2xx. `retry_after` is in seconds."""
    body = _decode(content)
    message, code = _read_envelope(status, reason, body)
    return error_class_for_status(status)(
        message,
        status=status,
        headers=headers,
        code=code,
        body=body,
        request_id=request_id,
        retry_after=retry_after,
    )


def _decode(content: bytes) -> Any:
    text = content.decode("utf-8", "replace")
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return text


def _read_envelope(status: int, reason: str, body: Any) -> tuple[str, str | None]:
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, (dict, list)):
        return _read_error(status, error)
    text = body if isinstance(body, str) else _compact(body)
    return f"auth-gateway {status}: {_shorten(text or reason)}", None


def _read_error(status: int, error: Any) -> tuple[str, str | None]:
    fields = error if isinstance(error, dict) else {}
    message, code = fields.get("message"), fields.get("type")
    return (
        _shorten(message) if isinstance(message, str) else f"auth-gateway {status}",
        code if isinstance(code, str) else None,
    )


def _compact(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def _shorten(text: str) -> str:
    if len(text) <= _MAX_MESSAGE_CHARACTERS:
        return text
    return text[:_MAX_MESSAGE_CHARACTERS] + "…"
