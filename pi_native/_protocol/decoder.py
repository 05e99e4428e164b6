"""Bytes to events, the fast way where the gateway's own form is met, the safe way everywhere else.

The safe way: a block of lines, read by sseclient, parsed as JSON, decoded as an event. A plain
delta in the gateway's own spelling, whose snapshot is the last member, needs none of that: its head
is a hundred bytes, and its snapshot is recognised (see `snapshots`). Both give the same events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .._types.events import (
    AssistantMessageEvent,
    DeltaEvent,
    TextDeltaEvent,
    ThinkingDeltaEvent,
    ToolCallDeltaEvent,
    bare_delta,
    result_of,
)
from .._types.options import SseEvent
from .._types.request import Model
from .chunked import Piece, whole
from .rules import DONE, read_event
from .snapshots import STRING_PART, SnapshotRead, SnapshotTracker
from .sse import BlockCutter, parse_block
from .strict_json import parse_json

_DELTA = re.compile(
    rb'data: \{"type":"(text|thinking|toolcall)_delta","contentIndex":(0|[1-9][0-9]{0,8}),'
    rb'"delta":"(' + STRING_PART + rb')","partial":(?=\{)'
)
_KINDS: dict[bytes, type[DeltaEvent]] = {
    b"text": TextDeltaEvent,
    b"thinking": ThinkingDeltaEvent,
    b"toolcall": ToolCallDeltaEvent,
}


class EventDecoder:
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
        self._may_look_ahead = observe is None  # an observer is to see every block
        self._cutter = BlockCutter(max_event_bytes)
        self._snapshots = SnapshotTracker()

    def feed(self, data: bytes) -> Iterator[AssistantMessageEvent]:
        """The events that `data` completes. Raises `StreamProtocolError`, behind the good ones."""
        return self.feed_piece(whole(data))

    def feed_piece(self, piece: Piece) -> Iterator[AssistantMessageEvent]:
        """The same for what a read brought, without copying it first."""
        cutter = self._cutter
        for start, end in piece.spans:
            cutter.feed(piece.data, start, end)
            while not (cutter.at_block and cutter.position == cutter.end):
                event = self._delta_ahead(cutter) if cutter.at_block else None
                if event is None:
                    block = cutter.next()
                    if block is None:
                        break
                    event = self._read(block, trailing=False)
                if event is not None:
                    yield event

    def finish(self) -> Iterator[AssistantMessageEvent]:
        """The event that was whole when the stream ended, but for its blank line."""
        block = self._cutter.finish()
        event = None if block is None else self._read(block, trailing=True)
        if event is not None:
            yield event

    def _delta_ahead(self, cutter: BlockCutter) -> AssistantMessageEvent | None:
        """A delta where it stands. Its end is known, so no blank line is looked for."""
        if not self._may_look_ahead:
            return None
        found = self._read_delta(cutter.data, cutter.position, cutter.end, self._snapshots.follow)
        if found is None:
            return None
        event, end = found
        cutter.skip(end)
        self.framed = True
        return event

    def _read(self, block: bytes, *, trailing: bool) -> AssistantMessageEvent | None:
        if self.closed and self._observe is None:
            return None
        found = (
            None if self.closed else self._read_delta(block, 0, len(block), self._snapshots.read)
        )
        event = None if found is None else found[0]
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
            self._close()
            return None
        event = read_event(frame.data, trailing=trailing, model=self._model)
        if event is not None and result_of(event) is not None:
            self._close()
        return event

    def _close(self) -> None:
        self.closed = True
        self._may_look_ahead = False

    def _read_delta(
        self, data: bytes, start: int, limit: int, read_snapshot: SnapshotRead
    ) -> tuple[AssistantMessageEvent, int] | None:
        """The delta whose block begins at `start`, and where that ends, before `limit`."""
        head = _DELTA.match(data, start)
        if head is None:
            return None
        kind, index, delta = head.groups()
        try:
            text = parse_json(f'"{delta.decode()}"') if b"\\" in delta else delta.decode()
        except ValueError:
            return None
        found = read_snapshot(data, head.end(), limit, delta)
        if found is None:
            return None
        snapshot, end = found
        return bare_delta(_KINDS[kind], int(index), text, snapshot), end
