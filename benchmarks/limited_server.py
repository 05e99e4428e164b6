"""A replay server with a rate limit: the path begins with a run, its limit and its turns.

    /run-30-50/text/5/one/…    30 turns a second, each of 50 ms; the rest of the path as in `server`
    /run-0-1000/…              no limit, turns of one second
    /run-30-50/counts          the numbers of answered and refused turns of that run, as JSON

The limit is a token bucket that holds one second's turns, as providers have it. What it does not
allow is refused at once, with status 429 and `Retry-After: 1`.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from typing import Any

from .server import Handler, Server, replay

_RUN = re.compile(r"/(\w+-(\d+)-(\d+))(/.*)")
_REFUSED = b'{"error":{"type":"rate_limit_error","message":"too many requests"}}'


class Limit:
    """The limit and the counts of one run."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._level = float(rate)
        self._filled_at = time.monotonic()
        self.answered = 0
        self.refused = 0

    def admit(self) -> bool:
        """Count one turn; return True when it is within the limit."""
        with self._lock:
            now = time.monotonic()
            gained = (now - self._filled_at) * self._rate
            self._level, self._filled_at = min(self._rate, self._level + gained), now
            admitted = not self._rate or self._level >= 1
            self._level -= admitted
            self.answered += admitted
            self.refused += not admitted
            return admitted


class LimitedHandler(Handler):
    """Answers one connection's requests."""

    server: LimitedServer

    def handle(self) -> None:
        """Answer until the client closes the connection or asks for an unknown path."""
        while path := self._read_request():
            found = _RUN.fullmatch(path)
            if found is None:
                return
            limit = self.server.limit(found[1], int(found[2]))
            if found[4] == "/counts":
                counts = {"answered": limit.answered, "refused": limit.refused}
                self._send(200, json.dumps(counts).encode())
            elif limit.admit():
                time.sleep(int(found[3]) / 1000)
                replay(found[4], self.request.sendall)
            else:
                self._send(429, _REFUSED)

    def _send(self, status: int, body: bytes) -> None:
        head = (
            f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.request.sendall(head.encode() + body)


class LimitedServer(Server):
    """A thread a connection, on loopback, and a limit for each run."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass: Any = LimitedHandler
        self._limits: dict[str, Limit] = {}
        self._lock = threading.Lock()

    def limit(self, run: str, rate: int) -> Limit:
        """Return the limit of a run."""
        with self._lock:
            return self._limits.setdefault(run, Limit(rate))


def main() -> None:
    """Serve until standard input ends."""
    with LimitedServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.url, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
