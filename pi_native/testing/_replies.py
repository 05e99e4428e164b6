"""Turns of a model, made from texts, tool calls and failures."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import attrs

from pi_native import ToolCall, Usage

from . import _frames
from ._checks import (
    check_optional_text,
    check_status,
    check_text,
    check_tool_calls,
    check_usage,
)
from ._event_stream import and_done, as_wire, event_stream, identity
from ._faults import Fault, in_order
from ._request import RecordedRequest
from ._response import Response, phrase

__all__ = ["ErrorShape", "FailedTurn", "Reply"]

#: How an `error` event says what failed. "message": a failed message, as the gateway sends it;
#: "no stop reason" and "stop": a message whose stop reason is missing or says success; "object":
#: `{"type", "message"}`, as a provider sends it; "text": a string; "gateway": no `error` member but
#: `errorMessage`; "bare": neither.
ErrorShape = Literal["message", "no stop reason", "stop", "object", "text", "gateway", "bare"]


@attrs.frozen
class Reply:
    """A turn of a model: thinking, then text, then tool calls, each streamed in pieces.

    A text is split into words; of a list, each item is one delta. `usage` replaces counts that are
    derived from the lengths of request and answer. With `error_message` or `error_status` the turn
    ends in an `error` event; `FailedTurn` has more kinds of it.
    """

    text: str | Sequence[str] = attrs.field(default="", validator=check_text)
    thinking: str | Sequence[str] = attrs.field(default="", kw_only=True, validator=check_text)
    tool_calls: Sequence[ToolCall | Mapping[str, Any]] = attrs.field(
        default=(), kw_only=True, validator=check_tool_calls
    )
    usage: Usage | Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=check_usage
    )
    stop_reason: str | None = attrs.field(default=None, kw_only=True, validator=check_optional_text)
    error_message: str | None = attrs.field(
        default=None, kw_only=True, validator=check_optional_text
    )
    error_status: int | None = attrs.field(default=None, kw_only=True, validator=check_status)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, api: str) -> Response:
        """Return the turn as an event stream, or as one message for a request without streaming."""
        blocks = self._blocks()
        opening = _frames.members_around(request.model, api, request.request_id)
        final = self._final(opening, request, blocks)
        if request.json.get("stream") is False:
            body = b'{"message":%b}' % _frames.message(blocks, final)
            headers = {"Content-Type": "application/json", **identity(request)}
            return Response(pieces=[body], headers=headers, framing="length", faults=self.fault)
        frames = _frames.stream(blocks, opening, final)
        return event_stream(request, and_done(frames), faults=self.fault)

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
            usage.update(as_wire(self.usage))
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

    status: int | None = attrs.field(default=None, validator=check_status)
    message: str | None = attrs.field(default=None, validator=check_optional_text)
    shape: ErrorShape = attrs.field(
        default="message", kw_only=True, validator=attrs.validators.in_(get_args(ErrorShape))
    )
    text: str | Sequence[str] = attrs.field(default="", kw_only=True, validator=check_text)
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
        return event_stream(request, and_done(frames), faults=self.fault)

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


def _pieces(text: str | Sequence[str]) -> Sequence[str]:
    return _frames.words(text) if isinstance(text, str) else text


def _tool_call(call: ToolCall | Mapping[str, Any], number: int) -> dict[str, Any]:
    defaults = {"type": "toolCall", "id": f"call_{number + 1}", "name": "", "arguments": {}}
    return {**defaults, **as_wire(call)}
