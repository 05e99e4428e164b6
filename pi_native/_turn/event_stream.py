"""A stream of any events and one result, which a program can also feed itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from .._threads.channel import Channel
from .._threads.outcome import Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
R = TypeVar("R")


class EventStream(Generic[T, R]):
    """A stream of events, on a `queue.Queue`, that ends exactly once, with a result or a failure.

    Iterating and `result()` are independent: either, both, in any order, from any threads. Several
    iterations share the events: each event is delivered once in all.

        >>> stream = EventStream()
        >>> stream.push("an event")  # usually in another thread
        >>> stream.end("the result")
        >>> list(stream), stream.result()
        (['an event'], 'the result')
    """

    def __init__(self) -> None:
        self._channel: Channel[T, R] = Channel()

    def push(self, event: T) -> None:
        """Add an event, as the producer. Does nothing after the end."""
        self._channel.push(event)

    def end(self, result: R | None = None) -> None:
        """End the stream with `result`, as the producer. Does nothing after the end."""
        self._channel.settle(Outcome(result=result))

    def fail(self, exc: BaseException) -> None:
        """End the stream with a failure, as the producer. Does nothing after the end."""
        self._channel.settle(Outcome(failure=exc))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Return the next event; block until there is one. Raise the failure after the last one."""
        return self._channel.next()

    def result(self, timeout: float | None = None) -> R:
        """Return the result; block until the stream ends.

        `timeout` is in seconds; when it passes, `TimeoutError` is raised and the stream continues.
        Raises the failure when the stream failed.
        """
        return self._channel.result(timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the stream has ended, at most `timeout` seconds; return `done`.

        Never raises the failure of the stream.
        """
        return self._channel.wait_settled(timeout)

    @property
    def done(self) -> bool:
        """True once the stream has ended; unread events may remain."""
        return self._channel.settled
