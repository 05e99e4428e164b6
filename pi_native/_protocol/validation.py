"""Validation problems of a JSON value, each with its path.

A structure hook raises `Faults`; the hook of a larger value collects those of its parts, so that
one error reports all problems of an object.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import DecodeError

_FAULTS_IN_MESSAGE = 3
_LONGEST_KEY_SHOWN = 60
_HUGE_INTEGER_BITS = 128


class Faults(Exception):
    """Problems of a value: pairs of a path, such as `.content[1].text`, and a description."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__(found)
        self.found = found


class Collector:
    """Reads the parts of a value one after the other, and collects their problems."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def read(self, read: Callable[[Any, Any], Any], part: Any, key: str | int) -> Any:
        """Return the part as `read` returns it; None when that fails, which `check` reports."""
        try:
            return read(part, None)
        except Faults as faults:
            self.found += [(_step(key) + path, words) for path, words in faults.found]

    def check(self) -> None:
        """Raise the problems that were found."""
        if self.found:
            raise Faults(self.found)


def wrong(expected: str, value: object) -> NoReturn:
    """Raise the problem that `value` has another type."""
    raise Faults([("", f"expected {expected}, got {_describe(value)}")])


def wrong_tag(expected: str, value: object) -> NoReturn:
    """Raise the problem that a `type` or `role` has another value."""
    got = json.dumps(value[:_LONGEST_KEY_SHOWN]) if isinstance(value, str) else _describe(value)
    raise Faults([("", f"expected {expected}, got {got}")])


def wrong_or_missing(expected: str, data: dict[str, Any], key: str) -> tuple[str, str]:
    """Return the problem that a required member is missing or has another type."""
    got = _describe(data[key]) if key in data else "nothing"
    return _step(key), f"expected {expected}, got {got}"


def decode_error(what: str, faults: Faults, root: str) -> DecodeError:
    """Return the exception for all problems of a value that should be a `what`."""
    problems = [f"{root}{path}: {words}" for path, words in faults.found]
    shown = "; ".join(problems[:_FAULTS_IN_MESSAGE])
    if len(problems) > _FAULTS_IN_MESSAGE:
        shown += f"; and {len(problems) - _FAULTS_IN_MESSAGE} more"
    return DecodeError(f"not a valid {what}: {shown}", problems=problems)


def _step(key: str | int) -> str:
    if isinstance(key, str) and key.isidentifier() and len(key) <= _LONGEST_KEY_SHOWN:
        return f".{key}"
    shown = repr(key[:_LONGEST_KEY_SHOWN] if isinstance(key, str) else key)
    return f"[{shown}]"


def _describe(value: object) -> str:
    """Return a value in a few words, without its text, which may be long or secret."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _describe_number(value)
    for kind, words in ((str, "a string"), (list, "an array"), (dict, "an object")):
        if isinstance(value, kind):
            return words
    return f"a Python {type(value).__name__}"


def _describe_number(value: float) -> str:
    # Python refuses to write integers of many thousand digits.
    huge = isinstance(value, int) and value.bit_length() > _HUGE_INTEGER_BITS
    return "a huge integer" if huge else repr(value)
