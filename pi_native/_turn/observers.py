"""Observers of a turn: the log and the telemetry. None of them can break a turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .logs import callback_raised

if TYPE_CHECKING:
    from .._protocol.request import Request
    from .._threads.outcome import Outcome
    from .._types.messages import AssistantMessage
    from .._types.options import ResponseInfo, RetryInfo
    from .._types.stats import StreamStats

Moment = Literal["started", "sending", "responded", "first_event", "retrying", "ended"]


class TurnObserver(Protocol):
    """What is called at the moments of a turn, in its worker thread."""

    def started(self) -> None:
        """Note that the worker thread has started."""

    def sending(self, request: Request, model: str, attempt: int) -> None:
        """Note that a request is about to be sent."""

    def responded(self, response: ResponseInfo, stats: Callable[[], StreamStats]) -> None:
        """Note that the response headers have come."""

    def first_event(self, stats: Callable[[], StreamStats]) -> None:
        """Note that the first event of an attempt has come."""

    def retrying(self, retry: RetryInfo) -> None:
        """Note that an attempt has failed and another one is going to be made."""

    def ended(
        self, outcome: Outcome[Any, AssistantMessage] | None, stats: Callable[[], StreamStats]
    ) -> None:
        """Note how the turn has ended; without an outcome its stream was dropped."""


def notify(observers: Sequence[TurnObserver], moment: Moment, *details: Any) -> None:
    """Call every observer. What one of them raises is logged, and nothing more."""
    for observer in observers:
        try:
            getattr(observer, moment)(*details)
        except (Exception, SystemExit):  # noqa: BLE001 - an observer must not break a turn
            callback_raised(f"{type(observer).__name__}.{moment}")
