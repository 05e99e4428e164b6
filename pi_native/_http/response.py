"""An HTTP response whose head is complete, and whose chunks are read many at a time.

`http.client` takes the end of the connection for the end of the headers; what was cut off can be
the very header that says how the body ends. It skips no interim response but 100. And it reads
through 8 KiB: with a larger buffer, and all chunks of a read decoded at once, long turns take less
than half the CPU.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from typing import Any

from .._protocol.chunked import Dechunker, Piece
from .connection import SocketHandle, check_timeout

_INTERIM = range(102, 200)  # 101 changes the protocol, which no request of ours asks for
_BUFFER_BYTES = 64 * 1024
_SMALL_READ_BYTES = 64 * 1024


class _SocketReader(io.RawIOBase):
    """Reads a socket, and looks at every timeout whether the connection was cut."""

    def __init__(self, sock: Any, raw: io.RawIOBase, handle: SocketHandle | None) -> None:
        self._sock = sock
        self._raw = raw  # keeps the socket open until this is closed
        self._handle = handle

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive into the buffer; return the number of bytes, 0 at the end."""
        return int(self._receive(self._sock.recv_into, buffer))

    def recv(self, amount: int) -> bytes:
        """Return at most `amount` received bytes, b"" at the end.

        `recv_into` a kept buffer needs a copy of each read, which is a fifth of the CPU of a turn
        of 8,000 deltas (158 MB).
        """
        return bytes(self._receive(self._sock.recv, amount))

    def _receive(self, receive: Callable[[Any], Any], argument: Any) -> Any:
        while True:
            try:
                return receive(argument)
            except TimeoutError as exc:
                check_timeout(exc, self._handle)

    def close(self) -> None:
        """Release the socket."""
        self._raw.close()
        super().close()


class _LineReader(io.BufferedReader):
    """Remembers the last line that was read."""

    last_line = b""

    def readline(self, size: int | None = -1, /) -> bytes:
        self.last_line = super().readline(size)
        return self.last_line


class ChunkedResponse(http.client.HTTPResponse):
    """One response, read from a socket."""

    def __init__(
        self, sock: Any, *args: Any, handle: SocketHandle | None = None, **kwargs: Any
    ) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = _SocketReader(sock, self.fp.detach(), handle)
        self.fp: Any = _LineReader(raw, _BUFFER_BYTES)
        self._source = raw
        self._buffered = True  # True while bytes behind the head may be in the buffer
        self._dechunker = Dechunker()
        self._busy = False  # True when the last read was full, so that as much may follow

    def begin(self, **limits: Any) -> None:
        """Read the head, and the heads of interim responses before it (RFC 9110, section 15.2).

        Python 3.15 passes a limit for the number of headers. Raises `RemoteDisconnected` if the
        connection ends within the head.
        """
        reader = self.fp
        while self.headers is None:
            super().begin(**limits)
            if reader.last_line not in (b"\r\n", b"\n"):
                raise http.client.RemoteDisconnected("the connection ended within the headers")
            if self.status in _INTERIM:
                self.headers = self.msg = None  # so that `begin` continues to read

    def read1(self, amount: int = -1, /) -> bytes:
        """Return the part of the body that one read from the socket brings; b"" at its end."""
        if not self.chunked or self.fp is None or amount < 0:
            return super().read1(amount)
        piece = self.read_piece(amount)
        return b"" if piece is None else piece.body()

    def read_piece(self, amount: int) -> Piece | None:
        """Return the same part of a chunked body, still between the chunks' framing."""
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
            reader, self.fp = self.fp, None
            reader.close()
        return None

    def _read_raw(self, amount: int) -> bytes:
        if self._buffered:
            self._buffered = False
            data: bytes = self.fp.read1(_BUFFER_BYTES)  # the buffer, or one read past it
            return data
        return self._source.recv(amount)
