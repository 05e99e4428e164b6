"""HTTP's chunked framing, removed from as many chunks at a time as have arrived.

Why not `http.client`: it reads one chunk at a time, with three calls on a buffered reader for each.
The gateway sends every event as a chunk, so one `recv` of a busy stream returns a dozen of them;
removing the framing of all at once halves the CPU of reading. An event is read in place, between
the framing: copying it takes a quarter of the CPU of a long turn.

Pure: bytes go in, and spans of them come out. It is stricter than `http.client`: a size is
hexadecimal digits only, and a chunk must end where its size says.
"""

from __future__ import annotations

import re

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_MAX_LINE = 65536
_MAX_TRAILERS = 100  # as many as `http.client` allows headers

_WORTH_A_LOOK = 4096  # copying smaller chunks takes less CPU than a step for each


class Body:
    """The body of a response as it arrives: the `spans` of the newest `data` that belong to it."""

    def __init__(self, *, chunked: bool = False) -> None:
        self.data = b""
        self.spans: list[tuple[int, int]] = []
        self.finished = False  # True after the last chunk
        self.fault: str | None = None  # the first error in the framing
        self._chunked = chunked
        self._in_chunk = 0  # missing bytes of the current chunk
        self._tail = False  # the line end after a chunk's data comes next
        self._trailers = False
        self._trailer_count = 0
        self._line = b""

    @property
    def size(self) -> int:
        """The number of bytes of the newest part."""
        return sum([end - start for start, end in self.spans])

    def content(self) -> bytes:
        """Return the newest part, without the framing in it."""
        view = memoryview(self.data)
        return b"".join([view[start:end] for start, end in self.spans])

    def feed(self, data: bytes) -> None:
        """Take what one read returned, up to the first error in the framing."""
        self.data = data
        self.spans = self._remove_framing(data) if self._chunked else [(0, len(data))]
        if len(self.spans) > 1 and len(data) < _WORTH_A_LOOK * len(self.spans):
            self.data = self.content()
            self.spans = [(0, len(self.data))]

    def _remove_framing(self, data: bytes) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        position, size = 0, len(data)
        while position < size and not (self.finished or self.fault):
            if self._in_chunk:
                end = min(position + self._in_chunk, size)
                spans.append((position, end))
                self._in_chunk -= end - position
                self._tail = not self._in_chunk
                position = end
            elif self._tail or self._trailers or self._line:
                position = self._read_line(data, position)
            else:
                position = _take_whole_chunks(data, position, spans)
                if position < size:
                    position = self._read_line(data, position)
        return spans

    def _read_line(self, data: bytes, position: int) -> int:
        """Read a line of the framing, or the part of it that has arrived."""
        end = data.find(b"\n", position)
        line = self._line + data[position : end if end >= 0 else len(data)]
        if len(line) > _MAX_LINE:
            self.fault = "a line of the chunked framing is too long"
        if end < 0:
            self._line = line
            return len(data)
        self._line = b""
        self._use_line(line.removesuffix(b"\r"))
        return end + 1

    def _use_line(self, line: bytes) -> None:
        if self._tail:
            self._tail = False
            if line:
                self.fault = "a chunk is longer than it says"
        elif self._trailers:
            self._use_trailer(line)
        else:
            self._use_size(line.partition(b";")[0].strip(b" \t"))

    def _use_trailer(self, line: bytes) -> None:
        self._trailer_count += 1
        self.finished = not line
        if line and self._trailer_count > _MAX_TRAILERS:
            self.fault = "the chunked framing has too many trailers"

    def _use_size(self, text: bytes) -> None:
        if not _SIZE.fullmatch(text):
            self.fault = f"not a chunk's size: {text[:40]!r}"
            return
        self._in_chunk = int(text, 16)
        self._trailers = not self._in_chunk


def _take_whole_chunks(data: bytes, position: int, spans: list[tuple[int, int]]) -> int:
    """Take the complete chunks with a plain size line; return the start of the first other one."""
    while match := _PLAIN_SIZE.match(data, position):
        line, size = match[0], int(match[1], 16)
        start = position + len(line)
        end = start + size
        between = b"\r\n" + line  # small chunks are often all of one size
        step = size + len(between)
        while size and data.startswith(between, end):
            spans.append((start, end))
            start += step
            end += step
        if not size or not data.startswith(b"\r\n", end):
            return start - len(line)
        spans.append((start, end))
        position = end + 2
    return position
