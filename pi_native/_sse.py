"""Bytes to server-sent events: whole blocks are cut out first, then sseclient reads each.

Given a raw stream, sseclient-py 1.9.0 dispatches a cut-off last event like any other, loses the
event behind a byte order mark, merges events parted by LF CR LF, raises on bytes that are not
UTF-8, and takes quadratic time for a large event in small pieces or of many lines. Given whole
blocks of few lines with plain line ends, one at a time, it does none of that; and the cutting is
the place to bound an event.

No sockets, threads or clocks: bytes go in, blocks and events come out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar

from sseclient import SSEClient

from ._options import SseEvent
from .errors import StreamProtocolError

_BOM = b"\xef\xbb\xbf"
# Two line ends in a row. The first must not be the first half of a CRLF taken for a CR, but the
# second may be: waiting for its LF would hold a CR-only stream's event back until the next one.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n?|\n)")
_Bytes = TypeVar("_Bytes", bytes, bytearray)
_MANY_LINES = 64
_OTHER_FIELDS = (b"event", b"id", b"retry")
_OVERLAP = 3  # so much of a blank line can have arrived without being one yet


class BlockCutter:
    """Cuts a stream of bytes into blocks, however the bytes are split, in linear time.

    Blocks come with LF line ends. As long as no CR has been seen, which is as long as the gateway
    itself is speaking, a block is cut right out of what has arrived; only what is not whole yet is
    kept in the buffer.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._at_start = True
        self._seen_cr = False
        self._skip_lf = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The blocks that `data` completes. Raises `StreamProtocolError` on an oversized one."""
        if self._at_start:
            data = self._strip_bom(data)
        self._seen_cr = self._seen_cr or b"\r" in data
        return self._cut_at_any(data) if self._seen_cr else self._cut_at_lf(data)

    def finish(self) -> Iterator[bytes]:
        """What is left when the stream ends: at most one block, which lacked its blank line."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        if rest.strip(b"\r\n"):
            yield _with_lf(rest).rstrip(b"\n") + b"\n\n"

    def _cut_at_lf(self, data: bytes) -> Iterator[bytes]:
        start = 0
        if self._buffer:
            start = self._end_of_first(data)
            if not start:
                self._keep(data)
                return
            yield self._checked(bytes(self._buffer) + data[:start])
            self._buffer.clear()
        while end := _end_at_lf(data, start):
            yield self._checked(data[start:end])
            start = end
        self._keep(data[start:])

    def _end_of_first(self, data: bytes) -> int:
        """Where in `data` the block ends that the buffer holds the beginning of, or 0."""
        if self._buffer.endswith(b"\n") and data.startswith(b"\n"):
            return 1
        return _end_at_lf(data, 0)

    def _cut_at_any(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        start = 0
        while end := self._end_at_any(start):
            yield self._checked(_with_lf(bytes(self._buffer[start:end])))
            start = end
        del self._buffer[:start]
        self._searched = max(0, len(self._buffer) - _OVERLAP)
        self._keep(b"")

    def _end_at_any(self, start: int) -> int:
        if self._skip_lf and len(self._buffer) > start:
            self._skip_lf = False
            if self._buffer[start] == 0x0A:
                del self._buffer[start]
        match = _BLANK_LINE.search(self._buffer, max(start, self._searched))
        if match is None:
            return 0
        self._skip_lf = self._buffer[match.end() - 1] == 0x0D
        return match.end()

    def _strip_bom(self, data: bytes) -> bytes:
        """`data` without a byte order mark; nothing while it cannot be told if there is one."""
        data = bytes(self._buffer) + data
        self._buffer.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._buffer += data
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _keep(self, data: bytes) -> None:
        self._buffer += data
        self._checked(self._buffer)

    def _checked(self, block: _Bytes) -> _Bytes:
        if len(block) > self._max:
            raise StreamProtocolError(
                f"an event is larger than max_event_bytes ({self._max} bytes)"
            )
        return block


def parse_block(block: bytes) -> SseEvent | None:
    """The event in a block; None when there is no data in it."""
    try:
        block.decode()
    except UnicodeDecodeError:
        # What is no UTF-8 becomes U+FFFD.
        block = block.decode("utf-8", "replace").encode()
    if block.count(b"\n") <= _MANY_LINES:
        return _parse(block)
    few_lines, data = _without_data(block)
    event = _parse(few_lines)
    if event is not None:
        event.data = data
    return event


def _parse(block: bytes) -> SseEvent | None:
    for event in SSEClient(iter((block,))).events():
        return SseEvent(event=event.event, data=event.data, id=event.id, retry=event.retry)
    return None


def _without_data(block: bytes) -> tuple[bytes, str]:
    """A block that holds an event if that one does, with the same fields; and its data."""
    fields, data = {}, []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
            fields[name] = b"data"
        elif name in _OTHER_FIELDS:
            fields[name] = line
    return b"\n".join(fields.values()) + b"\n\n", b"\n".join(data).decode()


def _end_at_lf(data: bytes, start: int) -> int:
    """Where the block ends that begins at `start`, or 0."""
    # One byte is found ten times as fast as two, and JSON has no line ends of its own. But a block
    # of a million lines takes a million turns of this loop, so it soon gives up.
    found = data.find(b"\n", start)
    for _ in range(_MANY_LINES):
        if found < 0:
            return 0
        if data.startswith(b"\n", found + 1):
            return found + 2
        found = data.find(b"\n", found + 1)
    found = data.find(b"\n\n", max(start, found))
    return found + 2 if found >= 0 else 0


def _with_lf(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
