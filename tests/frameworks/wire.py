"""A fake of the wire of `openai` and of `anthropic`, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXT = "It is noon."
CALL = {"name": "clock", "arguments": {"zone": "UTC"}}
PIECES = ("It ", "is ", "noon.")


class Handler(BaseHTTPRequestHandler):
    """Answers each request in the form of its route."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Return the list of models."""
        row = {"id": "acme/small", "object": "model", "created": 0, "owned_by": "acme"}
        self._send({"object": "list", "data": [row]})

    def do_POST(self) -> None:
        """Return an answer, streamed if the request says so."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        routes = {"/v1/chat/completions": (completion, chunks), "/v1/messages": (message, events)}
        whole, stream = routes[self.path]
        if not body.get("stream"):
            self._send(whole(body))
            return
        data = "".join(stream()).encode()
        self._send_bytes(data, "text/event-stream")

    def _send(self, answer: Any) -> None:
        self._send_bytes(json.dumps(answer).encode(), "application/json")

    def _send_bytes(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion: a tool call, JSON for a `response_format`, or a text."""
    content: dict[str, Any] = {"role": "assistant", "content": TEXT}
    reason = "length" if body.get("max_tokens") == 1 else "stop"
    if "response_format" in body:
        content["content"] = '{"hour": 12}'
    elif body.get("tools") and body["messages"][-1]["role"] == "user":
        function = {**CALL, "arguments": json.dumps(CALL["arguments"])}
        content["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        reason = "tool_calls"
    choice = {"index": 0, "message": content, "finish_reason": reason}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    head = {"id": "c", "object": "chat.completion", "created": 0, "model": "acme/small"}
    return {**head, "choices": [choice], "usage": usage}


def chunks() -> Iterator[str]:
    """Return the server-sent events of a streamed chat completion."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "acme/small"}
    for piece in PIECES:
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
        yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield f"data: {json.dumps({**head, 'choices': [last]})}\n\n"
    yield "data: [DONE]\n\n"


def message(body: dict[str, Any], content: list[Any] | None = None) -> dict[str, Any]:
    """Return a message of Anthropic: thinking if the request asks for it, and a text."""
    if content is None:
        thought = {"type": "thinking", "thinking": "A clock says it.", "signature": "s"}
        content = [thought] if "thinking" in body else []
        content.append({"type": "text", "text": TEXT})
    usage = {"input_tokens": 11, "output_tokens": 7}
    head = {"id": "m", "type": "message", "role": "assistant", "model": "acme/small"}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    return {**head, "content": content, **stop, "usage": usage}


def events() -> Iterator[str]:
    """Return the server-sent events of a streamed message of Anthropic."""
    block = {"type": "text", "text": ""}
    yield event("message_start", message=message({}, []))
    yield event("content_block_start", index=0, content_block=block)
    for piece in PIECES:
        delta = {"type": "text_delta", "text": piece}
        yield event("content_block_delta", index=0, delta=delta)
    yield event("content_block_stop", index=0)
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    yield event("message_delta", delta=stop, usage={"output_tokens": 7})
    yield event("message_stop")


def event(name: str, **more: Any) -> str:
    """Return a server-sent event with a name."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **more})}\n\n"


@contextmanager
def running_wire() -> Iterator[str]:
    """Serve the wire, and return its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
