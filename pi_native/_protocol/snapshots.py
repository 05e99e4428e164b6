"""Snapshots that cost only what is new in them.

Why this exists: every event repeats the whole message so far, so a turn of n tokens is O(n²) bytes
on the wire (158 MB for 8,000 deltas). Parsing each snapshot takes 0.5 s of CPU, and keeping each
one takes as much memory as the wire. Consecutive snapshots differ only at one or two insertion
points, where a JSON string has grown: the text, or for a tool call the arguments as text and as far
as they could be parsed. So the growing text is kept once, in a `SharedBuffer`, and a snapshot is
the lengths that its parts had.

A snapshot is recognised without parsing it. It must repeat, byte for byte, the snapshot before it,
around additions that can only be more of a JSON string. The snapshot before it was parsed to its
end or recognised in the same way, so this one is valid JSON too, and no member follows it.
`startswith` compares at memory speed; nothing else is done with most bytes of a turn.

The worker extends a buffer while other threads read snapshots of it. `AppendOnlyBytes` states why
that is safe without a lock, on free-threaded builds too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from .convert import UnreadMessage
from .strict_json import parse_json, parse_object

_END_OF_EVENT = b"}\n\n"  # closes the event whose last member is the snapshot
# The inside of a JSON string: whole escapes, no quote, no control character. There is only one way
# to match it, so that an input without an end is not tried in all combinations.
STRING_PART = rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*'
_STRING_PART = re.compile(STRING_PART)
_QUOTES_TRIED = 8
_ESCAPE = re.compile(rb"\\.", re.DOTALL)


class AppendOnlyBytes:
    """Bytes to which one thread appends while others read a prefix.

    Safe without a lock because a published byte is never written or moved again:

    * A reader knows its length from a snapshot, which the writer creates after the bytes below that
      length are written. The queue that hands the snapshot over orders the two.
    * The writer writes only above that length. The bytearray is never resized: one that is full is
      replaced by a larger copy. A reader that still has the old one finds its prefix there.
    * A reader copies by slicing, which takes no export. Only the writer has a view of the
      bytearray.
    """

    __slots__ = ("_bytes", "_size", "_view", "length", "whole")

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._replace(data, self.length)
        self.whole = self._view[: self.length]  # all bytes so far; for the one writer only

    def append(self, data: bytes) -> None:
        """Add bytes. For the one writer only."""
        start = self.length
        end = start + len(data)
        if end > self._size:
            self._replace(self.whole, end)
        self._view[start:end] = data
        self.whole = self._view[:end]
        self.length = end

    def prefix(self, length: int) -> bytes:
        """Return the first `length` bytes. For any thread."""
        return bytes(self._bytes[:length])

    def _replace(self, data: bytes | memoryview, size: int) -> None:
        larger = bytearray(size + size // 4)
        view = memoryview(larger)
        view[: len(data)] = data
        self._bytes, self._view, self._size = larger, view, len(larger)


class RawSnapshot(UnreadMessage):
    """A message so far, as its JSON text."""

    __slots__ = ("_text",)

    def __init__(self, text: bytes) -> None:
        self._text = text

    def raw(self) -> Any:
        """Return the parsed JSON object."""
        return parse_json(self.text().decode("utf-8", "replace"))

    def text(self) -> bytes:
        """Return the snapshot's JSON, verbatim."""
        return self._text


class Snapshot(RawSnapshot):
    """A message so far, as a shared buffer and the lengths of its two growing parts."""

    __slots__ = ("buffer", "first", "second")

    def __init__(self, buffer: SharedBuffer, first: int, second: int) -> None:
        self.buffer = buffer
        self.first = first
        self.second = second

    def text(self) -> bytes:
        """Return the snapshot's JSON, verbatim."""
        return self.buffer.text(self.first, self.second)

    def __reduce__(self) -> tuple[type[RawSnapshot], tuple[bytes]]:
        return RawSnapshot, (self.text(),)


class SharedBuffer:
    """Consecutive snapshots that differ at one or two insertion points, the ends of strings.

    The text is `first`, then `second`, then `rest`; `first` and `second` grow at their ends.
    """

    __slots__ = ("_first", "_rest", "_second")

    def __init__(self, first: bytes, second: bytes, rest: bytes) -> None:
        self._first = AppendOnlyBytes(first)
        self._second = AppendOnlyBytes(second) if second else None
        self._rest = rest + _END_OF_EVENT

    def newest(self) -> Snapshot:
        """Return the newest snapshot."""
        second = self._second
        return Snapshot(self, self._first.length, 0 if second is None else second.length)

    def text(self, first: int, second: int) -> bytes:
        """Return the text as it was when its parts had these lengths."""
        middle = b"" if self._second is None else self._second.prefix(second)
        return self._first.prefix(first) + middle + self._rest[: -len(_END_OF_EVENT)]

    def follow(self, data: bytes, start: int, limit: int, delta: bytes) -> int:
        """Extend the buffer to the snapshot at `start` in `data`; return the end of its event.

        Return 0 when that snapshot does not continue this one, or its event does not end before
        `limit`. `delta` is the event's own addition, the inside of a JSON string. Most often it is
        exactly what has grown, but a snapshot may be ahead of its event.
        """
        first, rest = self._first, self._rest
        if not data.startswith(first.whole, start):
            return 0
        grown = start + first.length
        if self._second is not None:
            return self._follow_both(self._second, data, grown, limit)
        end = grown + len(delta)
        if not (data.startswith(delta, grown) and data.startswith(rest, end, limit)):
            end = _end_of_part(data, grown)
            if not data.startswith(rest, end, limit):
                return 0
        first.append(data[grown:end])
        return end + len(rest)

    def _follow_both(self, second: AppendOnlyBytes, data: bytes, grown: int, limit: int) -> int:
        # `second` begins with the quote that closes the first string.
        close = _end_of_part(data, grown)
        if not data.startswith(second.whole, close):
            return 0
        again = close + second.length
        end = _end_of_part(data, again)
        if not data.startswith(self._rest, end, limit):
            return 0
        self._first.append(data[grown:close])
        second.append(data[again:end])
        return end + len(self._rest)


