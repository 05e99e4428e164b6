"""Wires of the gateway and of two providers, of any length, event by event.

An event is made when it is asked for: a turn of 20,000 deltas is nearly a gigabyte, and is never
held as a whole. What does not change in the JSON of a snapshot is made once, so that a replay costs
little more than copying the bytes.
"""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

# A few bytes per token, some of which JSON escapes.
_TOKENS = (
    "The |light |of |a |clear |day |is |scattered |by |whatever |it |meets |on |its |long |way|, |"
    'and |"blue" |light |more |than |others|: |so |say |the |works|, |the |measurements|, |'
    "and |the |evening |sky |itself.\n"
)
_CODE_TOKENS = (
    "def scatter|(light, |particle|):\n    |ratio |= |light|.wavelength |/ |particle|.diameter|"
    '\n    |return |"Rayleigh" |if |ratio > 10 |else |"Mie"|\n\n    |# read more |in Bohren |'
    "and Huffman|, |chapters 5 |and 6, on |small particles|\n\n    "
)
_USAGE = {
    "input": 0,
    "output": 0,
    "cacheRead": 0,
    "cacheWrite": 0,
    "totalTokens": 0,
    "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0},
}
_T = TypeVar("_T")
_HOLE, _SECOND_HOLE = "<1>", "<2>"
DONE = b"data: [DONE]\n\n"


def text(count: int, together: int = 1, tokens: str = _TOKENS) -> Iterator[bytes]:
    """Yield a turn of `count` text deltas, each with the message so far as its last member.

    `together` as in `tool_call`; `tokens` have a `|` between them.
    """
    return _text_turn((_inside(_token(tokens, number)) for number in range(count)), together)


def stamped(count: int) -> Iterator[bytes]:
    """Yield the same, but each delta is the time at which it was requested, in nanoseconds."""
    return _text_turn((b"%d " % time.monotonic_ns() for _ in range(count)), 1)


def tool_call(count: int, together: int = 1, tokens: str = _CODE_TOKENS) -> Iterator[bytes]:
    """Yield a turn of `count` deltas of one tool call, with growing arguments as object and text.

    A snapshot is taken when its event is sent. When `together` deltas have come from the provider
    at once, it is ahead of its event, and the snapshots of all of them are the same.
    """
    before, between, after = _around(_message([_call(_HOLE, _SECOND_HOLE)]))
    arguments, text = bytearray(), bytearray()
    yield _start()
    yield _event({"type": "toolcall_start", "contentIndex": 0}, _message([_call("", "")]))
    for group in _groups(_argument_deltas(count, tokens), together):
        for delta, added in group:
            arguments += added
            text += delta
        partial = b"".join((before, arguments, between, text, after))
        for delta, _ in group:
            yield _delta(b"toolcall_delta", delta, partial)
    whole = json.loads(b"".join((before, arguments, between, text, rb"\"}", after)))
    call = whole["content"][0]
    yield _event({"type": "toolcall_end", "contentIndex": 0, "toolCall": call}, whole)
    yield _end("toolUse", whole)
    yield DONE


def same(count: int) -> Iterator[bytes]:
    """Yield a turn of `count` small events with the same snapshot: the provider was faster."""
    partial = _json(_message([_text("It is all here.")]))
    yield _start()
    for _ in range(count):
        yield _delta(b"text_delta", b"a ", partial)
    yield _end("stop", _message([_text("It is all here.")]))
    yield DONE


def big(size: int) -> Iterator[bytes]:
    """Yield a turn with one event of a little more than `size` bytes."""
    yield _start()
    yield _delta(b"text_delta", b"a", _json(_message([_text("a" * size)])))
    yield _end("stop", _message([_text("a")]))
    yield DONE


def openai(count: int) -> Iterator[bytes]:
    """Yield the text as chat-completion chunks."""
    for number in range(count):
        yield _openai_chunk({"content": _token(_TOKENS, number)}, None)
    yield _openai_chunk({}, "stop")
    yield DONE


