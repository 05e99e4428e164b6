"""A request's headers: layers of them become one, with the bearer token, in what HTTP can carry.

Names are compared without case. Whatever carries a key does not show it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import ConfigurationError

# What an HTTP header can carry, as http.client checks it: no line ends, Latin-1.
_BAD_NAME = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_BAD_VALUE = re.compile(r"[\r\n\0]|^\s|\s$|[^\x00-\xff]")


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
