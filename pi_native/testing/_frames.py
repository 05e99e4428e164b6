"""A message taken apart into the frames in which a gateway streams it.

Each frame is `data: <one event as JSON>` and a blank line. Almost every event repeats the message
so far (`partial`, its last member), so a turn is quadratic in its length on the wire. To keep it
from being quadratic in Python's work too, nothing is serialised twice: what has been said is kept
as JSON text, which grows by one escaped piece an event and is copied into each frame.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

__all__ = ["DONE", "Block", "dumps", "frame", "stream", "text", "thinking", "tool_call", "words"]

DONE = b"data: [DONE]\n\n"
_ARGUMENT_PIECE = 12  # characters of a tool call's arguments in one delta, about three tokens


def dumps(value: Any) -> bytes:
    """Return compact JSON as JavaScript writes it: UTF-8, but a lone surrogate as `\\ud83d`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # What UTF-8 cannot hold are lone surrogates only, and Python's escape for them is JSON's.
    return text.encode("utf-8", "backslashreplace")


def frame(event: Any) -> bytes:
    """Return the SSE frame of one event, given as the object that JSON is made of."""
    return _frame(dumps(event))


def words(text: str) -> list[str]:
    """Cut a text the way tokens do: each word with the white space before it."""
    return re.findall(r"\s*\S+|\s+", text)


@attrs.frozen
class Block:
    """One content block: its JSON around the string that grows, its pieces, its JSON when whole."""

    kind: str
    before: bytes
    after: bytes
    pieces: Sequence[str]
    whole: bytes
    end: bytes  # the member that its end event carries


def text(pieces: Sequence[str]) -> Block:
    """Return a text block that arrives in these pieces."""
    return _prose("text", pieces)


def thinking(pieces: Sequence[str]) -> Block:
    """Return a thinking block that arrives in these pieces."""
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
    """Return a tool call whose arguments arrive as pieces of their JSON text.

    Like the gateway's OpenAI client, it keeps that text in `partialArgs`, a field that no type of
    the protocol lists, and `arguments` stays empty until all of it is there.
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
    """Return the frames of a turn, the last one being its `done` or `error` event.

    `growing` holds the members of the message around its content while it grows, `final` those of
    the finished message, whose `stopReason` decides on the last event.
    """
    # Not a generator itself: what cannot be written as JSON is to fail here, not on the way.
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
    """Return the finished message alone, as an answer to a request that does not stream."""
    return _Snapshot(final)([block.whole for block in blocks])


class _Snapshot:
    """Puts the content so far into the members around it."""

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
    """Yield the start and the deltas: the event's kind, its own member, what the block gains."""
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
