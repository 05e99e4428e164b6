"""Timers: one thread per process runs the functions of all time limits.

A socket has no time limit of its own here. A socket timeout counts from the last byte, so
keep-alives hide a stall, and it cannot bound a look-up, a TLS handshake and several reads together.
A timer that cuts the connection can.

The thread takes timers and actions from a `SimpleQueue`, the one queue whose `put` may run on top
of itself, as in a signal handler. No code of the user runs in this thread: it would delay every
time limit of the process.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import queue
import threading
from collections.abc import Callable

from . import abort as _abort
from .clock import monotonic
from .real_threads import require_real_threads, thread_failure

_log = logging.getLogger("pi_native")
_NEVER = float("inf")
_POLL_SECONDS = 0.02  # a plain threading.Event is noticed within 50 ms
_COMPACT_FROM = 256
_LONGEST_WAIT = 3600.0  # a lock cannot be waited for longer than threading.TIMEOUT_MAX

# A process that was stopped (Ctrl-Z, a paused container) finds its limits exceeded and the response
# unread. So a lenient timer that is late by this much gives the worker thread a moment to read.
_LATE_SECONDS = 0.5
_MOMENT_SECONDS = 1.0

Action = Callable[[], object]


class Timer:
    """Runs a function once in the timer thread, unless it is moved or cancelled before.

    A timer that is moved to a later time stays where it is in the thread's heap, and is queued
    again when it comes up too early.
    """

    __slots__ = ("_action", "_had_moment", "_inbox", "_lenient", "_lock", "_queued_for", "when")

    def __init__(self, inbox: queue.SimpleQueue[Timer | Action], *, lenient: bool = False) -> None:
        self._inbox = inbox
        self._lenient = lenient
        # Makes a move and a queueing one step each. No callback runs while it is held.
        self._lock = threading.Lock()
        self._action: Action | None = None
        self.when = _NEVER
        self._queued_for = _NEVER
        self._had_moment = False

    @property
    def cancelled(self) -> bool:
        """True when nothing is planned."""
        return self._action is None

    def start(self, seconds: float | None, action: Action) -> None:
        """Run `action()` in `seconds` from now, instead of an earlier plan; None is never."""
        if seconds is None:
            self.cancel()
        else:
            self._plan(seconds, action)

    def postpone(self, seconds: float) -> None:
        """Run the planned action in `seconds` from now."""
        self._plan(seconds, None)

    def cancel(self) -> None:
        """Drop the plan, and the reference to its action, which may be running at this moment."""
        with self._lock:
            self._action = None

    def _plan(self, seconds: float, action: Action | None) -> None:
        with self._lock:
            self._action = action or self._action
            self._had_moment = False
            self.when = monotonic() + seconds
            must_queue = self.when < self._queued_for
            if must_queue:
                self._queued_for = self.when
        if must_queue:
            self._inbox.put(self)

    # The timer thread's side.

    def queue(self) -> float | None:
        """Return the time to queue the timer for; None if nothing is planned."""
        with self._lock:
            return self._queue()

    def come_up(self, queued_for: float, now: float) -> tuple[Action | None, float | None]:
        """Return the action to run now, if it is due, and the time to queue the timer for."""
        with self._lock:
            if queued_for != self._queued_for:
                return None, None  # an entry for another time has replaced this one
            if self._lenient and not self._had_moment and now - self.when > _LATE_SECONDS:
                self._had_moment = True
                self.when = now + _MOMENT_SECONDS
            if self.when > now:
                return None, self._queue()
            action, self._action = self._action, None
            self._queued_for = _NEVER
            return action, None

    def _queue(self) -> float | None:
        self._queued_for = _NEVER if self._action is None else self.when
        return None if self._action is None else self.when


class TimerThread:
    """The thread that all timers run in. It starts with the first timer and then stays."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Timer | Action] = queue.SimpleQueue()
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Called before `soon` can be needed, as that must not block."""
        if self._thread is not None:
            return
        require_real_threads()
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="stream-timer", daemon=True)
                thread.start()
                self._thread = thread

    def timer(self, *, lenient: bool = False) -> Timer:
        """Return a timer that is not started yet."""
        self.start()
        return Timer(self.inbox, lenient=lenient)

    def call_later(self, seconds: float, action: Action) -> Timer:
        """Run `action()` in `seconds`; the timer can be moved or cancelled."""
        timer = self.timer()
        timer.start(seconds, action)
        return timer

    def soon(self, action: Action) -> None:
        """Run `action()` in the timer thread. Never blocks, also in a signal handler."""
        self.inbox.put(action)

    def _run(self) -> None:
        while True:
            item = self._next_item()
            if isinstance(item, Timer):
                self._queue(item)
                self._compact()
            elif item is not None:
                _call(item)
            self._run_due()

    def _next_item(self) -> Timer | Action | None:
        """Return the next item of the inbox; None when a timer is due."""
        wait = _LONGEST_WAIT
        if self._heap:
            wait = min(wait, max(0.0, self._heap[0][0] - monotonic()))
        try:
            return self.inbox.get(timeout=wait)
        except queue.Empty:
            return None

    def _queue(self, timer: Timer) -> None:
        self._push(timer, timer.queue())

    def _push(self, timer: Timer, when: float | None) -> None:
        if when is not None:
            heapq.heappush(self._heap, (when, next(self._order), timer))

    def _compact(self) -> None:
        # A finished turn leaves its timers behind, due in minutes; many short turns would add up.
        if len(self._heap) >= _COMPACT_FROM and not len(self._heap) & (len(self._heap) - 1):
            timers = {id(entry[2]): entry[2] for entry in self._heap}
            self._heap = []
            for timer in timers.values():
                self._queue(timer)

    def _run_due(self) -> None:
        now = monotonic()
        while self._heap and self._heap[0][0] <= now:
            queued_for, _, timer = heapq.heappop(self._heap)
            action, again = timer.come_up(queued_for, now)
            self._push(timer, again)
            if action is not None:
                _call(action)


def _call(action: Action) -> None:
    try:
        action()
    except BaseException:  # noqa: BLE001 - not even SystemExit may end this thread
        _log.exception("the action of a timer raised")


_timer_thread = TimerThread()


def timer_thread() -> TimerThread:
    """Return the process's timer thread."""
    return _timer_thread


def watch_event(event: threading.Event, then: Action) -> Callable[[], None]:
    """Run `then()` soon after a plain event is set; return a function that stops watching.

    A `threading.Event` has no listeners, so it is looked at every 20 ms.
    """
    return _EventWatch(event, then).stop


class _EventWatch:
    def __init__(self, event: threading.Event, then: Action) -> None:
        self._event = event
        self._then: Action | None = then
        self._timer = timer_thread().timer()
        self._timer.start(_POLL_SECONDS, self._look)

    def _look(self) -> None:
        then = self._then
        if then is None:
            return
        if self._event.is_set():
            then()
        else:
            self._timer.start(_POLL_SECONDS, self._look)

    def stop(self) -> None:
        self._then = None
        self._timer.cancel()


def _renew_after_fork() -> None:
    # The child has no timer thread, and the inbox may have been copied in the middle of a step.
    global _timer_thread
    _timer_thread = TimerThread()


def _call_later(seconds: float, action: Action) -> None:
    try:
        timer_thread().call_later(seconds, action)
    except RuntimeError as exc:
        raise thread_failure(exc) from exc


_abort.set_clock(_call_later)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
