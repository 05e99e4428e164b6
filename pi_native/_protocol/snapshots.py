"""Snapshots that cost only what is new in them.

Why this exists: every event repeats the whole message so far, so a turn of n tokens is O(n²) bytes
on the wire (158 MB for 8,000 deltas). Parsing each snapshot takes 0.5 s of CPU, and keeping each
one takes as much memory as the wire. Consecutive snapshots differ only at one or two insertion
points, where a JSON string has grown: the text, or for a tool call the arguments as text and as far
as they could be parsed. So the growing text is kept once, in `AppendOnlyBytes`, and a snapshot is
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

    __slots__ = ("_bytes", "_size", "_view", "whole")

    def __init__(self, data: bytes) -> None:
        self._replace(data, len(data))
        self.whole = self._view[: len(data)]  # all bytes so far; for the one writer only

    def append(self, data: bytes) -> int:
        """Add bytes, and return the new length. For the one writer only."""
        start = len(self.whole)
        end = start + len(data)
        if end > self._size:
            self._replace(self.whole, end)
        self._view[start:end] = data
        self.whole = self._view[:end]
        return end

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

    def follow(self, data: bytes, start: int, limit: int, _delta: bytes) -> Found | None:
        """Return the snapshot at `start` in `data` and the end of its event, if it repeats this.

        The event must end before `limit`. Each snapshot of a short answer may hold all of it.
        """
        text = self._text
        if not data.startswith(text, start):
            return None
        end = start + len(text)
        if not data.startswith(_END_OF_EVENT, end, limit):
            return None
        return self, end + len(_END_OF_EVENT)


class SharedSnapshot(RawSnapshot):
    """A message so far, as the lengths of its two growing parts.

    The text is `first`, then `second`, then `rest`. Both parts end inside of a string, and are
    shared by consecutive snapshots, of which only the newest one may be followed.
    """

    __slots__ = ("_first", "_first_length", "_rest", "_second", "_second_length")

    def __init__(
        self,
        first: AppendOnlyBytes,
        first_length: int,
        second: AppendOnlyBytes | None,
        second_length: int,
        rest: bytes,
    ) -> None:
        self._first = first
        self._first_length = first_length
        self._second = second
        self._second_length = second_length
        self._rest = rest  # with the end of the event

    def text(self) -> bytes:
        """Return the snapshot's JSON, verbatim."""
        second = b"" if self._second is None else self._second.prefix(self._second_length)
        rest = self._rest[: -len(_END_OF_EVENT)]
        return self._first.prefix(self._first_length) + second + rest

    def __reduce__(self) -> tuple[type[RawSnapshot], tuple[bytes]]:
        return RawSnapshot, (self.text(),)

    def follow(self, data: bytes, start: int, limit: int, delta: bytes) -> Found | None:
        """Return the snapshot at `start` in `data` and the end of its event, if it continues this.

        The event must end before `limit`. `delta` is the event's own addition, the inside of a JSON
        string. Most often it is exactly what has grown, but a snapshot may be ahead of its event.
        """
        first, rest = self._first, self._rest
        if not data.startswith(first.whole, start):
            return None
        grown = start + self._first_length
        if self._second is not None:
            return self._follow_both(self._second, data, grown, limit)
        end = grown + len(delta)
        if not (data.startswith(delta, grown) and data.startswith(rest, end, limit)):
            end = _end_of_part(data, grown)
            if not data.startswith(rest, end, limit):
                return None
        length = first.append(data[grown:end])
        return SharedSnapshot(first, length, None, 0, rest), end + len(rest)

    def _follow_both(
        self, second: AppendOnlyBytes, data: bytes, grown: int, limit: int
    ) -> Found | None:
        # `second` begins with the quote that closes the first string.
        first, rest = self._first, self._rest
        close = _end_of_part(data, grown)
        if not data.startswith(second.whole, close):
            return None
        again = close + self._second_length
        end = _end_of_part(data, again)
        if not data.startswith(rest, end, limit):
            return None
        lengths = first.append(data[grown:close]), second.append(data[again:end])
        return SharedSnapshot(first, lengths[0], second, lengths[1], rest), end + len(rest)


Found: TypeAlias = tuple[RawSnapshot, int]
"""A snapshot, and the end of the event that it is in."""


def read_snapshot(before: RawSnapshot | None, block: bytes, start: int) -> RawSnapshot | None:
    """Return the snapshot at `start`, if it is the last member of the event in a whole block.

    It shares its growing parts with the snapshot `before` it where it can. None when it is not
    certain, and the event must be parsed in full.
    """
    if not block.endswith(_END_OF_EVENT):
        return None
    text = block[start : -len(_END_OF_EVENT)]
    if b"\n" in text:  # white space in JSON, but the end of a line in SSE
        return None
    if parse_object(text.decode("utf-8", "replace")) is None:
        return None
    return (before and shared_snapshot(before.text(), text)) or RawSnapshot(text)


def shared_snapshot(before: bytes, now: bytes) -> SharedSnapshot | None:
    """Return the snapshot `now` as what has grown since `before`; None if it is something else."""
    start = _common_prefix(before, now)
    if not _ends_string(before, start):
        return None
    return _one_insertion(before, now, start) or _two_insertions(before, now, start)


def _share(first: bytes, second: bytes, rest: bytes) -> SharedSnapshot:
    shared = AppendOnlyBytes(second) if second else None
    return SharedSnapshot(
        AppendOnlyBytes(first), len(first), shared, len(second), rest + _END_OF_EVENT
    )


def _one_insertion(before: bytes, now: bytes, start: int) -> SharedSnapshot | None:
    rest = before[start:]
    end = len(now) - len(rest)
    if end < start or not now.endswith(rest) or not _STRING_PART.fullmatch(now, start, end):
        return None
    return _share(now[:end], b"", rest)


def _two_insertions(before: bytes, now: bytes, start: int) -> SharedSnapshot | None:
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
    return _share(now[:close], now[close:end], rest)


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
