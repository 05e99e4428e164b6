"""What the caller holds: an iterator of events, and a result, over one channel.

The worker that feeds the channel never holds the stream. So a stream that nobody holds any more is
noticed, by its finaliser, and its worker is sent home.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from .._threads.abort import as_exception
from .._threads.channel import Channel
from .._threads.outcome import Outcome
from .._types.events import (
    AssistantMessageEvent,
    DoneEvent,
    ErrorEvent,
    TextDeltaEvent,
    UnknownEvent,
    result_of,
)
from .._types.messages import AssistantMessage
from .._types.stats import StreamStats
from ..errors import IncompleteStreamError, StreamProtocolError

if TYPE_CHECKING:
    from typing_extensions import Self

    from .._types.options import ResponseInfo

T = TypeVar("T")
R = TypeVar("R")

# Long enough for a worker whose socket was shut down, short enough for a caller to be called free.
_JOIN_SECONDS = 0.03


class EventStream(Generic[T, R]):
    """A stream of events, on a `queue.Queue`, that ends exactly once, with a result or a failure.

    Iterating and `result()` are independent: either, both, in any order, from any threads. Several
    iterations share the events; each event comes once in all.

        >>> stream = EventStream()
        >>> stream.push("an event")  # in another thread, most often
        >>> stream.end("the result")
        >>> list(stream), stream.result()
        (['an event'], 'the result')
    """

    def __init__(self) -> None:
        self._channel: Channel[T, R] = Channel()

    def push(self, event: T) -> None:
        """Producer: hand over an event. After the end this does nothing."""
        self._channel.push(event)

    def end(self, result: R | None = None) -> None:
        """Producer: end the stream with `result`. After the end this does nothing."""
        self._channel.settle(Outcome(result=result))

    def fail(self, exc: BaseException) -> None:
        """Producer: end the stream with a failure. After the end this does nothing."""
        self._channel.settle(Outcome(failure=exc))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """The next event; blocks until there is one. Raises the failure after the last event."""
        return self._channel.next()

    def result(self, timeout: float | None = None) -> R:
        """The result; blocks until the stream ends.

        `timeout` is in seconds; when it passes, `TimeoutError` is raised and the stream runs on.
        Raises the failure when the stream failed.
        """
        return self._channel.result(timeout)

    @property
    def done(self) -> bool:
        """Whether the stream has ended; events may still be waiting to be read."""
        return self._channel.settled


class MessageChannel(Channel[AssistantMessageEvent, AssistantMessage]):
    """A channel that knows which events end a turn, and which was the newest snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self._newest: AssistantMessageEvent | None = None

    @property
    def partial(self) -> AssistantMessage | None:
        """The newest snapshot that arrived; None when there is none, or it cannot be read."""
        try:
            return None if self._newest is None else self._newest.partial
        except StreamProtocolError:
            return None

    def push(self, event: AssistantMessageEvent) -> None:
        """Hand over an event; a terminal one ends the stream."""
        outcome = outcome_of(event)
        if outcome is None:
            self.push_all((event,))
        else:
            self.note((event,))
            self.settle(outcome)

    def add(self, events: Sequence[AssistantMessageEvent]) -> None:
        """Hand over several events, none of them terminal."""
        self.note(events)
        super().add(events)

    def note(self, events: Sequence[AssistantMessageEvent]) -> None:
        """Remember the newest snapshot."""
        if not self.settled:
            self._newest = next(filter(_has_snapshot, reversed(events)), self._newest)


def _has_snapshot(event: AssistantMessageEvent) -> bool:
    if isinstance(event, (DoneEvent, ErrorEvent)):
        return True
    return not isinstance(event, UnknownEvent) and event._partial is not None


def outcome_of(
    event: AssistantMessageEvent,
) -> Outcome[AssistantMessageEvent, AssistantMessage] | None:
    """The outcome that a terminal event stands for; None for any other."""
    message = result_of(event)
    return None if message is None else Outcome(result=message, event=event)


class Producer(Protocol):
    """What a stream may ask of whoever feeds it."""

    response: ResponseInfo | None
    truncated: bool

    @property
    def attempts(self) -> int:
        """How many requests were made so far."""

    @property
    def stats(self) -> StreamStats:
        """What was measured so far."""

    def abort(self, reason: object) -> None:
        """Settle as cancelled, if nothing has settled yet, and cut the connection."""

    def drop(self) -> None:
        """Nobody listens any more. Must not take a lock: this runs in a finaliser."""

    def join(self, timeout: float) -> None:
        """Wait for the worker to end, at most `timeout` seconds."""


