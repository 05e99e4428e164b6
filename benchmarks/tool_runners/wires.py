"""The wires of three providers, as far as tools go: an answer as JSON, and the results received."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .situations import Call, Turn

Json = dict[str, Any]


def messages_reply(turn: Turn, number: int) -> Json:
    """Return an answer of Anthropic's `/v1/messages`."""
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "fake",
        "content": [{"type": "text", "text": turn}]
        if isinstance(turn, str)
        else [
            {
                "type": "tool_use",
                "id": _id(call, number),
                "name": call.name,
                "input": call.arguments,
            }
            for call in turn
        ],
        "stop_reason": "end_turn" if isinstance(turn, str) else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }


def messages_results(request: Json) -> list[str]:
    """Return the results in a request to `/v1/messages`."""
    return [
        _mark(_text(block.get("content", "")), block.get("is_error"))
        for message in request["messages"]
        for block in message["content"]
        if isinstance(block, Mapping) and block["type"] == "tool_result"
    ]


def responses_reply(turn: Turn, number: int) -> Json:
    """Return an answer of OpenAI's `/v1/responses`."""
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": "fake",
        "output": [_responses_text(turn, number)]
        if isinstance(turn, str)
        else [_responses_call(call, number) for call in turn],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
    }


def _responses_text(text: str, number: int) -> Json:
    return {
        "type": "message",
        "id": f"msg_{number}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def _responses_call(call: Call, number: int) -> Json:
    return {
        "type": "function_call",
        "id": f"fc_{_id(call, number)}",
        "call_id": _id(call, number),
        "name": call.name,
        "arguments": json.dumps(call.arguments),
        "status": "completed",
    }


def responses_results(request: Json) -> list[str]:
    """Return the results in a request to `/v1/responses`."""
    return [
        _text(item["output"])
        for item in request["input"]
        if isinstance(item, Mapping) and item.get("type") == "function_call_output"
    ]


def chat_reply(turn: Turn, number: int) -> Json:
    """Return an answer of OpenAI's `/v1/chat/completions`."""
    calls = [] if isinstance(turn, str) else [_chat_call(call, number) for call in turn]
    message: Json = {"role": "assistant", "content": turn if isinstance(turn, str) else None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "fake",
        "choices": [choice],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _chat_call(call: Call, number: int) -> Json:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": _id(call, number), "type": "function", "function": function}


def chat_results(request: Json) -> list[str]:
    """Return the results in a request to `/v1/chat/completions`."""
    return [_text(item["content"]) for item in request["messages"] if item["role"] == "tool"]


def gemini_reply(turn: Turn, number: int) -> Json:
    """Return an answer of Gemini's `:generateContent`."""
    parts: list[Json] = (
        [{"text": turn}]
        if isinstance(turn, str)
        else [{"functionCall": {"name": call.name, "args": call.arguments}} for call in turn]
    )
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    return {"candidates": [candidate], "usageMetadata": usage, "responseId": f"r{number}"}


def gemini_results(request: Json) -> list[str]:
    """Return the results in a request to `:generateContent`."""
    return [
        json.dumps(part["functionResponse"]["response"], ensure_ascii=False)
        for content in request["contents"]
        for part in content["parts"]
        if "functionResponse" in part
    ]


WIRES = {
    "/messages": (messages_reply, messages_results),
    "/responses": (responses_reply, responses_results),
    "/chat/completions": (chat_reply, chat_results),
    ":generateContent": (gemini_reply, gemini_results),
}


def _id(call: Call, number: int) -> str:
    return f"{call.id}_{number}"


def _text(content: str | Iterable[Json]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _mark(text: str, is_error: object) -> str:
    return f"error: {text}" if is_error else text
