"""Snapshots that cost what is new in them.

Every event repeats the whole message so far: a turn of n tokens is O(n²) bytes on the wire. From
one delta to the next the snapshot's JSON text differs in a hole or two: a string has grown at its
end (for a tool call two strings, the arguments as text and as far as they could be parsed). So what
grows is kept once, in a `bytearray`, and a snapshot is how far it had grown.

A snapshot is recognised without parsing it. It must repeat, byte for byte, what the snapshot before
it had, around additions that can only be more of a JSON string. As the one before was parsed to its
end, or recognised itself, this one is JSON as well, and nothing stands behind it that would count.
`startswith` compares at memory speed; that is all that is done with most of the bytes of a turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from .convert import UnreadMessage
from .strict_json import parse_json, parse_object

_END_OF_EVENT = b"}\n\n"  # closes the event that a snapshot is the last member of
# What a JSON string may hold: whole escapes, no quote, no control character. Written so that there
# is only one way to match: an input without an end must not be tried in all combinations.
STRING_PART = rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*'
_STRING_PART = re.compile(STRING_PART)
_QUOTES_TRIED = 8
_ESCAPE = re.compile(rb"\\.", re.DOTALL)


class RawSnapshot(UnreadMessage):
    """A message so far, as the text that came."""

    __slots__ = ("_text",)

    def __init__(self, text: bytes) -> None:
        self._text = text

    def raw(self) -> Any:
        """The JSON that came, as an object."""
        return parse_json(self.text().decode("utf-8", "replace"))

    def text(self) -> bytes:
        """The snapshot's JSON, verbatim."""
        return self._text


class Snapshot(RawSnapshot):
    """The same, as how far a trail had come."""

    __slots__ = ("first", "second", "trail")

    def __init__(self, trail: SharedBuffer, first: int, second: int) -> None:
        self.trail = trail
        self.first = first
        self.second = second

    def text(self) -> bytes:
        """The snapshot's JSON, verbatim."""
        return self.trail.text(self.first, self.second)

    def __reduce__(self) -> tuple[type[RawSnapshot], tuple[bytes]]:
        return RawSnapshot, (self.text(),)


class SharedBuffer:
    """Snapshots in a row that differ in one hole, or in two, at the ends of strings.

    The text is `first`, then `second`, then `rest`; `first` and `second` grow at their ends.
    """

    __slots__ = ("_first", "_has_second", "_rest", "_second")

    def __init__(self, first: bytes, second: bytes, rest: bytes) -> None:
        self._first = bytearray(first)
        self._second = bytearray(second)
        self._has_second = bool(second)
        self._rest = rest + _END_OF_EVENT

    def newest(self) -> Snapshot:
        """The snapshot as far as it has come."""
        return Snapshot(self, len(self._first), len(self._second))

    def text(self, first: int, second: int) -> bytes:
        """The text when its parts were so long."""
        rest = self._rest[: -len(_END_OF_EVENT)]
        return bytes(self._first[:first]) + bytes(self._second[:second]) + rest

    def follow(self, data: bytes, start: int, limit: int, delta: bytes) -> int:
        """Go on to the snapshot that begins at `start` in `data`, and return its event's end.

        0 when it does not go on from here, or not to the event's end before `limit`. `delta` is
        the event's own addition, the inside of a JSON string: most often what has grown has grown
        by just that. But a snapshot may be ahead of its event.
        """
        first, rest = self._first, self._rest
        if not data.startswith(first, start):
            return 0
        grown = start + len(first)
        if self._has_second:
            return self._follow_both(data, grown, limit)
        end = grown + len(delta)
        if not (data.startswith(delta, grown) and data.startswith(rest, end, limit)):
            end = _end_of_part(data, grown)
            if not data.startswith(rest, end, limit):
                return 0
        first += data[grown:end]
        return end + len(rest)

    def _follow_both(self, data: bytes, grown: int, limit: int) -> int:
        close, again, end = _holes(data, grown, self._second)
        if not (again and data.startswith(self._rest, end, limit)):
            return 0
        self._first += data[grown:close]
        self._second += data[again:end]
        return end + len(self._rest)


