"""Bytes to events, with a fast path for deltas in the gateway's own form.

The safe path: sseclient reads a block of lines, its data is parsed as JSON and decoded as an event.
Why there is a fast path: it takes a third of the CPU of a long turn. A delta whose snapshot is its
last member has a head of about a hundred bytes, and its snapshot is recognised without parsing (see
`snapshots`). Both paths return the same events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .._types.events import (
    AssistantMessageEvent,
    DeltaEvent,
    PartialSource,
    TextDeltaEvent,
    ThinkingDeltaEvent,
    ToolCallDeltaEvent,
    result_of,
)
from .._types.messages import AssistantMessage
from .._types.options import SseEvent
from .._types.request import Model
from ..errors import StreamProtocolError
from .rules import DONE, read_event
from .snapshots import STRING_PART, RawSnapshot, read_snapshot
from .sse import BlockCutter, parse_block
from .strict_json import parse_string

_DELTA = re.compile(
    rb'data: \{"type":"(text|thinking|toolcall)_delta","contentIndex":(0|[1-9][0-9]{0,8}),'
    rb'"delta":"(' + STRING_PART + rb')","partial":(?=\{)'
)
_KINDS: dict[bytes, type[DeltaEvent]] = {
    b"text": TextDeltaEvent,
    b"thinking": ThinkingDeltaEvent,
    b"toolcall": ToolCallDeltaEvent,
}

_DELTA_TYPES: dict[type[DeltaEvent], Any] = {
    TextDeltaEvent: "text_delta",
    ThinkingDeltaEvent: "thinking_delta",
    ToolCallDeltaEvent: "toolcall_delta",
}


class EventDecoder:
    """Decodes the events of one response.

    `observe` is called with every server-sent event, also with those after the terminal event,
    which are otherwise ignored.
    """

    def __init__(
        self,
        model: Model,
        max_event_bytes: int,
        observe: Callable[[SseEvent], object] | None = None,
    ) -> None:
        self.framed = False  # True after the first server-sent event
        self.closed = False  # True after a terminal event or [DONE]
        self._model = model
        self._newest: AssistantMessageEvent | None = None  # with the newest snapshot
        self._observe = observe
        self._may_look_ahead = observe is None  # an observer gets every block
        self._cutter = BlockCutter(max_event_bytes)
        self._snapshot: RawSnapshot | None = None  # the newest one that was read by the fast path

    def feed(
        self, data: bytes, spans: Sequence[tuple[int, int]] | None = None
    ) -> Iterator[AssistantMessageEvent]:
        """Yield the events that the spans of `data` complete; without spans all of it.

        Raises `StreamProtocolError` after the valid events.
        """
        cutter = self._cutter
        for start, end in [(0, len(data))] if spans is None else spans:
            cutter.feed(data, start, end)
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
        """Yield the last event of a stream that ended without a blank line."""
        block = self._cutter.finish()
        event = None if block is None else self._read(block, trailing=True)
        if event is not None:
            yield event

    def _delta_ahead(self, cutter: BlockCutter) -> AssistantMessageEvent | None:
        """Return the delta at the position; its end is known without a search for a blank line."""
        if not self._may_look_ahead:
            return None
        found = self._read_delta(cutter.data, cutter.position, cutter.end)
        if found is None:
            return None
        event, end = found
        cutter.skip(end)
        self.framed = True
        return event

    def _read(self, block: bytes, *, trailing: bool) -> AssistantMessageEvent | None:
        if self.closed and self._observe is None:
            return None
        found = None if self.closed else self._read_delta(block, 0, len(block), is_block=True)
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
        event = read_event(
            frame.data, trailing=trailing, model=self._model, newest=self._newest_snapshot
        )
        if event is not None and result_of(event) is not None:
            self._close()
        if getattr(event, "_partial", None) is not None:
            self._newest = event
        return event

    def _newest_snapshot(self) -> AssistantMessage | None:
        try:
            return None if self._newest is None else self._newest.partial
        except StreamProtocolError:
            return None

    def _close(self) -> None:
        self.closed = True
        self._may_look_ahead = False

    def _read_delta(
        self, data: bytes, start: int, limit: int, *, is_block: bool = False
    ) -> tuple[AssistantMessageEvent, int] | None:
        """Return the delta whose block begins at `start`, and the end of the block.

        The data `is_block` if nothing follows the block, which may then begin with a new snapshot.
        """
        head = _DELTA.match(data, start)
        if head is None:
            return None
        kind, index, delta = head.groups()
        try:
            text = parse_string(delta.decode()) if b"\\" in delta else delta.decode()
        except ValueError:
            return None
        before, at = self._snapshot, head.end()
        found = None if before is None else before.follow(data, at, limit, delta)
        if found is None and is_block and (learnt := read_snapshot(before, data, at)) is not None:
            found = learnt, limit
        if found is None:
            return None
        self._snapshot, end = found
        event = self._newest = bare_delta(_KINDS[kind], int(index), text, self._snapshot)
        return event, end


def bare_delta(
    cls: type[DeltaEvent], content_index: int, delta: str, partial: PartialSource
) -> DeltaEvent:
    """Return a delta without its `extra`, which is created when it is read.

    All deltas of a turn may wait to be read, and an empty dict is a quarter of a delta's memory.
    """
    event = cls.__new__(cls)
    event.type = _DELTA_TYPES[cls]
    event.content_index = content_index
    event.delta = delta
    event._partial = partial
    return event
