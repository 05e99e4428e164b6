"""The stream that a caller holds: an iterator of events, and a result, over one channel.

The worker that feeds the channel never holds the stream. Therefore a stream's finaliser runs when
the last reference to it is dropped, and stops the worker.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from .._protocol.rules import outcome_of
from .._threads.abort import as_exception
from .._threads.channel import Channel
from .._types.events import (
    AssistantMessageEvent,
    DoneEvent,
    ErrorEvent,
    TextDeltaEvent,
    UnknownEvent,
)
from .._types.messages import AssistantMessage
from .._types.stats import StreamStats
from ..errors import IncompleteStreamError, ProviderError, StreamProtocolError
from .event_stream import EventStream
from .output import frames_of, whole_characters

if TYPE_CHECKING:
    from typing_extensions import Self

    from .._types.options import ResponseInfo
    from .producer import Producer

# Long enough for a worker whose socket was shut down, short enough not to delay the caller.
_JOIN_SECONDS = 0.03


class MessageChannel(Channel[AssistantMessageEvent, AssistantMessage]):
    """A channel of a turn's events: a terminal event ends it, and it keeps the newest snapshot."""

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
        """Add an event; a terminal one ends the stream."""
        outcome = outcome_of(event)
        if outcome is None:
            self.push_all((event,))
        else:
            self.note((event,))
            self.settle(outcome)

    def add(self, events: Sequence[AssistantMessageEvent]) -> None:
        """Add several events, none of them terminal."""
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


class AssistantMessageEventStream(EventStream[AssistantMessageEvent, AssistantMessage]):
    """One turn while it arrives: iterate the events, or ask for the `result()`, or both.

    When the provider fails, `result()` returns a message whose stop reason is "error" or "aborted";
    `get_final_message()`, and `text_stream` at its end, raise it as a `ProviderError`. Use the
    stream as a context manager, or call `close()`: leaving the block early closes the connection,
    and the provider stops. A Ctrl-C while the caller waits for an event or the result has the same
    effect.

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
        self._note_use()

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
        """End the stream with `result`, as the producer; without one it is an incomplete stream."""
        if result is None:
            self.fail(IncompleteStreamError("the stream was ended without a message"))
        else:
            super().end(result)

    def __iter__(self) -> Self:
        self._note_use()
        return self

    def _note_use(self) -> None:
        if self._producer is not None and "IPython" in sys.modules:
            from .._notebook.cells import used_in_cell  # only notebooks need it

            used_in_cell(self)

    def __next__(self) -> AssistantMessageEvent:
        """Return the next event; block until there is one. Raise the failure after the last one."""
        try:
            return self._channel.next()
        except KeyboardInterrupt:
            self.abort()  # a notebook keeps the traceback, and with it the stream and its turn
            raise

    def result(self, timeout: float | None = None) -> AssistantMessage:
        """Return the message; block until the turn ends.

        `timeout` is in seconds; when it passes, `TimeoutError` is raised and the turn continues.
        Raises the failure when the turn failed. A message that the provider failed is returned; its
        `raise_for_error()`, or `get_final_message()`, raises it.
        """
        try:
            return self._channel.result(timeout)
        except KeyboardInterrupt:
            self.abort()
            raise

    def get_final_message(self) -> AssistantMessage:
        """Return the message; block until the turn ends.

        Raises the failure when the turn failed, and `ProviderError` when the provider failed it.

            >>> Client().stream("acme/small", "Why?").get_final_message().text
            'Because of the air.'
        """
        return self._raise_if_failed(self.result())

    @property
    def text_stream(self) -> Iterator[str]:
        """The text as it arrives, without thinking and tool calls.

        Pieces hold whole characters: the two halves of a divided surrogate pair are joined, and
        half a pair alone becomes U+FFFD. At the end `ProviderError` is raised if
        the provider failed; not if the caller cancelled the turn.
        """
        return self._text()

    def _text(self) -> Iterator[str]:
        yield from whole_characters(
            event.delta for event in self if isinstance(event, TextDeltaEvent)
        )
        outcome = self._channel.outcome
        message = None if outcome is None else outcome.result
        cancelled = self._producer is not None and self._producer.cancelled
        if message is not None and not cancelled:
            self._raise_if_failed(message)

    def _raise_if_failed(self, message: AssistantMessage) -> AssistantMessage:
        try:
            return message.raise_for_error()
        except ProviderError as exc:
            if not message.content:  # the message of a cancelled turn has none
                exc.partial = self.partial or message
            raise

    def sse(self, *, heartbeat: float | None = 15.0) -> Iterator[bytes]:
        r"""Return the turn as server-sent events in the gateway's own form, for any WSGI server.

        A comment is sent after `heartbeat` seconds without an event: a WSGI server detects a closed
        browser only when it writes. Closing the iterator cancels the turn. A failure
        is sent as an `error` event; `[DONE]` comes last.

            >>> frames = Client().stream("acme/small", "Why?").sse()
            >>> [*frames][-1]
            b'data: [DONE]\n\n'
        """
        return frames_of(self, self._channel, heartbeat)

    @property
    def partial(self) -> AssistantMessage | None:
        """The newest snapshot received so far; it stays after a failure or an abort."""
        return self._channel.partial

    @property
    def response(self) -> ResponseInfo | None:
        """The status, headers and request id of the response, once its headers have arrived."""
        return self._producer.response if self._producer else None

    @property
    def truncated(self) -> bool:
        """True if the response ended without a terminal event."""
        return self._producer.truncated if self._producer else False

    @property
    def attempts(self) -> int:
        """The number of requests that were made so far; more than one after a retry."""
        return self._producer.attempts if self._producer else 0

    @property
    def stats(self) -> StreamStats:
        """The times and sizes of the turn: so far while it runs, final after its end.

        The message that `result()` returns also has the final ones.
        """
        return self._producer.stats if self._producer else StreamStats()

    def _final_message_alone(self) -> AssistantMessage:
        """As `get_final_message`, for a stream that no other code iterates: keep no events."""
        self._channel.discard_events()
        with self:
            return self.get_final_message()

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
        """Display the stream if it is the last expression of a cell."""
        from .._notebook.display import show_as_result

        show_as_result(self)

    def abort(self, reason: object = None) -> None:
        """Cancel the turn, from any thread; return at once. Only the first call counts.

        While the answer streams, the stream ends with an "aborted" message; before that it fails
        with `reason` (an exception as it is, else an `AbortError`).
        """
        if self._producer:
            self._producer.abort(reason)
        else:
            self.fail(as_exception(reason))

    def close(self) -> None:
        """Cancel the turn if it still runs, and close its connection; return at once."""
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
