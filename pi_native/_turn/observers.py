"""The protocol of a turn's observers, which the log and the telemetry implement.

`Turn` calls them in one place. An exception of an observer is logged and does not break the turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from .._protocol.request import Request
    from .._threads.outcome import Outcome
    from .._types.messages import AssistantMessage
    from .._types.options import ResponseInfo, RetryInfo
    from .._types.stats import StreamStats

Moment = Literal["started", "sending", "responded", "first_event", "retrying", "ended"]


class TurnObserver(Protocol):
    """An object that is called at each stage of a turn, mostly in the worker thread."""

    def started(self) -> None:
        """Note that the worker thread has started."""

    def sending(self, request: Request, model: str, attempt: int) -> None:
        """Note that a request is about to be sent."""

    def responded(self, response: ResponseInfo, stats: Callable[[], StreamStats]) -> None:
        """Note that the response headers have arrived."""

    def first_event(self, stats: Callable[[], StreamStats]) -> None:
        """Note that the first event of an attempt has arrived."""

    def retrying(self, retry: RetryInfo) -> None:
        """Note that an attempt has failed and another one follows."""

    def ended(
        self, outcome: Outcome[Any, AssistantMessage] | None, stats: Callable[[], StreamStats]
    ) -> None:
        """Note how the turn has ended; without an outcome its stream was dropped."""
