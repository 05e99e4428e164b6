"""Statistics of a turn's stream, as measured on this side."""

from __future__ import annotations

from attrs import define

from .base import Record


@define(eq=False, repr=False, kw_only=True)
class StreamStats(Record):
    """Times and sizes of a turn. Times are in seconds from the call.

    * `attempts`: the number of requests. All other fields describe the last one; its times include
      the attempts before it and the waits between them.
    * `time_to_headers`, `time_to_first_event`, `time_to_first_text`: the arrival of the headers, of
      the first event of any kind, and of the first text. None: not yet, or never.
    * `duration`: until the end of the turn, or until now while it runs.
    * `events`, `bytes`: the number of events and of bytes of the body, without HTTP's framing.
    * `tokens_per_second`: the output tokens of the message's usage, thinking included, divided by
      the time from the first event with content to the end. None without usage, and when the whole
      response arrived at once.
    """

    attempts: int = 0
    time_to_headers: float | None = None
    time_to_first_event: float | None = None
    time_to_first_text: float | None = None
    duration: float = 0.0
    events: int = 0
    bytes: int = 0
    tokens_per_second: float | None = None

    def __str__(self) -> str:
        """Return one line: `1.31 s, first event after 0.42 s, 120 events, 52,312 bytes`."""
        parts = [f"{self.duration:.2f} s"]
        if self.time_to_first_event is not None:
            parts.append(f"first event after {self.time_to_first_event:.2f} s")
        if self.time_to_first_text is not None:
            parts.append(f"first text after {self.time_to_first_text:.2f} s")
        parts += [f"{self.events:,} events", f"{self.bytes:,} bytes"]
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:.1f} tokens/s")
        if self.attempts > 1:
            parts.append(f"{self.attempts} attempts")
        return ", ".join(parts)
