"""Checks of option values, so that a mistake fails here and is not sent or ignored.

The allowed values are those of the annotations of `StreamOptions`. A newer gateway may know more: a
value in `extra`, under its wire name, is never checked.
"""

from __future__ import annotations

import difflib
import functools
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from attrs import fields

from ..errors import ConfigurationError
from .base import wire_fields, wire_name
from .options import StreamOptions

# The smallest and the largest value that an option may have.
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, math.inf),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "max_tokens": (1, math.inf),
    "max_retry_delay_ms": (0, math.inf),
}
_LONGEST_VALUE_SHOWN = 60


class _Check(NamedTuple):
    accepts: Callable[[Any], bool]
    expected: str


def check_options(options: StreamOptions) -> None:
    """Raise `ConfigurationError` for the first option that has an impossible value."""
    for name, check in _checks().items():
        value = getattr(options, name)
        if value is not None and not check.accepts(value):
            raise ConfigurationError(
                f"{name} is {check.expected}, not {shown(value)}",
                hint=_hint(name),
            )
    if options.on_incomplete not in ("done", "error"):
        raise ConfigurationError(
            f'on_incomplete is "done" or "error", not {shown(options.on_incomplete)}'
        )
    retries = options.max_retries
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise ConfigurationError(f"max_retries is a whole number, not {shown(retries)}")


def check_names(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `TypeError` for an unknown option, with the nearest known name."""
    known = frozenset(known)
    for name in names:
        if name not in known:
            raise TypeError(unknown_option(name, known))


def unknown_option(name: str, known: Iterable[str]) -> str:
    """Return the text of the error for an option that does not exist."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    advice = f"did you mean {near[0]}?" if near else "extra={...} sends an option by its wire name"
    return f"unknown option {name}; {advice}"


def seconds(name: str, value: object) -> float:
    """Return a time limit that was given in seconds. Raises `ConfigurationError`."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or value != value:
        raise ConfigurationError(f"{name} is a number of seconds, not {shown(value)}")
    return typing.cast(float, value)


def option_names() -> frozenset[str]:
    """Return the names of the fields of `StreamOptions`."""
    return frozenset(a.alias or a.name for a in fields(StreamOptions))


def shown(value: object) -> str:
    """Return a short repr of a value, for an error."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE_SHOWN else text[:_LONGEST_VALUE_SHOWN] + "..."


def _hint(name: str) -> str | None:
    attribute = getattr(fields(StreamOptions), name)
    literal = _literal_values(_hints()[name])
    return f"extra={{{wire_name(attribute)!r}: ...}} sends any other value" if literal else None


@functools.cache
def _hints() -> dict[str, Any]:
    return typing.get_type_hints(StreamOptions)


@functools.cache
def _checks() -> dict[str, _Check]:
    return {a.name: _check(a.name, _hints()[a.name]) for a in wire_fields(StreamOptions)}


def _check(name: str, hint: Any) -> _Check:
    members = [member for member in _members(hint) if member is not types.NoneType]
    checks = [_check_of(name, member) for member in members]
    expected = " or ".join(check.expected for check in checks)
    return _Check(lambda value: any(check.accepts(value) for check in checks), expected)


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _literal_values(hint: Any) -> tuple[Any, ...]:
    return tuple(v for m in _members(hint) if get_origin(m) is Literal for v in get_args(m))


def _check_of(name: str, hint: Any) -> _Check:
    origin = get_origin(hint) or hint
    if origin is Literal:
        values = get_args(hint)
        listed = " or ".join(f'"{value}"' for value in values)
        return _Check(lambda value: isinstance(value, str) and value in values, listed)
    if origin in (int, float):
        return _number_check(name, origin)
    if origin is list:
        return _Check(_is_list_of_strings, "a list of strings")
    if origin is dict:
        return _Check(_dict_check(get_args(hint)[1]), _DICTS.get(get_args(hint)[1], "a dict"))
    words = {bool: "True or False", str: "a string"}[origin]
    return _Check(lambda value: isinstance(value, origin), words)


def _number_check(name: str, kind: type) -> _Check:
    low, high = _RANGES.get(name, (-math.inf, math.inf))
    allowed = (int,) if kind is int else (int, float)

    def accepts(value: Any) -> bool:
        right = isinstance(value, allowed) and not isinstance(value, bool)
        return right and math.isfinite(value) and low <= value <= high

    words = "a whole number" if kind is int else "a number"
    if math.isfinite(high):
        words += f" from {low:g} to {high:g}"
    elif math.isfinite(low):
        words += f" of at least {low:g}"
    return _Check(accepts, words)


def _is_list_of_strings(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


_DICTS = {str: "a dict of strings", int: "a dict of whole numbers"}


def _dict_check(item: Any) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            return False
        return item is Any or all(
            isinstance(part, item) and not isinstance(part, bool) for part in value.values()
        )

    return accepts
