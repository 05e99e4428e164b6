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
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, NoReturn, TypeVar

from ..errors import PiNativeError
from .outcome import Outcome
from .timers import timer_thread

T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()

_PACKED_TOGETHER = 1024

_process = os.getpid()  # asking the system costs more than taking an event


def _note_process() -> None:
    global _process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_process)

# CPython looks for signals before a wait, and one that comes during the wait ends it. One that
# comes in between is slept through: 2 of 700 Ctrl-C on a busy machine. So the main thread, the only
# one that handles signals, looks again so often.
_LOOK_SECONDS = 0.2


class EventQueue(queue.Queue[T]):
    """A queue whose items are put and taken without its lock, which is only for waiting.

    A deque's `append`, `extend` and `popleft` are atomic. Whoever puts items calls `wake` before
    long, but may put several first, or do something else: a reader that wakes up while the waker
    still holds the interpreter's lock goes back to sleep, waiting for that.
    """

    packed = False  # whether an item may be many events

    def wake(self) -> None:
        """Have waiting readers look again, as many as there are items."""
        with self.mutex:
            self.not_empty.notify(sys.maxsize if self.packed else len(self.queue))

    def rouse(self) -> None:
        """Have a waiting reader begin to wake up, as there will soon be an item."""
        with self.mutex:
            self.not_empty.notify()

    def wait(self) -> None:
        """Block until there is an item."""
        with self.not_empty:
            _wait_for(self.not_empty, lambda: self.queue)


class _Pack(Generic[T]):
    """Many items that stand in the queue as one."""

    __slots__ = ("_items", "_packed")

    def __init__(self, packed: Iterable[T]) -> None:
        self._packed = packed
        self._items: Iterator[T] | None = None

    def take(self) -> T | None:
        """The next of them; None when there are no more."""
        if self._items is None:
            self._items = iter([*self._packed])
        return next(self._items, None)


class Channel(Generic[T, R]):
    """One producer, any number of readers, one outcome.

    `pack` gives the same events in less room, as an iterable; it is used when many wait.
    """

    def __init__(self, pack: Callable[[Sequence[T]], Iterable[T]] | None = None) -> None:
        timer_thread().start()  # settling may need it, at a moment when no thread can be started
        self._queue: EventQueue[T] = EventQueue()
        self._items = self._queue.queue
        self._process = _process
        self.rouse = self._queue.rouse
        self.wake = self._queue.wake
        self._settled = threading.Condition(self._queue.mutex)
        self._keeps_events = True
        self._pack = pack
        self._loose = 0  # events at the right end of the queue, some of them read since
        # For readers, as one pack is read by all of them. A signal's handler may be a reader.
        self._taking = threading.RLock()
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
        self.add(events)
        self.wake()

    def add(self, events: Sequence[T]) -> None:
        """Hand over events without waking anybody; `wake` must follow before anything blocks."""
        with self._putting:
            if self._outcome is None and self._held is None and self._keeps_events:
                self._items.extend(events)
                self._loose += len(events)
                if self._loose >= _PACKED_TOGETHER:
                    self._pack_loose()

    def _pack_loose(self) -> None:
        """Pack what nobody has read yet of the latest events, if it is worth it."""
        items = self._items
        with self._taking:
            self._loose = min(self._loose, len(items))  # what is left of it is all that is left
            if self._pack is None or self._loose < _PACKED_TOGETHER:
                return
            events = [*items][-self._loose :]
            pack: Any = _Pack(self._pack(events))
            for _ in events:
                items.pop()
            items.append(pack)
            self._loose = 0
            self._queue.packed = True

    def discard_events(self) -> None:
        """Keep none from here on, but for the last: nobody is going to ask for them."""
        self._keeps_events = False

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
        if self._process != _process:
            self._refuse_process()
        while True:
            try:
                item = self._take()
                break
            except IndexError:
                self._queue.wait()
        if item is not _END:
            return item  # type: ignore[no-any-return]  # typeshed: Any
        self._items.append(_END)  # for the reader after this one
        self.wake()
        if self._last_event:
            with contextlib.suppress(IndexError):  # another reader was quicker
                return self._last_event.pop()
        self._raise_failure()
        raise StopIteration

    def _take(self) -> Any:
        """The first item. Raises `IndexError` when there is none."""
        items: Any = self._items
        with self._taking:
            while type(head := items[0]) is _Pack:
                if (item := head.take()) is not None:
                    return item
                if items[0] is head:  # no handler of a signal was quicker
                    items.popleft()
            return items.popleft()

    def result(self, timeout: float | None = None) -> R:
        """The result; blocks for at most `timeout` seconds, then raises `TimeoutError`."""
        if self._process != _process:
            self._refuse_process()
        with self._settled:
            if not _wait_for(self._settled, lambda: self._outcome is not None, timeout):
                raise TimeoutError(f"no result within {timeout:g} s")
        self._raise_failure()
        assert self._outcome is not None
        return self._outcome.result  # type: ignore[return-value]  # None only if end() said so

    def _refuse_process(self) -> NoReturn:
        # The producer is a thread, and threads do not come along into a forked child.
        raise PiNativeError("the stream belongs to the process that started it")

    def _raise_failure(self) -> None:
        failure = self._outcome.failure if self._outcome else None
        if failure is not None:
            # Every reader raises the same object: it must not collect their frames one by one.
            raise failure.with_traceback(self._origin)

    def _wake_readers(self) -> None:
        with self._putting:
            self._items.append(_END)
        with self._queue.mutex:
            self._queue.not_empty.notify_all()
            self._settled.notify_all()

    def _without_waiting(self, action: Callable[[], None]) -> None:
        if _is_free(self._putting) and _is_free(self._queue.mutex):
            action()
        else:
            timer_thread().soon(action)


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