SnapshotRead: TypeAlias = Callable[[bytes, int, int, bytes], tuple[RawSnapshot, int] | None]
"""Reads the snapshot that begins in the bytes there; returns it and where its event ends."""


class SnapshotTracker:
    """Reads the snapshots of one stream, in the order in which they come."""

    def __init__(self) -> None:
        self._trail: SharedBuffer | None = None
        self._last: bytes | None = None

    def follow(
        self, data: bytes, start: int, limit: int, delta: bytes
    ) -> tuple[RawSnapshot, int] | None:
        """The snapshot that begins at `start`, if it goes on from the one before it."""
        trail = self._trail
        if trail is None:
            return self._repeat(data, start, limit)
        end = trail.follow(data, start, limit, delta)
        return (trail.newest(), end) if end else None

    def read(
        self, block: bytes, start: int, limit: int, delta: bytes
    ) -> tuple[RawSnapshot, int] | None:
        """The same for a whole block, of which the snapshot is known to be the last member.

        None when it cannot be said that it is, and the event must be read in full.
        """
        found = self.follow(block, start, limit, delta)
        if found is None and (snapshot := self._learn(block, start)) is not None:
            found = snapshot, len(block)
        return found

    def _repeat(self, data: bytes, start: int, limit: int) -> tuple[RawSnapshot, int] | None:
        """The same snapshot again: all of a short answer may be in each of its snapshots."""
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
        if b"\n" in text:  # white space to JSON, but the end of a line to SSE
            return None
        if parse_object(text.decode("utf-8", "replace")) is None:
            return None
        before = self._last if self._trail is None else self._trail.newest().text()
        self._trail = None if before is None else find_trail(before, text)
        self._last = text if self._trail is None else None
        return RawSnapshot(text) if self._trail is None else self._trail.newest()


def find_trail(before: bytes, now: bytes) -> SharedBuffer | None:
    """The trail from one snapshot's text to the next, both JSON, if there is one."""
    start = _common_prefix(before, now)
    if not _ends_string(before, start):
        return None
    return _one_hole(before, now, start) or _two_holes(before, now, start)


def _one_hole(before: bytes, now: bytes, start: int) -> SharedBuffer | None:
    rest = before[start:]
    end = len(now) - len(rest)
    if end < start or not now.endswith(rest) or not _STRING_PART.fullmatch(now, start, end):
        return None
    return SharedBuffer(now[:end], b"", rest)


def _two_holes(before: bytes, now: bytes, start: int) -> SharedBuffer | None:
    # The second string's end is the first quote in what both texts end with; a quote or two of
    # the string itself may come before it, escaped, when old and new text end alike.
    quote = len(before) - _common_suffix(before, now)
    for _ in range(_QUOTES_TRIED):
        quote = before.find(b'"', max(quote, start + 1))
        if quote < 0:
            return None
        if _ends_string(before, quote):
            break
        quote += 1
    middle, rest = before[start:quote], before[quote:]
    close, again, end = _holes(now, start, middle)
    if not again or now[end:] != rest:
        return None
    return SharedBuffer(now[:close], now[close:end], rest)


def _holes(data: bytes, start: int, between: bytes | bytearray) -> tuple[int, int, int]:
    """Where the first addition ends, which begins at `start`; the second begins; and that ends.

    `between` stands between them; its first byte is the quote that closes the first string, so
    that the first addition ends at the first quote there is. All 0 where it does not.
    """
    close = _end_of_part(data, start)
    if not data.startswith(between, close):
        return 0, 0, 0
    again = close + len(between)
    return close, again, _end_of_part(data, again)


def _end_of_part(data: bytes, start: int) -> int:
    """Where the part of a JSON string ends that begins at `start`."""
    match = _STRING_PART.match(data, start)
    return start if match is None else match.end()


def _ends_string(text: bytes, position: int) -> bool:
    """Whether a JSON text has a string's closing quote there."""
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
