"""Bytes to server-sent events: whole blocks are cut out first, then sseclient reads each one.

Given a raw stream, sseclient-py 1.9.0 dispatches a cut-off last event like any other, loses the
event after a byte order mark, merges events parted by LF CR LF, raises on bytes that are not UTF-8,
and takes quadratic time for a large event in small pieces or of many lines. Given whole blocks of
few lines with LF line ends, one at a time, it reads all of them correctly. The cutter also limits
the size of an event.

Pure: bytes go in, blocks and events come out.
"""

from __future__ import annotations

import re

from sseclient import SSEClient

from .._types.options import SseEvent
from ..errors import StreamProtocolError

_BOM = b"\xef\xbb\xbf"
# Two line ends in a row. The first one must not be the CR of a CRLF, but the second one may be:
# waiting for its LF would delay the events of a CR-only stream.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n?|\n)")
_MANY_LINES = 64
_OTHER_FIELDS = (b"event", b"id", b"retry")
_OVERLAP = 3  # the longest beginning of a blank line


class BlockCutter:
    """Cuts a stream of bytes into blocks in linear time, however the bytes are split.

    Blocks have LF line ends. As long as no CR has arrived (the gateway itself sends none), a block
    is cut out of the data directly; only an incomplete block is kept in the buffer. A caller that
    knows the end of a block may read it in place, in `data` at `position` while `at_block`, and
    `skip` it. Such a block must not contain a CR.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self.data = b""  # the newest bytes
        self.position = 0  # the end of what was cut
        self.end = 0  # the end of the part to cut
        self.at_block = False  # True when a block begins at the position
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._is_new = False  # True before the search for a CR
        self._at_start = True
        self._seen_cr = False
        self._skip_lf = False

    def feed(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        """Add the bytes from `start` to `end`. All blocks before them must have been taken."""
        if self._at_start:
            data = self._strip_bom(data[start:end])
            start, end = 0, None
        self.data = data
        self.position = start
        self.end = len(data) if end is None else end
        self.at_block = not (self._buffer or self._seen_cr)
        self._is_new = True

    def next(self) -> bytes | None:
        """Return the next block; None when it is incomplete. Raises for an oversized one."""
        if self._is_new:
            self._is_new = False
            if self._seen_cr or self.data.find(b"\r", self.position, self.end) >= 0:
                self._change_to_any()
        return self._next_at_any() if self._seen_cr else self._next_at_lf()

    def skip(self, end: int) -> None:
        """Move to the end of a block that was read in place. Raises for an oversized one."""
        self._check(end - self.position)
        self.position = end

    def finish(self) -> bytes | None:
        """Return the last block, which has no blank line, when the stream ends; else None."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return _with_lf(rest).rstrip(b"\n") + b"\n\n" if rest.strip(b"\r\n") else None

    def _next_at_lf(self) -> bytes | None:
        start, buffer = self.position, self._buffer
        end = self._end_of_first(start) if buffer else _end_at_lf(self.data, start, self.end)
        self.at_block = bool(end)
        self.position = end or self.end
        # A read cuts every tenth event of a long turn, so its bytes are not copied more than twice.
        part = memoryview(self.data)[start : self.position]
        if not end:
            buffer += part
            self._check(len(buffer))
            return None
        block = b"".join((buffer, part))
        buffer.clear()
        self._check(len(block))
        return block

    def _end_of_first(self, start: int) -> int:
        """Return the end of the block whose beginning is in the buffer, or 0."""
        if self._buffer.endswith(b"\n") and self.data.startswith(b"\n", start, self.end):
            return start + 1
        return _end_at_lf(self.data, start, self.end)

    def _change_to_any(self) -> None:
        """Cut all further bytes in the buffer."""
        self._seen_cr = True
        self.at_block = False
        self._buffer += self.data[self.position : self.end]
        self.position = 0

    def _next_at_any(self) -> bytes | None:
        buffer, start = self._buffer, self.position
        end = self._end_at_any(start)
        if end:
            self.position = end
            self._check(end - start)
            return _with_lf(bytes(buffer[start:end]))
        del buffer[:start]
        self.position = 0
        self._searched = max(0, len(buffer) - _OVERLAP)
        self._check(len(buffer))
        return None

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
        """Return `data` without a byte order mark; nothing while that is undecided."""
        data = bytes(self._buffer) + data
        self._buffer.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._buffer += data
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _check(self, size: int) -> None:
        if size > self._max:
            raise StreamProtocolError(
                f"an event is larger than max_event_bytes ({self._max} bytes)"
            )


def parse_block(block: bytes) -> SseEvent | None:
    """Return the event in a block; None when it has no data."""
    try:
        block.decode()
    except UnicodeDecodeError:
        # Bytes that are not UTF-8 become U+FFFD.
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
    """Return a block with the same fields in few lines, and the data of the original."""
    fields, data = {}, []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
            fields[name] = b"data"
        elif name in _OTHER_FIELDS:
            fields[name] = line
    return b"\n".join(fields.values()) + b"\n\n", b"\n".join(data).decode()


def _end_at_lf(data: bytes, start: int, limit: int) -> int:
    """Return the end of the block at `start`, or 0."""
    # One byte is found ten times as fast as two, and JSON has no raw line ends. The number of tries
    # is limited for blocks of a million lines.
    found = data.find(b"\n", start, limit)
    for _ in range(_MANY_LINES):
        if found < 0:
            return 0
        if data.startswith(b"\n", found + 1, limit):
            return found + 2
        found = data.find(b"\n", found + 1, limit)
    found = data.find(b"\n\n", max(start, found), limit)
    return found + 2 if found >= 0 else 0


def _with_lf(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
