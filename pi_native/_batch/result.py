"""One result of a batch."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import attrs

from .._types.messages import AssistantMessage

T = TypeVar("T")


@attrs.define(eq=False)
class BatchResult(Generic[T]):
    """The answer to one prompt of a batch, or its failure.

    * `index`: the position of the prompt, from 0. `prompt`: the prompt, or the item, as given.
    * `value`: the answer's text, or what the task returned. None when `error` is set.
    * `message`: the answer; None for a task.
    * `error`: the exception that ended the last attempt; None for an answer.
    * `attempts`: the number of requests, with the refused ones. `seconds`: how long they took.
    * `reused`: True when the answer was read from the save file.
    """

    index: int
    prompt: Any
    value: T
    message: AssistantMessage | None = None
    error: BaseException | None = None
    attempts: int = 0
    seconds: float = 0.0
    reused: bool = False

    def __repr__(self) -> str:
        if self.error is not None:
            return f"<BatchResult {self.index}: {type(self.error).__name__}: {self.error!s:.60}>"
        return f"<BatchResult {self.index}: {self.value!r:.60}>"
