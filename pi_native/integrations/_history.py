"""Histories that providers accept: each tool call has a result."""

from __future__ import annotations

from collections.abc import Iterable

from pi_native import AssistantMessage, Message, ToolCall, ToolResultMessage

_NOT_RUN = "not run"


def with_results(messages: Iterable[Message]) -> list[Message]:
    """Return the messages, with an error result for each call that has none."""
    complete: list[Message] = []
    open_calls: dict[str, ToolCall] = {}
    for message in messages:
        if isinstance(message, ToolResultMessage):
            open_calls.pop(message.tool_call_id, None)
        else:
            complete += _not_run(open_calls)
        complete.append(message)
        if isinstance(message, AssistantMessage):
            open_calls = {call.id: call for call in message.tool_calls}
    return complete + _not_run(open_calls)


def _not_run(open_calls: dict[str, ToolCall]) -> list[Message]:
    results = [
        ToolResultMessage(call.id, call.name, _NOT_RUN, True) for call in open_calls.values()
    ]
    open_calls.clear()
    return [*results]
