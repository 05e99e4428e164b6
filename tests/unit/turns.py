"""Turns as the gateway frames them, of any length."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_PARTIAL = re.compile(rb'"partial":.*', re.DOTALL)
WORDS = ["the ", "light ", "of ", "day ", "is ", '"Über" ', "🌍\n", "it\\ "]


def text_turn(count: int) -> Iterator[bytes]:
    """A turn of `count` text deltas."""
    text = ""
    for number in range(count):
        delta = WORDS[number % len(WORDS)]
        text += delta
        block = {"type": "text", "text": text}
        yield frame({**head("text", delta), "partial": message(block)})
    yield from end({"type": "text", "text": text}, "stop")


def tool_turn(count: int) -> Iterator[bytes]:
    """A turn of `count` deltas of a tool call, whose arguments and their text both grow."""
    arguments, text = "", '{"path":"a.txt","text":"'
    yield frame({**head("toolcall", text), "partial": message(tool_call(arguments, text))})
    for number in range(count):
        word = WORDS[number % len(WORDS)]
        delta = json.dumps(word, ensure_ascii=False)[1:-1]
        arguments += word
        text += delta
        yield frame({**head("toolcall", delta), "partial": message(tool_call(arguments, text))})
    yield from end(tool_call(arguments, text + '"}'), "toolUse")


def ahead(turn: Iterator[bytes], by: int) -> Iterator[bytes]:
    """The same turn from a fast provider: each snapshot is that of up to `by` events later."""
    frames = list(turn)
    parts = [found for found in (_PARTIAL.search(each) for each in frames) if found is not None]
    for number, each in enumerate(frames):
        found = _PARTIAL.search(each)
        if found is None:
            yield each
        else:
            later = parts[min(number // by * by + by, len(parts)) - 1]
            yield each[: found.start()] + later.group()


def frame(event: dict[str, Any]) -> bytes:
    """One event, as the gateway writes it."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


def head(kind: str, delta: str) -> dict[str, Any]:
    """A delta without its snapshot."""
    return {"type": f"{kind}_delta", "contentIndex": 0, "delta": delta}


def end(block: dict[str, Any], reason: str) -> Iterator[bytes]:
    """The message as a whole."""
    yield frame({"type": "done", "reason": reason, "message": message(block)})
    yield b"data: [DONE]\n\n"


def message(block: dict[str, Any]) -> dict[str, Any]:
    """A message with one block."""
    return {
        "role": "assistant",
        "content": [block],
        "usage": {"input": 0, "output": 0},
        "stopReason": "stop",
        "timestamp": 1795403323285,
    }


def tool_call(arguments: str, text: str) -> dict[str, Any]:
    """A tool call on its way."""
    return {
        "type": "toolCall",
        "id": "call_1",
        "name": "write",
        "arguments": {"path": "a.txt", "text": arguments},
        "partialArgs": text,
        "streamIndex": 0,
    }
