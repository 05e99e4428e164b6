"""An HTTP response whose head is complete, and whose chunks are read many at a time.

`http.client` takes the end of the connection for the end of the headers; what was cut off can be
the very header that says how the body ends. It skips no interim response but 100. And it reads
through 8 KiB: with a larger buffer, and all chunks of a read decoded at once, long turns take less
than half the CPU.
"""

from __future__ import annotations

import http.client
import io
from typing import Any

from .._protocol.chunked import Body
from .connection import SocketHandle, check_timeout

_INTERIM = range(102, 200)  # 101 changes the protocol, which no request of ours asks for
_BUFFER_BYTES = 64 * 1024
_SMALL_READ_BYTES = 64 * 1024


class SocketReader(io.BufferedIOBase):
    """Reads a socket, and looks at every timeout whether the connection was cut."""

    def __init__(self, sock: Any, raw: io.RawIOBase, handle: SocketHandle | None) -> None:
        self.last_line = b""
        self._sock = sock
        self._raw = raw  # keeps the socket open until this is closed
        self._handle = handle
        self._buffer = b""  # what was received behind the line that was read last

    def readable(self) -> bool:
        """Return True."""
        return True

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line, at most `size` bytes of it, and remember it."""
        limit = None if size is None or size < 0 else size
        end = 0
        while not (end := self._buffer.find(b"\n") + 1):
            if limit is not None and len(self._buffer) >= limit:
                break
            data = self._receive(_BUFFER_BYTES)
            if not data:
                break
            self._buffer += data
        end = end or len(self._buffer)
        self.last_line = self._take(end if limit is None else min(end, limit))
        return self.last_line

    def read1(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes of the buffer, else those of one read of the socket."""
        amount = _BUFFER_BYTES if size < 0 else size
        return self._take(amount) if self._buffer else self._receive(amount)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end of the connection."""
        parts: list[bytes] = []
        left = None if size is None or size < 0 else size
        while left != 0 and (data := self.read1(-1 if left is None else left)):
            parts.append(data)
            left = None if left is None else left - len(data)
        return b"".join(parts)

    def close(self) -> None:
        """Release the socket."""
        self._raw.close()
        super().close()

    def _take(self, amount: int) -> bytes:
        taken, self._buffer = self._buffer[:amount], self._buffer[amount:]
        return taken

    def _receive(self, amount: int) -> bytes:
        """Return at most `amount` received bytes, b"" at the end.

        `recv_into` a kept buffer needs a copy of each read, which is a fifth of the CPU of a turn
        of 8,000 deltas (158 MB).
        """
        while True:
            try:
                return bytes(self._sock.recv(amount))
            except TimeoutError as exc:
                check_timeout(exc, self._handle)


class ChunkedResponse(http.client.HTTPResponse):
    """One response, read from a socket."""

    def __init__(
        self, sock: Any, *args: Any, handle: SocketHandle | None = None, **kwargs: Any
    ) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp: Any = SocketReader(sock, self.fp.detach(), handle)
        self.body = Body(chunked=True)
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
        return self.body.content() if self.read_body(amount) else b""

    def read_body(self, amount: int) -> bool:
        """Receive the next part of a chunked body into `body`; return False at its end."""
        body = self.body
        while self.fp is not None and not body.finished:
            if body.fault:
                raise http.client.HTTPException(body.fault)
            data = self.fp.read1(amount if self._busy else min(amount, _SMALL_READ_BYTES))
            self._busy = len(data) >= _SMALL_READ_BYTES
            if not data:
                raise http.client.IncompleteRead(b"")
            body.feed(data)
            if body.spans:
                return True
        if self.fp is not None:
            reader, self.fp = self.fp, None
            reader.close()
        return False
