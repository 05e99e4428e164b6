"""The request of a turn: URL, headers and body, before anything is sent.

A setting that cannot be sent is a `ConfigurationError` here. Header names are compared without
case. An object that holds a key does not show it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import attrs

from .._types.option_checks import check_options
from .._types.options import StreamOptions, wire_options
from .._types.request import Context, Model
from ..errors import ConfigurationError
from .convert import to_wire

# What an HTTP header can carry, as http.client checks it: no line ends, Latin-1.
_BAD_NAME = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_BAD_VALUE = re.compile(r"[\r\n\0]|^\s|\s$|[^\x00-\xff]")


@attrs.define(eq=False, repr=False)  # a repr would show the key and the conversation
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes | None = None


def turn_request(model: Model, context: Context, options: StreamOptions) -> Request:
    """Return the POST request of one turn. Raises `ConfigurationError`."""
    check_options(options)
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


def _encode(model: Model, context: Context, options: StreamOptions) -> bytes:
    body = {
        "modelId": model.full_id,
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
    """A string whose repr hides it, also in a traceback with local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def merge_headers(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers as one dict; later ones win. Raises `ConfigurationError`."""
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
    """Return the headers with the bearer token, unless they have an Authorization."""
    if not api_key or any(name.lower() == "authorization" for name in headers):
        return headers
    if not isinstance(api_key, str):
        raise ConfigurationError(f"the api key must be a string, not {type(api_key).__name__}")
    api_key = api_key.removesuffix("\n").removesuffix("\r")
    wrong = unsendable_character(api_key)
    if wrong is not None:
        # Only the character: the key is a secret, even a broken one.
        raise ConfigurationError(f"the api key holds {wrong!r}, which no HTTP header can carry")
    return {**headers, "Authorization": Secret(f"Bearer {api_key}")}


def unsendable_character(value: str) -> str | None:
    """Return the first character of a header's value that HTTP cannot carry, or None."""
    found = _BAD_VALUE.search(value)
    return None if found is None else found[0]


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not name or _BAD_NAME.search(name):
        raise ConfigurationError(f"{name!r} is not a header's name")
    if not isinstance(value, str) or _BAD_VALUE.search(value):
        raise ConfigurationError(f"the header {name!r} has a value that HTTP cannot carry")
