"""Wires as the gateway and two providers send them, of any length, one HTTP chunk an event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_WORDS = (
    'the light of a clear day is scattered by what it meets on its way, and "blue" more than '
    "red: so say the books, the tables, and the sky itself.\n"
).split(" ")
_USAGE = {
    "input": 0,
    "output": 0,
    "cacheRead": 0,
    "cacheWrite": 0,
    "totalTokens": 0,
    "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0},
}


def words(count: int) -> list[str]:
    """So many deltas, of a word each."""
    return [f"{_WORDS[i % len(_WORDS)]}" + " " for i in range(count)]


def pi_native_text(count: int) -> Iterator[bytes]:
    """A turn of `count` text deltas, each with the whole message so far as its last member."""
    text = ""
    yield _sse({"type": "start", "partial": _message([])})
    yield _sse({"type": "text_start", "contentIndex": 0, "partial": _message([_text("")])})
    for delta in words(count):
        text += delta
        yield _sse(
            {
                "type": "text_delta",
                "contentIndex": 0,
                "delta": delta,
                "partial": _message([_text(text)]),
            }
        )
    whole = _message([_text(text)])
    yield _sse({"type": "text_end", "contentIndex": 0, "content": text, "partial": whole})
    yield _sse({"type": "done", "reason": "stop", "message": whole})
    yield b"data: [DONE]\n\n"


def pi_native_tool_call(count: int) -> Iterator[bytes]:
    """A turn of `count` deltas of one tool call; arguments and their text both grow."""
    text, partial_args = "", '{"path":"a.txt","text":"'
    pieces = [partial_args, *(json.dumps(word)[1:-1] for word in words(count - 1))]
    grown = ""
    yield _sse({"type": "start", "partial": _message([])})
    yield _sse({"type": "toolcall_start", "contentIndex": 0, "partial": _message([_call({}, "")])})
    for number, piece in enumerate(pieces):
        grown += piece
        text += json.loads(f'"{piece}"') if number else ""
        call = _call({"path": "a.txt", "text": text}, grown)
        yield _sse(
            {
                "type": "toolcall_delta",
                "contentIndex": 0,
                "delta": piece,
                "partial": _message([call]),
            }
        )
    whole = _call({"path": "a.txt", "text": text}, grown + '"}')
    end = {"type": "toolcall_end", "contentIndex": 0, "toolCall": whole}
    yield _sse({**end, "partial": _message([whole])})
    yield _sse({"type": "done", "reason": "toolUse", "message": _message([whole])})
    yield b"data: [DONE]\n\n"


def openai_text(count: int) -> Iterator[bytes]:
    """The same text as chat-completion chunks."""
    for delta in words(count):
        yield _sse(_openai_chunk({"content": delta}, None))
    yield _sse(_openai_chunk({}, "stop"))
    yield b"data: [DONE]\n\n"


def anthropic_text(count: int) -> Iterator[bytes]:
    """The same text as Anthropic's message events."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    yield _named({"type": "message_start", "message": message})
    block = {"type": "text", "text": ""}
    yield _named({"type": "content_block_start", "index": 0, "content_block": block})
    for delta in words(count):
        part = {"type": "text_delta", "text": delta}
        yield _named({"type": "content_block_delta", "index": 0, "delta": part})
    yield _named({"type": "content_block_stop", "index": 0})
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _named({"type": "message_delta", "delta": stop, "usage": {"output_tokens": count}})
    yield _named({"type": "message_stop"})


def _message(content: list[Any]) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": content,
        "api": "openai-completions",
        "provider": "x",
        "model": "y",
        "usage": _USAGE,
        "stopReason": "stop",
        "timestamp": 1795403323285,
        "responseId": "chatcmpl-1",
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _call(arguments: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "type": "toolCall",
        "id": "call_1",
        "name": "write",
        "arguments": arguments,
        "partialArgs": text,
        "streamIndex": 0,
    }


def _openai_chunk(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1795403323,
        "model": "y",
        "system_fingerprint": "fp",
        "choices": [choice],
    }


def _named(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + _sse(event)


def _sse(event: dict[str, Any]) -> bytes:
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()
