"""The frames in which a gateway streams a message.

Each frame is `data: <one event as JSON>` and a blank line. Almost every event repeats the message
so far (`partial`, its last member), so a turn is quadratic in its length on the wire. The work in
Python stays linear because nothing is serialised twice: the message so far is JSON text, which
grows by one escaped piece per event and is copied into each frame.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

__all__ = [
    "DONE",
    "Block",
    "dumps",
    "frame",
    "members_around",
    "message",
    "stream",
    "text",
    "thinking",
    "tool_call",
    "usage",
    "words",
]

DONE = b"data: [DONE]\n\n"
_ARGUMENT_PIECE = 12  # characters of a tool call's arguments in one delta, about three tokens
_INPUT_PRICE, _OUTPUT_PRICE = 3e-6, 15e-6  # dollars per token
_NO_COST = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}
_NO_USAGE = {
    "input": 0,
    "output": 0,
    "cacheRead": 0,
    "cacheWrite": 0,
    "totalTokens": 0,
    "cost": _NO_COST,
}


def dumps(value: Any) -> bytes:
    r"""Return compact JSON as JavaScript writes it: UTF-8, but a lone surrogate as `\ud83d`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # UTF-8 has no lone surrogates, and Python escapes them as JSON does.
    return text.encode("utf-8", "backslashreplace")


def frame(event: Any) -> bytes:
    """Return the SSE frame of one event, given as JSON data."""
    return _frame(dumps(event))


def words(text: str) -> list[str]:
    """Split a text into words, each with the white space before it."""
    return re.findall(r"\s*\S+|\s+", text)


def members_around(model: str, api: str, request_id: str) -> dict[str, Any]:
    """Return the members of a message around its content, while it grows."""
    provider, slash, name = model.partition("/")
    return {
        "api": api,
        "provider": provider if slash else "fake",  # a real gateway finds the provider of a bare id
        "model": name if slash else model,
        "usage": _NO_USAGE,
        "stopReason": "stop",
        "timestamp": int(time.time() * 1000),
        "responseId": f"fake-{request_id}",
    }


def usage(prompt: int, output: int) -> dict[str, Any]:
    """Return plausible counts and costs for so many tokens."""
    paid, earned = prompt * _INPUT_PRICE, output * _OUTPUT_PRICE
    cost = {**_NO_COST, "input": paid, "output": earned, "total": paid + earned}
    counts = {"input": prompt, "output": output, "totalTokens": prompt + output}
    return {**_NO_USAGE, **counts, "cost": cost}


@attrs.frozen
class Block:
    """A content block: the JSON around its growing string, its pieces, and its complete JSON."""

    kind: str
    before: bytes
    after: bytes
    pieces: Sequence[str]
    whole: bytes
    end: bytes  # the member of its end event


def text(pieces: Sequence[str]) -> Block:
    """Return a text block in these pieces."""
    return _prose("text", pieces)


def thinking(pieces: Sequence[str]) -> Block:
    """Return a thinking block in these pieces."""
    return _prose("thinking", pieces)


def _prose(kind: str, pieces: Sequence[str]) -> Block:
    content = "".join(pieces)
    return Block(
        kind=kind,
        before=b'{"type":"%(kind)b","%(kind)b":"' % {b"kind": kind.encode()},
        after=b'"}',
        pieces=pieces,
        whole=dumps({"type": kind, kind: content}),
        end=b'"content":' + dumps(content),
    )


def tool_call(call: Mapping[str, Any], stream_index: int) -> Block:
    """Return a tool call whose arguments arrive in pieces of their JSON text.

    As in the gateway's OpenAI client, that text is in `partialArgs`, which no type of the protocol
    lists, and `arguments` is empty until the text is complete.
    """
    arguments = dumps(call["arguments"]).decode()
    growing = {**call, "arguments": {}, "partialArgs": ""}
    whole = dumps({**call, "partialArgs": arguments, "streamIndex": stream_index})
    return Block(
        kind="toolcall",
        before=dumps(growing)[:-2],
        after=b'","streamIndex":%d}' % stream_index,
        pieces=[
            arguments[at : at + _ARGUMENT_PIECE] for at in range(0, len(arguments), _ARGUMENT_PIECE)
        ],
        whole=whole,
        end=b'"toolCall":' + whole,
    )


def stream(
    blocks: Iterable[Block], growing: Mapping[str, Any], final: Mapping[str, Any]
) -> Iterator[bytes]:
    """Return the frames of a turn; the last one is its `done` or `error` event.

    `growing` has the members around the content while the message grows, `final` those of the
    complete message. Its `stopReason` decides which event is the last.
    """
    # Not a generator: data that is not JSON fails here, not in the middle of the response.
    return _frames(blocks, _Snapshot(growing), _Snapshot(final), final["stopReason"])


def _frames(
    blocks: Iterable[Block], partial: "_Snapshot", whole: "_Snapshot", reason: str
) -> Iterator[bytes]:
    said: list[bytes] = []
    yield _frame(b'{"type":"start","partial":%b}' % partial(said))
    for index, block in enumerate(blocks):
        yield from _block_frames(block, index, said, partial)
        said.append(block.whole)
    yield _last_frame(reason, whole(said))


def message(blocks: Iterable[Block], final: Mapping[str, Any]) -> bytes:
    """Return the complete message, for a request without streaming."""
    return _Snapshot(final)([block.whole for block in blocks])


class _Snapshot:
    """Puts content between the other members of a message."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._rest = dumps(members)[1:]

    def __call__(self, blocks: Iterable[bytes | bytearray]) -> bytes:
        return b'{"role":"assistant","content":[%b],%b' % (b",".join(blocks), self._rest)


def _block_frames(
    block: Block, index: int, said: Sequence[bytes], partial: _Snapshot
) -> Iterator[bytes]:
    grown = bytearray(block.before)
    for phase, member, piece in _phases(block):
        grown += piece
        yield _frame(
            b'{"type":"%b_%b","contentIndex":%d,%b"partial":%b}'
            % (block.kind.encode(), phase, index, member, partial([*said, grown + block.after]))
        )
    yield _frame(
        b'{"type":"%b_end","contentIndex":%d,%b,"partial":%b}'
        % (block.kind.encode(), index, block.end, partial([*said, block.whole]))
    )


def _phases(block: Block) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield the start and the deltas: kind of the event, its own member, growth of the block."""
    yield b"start", b"", b""
    for piece in block.pieces:
        quoted = dumps(piece)
        yield b"delta", b'"delta":%b,' % quoted, quoted[1:-1]


def _last_frame(reason: str, message: bytes) -> bytes:
    failed = reason in ("error", "aborted")
    kind, member = (b"error", b"error") if failed else (b"done", b"message")
    return _frame(b'{"type":"%b","reason":%b,"%b":%b}' % (kind, dumps(reason), member, message))


def _frame(event: bytes) -> bytes:
    return b"data: %b\n\n" % event
