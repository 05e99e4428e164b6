"""The SSE layer gives the same blocks for any split, and raises only for too large an event."""

from __future__ import annotations

from pi_native import SseEvent, StreamProtocolError
from pi_native._protocol.sse import BlockCutter, parse_block

from .splits import chance, check, splits

_PLENTY = 1 << 40


def check_sse(data: bytes) -> None:
    """Check that bytes give the same blocks whole and in pieces, and that each block is plain."""
    whole, refused = _cut([data], _PLENTY)
    check(not refused, "a bound was broken that nothing can break")
    for block in whole:
        check(block.endswith(b"\n\n") and b"\r" not in block, f"not a plain block: {block!r}")
        frame = parse_block(block)
        check(frame is None or type(frame.data) is str, "data that is no text")
        check(frame is None or _again(frame) == frame.data, "an event is not read as it is")
    limit = chance(data).randint(1, max(map(len, whole), default=1) + 2)
    bounded = _cut([data], limit)
    for pieces in splits(data):
        check(_cut(pieces, _PLENTY) == (whole, False), f"other blocks from {pieces!r}")
        _check_bound(pieces, limit, bounded, whole)


def _cut(pieces: list[bytes], limit: int) -> tuple[list[bytes], bool]:
    """Return the blocks, and whether an event was over the limit."""
    cutter, blocks = BlockCutter(limit), []
    try:
        for piece in pieces:
            cutter.feed(piece)
            blocks.extend(iter(cutter.next, None))
            check(len(cutter._buffer) <= limit, "more is kept than may be")
        blocks.extend(filter(None, [cutter.finish()]))
    except StreamProtocolError:
        return blocks, True
    return blocks, False


def _check_bound(
    pieces: list[bytes], limit: int, bounded: tuple[list[bytes], bool], whole: list[bytes]
) -> None:
    """Check that the blocks before the error are the same; with LF line ends the error is, too."""
    blocks, refused = _cut(pieces, limit)
    check(blocks == whole[: len(blocks)], "a bound changes the blocks before it")
    check(refused or len(blocks) == len(whole), "blocks are missing")
    if b"\r" not in b"".join(pieces):
        check((blocks, refused) == bounded, f"a bound of {limit} falls elsewhere in {pieces!r}")


def _again(frame: SseEvent) -> str | None:
    """Return the data, written as an event and read again."""
    lines = "".join(f"data: {line}\n" for line in frame.data.split("\n"))
    again = parse_block(f"{lines}\n".encode())
    return None if again is None else again.data
