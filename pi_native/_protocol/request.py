"""A turn's request: where it goes, what its headers are, and its body, before anything is sent.

Everything that can be wrong with a call's setup is found here, as a `ConfigurationError`.
"""

from __future__ import annotations

import json

import attrs

from .._types.options import StreamOptions, wire_options
from .._types.request import Context, Model
from ..errors import ConfigurationError
from .convert import to_wire
from .headers import merge_headers, with_bearer


@attrs.define(eq=False, repr=False)  # its headers and body are nobody's business
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes | None = None


def turn_request(model: Model, context: Context, options: StreamOptions) -> Request:
    """The POST for one turn. Raises `ConfigurationError`."""
    _check_choices(options)
    if not model.base_url:
        raise ConfigurationError(
            f"the pi-native transport needs a base_url on model {model.id!r}; "
            "it is set on the provider, in models.yml"
        )
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
    }
    return Request(
        "POST",
        f"{model.base_url.rstrip('/')}/v1/pi/stream",
        with_bearer(merge_headers(headers, model.headers or {}), options.api_key),
        _encode(model, context, options),
    )


def _check_choices(options: StreamOptions) -> None:
    """A slip of the pen here would be obeyed as if it were the other choice, or fail much later."""
    if options.on_incomplete not in ("done", "error"):
        raise ConfigurationError(
            f'on_incomplete is "done" or "error", not {options.on_incomplete!r:.60}'
        )
    if isinstance(options.max_retries, bool) or not isinstance(options.max_retries, int):
        raise ConfigurationError(f"max_retries is a whole number, not {options.max_retries!r:.60}")


def _encode(model: Model, context: Context, options: StreamOptions) -> bytes:
    body = {
        "modelId": f"{model.provider}/{model.id}",
        "context": to_wire(context),
        "options": wire_options(options),
        "stream": True,
    }
    try:
        # ASCII escapes carry a lone surrogate, which UTF-8 could not.
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError(f"the request cannot be written as JSON: {exc}") from exc
