"""A deadline is an abort made by a clock: one watchdog thread keeps all the clocks of a process.

Sockets have no timeouts of their own here. A socket timeout counts from the last byte, so that
keep-alives hide a stall, and it cannot bound DNS, TLS and several reads together; a timer that cuts
the connection can. Moving a deadline is two assignments: the timer stays where it is in the
watchdog's heap, and is put back when it comes up too early.

The watchdog is also the one who takes a lock that a signal handler or a finaliser must not wait
for (`soon`). Its inbox is a `SimpleQueue`, the one queue whose `put` may interrupt itself.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable

from ..errors import TimeoutPhase
from . import abort as _abort
from .real_threads import require_real_threads

_log = logging.getLogger("pi_native")
_NEVER = float("inf")
_POLL_SECONDS = 0.02  # a plain threading.Event is to be noticed within 50 ms
_COMPACT_FROM = 256
# A process that was stopped (Ctrl-Z, a paused container), or whose interpreter was held up, finds
# its deadline passed, and the answer, which has come meanwhile, unread. So before a phase that
# comes up so late is over, the worker gets a moment to read.
_LATE_SECONDS = 0.5
_MOMENT_SECONDS = 1.0
_LONGEST_WAIT = 3600.0  # a lock refuses to be waited for longer than threading.TIMEOUT_MAX


class Timer:
    """Runs a function once, in the watchdog's thread, unless it is moved or cancelled before.

    A lenient one that comes up late gives whoever may move it a moment to do so.
    """

    __slots__ = ("_fire", "_inbox", "_not_before", "_queued_for", "lenient", "when")

    def __init__(self, inbox: queue.SimpleQueue[Timer | Callable[[], object]]) -> None:
        self._inbox = inbox
        self.lenient = False
        self._not_before = 0.0
        self._fire: Callable[[], object] | None = None
        self._queued_for = _NEVER
        self.when = _NEVER

    def start(self, seconds: float, fire: Callable[[], object]) -> None:
        """Run `fire()` in `seconds` from now, instead of what was planned before."""
        self._fire = fire
        self.postpone(seconds)

    def postpone(self, seconds: float) -> None:
        """Count again from now."""
        self._not_before = 0.0
        self.when = when = time.monotonic() + seconds
        if when < self._queued_for:
            self._queued_for = when
            self._inbox.put(self)

    def cancel(self) -> None:
        """Forget what was planned. It may be running at this moment."""
        self._fire = None

    @property
    def cancelled(self) -> bool:
        """Whether nothing is planned."""
        return self._fire is None

    def queue(self) -> float:
        """Note that it is going to be queued, and return for when."""
        # Cleared before `when` is read: whoever moves the timer meanwhile sees it and queues it.
        self._queued_for = _NEVER
        self._queued_for = when = max(self.when, self._not_before)
        return when

    def tidy_away(self) -> bool:
        """Note that it is not queued any more; returns whether it was started meanwhile."""
        self._queued_for = _NEVER
        return self._fire is not None

    def come_up(self, now: float) -> bool:
        """Run if due; returns whether the timer must be queued again."""
        self._queued_for = _NEVER
        if self._fire is None:
            return False
        when = self.when
        if when > now:
            return True
        if self.lenient and now - when > _LATE_SECONDS and self._not_before < when:
            self._not_before = now + _MOMENT_SECONDS
            return True
        fire, self._fire = self._fire, None
        if fire is not None:
            _run(fire)
        return False


class TimerThread:
    """The thread that all timers run in. It starts with the first one and then stays, asleep."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Timer | Callable[[], object]] = queue.SimpleQueue()
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Have the thread running. Called before `soon` can be needed, as that must not block."""
        if self._thread is not None:
            return
        require_real_threads()
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="stream-timer", daemon=True)
                thread.start()
                self._thread = thread

    def timer(self) -> Timer:
        """A new timer, not started yet."""
        self.start()
        return Timer(self._inbox)

    def call_later(self, seconds: float, fire: Callable[[], object]) -> Timer:
        """Run `fire()` in `seconds`; the timer can be moved or cancelled."""
        timer = self.timer()
        timer.start(seconds, fire)
        return timer

    def soon(self, action: Callable[[], object]) -> None:
        """Run `action()` in the watchdog's thread. Never blocks, wherever it is called from."""
        self._inbox.put(action)

    def _run(self) -> None:
        while True:
            self._take_in(self._wait())
            self._fire_due()

    def _wait(self) -> Timer | Callable[[], object] | None:
        if not self._heap:
            return self._inbox.get()
        try:
            wait = max(0.0, self._heap[0][0] - time.monotonic())
            return self._inbox.get(timeout=min(wait, _LONGEST_WAIT))
        except queue.Empty:
            return None

    def _take_in(self, item: Timer | Callable[[], object] | None) -> None:
        if isinstance(item, Timer):
            self._queue(item)
            self._compact()
        elif item is not None:
            _run(item)

    def _queue(self, timer: Timer) -> None:
        heapq.heappush(self._heap, (timer.queue(), next(self._order), timer))

    def _compact(self) -> None:
        # A finished turn leaves its timers behind, due in minutes; many short turns would pile up.
        if len(self._heap) >= _COMPACT_FROM and not len(self._heap) & (len(self._heap) - 1):
            entries, self._heap = self._heap, []
            for entry in entries:
                if not entry[2].cancelled or entry[2].tidy_away():
                    self._heap.append(entry)
            heapq.heapify(self._heap)

    def _fire_due(self) -> None:
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            if timer.come_up(now):
                self._queue(timer)


def _run(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:  # noqa: BLE001 - one broken callback must not stop every stream's clock
        _log.exception("a deadline's callback raised")


_timer_thread = TimerThread()


def timer_thread() -> TimerThread:
    """The process's watchdog."""
    return _timer_thread


class PhaseClock:
    """One deadline that is moved along with the phases of a call."""

    def __init__(self, expired: Callable[[TimeoutPhase, float], object]) -> None:
        self._timer = timer_thread().timer()
        self._timer.lenient = True
        self._expired = expired
        self._limit: float | None = None

    def enter(self, phase: TimeoutPhase, limit: float | None) -> None:
        """Leave the phase before, and give this one `limit` seconds; None is no limit."""
        self._limit = limit
        if limit is None:
            self._timer.cancel()
        else:
            self._timer.start(limit, lambda: self._expired(phase, limit))

    def restart(self) -> None:
        """Count the phase's limit again from now."""
        if self._limit is not None:
            self._timer.postpone(self._limit)

    def stop(self) -> None:
        """No phase has a limit any more."""
        self._timer.cancel()

    def close(self) -> None:
        """Stop for good, and let go of what would have been told."""
        self._timer.cancel()
        self._expired = lambda _phase, _limit: None


def watch_event(event: threading.Event, then: Callable[[], object]) -> Callable[[], None]:
    """Run `then()` soon after a plain event is set; returns a function that stops looking.

    A `threading.Event` tells nobody when it is set, so it is looked at every 20 ms.
    """
    return _EventWatch(event, then).stop


class _EventWatch:
    def __init__(self, event: threading.Event, then: Callable[[], object]) -> None:
        self._event = event
        self._then: Callable[[], object] | None = then
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
    # The thread did not come along, and the inbox may have been copied in mid-operation.
    global _timer_thread
    _timer_thread = TimerThread()


_abort.set_clock(lambda seconds, fire: timer_thread().call_later(seconds, fire))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