SnapshotRead: TypeAlias = Callable[[bytes, int, int, bytes], tuple[RawSnapshot, int] | None]
"""Reads the snapshot at an offset; returns it and the end of its event."""


class SnapshotTracker:
    """Reads the snapshots of one stream, in the order in which they arrive."""

    def __init__(self) -> None:
        self._buffer: SharedBuffer | None = None
        self._last: bytes | None = None

    def follow(
        self, data: bytes, start: int, limit: int, delta: bytes
    ) -> tuple[RawSnapshot, int] | None:
        """Return the snapshot at `start` and the end of its event, if it continues the last one."""
        buffer = self._buffer
        if buffer is None:
            return self._repeat(data, start, limit)
        end = buffer.follow(data, start, limit, delta)
        return (buffer.newest(), end) if end else None

    def read(
        self, block: bytes, start: int, limit: int, delta: bytes
    ) -> tuple[RawSnapshot, int] | None:
        """Return the same for a whole block, whose last member is the snapshot.

        None when that is not certain, and the event must be parsed in full.
        """
        found = self.follow(block, start, limit, delta)
        if found is None and (snapshot := self._learn(block, start)) is not None:
            found = snapshot, len(block)
        return found

    def _repeat(self, data: bytes, start: int, limit: int) -> tuple[RawSnapshot, int] | None:
        """Return the last snapshot again: each snapshot of a short answer may hold all of it."""
        last = self._last
        if last is None or not data.startswith(last, start):
            return None
        end = start + len(last)
        if not data.startswith(_END_OF_EVENT, end, limit):
            return None
        return RawSnapshot(last), end + len(_END_OF_EVENT)

    def _learn(self, block: bytes, start: int) -> RawSnapshot | None:
        if not block.endswith(_END_OF_EVENT):
            return None
        text = block[start : -len(_END_OF_EVENT)]
        if b"\n" in text:  # white space in JSON, but the end of a line in SSE
            return None
        if parse_object(text.decode("utf-8", "replace")) is None:
            return None
        before = self._last if self._buffer is None else self._buffer.newest().text()
        self._buffer = None if before is None else find_buffer(before, text)
        self._last = text if self._buffer is None else None
        return RawSnapshot(text) if self._buffer is None else self._buffer.newest()


def find_buffer(before: bytes, now: bytes) -> SharedBuffer | None:
    """Return the buffer that both snapshots, given as JSON texts, share; None without one."""
    start = _common_prefix(before, now)
    if not _ends_string(before, start):
        return None
    return _one_insertion(before, now, start) or _two_insertions(before, now, start)


def _one_insertion(before: bytes, now: bytes, start: int) -> SharedBuffer | None:
    rest = before[start:]
    end = len(now) - len(rest)
    if end < start or not now.endswith(rest) or not _STRING_PART.fullmatch(now, start, end):
        return None
    return SharedBuffer(now[:end], b"", rest)


def _two_insertions(before: bytes, now: bytes, start: int) -> SharedBuffer | None:
    # The second string's end is the first quote in the part with which both texts end; a quote or
    # two of the string itself may come before it, escaped, when old and new text end alike.
    quote = len(before) - _common_suffix(before, now)
    for _ in range(_QUOTES_TRIED):
        quote = before.find(b'"', max(quote, start + 1))
        if quote < 0:
            return None
        if _ends_string(before, quote):
            break
        quote += 1
    middle, rest = before[start:quote], before[quote:]
    close = _end_of_part(now, start)
    again = close + len(middle)
    if not now.startswith(middle, close) or now[(end := _end_of_part(now, again)) :] != rest:
        return None
    return SharedBuffer(now[:close], now[close:end], rest)


def _end_of_part(data: bytes, start: int) -> int:
    """Return the end of the part of a JSON string that begins at `start`."""
    match = _STRING_PART.match(data, start)
    return start if match is None else match.end()


def _ends_string(text: bytes, position: int) -> bool:
    """Return True when a JSON text has a string's closing quote at `position`."""
    if text[position : position + 1] != b'"':
        return False
    plain = _ESCAPE.sub(b"", text[:position])
    return plain.count(b'"') % 2 == 1 and not plain.endswith(b"\\")


def _common_prefix(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_suffix(one: bytes, other: bytes) -> int:
    return _common_prefix(one[::-1], other[::-1])
