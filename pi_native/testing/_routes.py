"""What the real gateway checks and shows, turns apart; its rules, its words, plausible data."""

import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from ._request import BadRequest, RecordedRequest, check_turn
from ._response import Response

__all__ = ["credential", "is_authorized", "model_row", "now_ms", "refusal", "usage_report"]

_FIVE_HOURS = 5 * 60 * 60 * 1000


def now_ms() -> int:
    """Return the time as the protocol counts it."""
    return int(time.time() * 1000)


def is_authorized(request: RecordedRequest, api_key: str | None) -> bool:
    """Say whether the request bears the key, if one is wanted at all."""
    if api_key is None:
        return True
    bearer = re.match(r"Bearer\s+(.+)$", request.headers["Authorization"] or "", re.IGNORECASE)
    return bearer is not None and bearer[1].strip() == api_key


def refusal(request: RecordedRequest, known_models: Collection[str] | None) -> Response | None:
    """Return the error for a turn that the gateway turns down, None for one that it takes."""
    try:
        check_turn(request)
    except BadRequest as exc:
        return Response.error(400, "invalid_request_error", str(exc))
    if known_models is not None and request.model not in known_models:
        message = f"Unknown model: {request.model}"
        return Response.error(404, "invalid_request_error", message)
    return None


def model_row(model: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `/v1/models`, from an id or from a row that may lack all but its id."""
    given = {"id": model} if isinstance(model, str) else model
    provider, _, name = str(given["id"]).partition("/")
    return {
        "id": given["id"],
        "object": "model",
        "owned_by": provider,
        "api": "pi-native",
        "display_name": name,
        "input_modalities": ["text", "image"],
        "context_length": 200_000,
        "max_output_tokens": 32_768,
        **given,
    }


def usage_report() -> dict[str, Any]:
    """Return a report of `/v1/usage`: a quarter of a five-hour window spent."""
    return {
        "provider": "fake",
        "fetchedAt": now_ms(),
        "limits": [
            {
                "id": "fake:5h",
                "label": "5 Hour",
                "scope": {"provider": "fake", "windowId": "5h"},
                "window": {"id": "5h", "label": "5 Hour", "durationMs": _FIVE_HOURS},
                "amount": {"used": 25, "limit": 100, "usedFraction": 0.25, "unit": "percent"},
                "status": "ok",
            }
        ],
        "metadata": {"email": "parrot@example.com"},
    }


def credential() -> dict[str, Any]:
    """Return a row of `/v1/credentials/check`: a credential that works."""
    return {
        "id": 1,
        "provider": "fake",
        "type": "oauth",
        "email": "parrot@example.com",
        "ok": True,
    }
