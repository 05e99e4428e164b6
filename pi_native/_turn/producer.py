"""The side of a turn that its stream uses; `TurnState` implements it."""

from __future__ import annotations

from typing import Protocol

from .._types.options import ResponseInfo
from .._types.stats import StreamStats


class Producer(Protocol):
    """The side of a turn that its stream uses."""

    response: ResponseInfo | None
    truncated: bool

    @property
    def attempts(self) -> int:
        """The number of requests that were made so far."""

    @property
    def cancelled(self) -> bool:
        """True if the turn ended because the caller cancelled it."""

    @property
    def stats(self) -> StreamStats:
        """The statistics so far."""

    def abort(self, reason: object) -> None:
        """Settle as cancelled, if nothing has settled yet, and cut the connection."""

    def drop(self) -> None:
        """End the worker: no reader is left. Runs in a finaliser, so it takes no lock."""

    def join(self, timeout: float) -> None:
        """Wait for the worker to end, at most `timeout` seconds."""