class AssistantMessageEventStream(EventStream[AssistantMessageEvent, AssistantMessage]):
    """One turn, as it comes: iterate the events, or ask for the `result()`, or both.

    The provider's own failure is not an exception here: it is a message whose stop reason is
    "error" or "aborted"; `result().raise_for_error()` makes it one. Use it as a context manager, or
    call `close()`: leaving early then closes the connection, and the provider stops.

        >>> with Client().stream("anthropic/claude-sonnet-4-5", "Why?") as stream:
        ...     for event in stream:
        ...         match event:
        ...             case TextDeltaEvent(delta=text):
        ...                 print(text, end="")
        ...             case DoneEvent(reason=reason):
        ...                 print(f" ({reason})")
        Because of the air. (stop)
        >>> stream.result().usage.output
        4
    """

    _channel: MessageChannel

    def __init__(
        self, channel: MessageChannel | None = None, producer: Producer | None = None
    ) -> None:
        self._channel = channel or MessageChannel()
        self._producer = producer

    def __repr__(self) -> str:
        outcome = self._channel.outcome if self.done else None
        if outcome is None:
            state = "running"
        elif outcome.result is None:
            state = f"failed: {type(outcome.failure).__name__}"
        else:
            state = f"ended: {outcome.result.stop_reason}"
        return f"<{type(self).__name__} {state}>"

    def end(self, result: AssistantMessage | None = None) -> None:
        """Producer: end the stream with `result`; without one it is an incomplete stream."""
        if result is None:
            self.fail(IncompleteStreamError("the stream was ended without a message"))
        else:
            super().end(result)

    @property
    def text_stream(self) -> Iterator[str]:
        """The text as it comes, without thinking and tool calls.

        Pieces hold whole characters: an emoji that was cut in two on its way is put together.
        """
        return _text_of(self)

    @property
    def partial(self) -> AssistantMessage | None:
        """The newest snapshot received so far; it stays after a failure or an abort."""
        return self._channel.partial

    @property
    def response(self) -> ResponseInfo | None:
        """The answer's status, headers and request id, once its headers are in."""
        return self._producer.response if self._producer else None

    @property
    def truncated(self) -> bool:
        """Whether the wire ended without a terminal event."""
        return self._producer.truncated if self._producer else False

    @property
    def attempts(self) -> int:
        """How many requests were made for the turn so far; more than one after a retry."""
        return self._producer.attempts if self._producer else 0

    @property
    def stats(self) -> StreamStats:
        """How long the turn took, and how much came: so far while it runs, final once it is over.

        What `result()` returns has the final ones, too.
        """
        return self._producer.stats if self._producer else StreamStats()

    def _result_alone(self) -> AssistantMessage:
        """The result of a stream that nobody else can have: no event is kept for anybody."""
        self._channel.discard_events()
        with self:
            return self.result()

    def display(self) -> AssistantMessage:
        """Show the answer while it arrives, and return the message when it is complete.

        In a notebook the output is replaced ten times a second; elsewhere the text is printed. The
        stop button or Ctrl-C cancels the turn and raises `KeyboardInterrupt`; the text that had
        arrived stays visible, and in `partial`. Events stay available to callers that iterate.

        Raises the failure of the stream, `ProviderError` if the provider failed, and in a notebook
        `ConfigurationError` without the extra `pi-native[jupyter]`.
        """
        from .._notebook.display import show  # only notebooks need it

        return show(self)

    def _ipython_display_(self) -> None:
        """Show the stream that is the last expression of a cell."""
        from .._notebook.display import show_as_result

        show_as_result(self)

    def abort(self, reason: object = None) -> None:
        """Cancel the turn, from any thread; returns at once. Only the first call counts.

        While the answer streams, the stream ends with an "aborted" message; before that it fails
        with `reason` (an exception as it is, else an `AbortError`).
        """
        if self._producer:
            self._producer.abort(reason)
        else:
            self.fail(as_exception(reason))

    def close(self) -> None:
        """Cancel the turn if it still runs, and close its connection; returns at once."""
        self.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self._producer:
            self._producer.join(_JOIN_SECONDS)

    def __del__(self) -> None:
        if self._producer is None or self._channel.settled or sys.is_finalizing():
            return
        self._producer.drop()
        warnings.warn(
            "a stream was dropped before its turn ended; use `with`, close() or result()",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )


def _text_of(events: Iterator[AssistantMessageEvent]) -> Iterator[str]:
    held = ""
    for event in events:
        if isinstance(event, TextDeltaEvent) and event.delta:
            text, held = _whole_characters(held + event.delta)
            if text:
                yield text
    if held:
        yield held


def _whole_characters(text: str) -> tuple[str, str]:
    """Join what surrogate pairs there are, and keep back a last half that may find its other."""
    held = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    whole = text[: len(text) - len(held)]
    if not whole.isascii() and any("\ud800" <= char <= "\udfff" for char in whole):
        whole = whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return whole, held
