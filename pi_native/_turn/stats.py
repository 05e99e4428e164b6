"""Measures a turn while it runs: a few additions for each read, and none for an event.

The worker writes, any thread may look: what it sees is of one moment or of the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import define

from .._types.events import AssistantMessageEvent, TextDeltaEvent
from .._types.stats import StreamStats


@define(eq=False, repr=False)
class _AttemptStats:
    """What one attempt has brought, and when."""

    headers: float | None = None
    first_event: float | None = None
    first_text: float | None = None
    first_news: float | None = None
    in_pieces: bool = False  # whether more news came after the first
    events: int = 0
    bytes: int = 0


class StatsRecorder:
    """Begins with the turn, and is stopped once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.attempts = 0
        self._now = clock
        self._began = clock()
        self._ended: float | None = None
        self._output_tokens: int | None = None
        self._answer = _AttemptStats()

    def begin_attempt(self) -> None:
        """Another request is made; what the one before had brought is no part of the answer."""
        self.attempts += 1
        self._answer = _AttemptStats()

    def headers_in(self) -> None:
        """The answer has begun."""
        self._answer.headers = self._now()

    def read(self, size: int) -> None:
        """So many bytes of the answer's body came."""
        self._answer.bytes += size

    def saw(self, events: Sequence[AssistantMessageEvent], *, news: bool) -> bool:
        """Count what one read brought, `news` or not; returns whether it was the first."""
        now, answer = self._now(), self._answer
        first = answer.first_event is None
        if first:
            answer.first_event = now
        if answer.first_text is None and TextDeltaEvent in map(type, events):
            answer.first_text = now
        if news:
            answer.in_pieces = answer.first_news is not None
            answer.first_news = answer.first_news or now
        answer.events += len(events)
        return first

    def stop(self, output_tokens: int | None) -> None:
        """The turn has ended. Only the first call counts."""
        if self._ended is None:
            self._output_tokens = output_tokens
            self._ended = self._now()

    def stats(self) -> StreamStats:
        """What was measured so far."""
        end, answer = self._ended or self._now(), self._answer
        return StreamStats(
            attempts=self.attempts,
            time_to_headers=self._since_call(answer.headers),
            time_to_first_event=self._since_call(answer.first_event),
            time_to_first_text=self._since_call(answer.first_text),
            duration=end - self._began,
            events=answer.events,
            bytes=answer.bytes,
            tokens_per_second=self._speed(end),
        )

    def _since_call(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self._began

    def _speed(self, end: float) -> float | None:
        first = self._answer.first_news
        if not self._output_tokens or first is None or not self._answer.in_pieces or end <= first:
            return None
        return self._output_tokens / (end - first)
