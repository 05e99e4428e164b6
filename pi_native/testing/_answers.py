"""What the gateway answers: each class is one kind of script entry.

An answer makes a `Response` to a request. Wrong types raise `TypeError` when a script is written,
in the line that is wrong.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import attrs

from pi_native import ToolCall, Usage, to_wire

from . import _frames
from ._faults import Fault, in_order
from ._replay import Recorded
from ._request import RecordedRequest
from ._response import Framing, Response, merged, phrase

__all__ = [
    "Answer",
    "ErrorShape",
    "Events",
    "FailedTurn",
    "HTTPError",
    "Raw",
    "Reply",
    "Scripted",
    "Verbatim",
]

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

#: How an `error` event says what failed. "message": a failed message, as the gateway sends it;
#: "no stop reason" and "stop": a message whose stop reason is missing or says success; "object":
#: `{"type", "message"}`, as a provider sends it; "text": a string; "gateway": no `error` member but
#: `errorMessage`; "bare": neither.
ErrorShape = Literal["message", "no stop reason", "stop", "object", "text", "gateway", "bare"]


def _check_text(_instance: object, attribute: Any, value: object) -> None:
    if not isinstance(value, str) and not _is_list_of(str, value):
        raise TypeError(
            f"{attribute.name} must be a string or a list of strings, not {_shown(value)}; "
            "for wire events use events([...])"
        )


def _check_bytes(_instance: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, bytes) and not _is_list_of(bytes, value):
        raise TypeError(f"{attribute.name} must be bytes or a list of bytes, not {_shown(value)}")


def _check_tool_calls(_instance: object, _attribute: Any, value: object) -> None:
    if not _is_list_of((ToolCall, Mapping), value):
        raise TypeError(f"tool_calls must be a list of ToolCall or dict, not {_shown(value)}")


def _check_events(_instance: object, _attribute: Any, value: Any) -> None:
    if not _is_list_of(object, value) or any(isinstance(v, (str, bytes, int)) for v in value):
        raise TypeError(f"events must be a list of events or of dicts, not {_shown(value)}")


def _check_status(_instance: object, attribute: Any, value: object) -> None:
    if value is not None and (not isinstance(value, int) or not 100 <= value <= 999):
        raise TypeError(f"{attribute.name} must be an HTTP status such as 503, not {value!r}")


def _is_list_of(kind: Any, value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        return False
    return all(isinstance(item, kind) for item in value)


def _shown(value: object) -> str:
    return f"{type(value).__name__}: {value!r:.40}"


@attrs.frozen
class Reply:
    """A turn of a model: thinking, then text, then tool calls, each streamed in pieces.

    A text is split into words; of a list, each item is one delta. `usage` replaces counts that are
    derived from the lengths of request and answer. With `error_message` or `error_status` the turn
    ends in an `error` event; `FailedTurn` has more kinds of it.
    """

    text: str | Sequence[str] = attrs.field(default="", validator=_check_text)
    thinking: str | Sequence[str] = attrs.field(default="", kw_only=True, validator=_check_text)
    tool_calls: Sequence[ToolCall | Mapping[str, Any]] = attrs.field(
        default=(), kw_only=True, validator=_check_tool_calls
    )
    usage: Usage | Mapping[str, Any] | None = attrs.field(default=None, kw_only=True)
    stop_reason: str | None = attrs.field(default=None, kw_only=True)
    error_message: str | None = attrs.field(default=None, kw_only=True)
    error_status: int | None = attrs.field(default=None, kw_only=True, validator=_check_status)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, api: str) -> Response:
        """Return the turn as an event stream, or as one message for a request without streaming."""
        blocks = self._blocks()
        opening = _frames.members_around(request.model, api, request.request_id)
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
        usage = _frames.usage(len(request.body) // 4, output)
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
class FailedTurn:
    """A turn that ends in an `error` event of a given shape, inside of a 200.

    Before it come the events of `text`. `retry_after_ms` is the provider's hint when to try again,
    which a gateway adds to the message.
    """

    status: int | None = attrs.field(default=None, validator=_check_status)
    message: str | None = None
    shape: ErrorShape = attrs.field(
        default="message", kw_only=True, validator=attrs.validators.in_(get_args(ErrorShape))
    )
    text: str | Sequence[str] = attrs.field(default="", kw_only=True, validator=_check_text)
    type: str | None = attrs.field(default=None, kw_only=True)
    reason: Literal["error", "aborted"] | None = attrs.field(default="error", kw_only=True)
    retry_after_ms: int | None = attrs.field(default=None, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, api: str) -> Response:
        """Return the events of the text, and the `error` event."""
        blocks = [_frames.text(_pieces(self.text))] if self.text else []
        opening = _frames.members_around(request.model, api, request.request_id)
        *frames, _ = _frames.stream(blocks, opening, opening)
        frames.append(_frames.frame(self._event(opening, blocks)))
        return _event_stream(request, _and_done(frames), faults=self.fault)

    def _event(self, opening: dict[str, Any], blocks: list[_frames.Block]) -> dict[str, Any]:
        message = self.message or phrase(self.status or 500)
        if self.retry_after_ms is not None:
            message = f"{message} retry-after-ms={self.retry_after_ms}"
        event: dict[str, Any] = {"type": "error"}
        if self.reason is not None:
            event["reason"] = self.reason
        if self.shape == "object":
            event["error"] = {"type": self.type or "overloaded_error", "message": message}
        elif self.shape == "text":
            event["error"] = message
        elif self.shape == "gateway":
            event["errorMessage"] = message
        elif self.shape != "bare":
            event["error"] = self._failed_message(opening, blocks, message)
        return event

    def _failed_message(
        self, opening: dict[str, Any], blocks: list[_frames.Block], text: str
    ) -> dict[str, Any]:
        content = [{"type": "text", "text": "".join(block.pieces)} for block in blocks]
        message = {"role": "assistant", "content": content, **opening, "errorMessage": text}
        message["stopReason"] = "stop" if self.shape == "stop" else self.reason or "error"
        if self.shape == "no stop reason":
            del message["stopReason"]
        if self.status is not None:
            message["errorStatus"] = self.status
        return message


@attrs.frozen
class Events:
    """A turn of given events, objects of `pi_native` or wire JSON; `done` adds `[DONE]`."""

    events: Sequence[Any] = attrs.field(validator=_check_events)
    done: bool = attrs.field(default=True, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, _api: str) -> Response:
        """Return the events unchanged."""
        frames = [_frames.frame(_as_wire(event)) for event in self.events]
        pieces = _and_done(frames) if self.done else frames
        return _event_stream(request, pieces, faults=self.fault)


@attrs.frozen
class Raw:
    """A body of given bytes. Each item of a list is one piece, and one HTTP chunk when chunked."""

    body: bytes | Sequence[bytes] = attrs.field(validator=_check_bytes)
    framing: Framing = attrs.field(default="chunked", kw_only=True)
    status: int = attrs.field(default=200, kw_only=True, validator=_check_status)
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
    """A whole HTTP response of given bytes, status line included; then the connection is closed."""

    response: bytes | Sequence[bytes] = attrs.field(validator=_check_bytes)
    keep_alive: bool = attrs.field(default=False, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, _request: RecordedRequest, _api: str) -> Response:
        """Return the bytes."""
        pieces = _byte_pieces(self.response)
        return Response(pieces=pieces, framing=None, faults=self.fault, keep_alive=self.keep_alive)


@attrs.frozen
class HTTPError:
    """An HTTP error: `{"error": {"type", "message"}}`, or another body.

    `type` defaults to the one that the gateway uses for the status. A `body` of bytes or str is
    sent unchanged, any other as JSON.
    """

    status: int = attrs.field(validator=[attrs.validators.instance_of(int), _check_status])
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


Answer: TypeAlias = Reply | FailedTurn | Events | Raw | Verbatim | HTTPError | Recorded
#: An entry of a script.
Scripted: TypeAlias = Answer | Callable[[RecordedRequest], Answer]


def answer_of(entry: Any, request: RecordedRequest) -> Answer:
    """Return the answer of a script entry, which may be a function of the request."""
    answer = entry if hasattr(entry, "respond") else entry(request)
    return check_answer(answer, "the function in the script returned")


def check_answer(answer: Answer, what: str = "an entry of the script is") -> Answer:
    """Return the answer. Raise TypeError if it is not one."""
    if not hasattr(answer, "respond"):
        raise TypeError(f"{what} {_shown(answer)}; expected an answer such as Reply('Hello')")
    return answer


def _event_stream(request: RecordedRequest, pieces: Iterable[bytes], **more: Any) -> Response:
    headers = merged({**_EVENT_STREAM, **_identity(request)}, more.pop("headers", {}))
    return Response(pieces=pieces, headers=headers, **more)


def _identity(request: RecordedRequest) -> dict[str, str]:
    """Return the headers that identify the response to a turn."""
    named = {"x-request-id": request.request_id, "request-id": request.request_id}
    if request.method != "POST":
        return named  # a page has no model
    return {**named, "x-litellm-model-id": request.model.partition("/")[2]}


def _and_done(frames: Iterable[bytes]) -> Iterator[bytes]:
    yield from frames
    yield _frames.DONE


def _pieces(text: str | Sequence[str]) -> Sequence[str]:
    return _frames.words(text) if isinstance(text, str) else text


def _byte_pieces(body: bytes | Sequence[bytes]) -> list[bytes]:
    # An empty chunk would be the last one.
    return [piece for piece in ([body] if isinstance(body, bytes) else body) if piece]


def _tool_call(call: ToolCall | Mapping[str, Any], number: int) -> dict[str, Any]:
    defaults = {"type": "toolCall", "id": f"call_{number + 1}", "name": "", "arguments": {}}
    return {**defaults, **_as_wire(call)}


def _as_wire(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else to_wire(value)


def _error_type(status: int) -> str:
    return _ERROR_TYPES.get(status, "upstream_error" if status >= 500 else "invalid_request_error")
