"""How a stream ended. One value, so that it can be decided in one place and told in another."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

T = TypeVar("T")
R = TypeVar("R")


@attrs.define(eq=False, repr=False)
class Outcome(Generic[T, R]):
    """With a result, and perhaps a last event that says so, or with a failure."""

    result: R | None = None
    failure: BaseException | None = None
    event: T | None = None
