"""A scripted provider: the part of Anthropic's API that omp calls, on loopback.

The last user text says how the provider answers:

    hang    words without an end, until the gateway closes the connection
    429     that status, with `retry-after: 7200`
    tool    a call of the first tool, and after its result a text that quotes the result
    else    the number of bytes of each image, then the text itself, word by word
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_USAGE = {"input_tokens": 11, "output_tokens": 7}
_PAUSE_SECONDS = 0.02


class Provider:
    """The server, what it received, and an event for a connection that the gateway closed."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.streaming = threading.Event()
        self.left = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.provider = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Provider:
        self._thread = threading.Thread(target=self._server.serve_forever, name="provider")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def forget(self) -> None:
        """Begin a new test."""
        self.bodies.clear()
        self.streaming.clear()
        self.left.clear()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        provider.bodies.append(body)
        if _last_text(body) == "429":
            self._refuse()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for event in _events(body, provider):
                data = json.dumps(event)
                self.wfile.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
        except ConnectionError:
            provider.left.set()

    def _refuse(self) -> None:
        error = {"type": "rate_limit_error", "message": "slow down"}
        data = json.dumps({"type": "error", "error": error}).encode()
        self.send_response(429)
        self.send_header("Content-Type", "application/json")
        self.send_header("retry-after", "7200")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _last_text(body: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in _last_parts(body))


def _last_parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    content = body["messages"][-1]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _events(body: dict[str, Any], provider: Provider) -> Iterator[dict[str, Any]]:
    message = {"id": "m", "type": "message", "role": "assistant", "content": []}
    opening = {**message, "model": body["model"], "stop_reason": None, "usage": _USAGE}
    yield {"type": "message_start", "message": opening}
    asks_for_tool = _last_text(body) == "tool"
    yield from _tool_call(body) if asks_for_tool else _text(body, provider)
    stop = "tool_use" if asks_for_tool else "end_turn"
    yield {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": _USAGE}
    yield {"type": "message_stop"}


def _tool_call(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    call = {"type": "tool_use", "id": "call_1", "name": body["tools"][0]["name"], "input": {}}
    yield {"type": "content_block_start", "index": 0, "content_block": call}
    for part in ('{"city":', '"Oslo"}'):
        delta = {"type": "input_json_delta", "partial_json": part}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}


def _text(body: dict[str, Any], provider: Provider) -> Iterator[dict[str, Any]]:
    yield {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    for word in _words(body, provider):
        delta = {"type": "text_delta", "text": word}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}


def _words(body: dict[str, Any], provider: Provider) -> Iterator[str]:
    text = _last_text(body)
    if text == "hang":
        for number in range(3000):
            yield f"word {number} "
            provider.streaming.set()
            provider.left.wait(_PAUSE_SECONDS)
        return
    for part in _last_parts(body):
        if part["type"] == "image":
            yield f"{len(base64.b64decode(part['source']['data']))} bytes "
        elif part["type"] == "tool_result":
            with contextlib.suppress(TypeError):
                yield "the tool said " + json.dumps(part["content"])
    yield from (f"{word} " for word in text.split())
