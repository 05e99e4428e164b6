"""The decoder: fast and safe, whole and in pieces, the same events; nothing raised but our errors.

And what was read is what came: written again, each event is the JSON of its frame.
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
from pi_native._protocol.chunked import Piece
from pi_native._protocol.decoder import EventDecoder
from pi_native._protocol.strict_json import parse_json

from .splits import check, splits

_MODEL = Model("y", "x")
_PLENTY = 1 << 40
_MADE_HERE = "a message of our own"


class _SafeReader(EventDecoder):
    """Reads everything the safe way."""

    def _read_delta(self, *_: object) -> None:
        return None


class _InChunksReader(EventDecoder):
    """Reads what it is fed where it stands, between lines of HTTP's framing that end in LF."""

    def feed(self, data: bytes) -> Iterator[AssistantMessageEvent]:
        """The events that `data` completes."""
        return self.feed_piece(Piece(b"5\n" + data + b"\n0\n\n", [(2, 2 + len(data))]))


def check_events(data: bytes) -> None:
    """Any bytes give the same events and the same failure, fast and safe, whole and in pieces."""
    whole = _read(EventDecoder, [data])
    check(whole == _read(_SafeReader, [data]), "the fast way and the safe way differ")
    check(whole == _read(EventDecoder, [data], _Observer()), "an observer changes the events")
    for pieces in splits(data):
        check(whole == _read(EventDecoder, pieces), f"other events from {pieces!r}")
        check(whole == _read(_InChunksReader, pieces), f"other events from chunks of {pieces!r}")


class _Observer:
    """Remembers the frame that was read last."""

    def __init__(self) -> None:
        self.frame: SseEvent | None = None

    def __call__(self, frame: SseEvent) -> None:
        self.frame = frame


def _read(
    make: type[EventDecoder], pieces: list[bytes], observer: _Observer | None = None
) -> tuple[list[str], str]:
    """The events as text, and what ended them if that was a failure."""
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
    """An event as text, in which 0 and 0.0, or 1 and true, differ; its snapshot read or not."""
    written = to_wire(event)
    if _is_made_here(event):
        written["error"] = _MADE_HERE  # it says when it was made
    return f"{type(event).__name__} {_text(written)} {_check_snapshot(event)}"


def _check_snapshot(event: AssistantMessageEvent) -> str:
    """Read the snapshot: its fault, if it has one; else it is written as it came."""
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
    check(_text(to_wire(event)) == _text(parse_json(frame.data)), "an event is not what came")


def _is_made_here(event: AssistantMessageEvent) -> bool:
    """Whether its message stands in for one that never came."""
    return isinstance(event, ErrorEvent) and event.error.api == _MODEL.api


def _text(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        return "too deep to be compared"
