"""An HTTP response whose head is whole, and whose chunks are read many at a time.

`http.client` takes the end of the file for the end of the headers. What was cut off there can be
the very header that says how the body ends. Of interim answers it skips only 100. And it reads
through 8 KiB: with far more, and the chunks taken apart at once, long turns cost less than half.

What this relies on in http.client: `fp`, `chunked`, `headers` and `_close_conn` of a response.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from typing import Any

from .._protocol.chunked import Dechunker, Piece

_INTERIM = range(102, 200)  # 101 is no interim answer but another protocol, which nobody asked for
_BUFFER_BYTES = 64 * 1024
# Memory for a read as large as may be is mapped anew each time; for one like this it is at hand.
_SMALL_READ_BYTES = 64 * 1024


class _LineReader(io.BufferedReader):
    """Remembers the last line that was read."""

    last_line = b""

    def readline(self, size: int | None = -1, /) -> bytes:
        self.last_line = super().readline(size)
        return self.last_line


def _nothing() -> None:
    pass


class ChunkedResponse(http.client.HTTPResponse):
    """One response, on a socket."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp: Any = _LineReader(self.fp.detach(), _BUFFER_BYTES)
        self._receive = sock.recv
        self.before_read: Callable[[], object] = _nothing  # called just before a read
        self.after_read: Callable[[], object] = _nothing  # and just after one that brought little
        self._buffered = True  # whether bytes behind the head may still be in the buffer
        self._dechunker = Dechunker()
        self._busy = False  # whether so much came that as much may follow

    def begin(self) -> None:
        """Read the head, and before it those of interim answers, which RFC 9110 (15.2) allows.

        Raises `RemoteDisconnected` if the connection ends in it.
        """
        reader = self.fp
        while self.headers is None:
            super().begin()
            if reader.last_line not in (b"\r\n", b"\n"):
                raise http.client.RemoteDisconnected("the connection ended within the headers")
            if self.status in _INTERIM:
                self.headers = self.msg = None  # so that `begin` reads on

    def read1(self, amount: int = -1, /) -> bytes:
        """What one read from the socket brings of the body; nothing at its end."""
        if not self.chunked or self.fp is None or amount < 0:
            return super().read1(amount)
        piece = self.read_piece(amount)
        return b"" if piece is None else piece.body()

    def read_piece(self, amount: int) -> Piece | None:
        """The same of a chunked body, where it stands between the chunks' framing."""
        while self.fp is not None and not self._dechunker.finished:
            if self._dechunker.fault:
                raise http.client.HTTPException(self._dechunker.fault)
            data = self._read_raw(amount if self._busy else min(amount, _SMALL_READ_BYTES))
            self._busy = len(data) >= _SMALL_READ_BYTES
            if not data:
                raise http.client.IncompleteRead(b"")
            piece = self._dechunker.feed(data)
            if piece.spans:
                return piece
        if self.fp is not None:
            self._close_conn()  # type: ignore[attr-defined]
        return None

    def _read_raw(self, amount: int) -> bytes:
        data: bytes
        self.before_read()
        if self._buffered:
            self._buffered = False
            data = self.fp.read1(_BUFFER_BYTES)  # all that is in the buffer, or one read past it
        else:
            data = self._receive(amount)
            if len(data) < _SMALL_READ_BYTES:  # what brings more takes longer to be taken apart
                self.after_read()
        return data
