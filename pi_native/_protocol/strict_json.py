"""Strict JSON: every value that is read here can be written again."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def parse_json(text: str) -> Any:
    """Return the value. Raises `ValueError`, or `RecursionError` for nesting that is too deep."""
    return _decoder.decode(text)


def parse_string(inside: str) -> str:
    """Return the string of which this is the inside, between the quotes. Raises `ValueError`."""
    value: str = _decoder.raw_decode(f'"{inside}"')[0]
    return value


def parse_object(text: str) -> dict[str, Any] | None:
    """Return the object, if the text is exactly one, without white space around it; else None."""
    try:
        value, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and end == len(text) else None


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


# json.loads(…, parse_constant=…) builds a decoder for each call.
_decoder = json.JSONDecoder(parse_constant=_reject, parse_float=_finite)
