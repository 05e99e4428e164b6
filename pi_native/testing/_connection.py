"""One TCP connection: a thread reads a request, sends its answer, reads the next.

That thread alone reads and writes the socket, TLS allows no other way. Whenever it has to wait it
waits for the socket as well, so that a client that goes away is noticed at once. Other threads may
only cut the connection, which wakes the thread wherever it is.
"""

import contextlib
import os
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable

from ._faults import position
from ._request import BadRequest, RecordedRequest, parse_head
from ._response import Response

__all__ = ["Connection", "Handler"]

Handler = Callable[[RecordedRequest], Response]

# Seconds. Polling, since a pipe to wake each stall would cost two descriptors a client.
_RELEASE_CHECK = 0.05
_RESET_ON_CLOSE = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
# poll, where there is one: select cannot watch descriptors above 1023.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class _ClientGone(Exception):
    """The client closed the connection."""


class _HungUp(Exception):
    """This side cut the connection, as scripted."""


class Connection:
    """Serves the requests of one accepted socket, until either side is done."""

    def __init__(
        self, sock: socket.socket, tls: ssl.SSLContext | None, number: int, handle: Handler
    ) -> None:
        self.closed = False
        self._sock = sock
        self._tls = tls
        self._number = number
        self._handle = handle
        self._received = bytearray()
        self._requests: list[RecordedRequest] = []
        self._lock = threading.Lock()  # keeps cut() off a descriptor that is being closed
        self._cut = False

    def serve(self) -> None:
        """Answer requests until the connection ends; this is the thread's whole work."""
        try:
            self._prepare()
            while self._serve_one():
                pass
            self._say_goodbye()
        except (_ClientGone, OSError):
            self._note_client_gone()
        except _HungUp:
            pass
        finally:
            with self._lock:
                self.closed = True  # before the client can see the end
                self._sock.close()

    def cut(self) -> None:
        """Wake the thread and make it end; from another thread."""
        with self._lock, contextlib.suppress(OSError):
            self._cut = True
            # Not SSLSocket.shutdown: that drops the TLS layer under the other thread's feet.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def _prepare(self) -> None:
        self._sock.setblocking(True)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            self._shake_hands(self._tls)

    def _shake_hands(self, context: ssl.SSLContext) -> None:
        with self._lock:  # wrapping takes the descriptor over into another object
            tls = self._sock = context.wrap_socket(
                self._sock, server_side=True, do_handshake_on_connect=False
            )
        tls.do_handshake()

    def _note_client_gone(self) -> None:
        if not self._cut:
            for request in self._requests:
                request.client_gone.set()

    def _say_goodbye(self) -> None:
        """Tell a TLS client that this is no truncation, without waiting for its answer."""
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.setblocking(False)
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()

    # Requests

    def _serve_one(self) -> bool:
        try:
            request = self._read_request()
        except BadRequest:
            self.send(Response(status=400, framing="length").measured().head(keep_alive=False))
            return False
        self._requests.append(request)
        response = self._handle(request).measured()
        return _Exchange(self, request, response).run()

    def _read_request(self) -> RecordedRequest:
        request = parse_head(self._read_head(), self._number)
        request.body = self._read_body(request)
        request.arrived_at = time.monotonic()
        return request

    def _read_head(self) -> bytes:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._receive()
        return self._take(end + 4)

    def _read_body(self, request: RecordedRequest) -> bytes:
        if (request.headers["Transfer-Encoding"] or "").lower() == "chunked":
            return b"".join(iter(self._read_chunk, b""))
        length = request.headers["Content-Length"] or "0"
        if not length.isdecimal():
            raise BadRequest(f"not a content length: {length}")
        return self._take(int(length))

    def _read_chunk(self) -> bytes:
        while (end := self._received.find(b"\r\n")) < 0:
            self._receive()
        try:
            size = int(self._take(end + 2).partition(b";")[0], 16)
        except ValueError as exc:
            raise BadRequest("a chunk's size is no number") from exc
        return self._take(size + 2)[:size]

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _receive(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise _ClientGone
        self._received += data

    # Answers

    def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError when the client is gone."""
        self._sock.sendall(data)

    def wait(self, seconds: float) -> None:
        """Let this long pass, but not once the client is gone."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._readable(left):
                self._receive()  # the next request already, or the end

    def _readable(self, seconds: float | None) -> bool:
        with _Selector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def wait_for(self, event: threading.Event, seconds: float | None) -> None:
        """Wait for the event, at most this long, but not once the client is gone."""
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        while not event.is_set() and (left := deadline - time.monotonic()) > 0:
            self.wait(min(left, _RELEASE_CHECK))

    def hang_up(self, *, reset: bool) -> None:
        """Cut the connection from this side."""
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        raise _HungUp


class _Exchange:
    """One answer on its way, with what its faults do to it."""

    def __init__(
        self, connection: Connection, request: RecordedRequest, response: Response
    ) -> None:
        self.delay = 0.0
        self.false_size: bytes | None = None
        self._connection = connection
        self._request = request
        self._response = response
        self._faults = list(response.faults)
        self._chunked = False  # before the body nothing is

    def run(self) -> bool:
        """Send the answer; return whether the connection is good for another request."""
        keep_alive = self._keeps_alive()
        self._wait_until_due(0)
        self._start_body(self._response.head(keep_alive=keep_alive))
        for count, piece in enumerate(self._response.pieces):
            self._wait_until_due(count + 1)
            self._strike(count, piece)
            self._connection.wait(self.delay)
            self.send_piece(piece)
        self._wait_until_due(-1)
        self._strike(None, b"")
        if self._chunked:
            self._connection.send(self._size(b"") + b"\r\n\r\n")
        self._request.answered.set()
        return keep_alive

    def _start_body(self, head: bytes) -> None:
        self._strike(-1, head)
        self._connection.send(head)
        self._chunked = self._response.framing == "chunked"

    def _keeps_alive(self) -> bool:
        asked = (self._request.headers["Connection"] or "").lower()
        return self._response.keep_alive and self._response.framing != "close" and asked != "close"

    def _wait_until_due(self, index: int) -> None:
        # By the clock: waits that are added up drift.
        if due := self._response.due:
            self._connection.wait(self._request.arrived_at + due[index] - time.monotonic())

    def _size(self, data: bytes) -> bytes:
        false, self.false_size = self.false_size, None
        return b"%x" % len(data) if false is None else false

    def _strike(self, count: int | None, upcoming: bytes) -> None:
        """Let every fault strike whose time it is; None: all that are left."""
        while self._faults and (count is None or position(self._faults[0]) <= count):
            self._faults.pop(0).strike(self, upcoming)

    # What a fault may do

    def send_piece(self, data: bytes) -> None:
        """Send this as one piece of the body."""
        if self._chunked:
            data = b"%b\r\n%b\r\n" % (self._size(data), data)
        self._connection.send(data)

    def repeat(self, data: bytes, seconds: float) -> None:
        """Send this again and again, so many seconds apart, until released."""
        while not self._request.released.is_set():
            self.send_piece(data)
            self._connection.wait(seconds)

    def send_half(self, data: bytes) -> None:
        """Send half of this, framed as if all of it were to come."""
        half = data[: (len(data) + 1) // 2]
        if self._chunked:
            half = b"%x\r\n%b" % (len(data), half)
        self._connection.send(half)

    def stall(self, seconds: float | None) -> None:
        """Send nothing for this long, or until released."""
        self._request.stalled.set()
        self._connection.wait_for(self._request.released, seconds)

    def hang_up(self, *, reset: bool) -> None:
        """Cut the connection."""
        self._connection.hang_up(reset=reset)
