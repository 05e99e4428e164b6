"""What the log tells of a turn: numbers and names, never what was said, and never the key.

The logger is `pi_native`, and silent unless the program sets up logging, or whoever starts it says
`PI_NATIVE_LOG=debug`. A failure is told by its kind alone: a gateway may quote the conversation in
its words.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .._protocol.request import Request
    from .._threads.outcome import Outcome
    from .._types.messages import AssistantMessage
    from .._types.options import ResponseInfo
    from .stats import StatsRecorder

VARIABLE = "PI_NATIVE_LOG"
_LEVELS = ("debug", "info", "warning", "error")
_FORMAT = "%(asctime)s %(levelname)s %(threadName)s: %(message)s"

_log = logging.getLogger("pi_native")
_log.addHandler(logging.NullHandler())


def set_up(environ: Mapping[str, str]) -> None:
    """Log to stderr at the level that the environment names, if it names one."""
    level = environ.get(VARIABLE, "").strip()
    if not level:
        return
    known = level.lower() in _LEVELS
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    _log.addHandler(handler)
    _log.setLevel(level.upper() if known else logging.WARNING)
    if not known:
        _log.warning("%s is one of %s, not %r", VARIABLE, ", ".join(_LEVELS), level)


def sending(request: Request, model: str, attempt: int) -> None:
    """A request is about to be sent."""
    if _log.isEnabledFor(logging.DEBUG):
        size = len(request.body or b"")
        where = _without_secrets(request.url)
        _log.debug("%s %s: %s, %d bytes, attempt %d", request.method, where, model, size, attempt)


def answered(response: ResponseInfo, meter: StatsRecorder) -> None:
    """The answer's headers are in."""
    if _log.isEnabledFor(logging.DEBUG):
        seconds, request = meter.stats().time_to_headers, response.request_id
        _log.debug("status %d after %.3f s, request id %r", response.status, seconds, request)


def first_event(meter: StatsRecorder) -> None:
    """The first event has come."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("first event after %.3f s", meter.stats().time_to_first_event)


def ended(outcome: Outcome[Any, AssistantMessage] | None, meter: StatsRecorder) -> None:
    """The turn is over; without an outcome its stream was dropped."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%s: %s", _how(outcome), meter.stats())


def _how(outcome: Outcome[Any, AssistantMessage] | None) -> str:
    """How it ended, in a few words that hold nothing of what was said."""
    if outcome is None:
        return "dropped"
    if outcome.result is not None:
        return f"ended, stop reason {outcome.result.stop_reason!r:.40}"
    about = (getattr(outcome.failure, name, None) for name in ("status", "phase"))
    return " ".join(["failed,", type(outcome.failure).__name__, *map(str, filter(None, about))])


def _without_secrets(url: str) -> str:
    """A URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
