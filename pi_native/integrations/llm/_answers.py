"""A turn as llm's stream events, and its message in what llm stores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import llm
from llm.parts import StreamEvent

from pi_native import (
    AssistantMessage,
    AssistantMessageEventStream,
    Block,
    Message,
    RedactedThinkingContent,
    TextContent,
    TextDeltaEvent,
    ThinkingContent,
    ThinkingDeltaEvent,
    ToolCall,
    ToolCallEndEvent,
    ToolResultMessage,
    Usage,
    to_wire,
)

from .._characters import CharacterJoiner, encodable, encodable_json
from .._kept import NAME, keep


class AnswerWriter:
    """Yields the events of one turn, and fills llm's response.

    A call of the tool `answer` is the answer itself: its arguments become the text.
    """

    def __init__(self, response: Any, answer: str | None = None) -> None:
        self._response = response
        self._answer = answer
        self._joiner = CharacterJoiner()
        self._parts = AnswerParts()

    def events(self, stream: AssistantMessageEventStream) -> Iterator[StreamEvent]:
        """Yield the events of a stream. Raises its failure, also one of the provider."""
        for event in stream:
            if isinstance(event, TextDeltaEvent):
                yield from self._delta("text", event.content_index, event.delta)
            elif isinstance(event, ThinkingDeltaEvent):
                yield from self._delta("reasoning", event.content_index, event.delta)
            elif isinstance(event, ToolCallEndEvent):
                yield from self._block(event.content_index, event.tool_call)
        message = stream.get_final_message()
        for index, block in enumerate(message.content or ()):
            if index not in self._parts.kinds:
                yield from self._block(index, block)
        yield self._finish(message)

    def _delta(self, kind: str, index: int, delta: str) -> Iterator[StreamEvent]:
        text = self._joiner.join(index, delta)
        if text:
            yield self._parts.add(kind, index, text)

    def _block(self, index: int, block: Block) -> Iterator[StreamEvent]:
        """Yield a whole block, for one that has no deltas."""
        if isinstance(block, ToolCall) and block.name == self._answer:
            yield self._parts.add("text", index, encodable(json.dumps(block.arguments)))
        elif isinstance(block, ToolCall):
            yield from self._parts.add_call(index, block)
        elif isinstance(block, TextContent) and block.text:
            yield self._parts.add("text", index, encodable(block.text))
        elif isinstance(block, ThinkingContent) and block.thinking:
            yield self._parts.add("reasoning", index, encodable(block.thinking))
        elif isinstance(block, RedactedThinkingContent):
            yield self._parts.add("reasoning", index, "", redacted=True)

    def _finish(self, message: AssistantMessage) -> StreamEvent:
        """Give the calls, the counts and the message to llm."""
        kept: list[Message] = [message]
        for call in message.tool_calls:
            if call.name == self._answer:
                kept.append(ToolResultMessage(call.id, call.name, "ok"))
            elif message.stop_reason != "length":  # else the last one may be half a call
                arguments = encodable_json(call.arguments)
                self._response.add_tool_call(llm.ToolCall(call.name, arguments, call.id))
        return self._parts.finish(self._response, kept)


class AnswerParts:
    """The parts of one answer, as llm builds them from events."""

    def __init__(self) -> None:
        self.kinds: dict[int, str] = {}  # by the index of the block
        self._texts: dict[int, str] = {}
        self._calls: list[str] = []

    def add(self, kind: str, index: int, chunk: str, **others: Any) -> StreamEvent:
        """Return an event that adds to a part."""
        self.kinds[index] = kind
        if kind == "text":
            self._texts[index] = self._texts.get(index, "") + chunk
        return StreamEvent(kind, chunk, part_index=index, **others)

    def add_call(self, index: int, call: ToolCall) -> Iterator[StreamEvent]:
        """Yield the events of a part that is a call."""
        self._calls.append(call.id)
        names = {"tool_call_id": call.id, "tool_name": call.name}
        yield self.add("tool_call_name", index, call.name, **names)
        arguments = json.dumps(encodable_json(call.arguments))
        yield self.add("tool_call_args", index, arguments, **names)

    def finish(self, response: Any, messages: Sequence[Message]) -> StreamEvent:
        """Fill llm's response, and return the event that keeps the messages in the first part."""
        answers = [message for message in messages if isinstance(message, AssistantMessage)]
        newest = answers[-1]
        response.response_json = encodable_json(to_wire(newest))
        response.set_resolved_model(f"{newest.provider}/{newest.model}".strip("/"))
        _set_usage(response, [answer.usage for answer in answers])
        index, kind = next(iter(self.kinds.items()), (0, "reasoning"))
        kept = keep(messages, "".join(self._texts.values()), self._calls)
        return StreamEvent(kind, "", part_index=index, provider_metadata={NAME: kept})


def extracted(response: Any, added: Sequence[Message], value: Any) -> Iterator[StreamEvent]:
    """Yield an extracted value as the text of the answer; `added` are the messages of its turns."""
    parts = AnswerParts()
    yield parts.add("text", 0, encodable(json.dumps(value)))
    yield parts.finish(response, added)


def _set_usage(response: Any, usages: Sequence[Usage | None]) -> None:
    known = [usage for usage in usages if usage is not None]
    counts = {
        name: sum(getattr(usage, name) or 0 for usage in known)
        for name in ("input", "output", "cache_read", "cache_write", "reasoning_tokens")
    }
    cost = sum(usage.cost.total or 0 for usage in known if usage.cost is not None)
    read, written = counts["cache_read"], counts["cache_write"]
    details = {
        "cache_read": read,
        "cache_write": written,
        "reasoning_tokens": counts["reasoning_tokens"],
        "cost": cost,
    }
    response.set_usage(
        input=counts["input"] + read + written,
        output=counts["output"],
        details={name: value for name, value in details.items() if value} or None,
    )
