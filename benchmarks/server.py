"""Replay a wire to a client: the path of a POST names the wire, its length and its framing.

    /text/8000/events/…      8,000 text deltas, one HTTP chunk an event, as fast as they are read
    /stamped/500/paced-1000/…    one event a millisecond
    /big/8388608/pieces/…    an event of 8 MB in chunks of 1 KB
    /same/60000/one/…        60,000 events in one chunk

It runs as a separate process, so that its cost does not count for the client. It prints its address
and ends when its standard input does. It listens on loopback only, and limits the number of
connections, the number of events and the time that a connection is idle.
"""

from __future__ import annotations

import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from .pacing import Paced, Pacer, Write
from .wires import WIRES

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nx-request-id: r\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
MAX_COUNT = 16 * 1024 * 1024
MAX_CONNECTIONS = 300
MAX_REQUEST_BYTES = 1024 * 1024
MAX_LINE = 65536
IDLE_SECONDS = 60.0
PIECE = 1024
HALF_SECONDS = 0.02
_WRITE_BYTES = 256 * 1024  # the size of a write, unless the framing has a smaller one
_LENGTH = re.compile(rb"content-length:\s*(\d{1,9})\s*", re.IGNORECASE)
_PACED = re.compile(r"paced-(\d{1,7})")

_pacer = Pacer()


def chunk(data: bytes) -> bytes:
    """Return the data as one chunk of the chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def send_events(events: Iterator[bytes], write: Write) -> None:
    """Send one chunk per event, as the gateway does, as fast as the client reads."""
    _send_together(map(chunk, events), write)


def send_one(events: Iterator[bytes], write: Write) -> None:
    """Send all events in one chunk."""
    write(chunk(b"".join(events)))


def send_pieces(events: Iterator[bytes], write: Write) -> None:
    """Send chunks of 1 KB that ignore the events."""
    body = b"".join(events)
    # In one write, like a large event in one chunk. With a write for each chunk the client waits
    # between small reads, which cost more than the framing.
    write(b"".join([chunk(body[at : at + PIECE]) for at in range(0, len(body), PIECE)]))


def send_halves(events: Iterator[bytes], write: Write) -> None:
    """Send two events per chunk, and each chunk in two parts, cut within its second event."""
    for event in events:
        other = next(events, b"")
        both = chunk(event + other)
        cut = len(both) - len(other) // 2
        write(both[:cut])
        time.sleep(HALF_SECONDS)
        write(both[cut:])


def send_paced(events: Iterator[bytes], write: Write, gap: float) -> None:
    """Send one chunk per event, and one event every `gap` seconds, created when it is due."""
    paced = Paced(map(chunk, events), write, gap)
    _pacer.send(paced)
    paced.wait()


FRAMINGS: dict[str, Callable[[Iterator[bytes], Write], None]] = {
    "events": send_events,
    "one": send_one,
    "pieces": send_pieces,
    "halves": send_halves,
}


def replay(path: str, write: Write) -> bool:
    """Write the response that a path names; return whether there is one."""
    wire, count, framing = ([*path.strip("/").split("/", 3), "", "", ""])[:3]
    paced = _PACED.fullmatch(framing)
    if wire not in WIRES or not count.isdecimal() or not (paced or framing in FRAMINGS):
        return False
    events = WIRES[wire](min(int(count), MAX_COUNT))
    write(HEAD)
    if paced:
        send_paced(events, write, int(paced[1]) / 1e6)
    else:
        FRAMINGS[framing](events, write)
    write(LAST_CHUNK)
    return True


def _send_together(pieces: Iterator[bytes], write: Write) -> None:
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _WRITE_BYTES:
            write(b"".join(waiting))
            waiting, size = [], 0
    write(b"".join(waiting))


class Handler(socketserver.StreamRequestHandler):
    """Handler of the requests of one connection."""

    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer until the client closes the connection or requests an unknown path."""
        while path := self._read_request():
            if not replay(path, self.request.sendall):
                self.request.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _read_request(self) -> str:
        """Return the path; empty if the client disconnected or its request is too large."""
        first = self.rfile.readline(MAX_LINE).split()
        length = 0
        while line := self.rfile.readline(MAX_LINE).strip():
            if found := _LENGTH.fullmatch(line):
                length = int(found[1])
        if len(first) < 2 or length > MAX_REQUEST_BYTES:
            return ""
        self.rfile.read(length)
        return first[1].decode("latin-1")


class Server(socketserver.ThreadingTCPServer):
    """Server on loopback with a thread per connection."""

    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Return whether another connection is within the limit."""
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, except for a client that disconnects."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, socket.timeout)):
            super().handle_error(request, client_address)


def main() -> None:
    """Serve until standard input ends."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.url, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
