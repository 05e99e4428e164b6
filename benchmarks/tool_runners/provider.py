"""A fake provider on loopback: it answers by a script, and keeps the requests."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from .situations import Turn
from .wires import WIRES

MAX_REQUESTS = 12


class Provider:
    """The provider of one run, as a context manager. The last of `turns` repeats."""

    def __init__(self, turns: list[Turn]) -> None:
        self.turns = turns
        self.requests: list[dict[str, Any]] = []
        self.results: list[str] = []  # of the newest request, which holds the whole history
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a request; None after `MAX_REQUESTS`, or for an unknown path."""
        path = path.partition("?")[0]
        wire = next((WIRES[end] for end in WIRES if path.endswith(end)), None)
        if wire is None or len(self.requests) >= MAX_REQUESTS:
            return None
        reply, results = wire
        turn = self.turns[min(len(self.requests), len(self.turns) - 1)]
        self.requests.append(request)
        self.results = results(request)
        return reply(turn, len(self.requests))

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = provider.answer(self.path, json.loads(body))
            data = json.dumps(answer or {"error": {"message": "not scripted"}}).encode()
            self.send_response(200 if answer else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler
