"""The rules of the stream, without any I/O: frames to events, and what each kind of end means.

One SSE frame holds one JSON object about one assistant message. `[DONE]` ends the events. A stream
may also end without a terminal event, or the gateway may fail in the middle; a synthetic message
replaces the missing one then.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from .._threads.outcome import Outcome
from .._types.events import AssistantMessageEvent, DoneEvent, ErrorEvent
from .._types.failure import message_in
from .._types.messages import AssistantMessage, StopReason
from .._types.request import Model
from ..errors import DecodeError, IncompleteStreamError, StreamProtocolError
from .convert import decode_event, from_wire
from .strict_json import parse_json

DONE: Final = "[DONE]"
_CLOSED = "stream closed without terminal event"
_QUOTED_CHARACTERS = 200
_LONGEST_TEXT = 4096
# An object with one of these is a message, and not an error object such as a provider's own.
_MESSAGE_MEMBERS = frozenset(("role", "content", "stopReason"))
# These are delivered, but do not move the deadlines.
NO_PROGRESS = frozenset(("start", "inference_admission"))


def read_event(data: str, *, trailing: bool, model: Model) -> AssistantMessageEvent | None:
    """Return the event in a frame's data; None for data that is ignored.

    `trailing` is True when the stream ended inside the frame: JSON that was cut off is dropped
    then, since the stream is incomplete anyway. Raises `StreamProtocolError` for data that is no
    event.
    """
    if not data:
        return None
    try:
        parsed = parse_json(data)
    except json.JSONDecodeError as exc:
        if trailing and _is_cut_off(data, exc):
            return None
        raise StreamProtocolError(f"an event is not JSON ({exc}): {quote(data)}") from None
    except (ValueError, RecursionError) as exc:
        raise StreamProtocolError(f"an event is not usable JSON ({exc}): {quote(data)}") from None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("type"), str):
        raise StreamProtocolError(f"an event is not an object with a type: {quote(data)}")
    if parsed["type"] == "error":
        return _read_failure(parsed, model)
    try:
        event = decode_event(parsed)
    except DecodeError as exc:
        raise DecodeError(f"{exc}, in {quote(data)}", problems=exc.problems) from None
    if isinstance(event, DoneEvent) and parsed.get("reason") in ("error", "aborted"):
        return _read_failure({**parsed, "error": parsed["message"]}, model)
    return event


def _is_cut_off(data: str, fault: json.JSONDecodeError) -> bool:
    """Return True when an object or array only lacks its end."""
    return data.lstrip()[:1] in ("{", "[") and fault.msg != "Extra data"


def quote(data: str) -> str:
    """Return the start of some data, for an error message."""
    return repr(data[:_QUOTED_CHARACTERS]) + ("…" if len(data) > _QUOTED_CHARACTERS else "")


def aborted(model: Model) -> Outcome[AssistantMessageEvent, AssistantMessage]:
    """Return the outcome of a stream that the caller cancelled."""
    message = stand_in(model, stop_reason="aborted", error_message=_CLOSED)
    return Outcome(result=message, event=ErrorEvent("aborted", message))


def ended_early(
    model: Model, on_incomplete: str
) -> Outcome[AssistantMessageEvent, AssistantMessage]:
    """Return the outcome of a stream that ended cleanly without a terminal event."""
    if on_incomplete == "error":
        return Outcome(failure=IncompleteStreamError(_CLOSED))
    message = stand_in(model, stop_reason="stop")
    return Outcome(result=message, event=DoneEvent("stop", message))


def stand_in(
    model: Model, *, stop_reason: StopReason, error_message: str | None = None
) -> AssistantMessage:
    """Return a message without content, in place of the missing one."""
    return AssistantMessage(
        content=[],
        api=model.api,
        provider=model.provider,
        model=model.id,
        stop_reason=stop_reason,
        error_message=error_message,
    )


def _read_failure(parsed: dict[str, Any], model: Model) -> ErrorEvent:
    """Return an `error` event of any shape as a failed turn: the event decides, not its message."""
    reason: Literal["aborted", "error"] = (
        "aborted" if parsed.get("reason") == "aborted" else "error"
    )
    known = ("type", "reason", "error")
    extra = {name: value for name, value in parsed.items() if name not in known}
    message = _failed_message(parsed)
    if message is None:
        message = stand_in(
            model, stop_reason=reason, error_message=_failure_text(parsed) or _as_json(parsed)
        )
    elif not message.failed:
        message.stop_reason = reason
        message.error_message = message.error_message or _failure_text(parsed)
    return ErrorEvent(reason, message, extra=extra)


def _failed_message(parsed: dict[str, Any]) -> AssistantMessage | None:
    """Return the message of an `error` event; None when its `error` is anything else."""
    error = parsed.get("error")
    if not isinstance(error, dict) or not _MESSAGE_MEMBERS & error.keys():
        return None
    try:
        message: AssistantMessage = from_wire(error, AssistantMessage)
    except DecodeError:
        return None
    return message


def _failure_text(parsed: dict[str, Any]) -> str | None:
    """Return the text of a failure: `errorMessage`, else `error.message`, else `error` itself."""
    error = parsed.get("error")
    candidates = [parsed.get("errorMessage"), parsed.get("message")]
    if isinstance(error, dict):
        candidates = [parsed.get("errorMessage"), error.get("errorMessage"), message_in(error)]
    elif isinstance(error, str):
        candidates.insert(1, error)
    return next((text for text in candidates if isinstance(text, str) and text), None)


def _as_json(parsed: dict[str, Any]) -> str:
    return json.dumps(parsed, separators=(",", ":"))[:_LONGEST_TEXT]
