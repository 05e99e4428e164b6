"""Bytes to events, the fast way where the gateway's own form is met, the safe way everywhere else.

The safe way: a block of lines, read by sseclient, parsed as JSON, decoded as an event. A plain
delta in the gateway's own spelling, whose snapshot is the last member, needs none of that: its head
is a hundred bytes, and its snapshot is recognised (see `_snapshots`). Both give the same events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ._events import (
    AssistantMessageEvent,
    TextDeltaEvent,
    ThinkingDeltaEvent,
    ToolCallDeltaEvent,
    result_of,
)
from ._json import parse_json
from ._models import Model
from ._options import SseEvent
from ._protocol import DONE, read_event
from ._snapshots import STRING_PART, SnapshotReader
from ._sse import BlockCutter, parse_block

_DELTA = re.compile(
    rb'data: \{"type":"(text|thinking|toolcall)_delta","contentIndex":(0|[1-9][0-9]{0,8}),'
    rb'"delta":"(' + STRING_PART + rb')","partial":(?=\{)'
)
_KINDS: dict[bytes, Callable[..., AssistantMessageEvent]] = {
    b"text": TextDeltaEvent,
    b"thinking": ThinkingDeltaEvent,
    b"toolcall": ToolCallDeltaEvent,
}


class EventReader:
    """Reads the events of one answer.

    `observe` is called with every server-sent event, also with those behind the end, which are
    otherwise read and ignored.
    """

    def __init__(
        self,
        model: Model,
        max_event_bytes: int,
        observe: Callable[[SseEvent], object] | None = None,
    ) -> None:
        self.framed = False  # whether there was any server-sent event
        self.closed = False  # whether the end was read: a terminal event, or [DONE]
        self._model = model
        self._observe = observe
        self._cutter = BlockCutter(max_event_bytes)
        self._snapshots = SnapshotReader()

    def feed(self, data: bytes) -> Iterator[AssistantMessageEvent]:
        """The events that `data` completes. Raises `StreamProtocolError`, behind the good ones."""
        for block in self._cutter.feed(data):
            event = self._read(block, trailing=False)
            if event is not None:
                yield event

    def finish(self) -> Iterator[AssistantMessageEvent]:
        """The event that was whole when the stream ended, but for its blank line."""
        for block in self._cutter.finish():
            event = self._read(block, trailing=True)
            if event is not None:
                yield event

    def _read(self, block: bytes, *, trailing: bool) -> AssistantMessageEvent | None:
        if self.closed and self._observe is None:
            return None
        event = None if self.closed else self._read_delta(block)
        if event is None or self._observe is not None:
            frame = parse_block(block)
            if frame is None:
                return None
            if self._observe is not None:
                self._observe(frame)
            if event is None:
                event = self._read_frame(frame, trailing)
        self.framed = True
        return event

    def _read_frame(self, frame: SseEvent, trailing: bool) -> AssistantMessageEvent | None:
        if self.closed:
            return None
        if frame.data == DONE:
            self.closed = True
            return None
        event = read_event(frame.data, trailing=trailing, model=self._model)
        self.closed = event is not None and result_of(event) is not None
        return event

    def _read_delta(self, block: bytes) -> AssistantMessageEvent | None:
        match = _DELTA.match(block)
        if match is None:
            return None
        kind, index, delta = match.groups()
        try:
            text = parse_json(f'"{delta.decode()}"') if b"\\" in delta else delta.decode()
        except ValueError:
            return None
        snapshot = self._snapshots.read(block, match.end(), delta)
        return None if snapshot is None else _KINDS[kind](int(index), text, snapshot)
