"""What a turn's stream was like, as measured on this side."""

from __future__ import annotations

from attrs import define

from .base import Record


@define(eq=False, repr=False, kw_only=True)
class StreamStats(Record):
    """How long a turn took, and how much came. Times are in seconds, counted from the call.

    * `attempts`: how many requests were made. All else is about the last one, but its times count
      from the call, too, with the attempts before it and the waits between.
    * `time_to_headers`, `time_to_first_event`, `time_to_first_text`: when the answer began, when
      its first event of any kind came, and the first piece of text. None: not yet, or never.
    * `duration`: until the end, or until now while the turn runs.
    * `events`, `bytes`: what was read of the answer, up to its end; bytes after HTTP's chunks.
    * `tokens_per_second`: the output tokens that the message's usage tells, thinking included, over
      the time from the first event with content to the end. None when that cannot be told: there is
      no usage, or the whole answer came at once.
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
        """Say it in a line: `1.31 s, first event after 0.42 s, 120 events, 52,312 bytes`."""
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
