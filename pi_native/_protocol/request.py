"""A turn's request: where it goes, what its headers are, and its body, before anything is sent.

Everything that can be wrong with a call's setup is found here, as a `ConfigurationError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import attrs

from .._types.options import StreamOptions, wire_options
from .._types.request import Context, Model
from ..errors import ConfigurationError
from .convert import to_wire

# What an HTTP header can carry, as http.client checks it: no line ends, Latin-1.
_BAD_NAME = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_BAD_VALUE = re.compile(r"[\r\n\0]|^\s|\s$|[^\x00-\xff]")


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


class Secret(str):
    """A string that does not show itself in a repr, so in no traceback with local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def merge_headers(*layers: Mapping[str, str]) -> dict[str, str]:
    """Later headers win; names are compared without case. Raises `ConfigurationError`."""
    merged: dict[str, tuple[str, str]] = {}
    for layer in layers:
        for name, value in layer.items():
            _check_header(name, value)
            merged[name.lower()] = (name, value)
    return {
        name: Secret(value) if key == "authorization" else value
        for key, (name, value) in merged.items()
    }


def with_bearer(headers: dict[str, str], api_key: str | None) -> dict[str, str]:
    """Add the bearer token, unless the headers bring an Authorization of their own."""
    if not api_key or any(name.lower() == "authorization" for name in headers):
        return headers
    if not isinstance(api_key, str) or _BAD_VALUE.search(api_key):
        # Without the value: it is a secret, even a broken one.
        raise ConfigurationError("the api key holds characters that no HTTP header can carry")
    return {**headers, "Authorization": Secret(f"Bearer {api_key}")}


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not name or _BAD_NAME.search(name):
        raise ConfigurationError(f"{name!r} is not a header's name")
    if not isinstance(value, str) or _BAD_VALUE.search(value):
        raise ConfigurationError(f"the header {name!r} has a value that HTTP cannot carry")