def anthropic(count: int) -> Iterator[bytes]:
    """Yield the text as message events of Anthropic."""
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "y",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    yield _named({"type": "message_start", "message": message})
    block = {"type": "text", "text": ""}
    yield _named({"type": "content_block_start", "index": 0, "content_block": block})
    for number in range(count):
        part = {"type": "text_delta", "text": _token(_TOKENS, number)}
        yield _named({"type": "content_block_delta", "index": 0, "delta": part})
    yield _named({"type": "content_block_stop", "index": 0})
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _named({"type": "message_delta", "delta": stop, "usage": {"output_tokens": count}})
    yield _named({"type": "message_stop"})


WIRES: dict[str, Callable[[int], Iterator[bytes]]] = {
    "text": text,
    "stamped": stamped,
    "tool": tool_call,
    # A provider that delivers five deltas at a time, and one that delivers all of them at once.
    "text-by-fives": lambda count: text(count, 5),
    "tool-by-fives": lambda count: tool_call(count, 5),
    "text-at-once": lambda count: text(count, count),
    "tool-at-once": lambda count: tool_call(count, count),
    "same": same,
    "big": big,
    "openai": openai,
    "anthropic": anthropic,
}


def frame(event: dict[str, Any]) -> bytes:
    """Return one event, as the gateway writes it."""
    return b"data: %b\n\n" % _json(event)


def _text_turn(deltas: Iterator[bytes], together: int) -> Iterator[bytes]:
    before, after = _around(_message([_text(_HOLE)]))
    grown = bytearray()
    yield _start()
    yield _event({"type": "text_start", "contentIndex": 0}, _message([_text("")]))
    for group in _groups(deltas, together):
        for delta in group:
            grown += delta
        partial = b"".join((before, grown, after))
        for delta in group:
            yield _delta(b"text_delta", delta, partial)
    whole = json.loads(b"".join((before, grown, after)))
    content = whole["content"][0]["text"]
    yield _event({"type": "text_end", "contentIndex": 0, "content": content}, whole)
    yield _end("stop", whole)
    yield DONE


def _groups(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    while group := list(itertools.islice(items, size)):
        yield group


def _argument_deltas(count: int, tokens: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield each delta as written in its event, and as written in the arguments.

    A delta is JSON text, so that a string of the arguments is escaped twice in it.
    """
    yield _inside('{"path":"light.py","text":"'), b""
    for number in range(count - 1):
        code = _inside(_token(tokens, number))
        yield _inside(code.decode()), code


def _token(tokens: str, number: int) -> str:
    every = _split(tokens)
    return every[number % len(every)]


@functools.cache
def _split(tokens: str) -> list[str]:
    return tokens.split("|")


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


def _call(text: str, partial_args: str) -> dict[str, Any]:
    return {
        "type": "toolCall",
        "id": "call_1",
        "name": "write",
        "arguments": {"path": "light.py", "text": text},
        "partialArgs": partial_args,
        "streamIndex": 0,
    }


def _start() -> bytes:
    return _event({"type": "start"}, _message([]))


def _end(reason: str, message: dict[str, Any]) -> bytes:
    return frame({"type": "done", "reason": reason, "message": message})


def _delta(kind: bytes, delta: bytes, partial: bytes) -> bytes:
    head = b'data: {"type":"%b","contentIndex":0,"delta":"%b","partial":' % (kind, delta)
    return b"".join((head, partial, b"}\n\n"))


def _event(event: dict[str, Any], partial: dict[str, Any]) -> bytes:
    return frame({**event, "partial": partial})


def _openai_chunk(delta: dict[str, Any], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return frame(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1795403323,
            "model": "y",
            "system_fingerprint": "fp",
            "choices": [choice],
        }
    )


def _named(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + frame(event)


def _json(value: object) -> bytes:
    # Like JSON.stringify: no space between the members, and no unnecessary escapes.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@functools.lru_cache(maxsize=64)
def _inside(text: str) -> bytes:
    """Return the JSON of a string without its quotes."""
    return _json(text)[1:-1]


def _around(message: dict[str, Any]) -> list[bytes]:
    """Return the JSON of a message, cut at its insertion points."""
    return _json(message).replace(_SECOND_HOLE.encode(), _HOLE.encode()).split(_HOLE.encode())
