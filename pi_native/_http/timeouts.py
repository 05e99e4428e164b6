"""The time limits of a call: its options, else the environment, else the defaults.

Options and variables are in milliseconds, the limits in seconds. A value of 0 or less turns a limit
off, which is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias, get_args

from .._types.options import StreamOptions
from ..errors import ConfigurationError, TimeoutPhase

_FIRST_EVENT = "PI_STREAM_FIRST_EVENT_TIMEOUT_MS"
_IDLE = "PI_STREAM_IDLE_TIMEOUT_MS"
_IDLE_ALIAS = "PI_OPENAI_STREAM_IDLE_TIMEOUT_MS"

ARGUMENT, DEFAULT = "argument", "default"


Limits: TypeAlias = dict[TimeoutPhase, float | None]
"""The limit of each phase in seconds; None is no limit."""


def no_limits() -> Limits:
    """Return limits that never expire."""
    return dict.fromkeys(get_args(TimeoutPhase))


def sum_of(*limits: float | None) -> float | None:
    """Return the limit of several waits together."""
    return None if None in limits else sum(limit for limit in limits if limit is not None)


def longest_of(*limits: float | None) -> float | None:
    """Return the limit that is reached last."""
    return None if None in limits else max(limit for limit in limits if limit is not None)


def resolve_timeouts(options: StreamOptions, environ: Mapping[str, str]) -> Limits:
    """Return the limits of a call. Raises `ConfigurationError` for an option of a wrong type."""
    idle = _idle(options, environ)
    first_event = _seconds(_first_event(options, environ, idle)[0])
    return {
        "connect": _seconds(_option(options.connect_timeout_ms, "connect_timeout_ms")),
        "headers": first_event,
        "first_event": first_event,
        "idle": _seconds(idle[0]),
        "total": _seconds(_option(options.total_timeout_ms, "total_timeout_ms")),
    }


def timeout_origins(options: StreamOptions, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the origin of the limits for events: an option, a variable or the default."""
    idle = _idle(options, environ)
    return {"first_event": _first_event(options, environ, idle)[1], "idle": idle[1]}


_Found: TypeAlias = tuple[float, str]  # milliseconds, and their origin


def _idle(options: StreamOptions, environ: Mapping[str, str]) -> _Found:
    option = _option(options.stream_idle_timeout_ms, "stream_idle_timeout_ms")
    if option is not None:
        return option, ARGUMENT
    variable = _IDLE if _IDLE in environ else _IDLE_ALIAS
    found = _number(environ.get(variable))
    return (options.event_timeout_ms, DEFAULT) if found is None else (found, variable)


def _first_event(options: StreamOptions, environ: Mapping[str, str], idle: _Found) -> _Found:
    option = _option(options.stream_first_event_timeout_ms, "stream_first_event_timeout_ms")
    if option is not None:
        return option, ARGUMENT
    found = _number(environ.get(_FIRST_EVENT))
    if found is None:
        return max((options.event_timeout_ms, DEFAULT), idle, key=lambda found: found[0])
    return (found, _FIRST_EVENT) if found >= 1 else idle


def _option(value: object, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ConfigurationError(f"{name} must be a number of milliseconds, not {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ConfigurationError(f"{name} is too large a number of milliseconds") from None


def _number(text: str | None) -> float | None:
    """Return the number as JavaScript reads it: empty is 0. None for anything not finite."""
    # Python also reads 1_000, and digits of every script.
    if text is None or "_" in text or not text.strip().isascii():
        return None
    try:
        number = float(text.strip() or "0")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(milliseconds: float | None) -> float | None:
    if milliseconds is None or milliseconds < 1 or math.isinf(milliseconds):
        return None
    return math.trunc(milliseconds) / 1000
