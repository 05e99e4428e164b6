"""The decoder gives the same events by its fast and its safe path, whole and in pieces.

It raises only `PiNativeError`, and each event serialises to the JSON of its frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pi_native import (
    AssistantMessageEvent,
    DoneEvent,
    ErrorEvent,
    Model,
    PiNativeError,
    SseEvent,
    UnknownEvent,
    to_wire,
)
from pi_native._protocol.decoder import EventDecoder
from pi_native._protocol.strict_json import parse_json

from .splits import check, splits

_MODEL = Model("y", "x")
_PLENTY = 1 << 40
_MADE_HERE = "a message of our own"


class _SafeReader(EventDecoder):
    """Decoder that uses the safe path only."""

    def _read_delta(self, *_: object, **__: object) -> None:
        return None


class _InChunksReader(EventDecoder):
    """Decoder that reads its input in place, inside a chunk whose lines end in LF."""

    def feed(self, data: bytes, *_: object) -> Iterator[AssistantMessageEvent]:
        """Yield the events that `data` completes."""
        return super().feed(b"5\n" + data + b"\n0\n\n", [(2, 2 + len(data))])


def check_events(data: bytes) -> None:
    """Check that the fast and the safe path, whole and in pieces, agree on events and failure."""
    whole = _read(EventDecoder, [data])
    check(whole == _read(_SafeReader, [data]), "the fast way and the safe way differ")
    check(whole == _read(EventDecoder, [data], _Observer()), "an observer changes the events")
    for pieces in splits(data):
        check(whole == _read(EventDecoder, pieces), f"other events from {pieces!r}")
        check(whole == _read(_InChunksReader, pieces), f"other events from chunks of {pieces!r}")


class _Observer:
    """Observer that keeps the last frame."""

    def __init__(self) -> None:
        self.frame: SseEvent | None = None

    def __call__(self, frame: SseEvent) -> None:
        self.frame = frame


def _read(
    make: type[EventDecoder], pieces: list[bytes], observer: _Observer | None = None
) -> tuple[list[str], str]:
    """Return the events as text, and the failure that ended them, if any."""
    reader = make(_MODEL, _PLENTY, observer)
    events: list[str] = []

    def take(event: AssistantMessageEvent) -> None:
        if observer is not None:
            _check_verbatim(event, observer.frame)
        events.append(_exact(event))

    return events, _failure_of(lambda: _feed(reader, pieces, take))


def _feed(
    reader: EventDecoder, pieces: list[bytes], take: Callable[[AssistantMessageEvent], None]
) -> None:
    for piece in pieces:
        for event in reader.feed(piece):
            take(event)
    for event in reader.finish():
        take(event)


def _failure_of(read: Callable[[], None]) -> str:
    try:
        read()
    except PiNativeError as exc:
        return repr(exc)
    return ""


def _exact(event: AssistantMessageEvent) -> str:
    """Return an event as text, in which 0 and 0.0, or 1 and true, differ."""
    written = to_wire(event)
    if _is_made_here(event):
        written["error"] = _MADE_HERE  # it has a timestamp
    return f"{type(event).__name__} {_text(written)} {_check_snapshot(event)}"


def _check_snapshot(event: AssistantMessageEvent) -> str:
    """Read the snapshot; return its fault, or check that it serialises to its input."""
    if isinstance(event, (DoneEvent, ErrorEvent, UnknownEvent)):
        return ""
    before = to_wire(event)
    try:
        message = event.partial
    except PiNativeError as exc:
        return repr(exc)
    if message is not None:
        check(_text(to_wire(message)) == _text(before["partial"]), "a snapshot is not what came")
    check(_text(to_wire(event)) == _text(before), "reading a snapshot changes its event")
    return ""


def _check_verbatim(event: AssistantMessageEvent, frame: SseEvent | None) -> None:
    if frame is None or _is_made_here(event):
        return
    written, came = to_wire(event), parse_json(frame.data)
    if isinstance(event, ErrorEvent) and not _is_failed_message(came.get("error")):
        return  # the client completes it with what had arrived
    if isinstance(event, DoneEvent):
        for name in {"content", "stopReason"} - came["message"].keys():
            written["message"].pop(name, None)
    check(_text(written) == _text(came), "an event is not what came")


def _is_failed_message(error: object) -> bool:
    """Return whether the error of an event is a failed message with content."""
    return (
        isinstance(error, dict)
        and bool(error.get("content"))
        and error.get("stopReason") in ("error", "aborted")
    )


def _is_made_here(event: AssistantMessageEvent) -> bool:
    """Return whether the client made the message, because none arrived."""
    return isinstance(event, ErrorEvent) and event.error.api == _MODEL.api


def _text(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        return "too deep to be compared"
