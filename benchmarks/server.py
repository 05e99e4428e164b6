"""Replays a wire to whoever asks: any POST is answered with the wire that its path names.

Runs as a process of its own, so that what it costs is not counted as the client's. It prints its
address and ends when its standard input does.
"""

from __future__ import annotations

import functools
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator

from . import wires

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\nx-request-id: r\r\n\r\n"
)
WIRES: dict[str, Callable[[int], Iterator[bytes]]] = {
    "text": wires.pi_native_text,
    "tool": wires.pi_native_tool_call,
    "openai": wires.openai_text,
    "anthropic": wires.anthropic_text,
}


@functools.lru_cache(maxsize=4)
def body(kind: str, count: int) -> bytes:
    """The whole answer's body."""
    pieces = [b"%x\r\n%s\r\n" % (len(event), event) for event in WIRES[kind](count)]
    return b"".join(pieces) + b"0\r\n\r\n"


@functools.lru_cache(maxsize=4)
def events(kind: str, count: int) -> list[bytes]:
    """The answer's events, as chunks."""
    return [b"%x\r\n%s\r\n" % (len(event), event) for event in WIRES[kind](count)]


class Handler(socketserver.StreamRequestHandler):
    """Answers requests to /<kind>/<count>[/<microseconds between events>]/…"""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer until the client goes away."""
        while path := self._read_request():
            kind, count, *rest = path.strip("/").split("/")
            self.wfile.write(HEAD)
            if rest and rest[0].isdigit():
                self._pace(events(kind, int(count)), int(rest[0]) / 1e6)
            else:
                self.wfile.write(body(kind, int(count)))

    def _read_request(self) -> str:
        first = self.rfile.readline().split()
        length = 0
        while (line := self.rfile.readline().strip()):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        self.rfile.read(length)
        return first[1].decode() if len(first) > 1 else ""

    def _pace(self, chunks: list[bytes], gap: float) -> None:
        due = time.perf_counter()
        for chunk in chunks:
            due += gap
            while (left := due - time.perf_counter()) > 0:
                time.sleep(left)
            self.wfile.write(chunk)
        self.wfile.write(b"0\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    """Loopback only."""

    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


def main() -> None:
    """Serve until standard input ends."""
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
