"""The queue between a worker and its readers, and the rule that a stream ends exactly once.

Everything that can end a stream calls `settle`. One atomic operation, `dict.setdefault`, decides
which call is the first and makes its outcome known. A Ctrl-C before it leaves the stream running;
a Ctrl-C behind it cannot take the outcome back. Waking the readers is only a matter of speed, as
each of them looks again by itself after a while.

`settle` may run in a signal handler or in a finaliser, and so on top of a frame of the same thread
that holds the lock. The lock is therefore reentrant, and `settle` never waits for it: where it
would have to, and in the main thread, the timer thread wakes the readers.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, NoReturn, TypeVar

from ..errors import PiNativeError
from .outcome import Outcome
from .timers import timer_thread

T = TypeVar("T")
R = TypeVar("R")

_process = os.getpid()  # a system call for each event would cost more than taking the event


def _note_process() -> None:
    global _process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_process)

# CPython looks for signals before a wait, and a signal that comes during the wait ends it. One that
# comes in between is not seen until the wait ends: 2 of 700 Ctrl-C on a busy machine. So the main
# thread, which is the only one that handles signals, looks again this often.
_MAIN_THREAD_LOOKS = 0.2
# The other threads look again in case that a Ctrl-C interrupted `settle` before it woke them.
_OTHER_THREADS_LOOK = 2.0


class Channel(queue.Queue[T], Generic[T, R]):
    """A queue with one producer, any number of readers, and one outcome.

    Events are taken without the lock: `popleft` of a deque is atomic. So a signal handler that
    reads in the middle of another read of the same thread never gets the same event again.
    """

    def __init__(self) -> None:
        super().__init__()
        with contextlib.suppress(RuntimeError):  # no thread can be started: readers look again
            timer_thread().start()  # `settle` may need it in a signal handler
        self.mutex: Any = threading.RLock()
        self.not_empty: threading.Condition = threading.Condition(self.mutex)
        self._ended = threading.Condition(self.mutex)
        self._ending = threading.RLock()
        self._process = _process
        self._keeps_events = True
        self._decided: dict[str, Outcome[T, R]] = {}
        self._claims: dict[str, object] = {}
        self.before_end: Callable[[Outcome[T, R]], object] | None = None

    @property
    def settled(self) -> bool:
        """True when the stream has ended."""
        return bool(self._decided) and self._learn() is not None

    @property
    def outcome(self) -> Outcome[T, R] | None:
        """The outcome of the stream; None while it runs."""
        return self._learn()

    def push(self, event: T) -> None:
        """Hand an event to the readers. After the end it is dropped."""
        self.push_all((event,))

    def push_all(self, events: Sequence[T]) -> None:
        """Hand over several events at once. After the end they are dropped."""
        self.add(events)
        self.wake()

    def add(self, events: Sequence[T]) -> None:
        """Hand over events without waking a reader; `wake` must follow before anything blocks.

        A reader that wakes up while the caller holds the interpreter's lock goes back to sleep.
        """
        with self.mutex:  # a reader that meets the end waits for this, so none comes behind it
            if not self._decided and self._keeps_events:
                self.queue.extend(events)

    def wake(self) -> None:
        """Wake as many waiting readers as there are events."""
        with self.mutex:
            self.not_empty.notify(len(self.queue))

    def discard_events(self) -> None:
        """Stop keeping events, except the terminal one: no reader is going to ask for them."""
        self._keeps_events = False

    def settle(self, outcome: Outcome[T, R]) -> bool:
        """End the stream, unless it has ended; return whether this call did it.

        `before_end(outcome)` is called before any reader learns the outcome. If a Ctrl-C
        interrupts that call, the next reader repeats it, so it must do nothing the second time.
        """
        if self._decided:
            return False
        if outcome.failure is not None:
            outcome.origin = outcome.failure.__traceback__
        try:
            return self._decided.setdefault("outcome", outcome) is outcome
        finally:
            self._learn()
            self._wake_readers()

    def wait_settled(self, timeout: float | None = None) -> bool:
        """Block until the stream has ended, at most `timeout` seconds; return whether it has."""
        with self._ended:
            _wait_for(self._ended, lambda: self._decided, timeout)
        return self.settled

    def next(self) -> T:
        """Return the next event; block until there is one.

        At the end raise the failure or `StopIteration`, in every reader.
        """
        if self._process != _process:
            _refuse_process()
        while True:
            try:
                return self.queue.popleft()  # type: ignore[no-any-return]  # typeshed: Any
            except IndexError:
                pass  # wait outside of this block, or the error would be the context of a Ctrl-C
            if self._at_end():
                return self._take_last()

    def wait_next(self, timeout: float | None = None) -> bool:
        """Block until there is an event or the end, at most `timeout` seconds.

        Return whether there is.
        """
        with self.not_empty:
            return _wait_for(self.not_empty, lambda: self.queue or self._decided, timeout)

    def result(self, timeout: float | None = None) -> R:
        """Return the result; block for at most `timeout` seconds, then raise `TimeoutError`."""
        if self._process != _process:
            _refuse_process()
        if not self.wait_settled(timeout):
            raise TimeoutError(f"no result within {timeout:g} s")
        outcome = self.outcome
        assert outcome is not None
        outcome.raise_failure()
        return outcome.result  # type: ignore[return-value]  # None only if end() said so

    def _at_end(self) -> bool:
        """Block until there is an event or the end; return whether it is the end."""
        with self.not_empty:
            self.wait_next()
            return bool(self._decided) and not self.queue  # another reader may be quicker

    def _take_last(self) -> T:
        """Return the terminal event to the first reader that asks; raise the end in the others."""
        outcome, claim = self.outcome, object()
        assert outcome is not None
        if outcome.event is not None and self._claims.setdefault("last event", claim) is claim:
            return outcome.event
        outcome.raise_failure()
        raise StopIteration

    def _learn(self) -> Outcome[T, R] | None:
        """Return the outcome, if there is one, after `before_end` was called with it."""
        outcome = self._decided.get("outcome")
        if outcome is not None and self.before_end is not None:
            with self._ending:  # another reader waits until the call is over
                if self.before_end is not None:
                    self.before_end(outcome)
                    self.before_end = None  # it may refer to what refers to this channel
        return outcome

    def _wake_readers(self) -> None:
        # The main thread takes no lock here: a Ctrl-C just behind `acquire` would never release it.
        if _in_main_thread() or not self.mutex.acquire(blocking=False):
            timer_thread().soon(self._notify_all)
            return
        try:
            self._notify_all()
        finally:
            self.mutex.release()

    def _notify_all(self) -> None:
        with self.mutex:
            self.not_empty.notify_all()
            self._ended.notify_all()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _refuse_process() -> NoReturn:
    # The producer is a thread, and a forked child has only the thread that forked.
    raise PiNativeError("the stream belongs to the process that started it")


def _wait_for(
    condition: threading.Condition, true: Callable[[], object], timeout: float | None = None
) -> bool:
    """Like `Condition.wait_for`, but look again now and then, and read no clock."""
    look = _MAIN_THREAD_LOOKS if _in_main_thread() else _OTHER_THREADS_LOOK
    left = timeout
    while not true():
        if left is not None and left <= 0:
            return False
        seconds = look if left is None else min(look, left)
        if not condition.wait(seconds) and left is not None:
            left -= seconds
    return True
