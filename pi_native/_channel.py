"""The queue between the worker and its readers, and the rule that a stream ends exactly once.

Everything that can end a stream calls `settle`; the first one wins and the others do nothing. The
end travels as the last item of the queue, so that a reader meets it behind every event that came
before it, whichever thread made it and whatever the producer is still doing.

`settle` may run in a signal handler, that is, on top of a reader in the same thread which holds the
queue's lock at that moment; waiting for that lock would then never end. So it tries the lock, and
when that is taken leaves the waking of readers to the watchdog.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._deadlines import watchdog
from ._outcome import Outcome
from .errors import PiNativeError

T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()

# CPython looks for signals before a wait, and one that comes during the wait ends it. One that
# comes in between is slept through: 2 of 700 Ctrl-C on a busy machine. So the main thread, the only
# one that handles signals, looks again so often.
_LOOK_SECONDS = 0.2


class EventQueue(queue.Queue[T]):
    """A queue that takes what one read brought in one go.

    Waking a reader costs an exchange of the interpreter's lock, 10 to 15 µs; so a batch wakes once.
    Taking an event that is there already needs no lock: a deque's `popleft` is atomic.
    """

    def put_all(self, items: Sequence[T]) -> None:
        """Add items, in order."""
        with self.mutex:
            self.queue.extend(items)
            self.not_empty.notify(len(items))

    def take(self) -> T:
        """The next item; blocks until there is one."""
        while True:
            try:
                return self.queue.popleft()  # type: ignore[no-any-return]  # typeshed: Any
            except IndexError:
                with self.not_empty:
                    _wait_for(self.not_empty, lambda: self.queue)


class Channel(Generic[T, R]):
    """One producer, any number of readers, one outcome."""

    def __init__(self) -> None:
        watchdog().start()  # settling may need it, at a moment when no thread can be started
        self._queue: EventQueue[T] = EventQueue()
        self._process = os.getpid()
        self._settled = threading.Condition(self._queue.mutex)
        self._putting = threading.Lock()  # so that no event slips in behind the end
        self._first = threading.Lock()  # taken by whoever settles, and never given back
        self._held: Outcome[T, R] | None = None
        self._outcome: Outcome[T, R] | None = None
        self._last_event: list[T] = []
        self._origin: TracebackType | None = None
        self.before_end: Callable[[Outcome[T, R]], object] | None = None

    @property
    def settled(self) -> bool:
        """Whether the outcome is known to readers."""
        return self._outcome is not None

    @property
    def outcome(self) -> Outcome[T, R] | None:
        """How it has ended, told or still held; None before that."""
        return self._outcome or self._held

    def push(self, event: T) -> None:
        """Hand an event to the readers; after the end it is dropped."""
        self.push_all((event,))

    def push_all(self, events: Sequence[T]) -> None:
        """Hand over several events at once; after the end they are dropped."""
        with self._putting:
            if self._outcome is None and self._held is None:
                self._queue.put_all(events)

    def hold(self, outcome: Outcome[T, R]) -> None:
        """Decide the outcome without telling yet; whoever settles next tells this one."""
        self._held = outcome

    def settle(self, outcome: Outcome[T, R]) -> bool:
        """End the stream, unless it has ended; returns whether this call was the one."""
        if not self._first.acquire(blocking=False):
            return False
        outcome = self._held or outcome
        if outcome.failure is not None:
            self._origin = outcome.failure.__traceback__
        if outcome.event is not None:
            self._last_event.append(outcome.event)
        if self.before_end is not None:
            self.before_end(outcome)
            self.before_end = None  # it may hold whoever holds this
        self._outcome = outcome
        self._without_waiting(self._wake_readers)
        return True

    def release(self) -> bool:
        """Tell the outcome that was held, if there is one."""
        return self._held is not None and self.settle(self._held)

    def wait_settled(self, timeout: float) -> bool:
        """Block until the stream has ended, at most `timeout` seconds; returns whether it has."""
        with self._settled:
            return _wait_for(self._settled, lambda: self._outcome is not None, timeout)

    def next(self) -> T:
        """The next event; blocks. At the end StopIteration, or the failure, for every reader."""
        self._check_process()
        item = self._queue.take()
        if item is not _END:
            return item
        self._queue.put_all((_END,))  # for the reader after this one
        if self._last_event:
            with contextlib.suppress(IndexError):  # another reader was quicker
                return self._last_event.pop()
        self._raise_failure()
        raise StopIteration

    def result(self, timeout: float | None = None) -> R:
        """The result; blocks for at most `timeout` seconds, then raises `TimeoutError`."""
        self._check_process()
        with self._settled:
            if not _wait_for(self._settled, lambda: self._outcome is not None, timeout):
                raise TimeoutError(f"no result within {timeout:g} s")
        self._raise_failure()
        assert self._outcome is not None
        return self._outcome.result  # type: ignore[return-value]  # None only if end() said so

    def _check_process(self) -> None:
        # The producer is a thread, and threads do not come along into a forked child.
        if self._process != os.getpid():
            raise PiNativeError("the stream belongs to the process that started it")

    def _raise_failure(self) -> None:
        failure = self._outcome.failure if self._outcome else None
        if failure is not None:
            # Every reader raises the same object: it must not collect their frames one by one.
            raise failure.with_traceback(self._origin)

    def _wake_readers(self) -> None:
        with self._putting:
            self._queue.put_all((_END,))
        with self._settled:
            self._settled.notify_all()

    def _without_waiting(self, action: Callable[[], None]) -> None:
        if _is_free(self._putting) and _is_free(self._queue.mutex):
            action()
        else:
            watchdog().soon(action)


def _wait_for(
    condition: threading.Condition, true: Callable[[], object], timeout: float | None = None
) -> bool:
    """As `condition.wait_for`, which it is given locked, but deaf to no signal."""
    if threading.current_thread() is not threading.main_thread():
        return bool(condition.wait_for(true, timeout))
    end = None if timeout is None else time.monotonic() + timeout
    while not true():
        left = _LOOK_SECONDS if end is None else min(_LOOK_SECONDS, end - time.monotonic())
        if left <= 0:
            return False
        condition.wait(left)
    return True


def _is_free(lock: threading.Lock) -> bool:
    """Whether no frame below this one holds the lock; another thread's is given back soon."""
    if not lock.acquire(blocking=False):
        return False
    lock.release()
    return True
