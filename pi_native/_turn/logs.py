"""The log of a turn: numbers and names, never the conversation, and never the key.

The logger is `pi_native`. It is silent unless the program sets up logging, or the environment has
`PI_NATIVE_LOG=debug`. Only the class of a failure is logged, because its text may quote the
conversation.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .._protocol.request import Request
    from .._threads.outcome import Outcome
    from .._types.messages import AssistantMessage
    from .._types.options import ResponseInfo, RetryInfo
    from .._types.stats import StreamStats

VARIABLE = "PI_NATIVE_LOG"
_LEVELS = ("debug", "info", "warning", "error")
_FORMAT = "%(asctime)s %(levelname)s %(threadName)s: %(message)s"

_log = logging.getLogger("pi_native")
_log.addHandler(logging.NullHandler())


def set_up(environ: Mapping[str, str]) -> None:
    """Log to stderr at the level that `PI_NATIVE_LOG` names, if it is set."""
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


def start_log() -> TurnLog | None:
    """Return the observer that writes the log of a turn; None when no line would be written."""
    return _TURN_LOG if _log.isEnabledFor(logging.INFO) else None


def callback_raised(name: str) -> None:
    """Log the exception that is being handled. A filter or handler that raises changes nothing."""
    with contextlib.suppress(Exception, SystemExit):
        _log.exception("%s raised", name)


class TurnLog:
    """The observer that writes the log."""

    def started(self) -> None:
        """Log nothing."""

    def sending(self, request: Request, model: str, attempt: int) -> None:
        """Log that a request is about to be sent."""
        if _log.isEnabledFor(logging.DEBUG):
            url, size = _without_secrets(request.url), len(request.body or b"")
            _log.debug("%s %s: %s, %d bytes, attempt %d", request.method, url, model, size, attempt)

    def responded(self, response: ResponseInfo, stats: Callable[[], StreamStats]) -> None:
        """Log that the response headers have arrived."""
        if _log.isEnabledFor(logging.DEBUG):
            seconds, request = stats().time_to_headers, response.request_id
            _log.debug("status %d after %.3f s, request id %r", response.status, seconds, request)

    def first_event(self, stats: Callable[[], StreamStats]) -> None:
        """Log that the first event has arrived."""
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("first event after %.3f s", stats().time_to_first_event)

    def retrying(self, retry: RetryInfo) -> None:
        """Log that another attempt follows, without the text of the failure."""
        failure = type(retry.failure).__name__
        words = "attempt %d failed (%s), trying again in %.1f s"
        _log.info(words, retry.attempt, failure, retry.delay)

    def ended(
        self, outcome: Outcome[Any, AssistantMessage] | None, stats: Callable[[], StreamStats]
    ) -> None:
        """Log how the turn has ended; without an outcome its stream was dropped."""
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s: %s", _how(outcome), stats())


_TURN_LOG = TurnLog()


def _how(outcome: Outcome[Any, AssistantMessage] | None) -> str:
    """Return a short description of the turn's end, without any content."""
    if outcome is None:
        return "dropped"
    if outcome.result is not None:
        return f"ended, stop reason {outcome.result.stop_reason!r:.40}"
    about = (getattr(outcome.failure, name, None) for name in ("status", "phase"))
    return " ".join(["failed,", type(outcome.failure).__name__, *map(str, filter(None, about))])


def _without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
