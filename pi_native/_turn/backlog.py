"""Events that wait to be read, in little room.

Nobody may be iterating: a program that calls `result()` alone leaves all events of the turn
waiting. A delta and its snapshot weigh some 350 bytes, its news a few. Deltas in a row differ in
their text and in how far the snapshots' trail had grown, so only that is kept, in columns, and the
deltas are made again when a reader comes.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from .._protocol.snapshots import SharedBuffer, Snapshot
from .._types.events import (
    AssistantMessageEvent,
    DeltaEvent,
    TextDeltaEvent,
    ThinkingDeltaEvent,
    ToolCallDeltaEvent,
    bare_delta,
)

_DELTAS = (TextDeltaEvent, ThinkingDeltaEvent, ToolCallDeltaEvent)


def packed(events: Sequence[AssistantMessageEvent]) -> Iterable[AssistantMessageEvent]:
    """The same events, which are made anew each time they are iterated."""
    # Looked at once: a reader who asks for `partial` meanwhile puts a message in its place.
    rows = [(event, getattr(event, "_partial", None)) for event in events]
    parts: list[Iterable[AssistantMessageEvent]] = []
    for kind, group in itertools.groupby(rows, _kind):
        run = [*group]
        parts.append([event for event, _ in run] if kind is None else _Run(kind, run))
    return _Parts(parts)


class _Parts:
    __slots__ = ("_parts",)

    def __init__(self, parts: list[Iterable[AssistantMessageEvent]]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[AssistantMessageEvent]:
        return itertools.chain.from_iterable(self._parts)


_Kind: TypeAlias = tuple[type[DeltaEvent], int, SharedBuffer]


def _kind(row: tuple[AssistantMessageEvent, Any]) -> _Kind | None:
    """What a delta has in common with those before it; None for what is not kept in columns."""
    event, snapshot = row
    if not isinstance(event, _DELTAS) or type(snapshot) is not Snapshot:
        return None
    return type(event), event.content_index, snapshot.buffer


class _Run:
    """Deltas of one block, whose snapshots are on one trail."""

    __slots__ = ("_ends", "_firsts", "_kind", "_seconds", "_text")

    def __init__(self, kind: _Kind, rows: list[tuple[Any, Any]]) -> None:
        self._kind = kind
        self._text = "".join([delta.delta for delta, _ in rows])
        self._ends = array("Q", itertools.accumulate([len(delta.delta) for delta, _ in rows]))
        self._firsts = array("Q", [snapshot.first for _, snapshot in rows])
        self._seconds = array("Q", [snapshot.second for _, snapshot in rows])

    def __iter__(self) -> Iterator[AssistantMessageEvent]:
        cls, index, trail = self._kind
        start = 0
        for end, first, second in zip(self._ends, self._firsts, self._seconds, strict=True):
            yield bare_delta(cls, index, self._text[start:end], Snapshot(trail, first, second))
            start = end
