"""Bytes to server-sent events: whole blocks are cut out first, then sseclient reads each.

Given a raw stream, sseclient-py 1.9.0 dispatches a cut-off last event like any other, loses the
event behind a byte order mark, merges events parted by LF CR LF, raises on bytes that are not
UTF-8, and takes quadratic time for a large event in small pieces. Given whole blocks with plain
line ends, one at a time, it does none of that; and the cutting is the place to bound an event.

No sockets, threads or clocks: an iterable of byte strings goes in, an iterator of events comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sseclient import SSEClient

from ._options import SseEvent
from .errors import StreamProtocolError

_BOM = b"\xef\xbb\xbf"
# Two line ends in a row. The first must not be the first half of a CRLF taken for a CR, but the
# second may be: waiting for its LF would hold a CR-only stream's event back until the next one.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n?|\n)")
_OVERLAP = 3  # so much of a blank line can have arrived without being one yet


class BlockCutter:
    """Cuts a stream of bytes into blocks, however the bytes are split, in linear time."""

    def __init__(self, max_event_bytes: int) -> None:
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._at_start = True
        self._skip_lf = False
        self._seen_cr = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The blocks that `data` completes. Raises `StreamProtocolError` on an oversized one."""
        self._buffer += data
        self._seen_cr = self._seen_cr or b"\r" in data
        if self._at_start and not self._strip_bom():
            return
        start = 0
        while end := self._find_end(start):
            yield self._block(start, end)
            start = end
        del self._buffer[:start]
        self._searched = max(0, len(self._buffer) - _OVERLAP)
        self._check(len(self._buffer))

    def finish(self) -> Iterator[bytes]:
        """What is left when the stream ends: at most one block, without its blank line."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        if rest.strip(b"\r\n"):
            yield _plain(rest) + b"\n\n"

    def _find_end(self, start: int) -> int:
        """Where the block that begins at `start` ends, or 0."""
        if self._skip_lf and len(self._buffer) > start:
            self._skip_lf = False
            if self._buffer[start] == 0x0A:
                self._buffer[start : start + 1] = b""
        begin = max(start, self._searched)
        if not self._seen_cr:  # a regular expression takes ten times as long as find
            found = self._buffer.find(b"\n\n", begin)
            return found + 2 if found >= 0 else 0
        match = _BLANK_LINE.search(self._buffer, begin)
        if match is None:
            return 0
        self._skip_lf = self._buffer[match.end() - 1] == 0x0D
        return match.end()

    def _block(self, start: int, end: int) -> bytes:
        self._check(end - start)
        return _plain(bytes(self._buffer[start:end]))

    def _strip_bom(self) -> bool:
        """Drop a byte order mark; False while it cannot be told whether there is one."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
            return False
        self._at_start = False
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        return True

    def _check(self, size: int) -> None:
        if size > self._max:
            raise StreamProtocolError(
                f"an event is larger than max_event_bytes ({self._max} bytes)"
            )


def _plain(block: bytes) -> bytes:
    """The block in UTF-8, with LF line ends; what is no UTF-8 becomes U+FFFD."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        block.decode()
    except UnicodeDecodeError:
        block = block.decode("utf-8", "replace").encode()
    return block


class _Source:
    """Feeds sseclient one block at a time, and knows whether the last one was cut off."""

    def __init__(self, chunks: Iterable[bytes], max_event_bytes: int) -> None:
        self._chunks = chunks
        self._cutter = BlockCutter(max_event_bytes)
        self.trailing = False

    def blocks(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            yield from self._cutter.feed(chunk)
        for block in self._cutter.finish():
            self.trailing = True
            yield block


def read_sse(chunks: Iterable[bytes], max_event_bytes: int) -> Iterator[tuple[SseEvent, bool]]:
    """The events in `chunks`, each with whether the stream ended before its blank line.

    Events without data are skipped. Raises `StreamProtocolError` for an event of more than
    `max_event_bytes`, as soon as that many bytes are there.
    """
    source = _Source(chunks, max_event_bytes)
    for event in SSEClient(source.blocks()).events():
        yield _observable(event), source.trailing


def _observable(event: Any) -> SseEvent:
    return SseEvent(event=event.event, data=event.data, id=event.id, retry=event.retry)
