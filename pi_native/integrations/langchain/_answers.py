"""A turn as LangChain's chunks, and its message as LangChain's message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call, tool_call_chunk

from pi_native import (
    AssistantMessage,
    AssistantMessageEventStream,
    TextContent,
    TextDeltaEvent,
    ThinkingContent,
    ThinkingDeltaEvent,
    ToolCall,
)

from .._characters import CharacterJoiner, encodable, encodable_json
from .._kept import NAME, keep
from ._messages import text_of


def message_of(answer: AssistantMessage) -> AIMessage:
    """Return the message of a turn. Its content is a text, or blocks if there is thinking."""
    blocks = [
        {**_block(block), "index": index}
        for index, block in enumerate(answer.content or ())
        if isinstance(block, (TextContent, ThinkingContent))
    ]
    plain = all(block["type"] == "text" for block in blocks)
    content: Any = "".join(block["text"] for block in blocks) if plain else blocks
    calls = [tool_call(name=c.name, args=c.arguments, id=c.id) for c in _calls(answer)]
    return AIMessage(content, tool_calls=calls, **_around(answer, text_of(content)))


def _block(block: TextContent | ThinkingContent) -> dict[str, Any]:
    if isinstance(block, TextContent):
        return {"type": "text", "text": encodable(block.text or "")}
    extras = {"extras": {"signature": sig}} if (sig := block.thinking_signature) else {}
    return {"type": "reasoning", "reasoning": encodable(block.thinking or ""), **extras}


def _calls(answer: AssistantMessage) -> list[ToolCall]:
    """Return the calls to run: none of a cut answer, whose last call may be half a call."""
    if answer.stop_reason == "length":
        return []
    return [
        ToolCall(call.id, call.name, encodable_json(call.arguments)) for call in answer.tool_calls
    ]


def _around(answer: AssistantMessage, text: str) -> dict[str, Any]:
    """Return the members of LangChain's message around its content."""
    name = f"{answer.provider}/{answer.model}".strip("/")
    metadata: dict[str, Any] = {
        "model_name": name,
        "model_provider": NAME,
        "stop_reason": answer.stop_reason,
        "response_id": answer.response_id,
        "request_id": answer.request_id,
    }
    usage = _usage(answer)
    if usage is not None and answer.usage.cost is not None:
        metadata["cost"] = answer.usage.cost.total
    kept = keep([answer], text, [call.id for call in _calls(answer)])
    return {
        "usage_metadata": usage,
        "response_metadata": {key: value for key, value in metadata.items() if value is not None},
        "additional_kwargs": {NAME: kept},
    }


def _usage(answer: AssistantMessage) -> dict[str, Any] | None:
    usage = answer.usage
    if usage is None:
        return None
    read, written = usage.cache_read or 0, usage.cache_write or 0
    sent, received = (usage.input or 0) + read + written, usage.output or 0
    counts: dict[str, Any] = {
        "input_tokens": sent,
        "output_tokens": received,
        "total_tokens": sent + received,
        "input_token_details": {"cache_read": read, "cache_creation": written},
    }
    if usage.reasoning_tokens is not None:
        counts["output_token_details"] = {"reasoning": usage.reasoning_tokens}
    return counts


class ChunkWriter:
    """Yields the chunks of one turn. Their sum is the message that `message_of` returns."""

    def __init__(self) -> None:
        self._joiner = CharacterJoiner()
        self._written: set[int] = set()
        self._plain = True  # only text so far
        self._text = ""

    def chunks(self, stream: AssistantMessageEventStream) -> Iterator[AIMessageChunk]:
        """Yield the chunks of a stream. Raises its failure, also one of the provider."""
        for event in stream:
            if isinstance(event, (TextDeltaEvent, ThinkingDeltaEvent)):
                text = self._joiner.join(event.content_index, event.delta)
                kind = "text" if isinstance(event, TextDeltaEvent) else "reasoning"
                if text:
                    yield self._chunk(event.content_index, kind, text)
        answer = stream.get_final_message()
        for index, block in enumerate(answer.content or ()):
            if index not in self._written and isinstance(block, (TextContent, ThinkingContent)):
                kind = block.type if isinstance(block, TextContent) else "reasoning"
                text = _block(block)[kind]
                if text:
                    yield self._chunk(index, kind, text)
        yield self._last(answer)

    def _chunk(self, index: int, kind: str, text: str) -> AIMessageChunk:
        self._written.add(index)
        if kind == "text":
            self._text += text
        else:
            self._plain = False
        if self._plain:
            return AIMessageChunk(text)
        return AIMessageChunk([{"type": kind, kind: text, "index": index}])

    def _last(self, answer: AssistantMessage) -> AIMessageChunk:
        """Return the chunk with signatures, calls, usage and metadata."""
        signatures: list[Any] = [
            {"type": "reasoning", "index": index, "extras": {"signature": block.thinking_signature}}
            for index, block in enumerate(answer.content or ())
            if isinstance(block, ThinkingContent) and block.thinking_signature
        ]
        calls = [
            tool_call_chunk(
                name=call.name, args=json.dumps(call.arguments), id=call.id, index=index
            )
            for index, call in enumerate(_calls(answer))
        ]
        return AIMessageChunk(
            signatures or ("" if self._plain else []),
            tool_call_chunks=calls,
            chunk_position="last",
            **_around(answer, self._text),
        )
