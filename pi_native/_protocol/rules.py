"""Frames to events, and what an ending means: the rules of the stream, without any I/O.

One SSE frame holds one JSON object about one assistant message. `[DONE]` ends the events. A stream
may also end without saying so, or break inside the gateway; a message of our own stands in then.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from .._threads.outcome import Outcome
from .._types.events import AssistantMessageEvent, DoneEvent, ErrorEvent
from .._types.messages import AssistantMessage, StopReason
from .._types.request import Model
from ..errors import DecodeError, IncompleteStreamError, StreamProtocolError
from .convert import decode_event
from .strict_json import parse_json

DONE: Final = "[DONE]"
_CLOSED = "stream closed without terminal event"
_QUOTED_CHARACTERS = 200
# These are delivered, but say nothing about the answer's coming along.
_NO_PROGRESS = frozenset(("start", "inference_admission"))


def read_event(data: str, *, trailing: bool, model: Model) -> AssistantMessageEvent | None:
    """The event in a frame's data; None for what counts as nothing.

    `trailing` says that the stream ended before the frame did: JSON that was cut off is dropped
    then, as the stream was incomplete anyway. Raises `StreamProtocolError` for what is no event.
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
    if parsed["type"] == "error" and parsed.get("error") is None:
        return _gateway_broke(parsed, model)
    try:
        return decode_event(parsed)
    except DecodeError as exc:
        raise DecodeError(f"{exc}, in {quote(data)}", problems=exc.problems) from None


def _is_cut_off(data: str, fault: json.JSONDecodeError) -> bool:
    """Whether an object or array only lacks its end; with more behind its end it does not."""
    return data.lstrip()[:1] in ("{", "[") and fault.msg != "Extra data"


def is_progress(event: AssistantMessageEvent) -> bool:
    """Whether an event shows that the answer is coming along, and so moves the deadlines."""
    return event.type not in _NO_PROGRESS


def quote(data: str) -> str:
    """The start of some data, for an error message."""
    return repr(data[:_QUOTED_CHARACTERS]) + ("…" if len(data) > _QUOTED_CHARACTERS else "")


def aborted(model: Model) -> Outcome[AssistantMessageEvent, AssistantMessage]:
    """The end of a stream that the caller cut."""
    message = stand_in(model, stop_reason="aborted", error_message=_CLOSED)
    return Outcome(result=message, event=ErrorEvent("aborted", message))


def ended_early(
    model: Model, on_incomplete: str
) -> Outcome[AssistantMessageEvent, AssistantMessage]:
    """The end of a stream that stopped in good order without a terminal event."""
    if on_incomplete == "error":
        return Outcome(failure=IncompleteStreamError(_CLOSED))
    message = stand_in(model, stop_reason="stop")
    return Outcome(result=message, event=DoneEvent("stop", message))


def stand_in(
    model: Model, *, stop_reason: StopReason, error_message: str | None = None
) -> AssistantMessage:
    """A message without content, in place of the one that never came."""
    return AssistantMessage(
        content=[],
        api=model.api,
        provider=model.provider,
        model=model.id,
        stop_reason=stop_reason,
        error_message=error_message,
    )


def _gateway_broke(parsed: dict[str, Any], model: Model) -> ErrorEvent:
    """The gateway's own failure comes as an error event without a message; give it one."""
    text = parsed.get("errorMessage")
    reason: Literal["aborted", "error"] = (
        "aborted" if parsed.get("reason") == "aborted" else "error"
    )
    message = stand_in(
        model,
        stop_reason=reason,
        error_message=text if isinstance(text, str) else "the gateway failed without saying why",
    )
    known = ("type", "reason", "error")
    extra = {name: value for name, value in parsed.items() if name not in known}
    return ErrorEvent(reason, message, extra=extra)
