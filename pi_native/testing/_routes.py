"""The checks and pages of the real gateway, with its texts and plausible data."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ._request import BadRequest, RecordedRequest, check_turn
from ._response import Response

__all__ = ["credential", "is_authorized", "model_row", "now_ms", "refusal", "usage_report"]

_FIVE_HOURS = 5 * 60 * 60 * 1000


def now_ms() -> int:
    """Return the time in ms since 1970."""
    return int(time.time() * 1000)


def is_authorized(request: RecordedRequest, api_key: str | None) -> bool:
    """Return whether the request has the key, or needs none."""
    if api_key is None:
        return True
    bearer = re.match(r"Bearer\s+(.+)$", request.headers["Authorization"] or "", re.IGNORECASE)
    return bearer is not None and bearer[1].strip() == api_key


def refusal(
    request: RecordedRequest, models: Sequence[Mapping[str, Any]] | None
) -> Response | None:
    """Return the error for a turn that the gateway refuses, or None."""
    try:
        check_turn(request)
    except BadRequest as exc:
        return Response.error(400, "invalid_request_error", str(exc))
    if models is None:
        return None
    row = next((row for row in models if _names(request.model, row["id"])), None)
    if row is None:
        return Response.error(404, "invalid_request_error", f"Unknown model: {request.model}")
    if row.get("kind", "chat") != "chat":
        message = f"Model {request.model} is of kind {row['kind']}, not chat"
        return Response.error(400, "invalid_request_error", message)
    return None


def _names(asked: str, model: str) -> bool:
    """Return whether an id, with or without its provider, is that of a model."""
    return asked in (model, model.partition("/")[2])


def model_row(model: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `/v1/models` for an id, or for a row that has at least an id."""
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
    """Return a report of `/v1/usage`: a quarter of a five-hour window is used."""
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
