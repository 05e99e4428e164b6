"""What the gateway answers: each class is one kind of script entry.

An answer knows how to become a `Response` to a given request; sending that, and the faults on the
way, is somebody else's work.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from pi_native import ToolCall, Usage, to_wire

from . import _frames
from ._faults import Fault, in_order
from ._replay import Recorded
from ._request import RecordedRequest
from ._response import Framing, Response, merged, phrase

__all__ = ["Answer", "Events", "HTTPError", "Raw", "Reply", "Scripted", "Verbatim"]

_EVENT_STREAM = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_ERROR_TYPES = {
    401: "authentication_error",
    403: "authentication_error",
    429: "rate_limit_error",
    499: "request_aborted",
}
_INPUT_PRICE, _OUTPUT_PRICE = 3e-6, 15e-6  # dollars a token
_NO_COST = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}
_NO_USAGE = {
    "input": 0,
    "output": 0,
    "cacheRead": 0,
    "cacheWrite": 0,
    "totalTokens": 0,
    "cost": _NO_COST,
}


@attrs.frozen
class Reply:
    """A turn of a model: thinking, then text, then tool calls, each streamed in pieces.

    Text is cut into words; given as a list, each item is one delta. `usage` replaces counts that
    are made up from the lengths of request and answer. With an `error_message` the turn ends in an
    `error` event.
    """

    text: str | Sequence[str] = ""
    thinking: str | Sequence[str] = attrs.field(default="", kw_only=True)
    tool_calls: Sequence[ToolCall | Mapping[str, Any]] = attrs.field(default=(), kw_only=True)
    usage: Usage | Mapping[str, Any] | None = attrs.field(default=None, kw_only=True)
    stop_reason: str | None = attrs.field(default=None, kw_only=True)
    error_message: str | None = attrs.field(default=None, kw_only=True)
    error_status: int | None = attrs.field(default=None, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, api: str) -> Response:
        """Return the turn as an event stream, or as one message if no stream was asked for."""
        blocks = self._blocks()
        opening = _surroundings(request, api)
        final = self._final(opening, request, blocks)
        if request.json.get("stream") is False:
            body = b'{"message":%b}' % _frames.message(blocks, final)
            headers = {"Content-Type": "application/json", **_identity(request)}
            return Response(pieces=[body], headers=headers, framing="length", faults=self.fault)
        frames = _frames.stream(blocks, opening, final)
        return _event_stream(request, _and_done(frames), faults=self.fault)

    def _blocks(self) -> list[_frames.Block]:
        blocks = []
        if self.thinking:
            blocks.append(_frames.thinking(_pieces(self.thinking)))
        if self.text:
            blocks.append(_frames.text(_pieces(self.text)))
        for number, call in enumerate(self.tool_calls):
            blocks.append(_frames.tool_call(_tool_call(call, number), number))
        return blocks

    def _final(
        self, opening: dict[str, Any], request: RecordedRequest, blocks: list[_frames.Block]
    ) -> dict[str, Any]:
        output = sum(len(block.pieces) for block in blocks)
        usage = _usage(len(request.body) // 4, output)
        if self.usage is not None:
            usage.update(_as_wire(self.usage))
        final = {**opening, "usage": usage, "stopReason": self._stop_reason()}
        if self.error_message is not None:
            final["errorMessage"] = self.error_message
        if self.error_status is not None:
            final["errorStatus"] = self.error_status
        return final

    def _stop_reason(self) -> str:
        if self.stop_reason is not None:
            return self.stop_reason
        if self.error_message is not None or self.error_status is not None:
            return "error"
        return "toolUse" if self.tool_calls else "stop"


@attrs.frozen
class Events:
    """Given events, each an event of `pi_native` or its wire JSON; then `[DONE]`, if wanted."""

    events: Sequence[Any]
    done: bool = attrs.field(default=True, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, _api: str) -> Response:
        """Return the events as they were given."""
        frames = [_frames.frame(_as_wire(event)) for event in self.events]
        pieces = _and_done(frames) if self.done else frames
        return _event_stream(request, pieces, faults=self.fault)


@attrs.frozen
class Raw:
    """A body given as bytes: each item of a list is one piece, so one HTTP chunk when chunked."""

    body: bytes | Sequence[bytes]
    framing: Framing = attrs.field(default="chunked", kw_only=True)
    status: int = attrs.field(default=200, kw_only=True)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, _api: str) -> Response:
        """Return the body, as an event stream unless the headers say otherwise."""
        return _event_stream(
            request,
            _byte_pieces(self.body),
            status=self.status,
            headers=self.headers,
            framing=self.framing,
            faults=self.fault,
        )


@attrs.frozen
class Verbatim:
    """A whole HTTP response given as bytes, status line and all; then the connection is closed."""

    response: bytes | Sequence[bytes]
    keep_alive: bool = attrs.field(default=False, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, _request: RecordedRequest, _api: str) -> Response:
        """Return the bytes."""
        pieces = _byte_pieces(self.response)
        return Response(pieces=pieces, framing=None, faults=self.fault, keep_alive=self.keep_alive)


@attrs.frozen
class HTTPError:
    """An answer that is not 200: `{"error": {"type", "message"}}`, or another body.

    Without a `type` it is the one that the gateway gives to that status. A `body` of bytes or str
    is sent as it is, anything else as JSON.
    """

    status: int
    message: str | None = None
    type: str | None = attrs.field(default=None, kw_only=True)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    body: Any = attrs.field(default=None, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, _request: RecordedRequest, _api: str) -> Response:
        """Return the error."""
        content, body = self._content()
        return Response(
            pieces=_byte_pieces(body),
            status=self.status,
            headers=merged({"Content-Type": content, "Cache-Control": "no-store"}, self.headers),
            framing="length",
            faults=self.fault,
        )

    def _content(self) -> tuple[str, bytes]:
        if isinstance(self.body, bytes):
            return "application/octet-stream", self.body
        if isinstance(self.body, str):
            return "text/plain; charset=utf-8", self.body.encode()
        body = self.body if self.body is not None else {"error": self._error()}
        return "application/json; charset=utf-8", _frames.dumps(body)

    def _error(self) -> dict[str, str]:
        message = phrase(self.status) if self.message is None else self.message
        return {"type": self.type or _error_type(self.status), "message": message}


Answer: TypeAlias = Reply | Events | Raw | Verbatim | HTTPError | Recorded
#: An entry of a script.
Scripted: TypeAlias = Answer | Callable[[RecordedRequest], Answer]


def _event_stream(request: RecordedRequest, pieces: Iterable[bytes], **more: Any) -> Response:
    headers = merged({**_EVENT_STREAM, **_identity(request)}, more.pop("headers", {}))
    return Response(pieces=pieces, headers=headers, **more)


def _identity(request: RecordedRequest) -> dict[str, str]:
    """Return the headers by which the answer to a turn may be found again."""
    named = {"x-request-id": request.request_id, "request-id": request.request_id}
    if request.method != "POST":
        return named  # the gateway's own pages are about no model
    return {**named, "x-litellm-model-id": request.model.partition("/")[2]}


def _and_done(frames: Iterable[bytes]) -> Iterable[bytes]:
    yield from frames
    yield _frames.DONE


def _pieces(text: str | Sequence[str]) -> Sequence[str]:
    return _frames.words(text) if isinstance(text, str) else text


def _byte_pieces(body: bytes | Sequence[bytes]) -> list[bytes]:
    # An empty chunk would be the last one.
    return [piece for piece in ([body] if isinstance(body, bytes) else body) if piece]


def _surroundings(request: RecordedRequest, api: str) -> dict[str, Any]:
    """Return the members of a message around its content, while it grows."""
    provider, _, model = request.model.partition("/")
    return {
        "api": api,
        "provider": provider,
        "model": model,
        "usage": _NO_USAGE,
        "stopReason": "stop",
        "timestamp": int(time.time() * 1000),
        "responseId": f"fake-{request.request_id}",
    }


def _usage(prompt: int, output: int) -> dict[str, Any]:
    paid, earned = prompt * _INPUT_PRICE, output * _OUTPUT_PRICE
    cost = {**_NO_COST, "input": paid, "output": earned, "total": paid + earned}
    counts = {"input": prompt, "output": output, "totalTokens": prompt + output}
    return {**_NO_USAGE, **counts, "cost": cost}


def _tool_call(call: ToolCall | Mapping[str, Any], number: int) -> dict[str, Any]:
    defaults = {"type": "toolCall", "id": f"call_{number + 1}", "name": "", "arguments": {}}
    return {**defaults, **_as_wire(call)}


def _as_wire(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else to_wire(value)


def _error_type(status: int) -> str:
    return _ERROR_TYPES.get(status, "upstream_error" if status >= 500 else "invalid_request_error")
