"""One round: the calls of a message, and the result of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._types.content import ToolCall
from .._types.messages import AssistantMessage, Message, ToolResultMessage
from . import results


class Round:
    """The calls of one message. Threads add results; `results` has one for each call, in order."""

    def __init__(self, calls: Iterable[ToolCall]) -> None:
        self.calls: Sequence[ToolCall] = tuple(calls)
        self.not_run = results.NOT_RUN  # the result of a call whose tool did not start
        self._results: list[ToolResultMessage | None] = [None] * len(self.calls)
        self._started: set[int] = set()

    def start(self, index: int) -> None:
        """Note that the tool of a call is about to run."""
        self._started.add(index)

    def answer(self, index: int, result: ToolResultMessage) -> None:
        """Add the result of a call."""
        self._results[index] = result

    def result(self, index: int) -> ToolResultMessage:
        """Return the result of a call, also of one without a result."""
        found = self._results[index]
        if found is not None:
            return found
        text = results.CANCELLED if index in self._started else self.not_run
        return results.failure(self.calls[index], text)

    def results(self) -> list[ToolResultMessage]:
        """Return a result for each call, in order."""
        return [self.result(index) for index in range(len(self.calls))]


def open_calls(messages: Sequence[Message]) -> tuple[AssistantMessage | None, list[ToolCall]]:
    """Return the message at the end of a history whose calls have no results, and these calls."""
    answered: list[str] = []
    for message in reversed(messages):
        if isinstance(message, AssistantMessage):
            calls = [call for call in message.tool_calls if not _take(answered, call.id)]
            return message, calls
        if not isinstance(message, ToolResultMessage):
            break
        answered.append(message.tool_call_id)
    return None, []


def _take(answered: list[str], call_id: str) -> bool:
    if call_id not in answered:
        return False
    answered.remove(call_id)
    return True
