"""Responses that are not a stream as errors: those of the gateway, and of proxies before it.

The gateway's protocol handlers send `{"error": {"type", "message"}}`, the server around them
`{"error": "unauthorized"}`, and a proxy in between may send any body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .._hints import NO_GATEWAY_ANSWERED, PROXY_PASSWORD, redirect_hint, refusal_hint
from ..errors import AuthGatewayError, error_class_for_status
from .strict_json import parse_json

MAX_BODY_BYTES = 1024 * 1024
_MAX_MESSAGE_CHARACTERS = 4096
_MAX_TITLE_CHARACTERS = 200
_PAGE = re.compile(r"\s*(?:<!doctype html|<html|<\?xml|<head|<body|<h1)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_USER_INFO = re.compile(r"//[^/@]*@")
_REQUEST_PATH = re.compile(r"/(?:v1/.*|healthz.*)?$")
_PLAIN_ON_TLS = re.compile(r"HTTP request (?:was sent )?to (?:an )?HTTPS", re.IGNORECASE)


def refusal(
    status: int,
    reason: str,
    headers: Mapping[str, str],
    content: bytes,
    *,
    request_id: str | None = None,
    retry_after: float | None = None,
    authorization: str | None = None,
) -> AuthGatewayError:
    """Return the error for a response outside of 2xx.

    `retry_after` is in seconds. `authorization` is the value of that header of the request, which
    is not part of the error.
    """
    body = _decode(content)
    message, code = _read_envelope(status, reason, body)
    target = _redirect_target(status, headers)
    if target is not None:
        message = f"auth-gateway {status}: redirects to {target}"
    elif is_page(body):
        message = f"auth-gateway {status}: an HTML page{_title(body)} instead of JSON"
    return error_class_for_status(status)(
        message,
        status=status,
        headers=headers,
        code=code,
        body=body,
        request_id=request_id,
        retry_after=retry_after,
        hint=_hint(status, target, body) or refusal_hint(status, code, authorization, retry_after),
    )


def is_page(body: object) -> bool:
    """Return True for the text of an HTML page."""
    return isinstance(body, str) and _PAGE.match(body) is not None


def _title(page: str) -> str:
    found = _TITLE.search(page)
    title = " ".join(found.group(1).split())[:_MAX_TITLE_CHARACTERS] if found else ""
    return f' titled "{title}"' if title else ""


def _redirect_target(status: int, headers: Mapping[str, str]) -> str | None:
    """Return the address that a redirect names, without user and password."""
    named = next((headers[name] for name in headers if name.lower() == "location"), "").strip()
    if not 300 <= status <= 399 or not named:
        return None
    return _USER_INFO.sub("//", named)[:_MAX_TITLE_CHARACTERS]


def _hint(status: int, target: str | None, body: object) -> str | None:
    if target is not None:
        return redirect_hint(_REQUEST_PATH.sub("", target))
    if status == 407:
        return PROXY_PASSWORD
    if isinstance(body, str) and status == 400 and _PLAIN_ON_TLS.search(body):
        return "the port expects TLS: begin the base URL with https://"
    return NO_GATEWAY_ANSWERED if is_page(body) else None


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
