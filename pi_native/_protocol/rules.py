"""The rules of the stream, without any I/O: frames to events, and what each kind of end means.

One SSE frame holds one JSON object about one assistant message. `[DONE]` ends the events. A stream
may also end without a terminal event, or the gateway may fail in the middle; a synthetic message
replaces the missing one then.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from .._threads.outcome import Outcome
from .._types.events import AssistantMessageEvent, DoneEvent, ErrorEvent, result_of
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
Newest: TypeAlias = Callable[[], AssistantMessage | None]
"""Returns the newest snapshot of the turn, or None if there is none that can be read."""

# These are delivered, but do not move the deadlines.
NO_PROGRESS = frozenset(("start", "inference_admission"))


def no_snapshot() -> None:
    """Return None: no snapshot has arrived."""


def read_event(
    data: str, *, trailing: bool, model: Model, newest: Newest = no_snapshot
) -> AssistantMessageEvent | None:
    """Return the event in a frame's data; None for data that is ignored.

    `trailing` is True when the stream ended inside the frame: JSON that was cut off is dropped
    then, since the stream is incomplete anyway. A terminal event without the content that had
    arrived gets it from the `newest` snapshot. Raises `StreamProtocolError` for data that is no
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
        return _read_failure(parsed, model, newest)
    try:
        event = decode_event(parsed)
    except DecodeError as exc:
        raise DecodeError(f"{exc}, in {quote(data)}", problems=exc.problems) from None
    if not isinstance(event, DoneEvent):
        return event
    if parsed.get("reason") in ("error", "aborted"):
        return _read_failure({**parsed, "error": parsed["message"]}, model, newest)
    _complete(event, newest, data)
    return event


def _complete(event: DoneEvent, newest: Newest, data: str) -> None:
    """Add the members without which the message of a `done` would be an empty success."""
    message = event.message
    if message.content is None:
        message.content = _content_of(newest())
        if message.content is None:
            problem = "$.message.content: expected an array, got nothing"
            text = f"not a valid event: {problem}, in {quote(data)}"
            raise DecodeError(text, problems=[problem])
    message.stop_reason = message.stop_reason or event.reason or "stop"


def _content_of(message: AssistantMessage | None) -> Any:
    """Return a copy of the content of a snapshot; None without one."""
    return [*message.content] if message is not None and message.content else None


def _is_cut_off(data: str, fault: json.JSONDecodeError) -> bool:
    """Return True when an object or array only lacks its end."""
    return data.lstrip()[:1] in ("{", "[") and fault.msg != "Extra data"


def quote(data: str) -> str:
    """Return the start of some data, for an error message."""
    return repr(data[:_QUOTED_CHARACTERS]) + ("…" if len(data) > _QUOTED_CHARACTERS else "")


def outcome_of(
    event: AssistantMessageEvent,
) -> Outcome[AssistantMessageEvent, AssistantMessage] | None:
    """Return the outcome of a terminal event; None for any other event."""
    message = result_of(event)
    return None if message is None else Outcome(result=message, event=event)


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


def _read_failure(parsed: dict[str, Any], model: Model, newest: Newest) -> ErrorEvent:
    """Return an `error` event of any shape as a failed turn: the event decides, not its message.

    Its message has the content that had arrived, which the caller has paid for.
    """
    reason: Literal["aborted", "error"] = (
        "aborted" if parsed.get("reason") == "aborted" else "error"
    )
    known = ("type", "reason", "error")
    extra = {name: value for name, value in parsed.items() if name not in known}
    message = _failed_message(parsed)
    if message is None:
        message = _failed_so_far(
            newest(), model, reason=reason, text=_failure_text(parsed) or _as_json(parsed)
        )
    elif not message.failed:
        message.stop_reason = reason
        message.error_message = message.error_message or _failure_text(parsed)
    message.content = message.content or _content_of(newest()) or []
    return ErrorEvent(reason, message, extra=extra)


def _failed_so_far(
    snapshot: AssistantMessage | None,
    model: Model,
    *,
    reason: Literal["aborted", "error"],
    text: str,
) -> AssistantMessage:
    """Return the newest snapshot as a failed message; without one a message without content."""
    if snapshot is None:
        return stand_in(model, stop_reason=reason, error_message=text)
    message = copy.copy(snapshot)
    message.content = [*(snapshot.content or [])]
    message.stop_reason = reason
    message.error_message = text
    return message


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
