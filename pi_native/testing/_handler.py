"""One connection of the fake gateway: read a request, send its response, read the next.

Only the thread of the connection reads and writes the socket. While it waits it also watches the
socket, so that it notices at once that the client closes the connection.
"""

import contextlib
import os
import selectors
import socket
import ssl
import struct
import threading
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from ._request import RecordedRequest
from ._response import Response, ResponseSender

if TYPE_CHECKING:
    from ._server import Server

__all__ = ["Handler", "HungUp"]

# Seconds between two looks at an event. A pipe per stall would cost two descriptors each.
_EVENT_CHECK = 0.05
_RESET_ON_CLOSE = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
# poll where it exists: select cannot watch descriptors above 1023.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class HungUp(Exception):
    """A fault cuts the connection from this side."""


class _ClientGone(Exception):
    """The client closed the connection."""


class Handler(BaseHTTPRequestHandler):
    """Serves the requests of one connection."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # for HTTP/0.9 `http.server` sends no status line
    disable_nagle_algorithm = True
    server: "Server"
    raw_requestline: bytes
    headers: HTTPMessage

    # What `http.server` calls

    def setup(self) -> None:
        """Make the TLS handshake and open the files of the connection."""
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()
        self._requests: list[RecordedRequest] = []
        self._next_request_came = False

    def handle(self) -> None:
        """Answer requests until the client or a fault ends the connection."""
        try:
            super().handle()
            if not self.raw_requestline:
                raise _ClientGone
            self._end_tls()
        except (_ClientGone, OSError):
            self._note_client_gone()
        except HungUp:
            pass

    def send_error(self, code: int, *_reason: object) -> None:
        """Refuse bytes that are not an HTTP request, and close the connection."""
        self.close_connection = True
        self.send(Response(status=int(code), framing="length").measured().head(keep_alive=False))

    def log_message(self, format: str, *args: object) -> None:
        """Write no access log."""

    def answer(self) -> None:
        """Read the body, record the request and send its response."""
        try:
            body = self._read_body()
        except ValueError:
            self.send_error(400)
            return
        target = self.requestline.split()[1]  # `self.path` lacks a second slash at its start
        request = RecordedRequest(
            self.command, target, self.headers, body, connection=self.client_address[-1]
        )
        self._requests.append(request)
        self._next_request_came = False
        response = self.server.respond(request).measured()
        if not response.keep_alive or response.framing == "close":
            self.close_connection = True
        ResponseSender(self, request, response).run(keep_alive=not self.close_connection)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815

    # Reading

    def _read_body(self) -> bytes:
        if (self.headers["Transfer-Encoding"] or "").lower() == "chunked":
            return b"".join(iter(self._read_chunk, b""))
        return self._read(_natural_number(self.headers["Content-Length"] or "0", 10))

    def _read_chunk(self) -> bytes:
        size = _natural_number(self._readline().partition(b";")[0].strip().decode("latin-1"), 16)
        data = self._read(size)
        self._readline()
        return data

    def _readline(self) -> bytes:
        line = self.rfile.readline(65537)
        if not line.endswith(b"\n"):
            raise _ClientGone
        return line

    def _read(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise _ClientGone
        return data

    # What a response and its faults do

    def send(self, data: bytes) -> None:
        """Send all of the data. Raises OSError when the client has closed the connection."""
        self.wfile.write(data)

    def wait(self, seconds: float, event: threading.Event | None = None) -> None:
        """Wait for so many seconds or for the event; stop when the client closes the connection."""
        # Counted without a clock, which tests may stop (freezegun).
        while seconds > 0 and not (event and event.is_set()):
            step = min(seconds, _EVENT_CHECK) if event else seconds
            self._watch_client(step)
            seconds -= step

    def hang_up(self, *, reset: bool) -> None:
        """Cut the connection from this side."""
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        raise HungUp

    def _watch_client(self, seconds: float) -> None:
        if not self._next_request_came and self._is_readable(seconds):
            if not self.rfile.peek(1):  # type: ignore[attr-defined]  # it is a BufferedReader
                raise _ClientGone
            self._next_request_came = True
        # The buffer holds the next request and hides what comes after it.
        if self._next_request_came and self.server.closing.wait(seconds):
            raise _ClientGone

    def _is_readable(self, seconds: float) -> bool:
        with _Selector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    # The end

    def _note_client_gone(self) -> None:
        if not self.server.closing.is_set():
            for request in self._requests:
                request.client_gone.set()

    def _end_tls(self) -> None:
        """Send TLS's own end, without waiting for the end that the client sends."""
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.setblocking(False)
            with contextlib.suppress(OSError, ValueError):
                self.connection.unwrap()


def _natural_number(text: str, base: int) -> int:
    if not text.isalnum():  # `int` takes signs, spaces and underscores
        raise ValueError(f"not a number: {text!r}")
    return int(text, base)
