"""The statistics of a turn: a few additions for each read, and no work for an event.

The worker thread writes, any thread may read: it sees the state before or after a read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._threads.clock import monotonic
from .._types.events import AssistantMessageEvent, TextDeltaEvent
from .._types.stats import StreamStats


class StatsRecorder:
    """A recorder of one turn. All values but `attempts` and the start are of the last attempt."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.attempts = 0
        self._now = clock
        self._began = clock()
        self._ended: float | None = None
        self._output_tokens: int | None = None
        self._reset()

    def _reset(self) -> None:
        self.bytes = 0
        self.events = 0
        self.complete = False  # true once the times below are known: `saw` may be skipped
        self._headers: float | None = None
        self._first_event: float | None = None
        self._first_text: float | None = None
        self._first_news: float | None = None
        self._in_pieces = False  # true once content arrived in two reads

    def begin_attempt(self) -> None:
        """Clear the values of the previous attempt; its time still counts for the turn."""
        self.attempts += 1
        self._reset()

    def headers_in(self) -> None:
        """Note that the response headers have arrived."""
        self._headers = self._now()

    def saw(self, events: Sequence[AssistantMessageEvent], now: float, *, news: bool) -> bool:
        """Note the time of arrival of events; return true if they are the first.

        `news` is true if any of them has content.
        """
        first = self._first_event is None
        if first:
            self._first_event = now
        if self._first_text is None and TextDeltaEvent in map(type, events):
            self._first_text = now
        if news:
            self._in_pieces = self._first_news is not None
            self._first_news = self._first_news or now
        self.complete = self._in_pieces and self._first_text is not None
        return first

    def stop(self, output_tokens: int | None) -> None:
        """Note the end of the turn. Only the first call counts."""
        if self._ended is None:
            self._output_tokens = output_tokens
            self._ended = self._now()

    def stats(self) -> StreamStats:
        """Return the statistics so far."""
        end = self._ended or self._now()
        return StreamStats(
            attempts=self.attempts,
            time_to_headers=self._since_call(self._headers),
            time_to_first_event=self._since_call(self._first_event),
            time_to_first_text=self._since_call(self._first_text),
            duration=end - self._began,
            events=self.events,
            bytes=self.bytes,
            tokens_per_second=self._speed(end),
        )

    def _since_call(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self._began

    def _speed(self, end: float) -> float | None:
        first = self._first_news
        if not self._output_tokens or first is None or not self._in_pieces or end <= first:
            return None
        return self._output_tokens / (end - first)
