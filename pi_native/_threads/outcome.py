"""How a stream ended. One value, so that it can be decided in one place and told in another."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Outcome(Generic[T, R]):
    """With a result, and perhaps a last event that says so, or with a failure."""

    __slots__ = ("event", "failure", "result")

    def __init__(
        self, result: R | None = None, failure: BaseException | None = None, event: T | None = None
    ) -> None:
        self.result = result
        self.failure = failure
        self.event = event
