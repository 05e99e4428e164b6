"""The outcome of a stream: a result, perhaps with a last event, or a failure."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T")
R = TypeVar("R")


@define(eq=False, repr=False)
class Outcome(Generic[T, R]):
    """The end of a stream."""

    result: R | None = None
    failure: BaseException | None = None
    event: T | None = None
    cancelled: bool = field(default=False, init=False)
    """True if the caller ended the stream."""
    origin: TracebackType | None = field(default=None, init=False)
    """The traceback of the failure when the stream ended."""

    def become(self, other: Outcome[T, R]) -> None:
        """Take over the content of another outcome, before any reader has seen this one."""
        self.result, self.event, self.cancelled = other.result, other.event, other.cancelled
        self.failure = other.failure
        self.origin = None if self.failure is None else self.failure.__traceback__

    def raise_failure(self) -> None:
        """Raise the failure if there is one.

        All readers raise the same object. It starts from the same traceback each time, so that it
        does not collect the frames of one reader after the other.
        """
        if self.failure is not None:
            raise self.failure.with_traceback(self.origin)
