"""Timers: they fire when they are due, can be moved, and do not affect one another."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from pi_native import AbortSignal
from pi_native._threads import timers as _deadlines
from pi_native._threads.clock import monotonic
from pi_native._threads.timers import Timer, TimerThread, timer_thread, watch_event

from ...conftest import wait_until
from ...forking import forks, in_child
from ...programs import run
from ..races import race

LONG = 600.0  # seconds that no test waits for
LEFT = 20.0  # seconds that a wait may take at most


class Fired:
    """A callback that a test can wait for, and that records its times and threads."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.times: list[float] = []
        self.threads: list[threading.Thread] = []

    def __call__(self) -> None:
        """Record the time and the thread of the call."""
        self.times.append(time.monotonic())
        self.threads.append(threading.current_thread())
        self.event.set()

    def wait(self) -> bool:
        """Wait for the first call; return true if it ran in time."""
        return self.event.wait(LEFT)


def settled(dog: TimerThread) -> None:
    """Wait until the timer thread has processed all that was scheduled so far."""
    done = threading.Event()
    dog.soon(done.set)
    assert done.wait(LEFT)


@contextlib.contextmanager
def held_up(dog: TimerThread) -> Iterator[None]:
    """Keep the timer thread idle within the block, so that its set-up is not late."""
    free = threading.Event()
    dog.start()
    dog.soon(lambda: free.wait(LEFT))
    try:
        yield
    finally:
        free.set()


def pass_time(seconds: float) -> None:
    """Wait for this time, in which an unwanted call would happen."""
    threading.Event().wait(seconds)


# Timers.


def test_a_timer_fires_once_in_the_timer_threads_thread() -> None:
    """A timer runs its function once, when it is due and not before, in the timer thread."""
    fired = Fired()
    begun = time.monotonic()
    timer = timer_thread().call_later(0.02, fired)
    assert fired.wait()
    settled(timer_thread())
    assert len(fired.times) == 1
    assert fired.times[0] >= begun + 0.02
    assert fired.threads[0].name == "stream-timer"
    assert fired.threads[0].daemon
    assert timer.cancelled


def test_timers_fire_in_the_order_they_are_due() -> None:
    """Of several timers, each runs when it is due, in any order of their start."""
    order: list[int] = []
    last = Fired()
    with held_up(timer_thread()):
        for number in (3, 1, 2):
            timer_thread().call_later(0.01 * number, functools.partial(order.append, number))
        timer_thread().call_later(0.04, last)
    assert last.wait()
    assert order == [1, 2, 3]


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
def test_an_overdue_timer_fires_at_once(seconds: float) -> None:
    """A timer without any time left runs its function soon, and still in the timer thread."""
    fired = Fired()
    timer_thread().call_later(seconds, fired)
    assert fired.wait()
    assert fired.threads[0] is not threading.current_thread()


def test_a_cancelled_timer_does_not_fire() -> None:
    """A timer that was cancelled before its time does not fire."""
    fired, later = Fired(), Fired()
    with held_up(timer_thread()):
        timer = timer_thread().call_later(0.001, fired)
        timer.cancel()
        assert timer.cancelled
        timer_thread().call_later(0.002, later)
    assert later.wait()
    assert fired.times == []


def test_a_cancelled_timer_can_be_started_again() -> None:
    """After a cancel, a timer runs only its next function."""
    old, new = Fired(), Fired()
    with held_up(timer_thread()):
        timer = timer_thread().call_later(0.001, old)
        timer.cancel()
        timer.start(0.002, new)
    assert new.wait()
    assert old.times == []


def test_a_timer_can_be_started_again_after_it_fired() -> None:
    """A timer can be used more than once."""
    timer = timer_thread().timer()
    for _ in range(3):
        fired = Fired()
        timer.start(0.001, fired)
        assert fired.wait()
        assert len(fired.times) == 1


def test_a_timer_can_be_moved_later() -> None:
    """A postponed timer fires at the new time, and not at its first one."""
    fired, meanwhile = Fired(), Fired()
    with held_up(timer_thread()):
        timer = timer_thread().call_later(0.001, fired)
        begun = time.monotonic()
        timer.postpone(0.3)
        timer_thread().call_later(0.002, meanwhile)
    assert meanwhile.wait()
    assert fired.wait()
    assert fired.times[0] >= begun + 0.3


def test_a_timer_can_be_moved_earlier() -> None:
    """A timer that is due in ten minutes fires soon when it is started again with less."""
    old, new = Fired(), Fired()
    timer = timer_thread().call_later(LONG, old)
    timer.start(0.01, new)
    assert new.wait()
    assert old.times == []


def test_a_timer_that_is_often_postponed_is_queued_once() -> None:
    """Postponing a timer many times leaves one entry for it on the heap."""
    dog = TimerThread()
    fired = Fired()
    timer = dog.call_later(LONG, fired)
    first = timer.when
    for _ in range(10_000):
        timer.postpone(LONG)
    settled(dog)
    assert timer.when > first
    assert len(dog._heap) == 1
    timer.postpone(0.01)
    assert fired.wait()


def test_a_timer_moved_at_its_time_still_fires() -> None:
    """A timer that is moved close to its time still fires."""
    for attempt in range(200):
        fired = Fired()
        timer = timer_thread().call_later(0.0005, int)
        meet = time.monotonic() + 0.0003 + attempt * 2e-6
        while time.monotonic() < meet:
            pass
        timer.start(0.001, fired)
        assert fired.wait()
        assert len(fired.times) == 1


def test_a_timer_that_is_moved_before_the_timer_thread_took_it_is_not_lost() -> None:
    """A timer that is postponed at once and then moved to an early time fires at that time."""
    fired = Fired()
    with held_up(timer_thread()):
        timer = timer_thread().call_later(0.001, int)
        timer.postpone(LONG)
    settled(timer_thread())
    pass_time(0.002)
    timer.start(0.01, fired)
    assert fired.event.wait(2)


def come_up(timer: Timer, now: float) -> float | None:
    """Process a queued timer at `now`; return the time that it is queued for again."""
    action, again = timer.come_up(timer._queued_for, now)
    if action is not None:
        action()
    return again


def test_a_timer_is_queued_again_for_its_new_time() -> None:
    """A timer processed too early is queued again; a due or cancelled one is not."""
    inbox: queue.SimpleQueue[Timer | Callable[[], object]] = queue.SimpleQueue()
    fired = Fired()
    timer = Timer(inbox)
    assert timer.cancelled
    timer.start(10, fired)
    assert inbox.get_nowait() is timer
    timer.postpone(20)
    assert inbox.empty()
    assert come_up(timer, monotonic() + 11) == timer.when
    assert fired.times == []
    timer.postpone(5)
    assert inbox.get_nowait() is timer
    assert come_up(timer, monotonic() + 30) is None
    assert len(fired.times) == 1
    assert come_up(timer, monotonic() + 30) is None
    assert len(fired.times) == 1


def test_an_entry_that_was_replaced_is_ignored() -> None:
    """A timer that was moved to an earlier time runs once, although it has two entries."""
    fired = Fired()
    timer = Timer(queue.SimpleQueue())
    timer.start(600, fired)
    late = timer.when
    timer.start(10, fired)
    assert timer.come_up(late, late + 1) == (None, None)
    assert come_up(timer, late + 1) is None
    assert len(fired.times) == 1


def lenient_timer(fired: Fired, *, lenient: bool = True) -> Timer:
    """Return a lenient timer, as the phases of a turn use, due in ten seconds."""
    timer = Timer(queue.SimpleQueue(), lenient=lenient)
    timer.start(10, fired)
    return timer


def test_a_lenient_timer_that_is_late_is_queued_again_once() -> None:
    """A late lenient timer is queued for a second later, and then runs if it was not moved."""
    fired = Fired()
    timer = lenient_timer(fired)
    late = timer.when + 60
    assert come_up(timer, late) == late + 1
    assert fired.times == []
    assert come_up(timer, late + 1.5) is None
    assert len(fired.times) == 1


def test_a_lenient_timer_that_is_in_time_runs() -> None:
    """A lenient timer that is a little late runs at once."""
    fired = Fired()
    timer = lenient_timer(fired)
    assert come_up(timer, timer.when + 0.4) is None
    assert len(fired.times) == 1


def test_a_lenient_timer_that_is_moved_while_late_is_lenient_again() -> None:
    """After a move within the extra second, the timer is queued again once more if it is late."""
    fired = Fired()
    timer = lenient_timer(fired)
    assert come_up(timer, timer.when + 60)
    timer.postpone(0.2)
    assert timer.queue() == timer.when
    assert come_up(timer, timer.when - 0.1)
    assert come_up(timer, timer.when + 60)
    assert fired.times == []


def test_other_timers_are_not_lenient() -> None:
    """A late timer of the whole turn or of a caller runs at once."""
    fired = Fired()
    timer = lenient_timer(fired, lenient=False)
    assert come_up(timer, timer.when + 60) is None
    assert len(fired.times) == 1


def test_an_exception_of_a_callback_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An exception of a timer's function or an action is logged, and the timer thread continues."""
    after = Fired()
    with caplog.at_level(logging.ERROR, logger="pi_native"):
        timer_thread().call_later(0.001, lambda: 1 / 0)
        timer_thread().soon(lambda: [][0])
        timer_thread().call_later(0.02, after)
        assert after.wait()
    assert "ZeroDivisionError" in caplog.text
    assert "IndexError" in caplog.text


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_exception_ends_the_timer_thread(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """After an action that raises SystemExit or the like, other timers still run."""
    dog, after = TimerThread(), Fired()

    def broken() -> None:
        raise raised

    with caplog.at_level(logging.ERROR, logger="pi_native"):
        dog.soon(broken)
        dog.call_later(0.001, broken)
        dog.call_later(0.02, after)
        assert after.wait()
    assert caplog.text.count(f"{raised.__name__}") >= 2


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, ValueError])
def test_a_listener_of_a_timeout_that_raises_affects_no_other_timeout(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """The exception of a listener is logged; the other listeners and timeouts are not affected."""
    signal = AbortSignal.timeout(0.001)
    heard = Fired()

    def broken() -> None:
        raise raised

    with caplog.at_level(logging.ERROR, logger="pi_native"):
        signal.add_listener(broken)
        signal.add_listener(heard)
        assert heard.wait()
        assert AbortSignal.timeout(0.001).wait(LEFT)
        assert wait_until(lambda: raised.__name__ in caplog.text)


def test_a_slow_listener_of_a_timeout_delays_no_other_timeout() -> None:
    """While a listener of one timeout blocks, other timeouts and timers run."""
    signal, entered, leave = AbortSignal.timeout(0.001), Fired(), threading.Event()

    def slow() -> None:
        entered()
        leave.wait(LEFT)

    signal.add_listener(slow)
    try:
        assert entered.wait()
        assert entered.threads[0].name != "stream-timer"
        assert AbortSignal.timeout(0.001).wait(LEFT)
        fired = Fired()
        timer_thread().call_later(0.001, fired)
        assert fired.wait()
    finally:
        leave.set()


def test_a_timeout_aborts_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout signal still aborts when the process has reached its limit of threads."""
    timer_thread().start()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    signal = AbortSignal.timeout(0.01)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert signal.wait(LEFT)


@pytest.mark.parametrize("seconds", [9e12, 1e297], ids=["MAX_SAFE_INTEGER ms", "1e300 ms"])
def test_a_far_deadline_does_not_stop_the_others(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer that is later than the clock can wait for does not stop the other timers."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    dog = TimerThread()
    dog.call_later(seconds, int)
    fired = Fired()
    assert wait_until(lambda: dog._heap, LEFT)
    dog.call_later(0.01, fired)
    assert fired.event.wait(2)


def test_a_timer_that_is_never_due_waits() -> None:
    """A timer with an infinite delay never fires, and does not affect other timers."""
    dog = TimerThread()
    never, fired = Fired(), Fired()
    timer = dog.call_later(float("inf"), never)
    dog.call_later(0.01, fired)
    assert fired.wait()
    assert not timer.cancelled
    assert never.times == []


def test_many_cancelled_timers_do_not_accumulate() -> None:
    """Ten thousand turns that ended early leave a bounded number of timers behind."""
    dog = TimerThread()
    kept = [dog.call_later(LONG, int) for _ in range(10)]
    for _ in range(10_000):
        dog.call_later(LONG, int).cancel()
    settled(dog)
    assert len(dog._heap) <= 512
    assert {entry[2] for entry in dog._heap}.issuperset(kept)


def test_active_timers_are_not_dropped() -> None:
    """The clean-up of the heap drops cancelled timers only."""
    dog = TimerThread()
    count = threading.Semaphore(0)
    last = Fired()
    with held_up(dog):
        timers = [dog.call_later(0.01, count.release) for _ in range(2000)]
        for timer in timers[::2]:
            timer.cancel()
        dog.call_later(0.02, last)
    assert last.wait()
    assert count._value == 1000


def test_a_timer_that_was_removed_can_be_started_again() -> None:
    """A cancelled timer that was removed from the heap is queued when it is started again."""
    dog = TimerThread()
    timer = dog.call_later(0.5, int)
    timer.cancel()
    for _ in range(300):
        dog.call_later(LONG, int).cancel()
    settled(dog)
    fired = Fired()
    timer.start(0.5, fired)
    assert fired.event.wait(3)


# The thread.


def test_soon_runs_an_action_in_the_timer_thread() -> None:
    """An action runs in the timer thread, in order."""
    order: list[int] = []
    last = Fired()
    for number in range(10):
        timer_thread().soon(functools.partial(order.append, number))
    timer_thread().start()
    timer_thread().soon(last)
    assert last.wait()
    assert order == list(range(10))
    assert last.threads[0] is not threading.current_thread()


def test_many_threads_start_one_timer_thread() -> None:
    """If many threads need the first timer at once, one timer thread is started."""
    dog = TimerThread()
    fired = [Fired() for _ in range(16)]
    race(*(functools.partial(dog.call_later, 0.01, one) for one in fired))
    assert all(one.wait() for one in fired)
    assert len({one.threads[0] for one in fired}) == 1


def test_the_timer_thread_is_shared() -> None:
    """A process has one timer thread."""
    assert timer_thread() is timer_thread()


# Lenient timers, as the clock of a turn: one timer that each phase starts again.


def clock() -> Timer:
    """Return the timer of a turn's phases."""
    return timer_thread().timer(lenient=True)


@pytest.mark.parametrize("limit", [LONG, None])
def test_a_phase_that_has_ended_does_not_expire(limit: float | None) -> None:
    """The next phase replaces the one before, with or without a limit of its own."""
    expired, other = Fired(), Fired()
    with held_up(timer_thread()):
        phases = clock()
        phases.start(0.001, expired)
        phases.start(limit, expired)
        timer_thread().call_later(0.002, other)
    assert other.wait()
    assert expired.times == []
    assert phases.cancelled == (limit is None)


def test_a_shorter_phase_expires_before_the_previous_one() -> None:
    """The timer of a longer phase does not delay the next phase."""
    before, expired = Fired(), Fired()
    phases = clock()
    phases.start(LONG, before)
    settled(timer_thread())
    phases.start(0.01, expired)
    assert expired.wait()
    assert before.times == []


def test_a_cancelled_timer_holds_nothing() -> None:
    """`cancel()` releases the action, and may be called again."""
    expired, other = Fired(), Fired()
    gone = weakref.ref(expired)
    with held_up(timer_thread()):
        phases = clock()
        phases.start(0.001, expired)
        phases.cancel()
        timer_thread().call_later(0.002, other)
    assert other.wait()
    assert expired.times == []
    del expired
    gc.collect()
    assert gone() is None
    phases.cancel()


# Plain events.


def test_an_event_is_noticed() -> None:
    """The action for a plain event runs once after it is set, within 50 ms at best."""
    event, then = threading.Event(), Fired()
    watch_event(event, then)
    begun = time.monotonic()
    event.set()
    assert then.wait()
    assert then.times[0] - begun < 1
    assert not wait_until(lambda: len(then.times) > 1, 0.1)


def test_an_event_that_was_set_before_is_noticed() -> None:
    """An event that is set already is noticed as well."""
    event, then = threading.Event(), Fired()
    event.set()
    watch_event(event, then)
    assert then.wait()


def test_an_event_is_noticed_late_too() -> None:
    """An event is polled until it is set."""
    event, then = threading.Event(), Fired()
    watch_event(event, then)
    later = Fired()
    timer_thread().call_later(0.1, later)
    assert later.wait()
    assert then.times == []
    event.set()
    assert then.wait()


def test_an_event_is_ignored_after_the_watch_stops() -> None:
    """After stopping, nothing happens when the event is set."""
    event, then, later = threading.Event(), Fired(), Fired()
    stop = watch_event(event, then)
    stop()
    stop()
    event.set()
    timer_thread().call_later(0.06, later)
    assert later.wait()
    assert then.times == []


def test_stopping_during_a_poll_stops() -> None:
    """A watch that is stopped while the timer thread polls is not polled again."""
    stop: list[Callable[[], None]] = []
    looks: list[bool] = []
    then, later = Fired(), Fired()

    class Event(threading.Event):
        def is_set(self) -> bool:
            looks.append(True)
            stop[0]()
            return False

    with held_up(timer_thread()):
        stop.append(watch_event(Event(), then))
        timer_thread().call_later(0.1, later)
    assert later.wait()
    assert looks == [True]
    assert then.times == []


# Forks and interpreter exit.


@forks
def test_a_forked_child_has_its_own_timer_thread() -> None:
    """Timers, timeouts and actions work in a forked child, where the parent's thread is missing."""
    timer_thread().start()
    parents = timer_thread()

    def child() -> bool:
        fired, did = Fired(), Fired()
        timer_thread().call_later(0.01, fired)
        timer_thread().soon(did)
        return (
            timer_thread() is not parents
            and fired.wait()
            and did.wait()
            and AbortSignal.timeout(0.01).wait(LEFT)
        )

    assert in_child(child)
    assert timer_thread() is parents


@forks
def test_a_fork_during_the_start_leaves_no_lock_held() -> None:
    """A child that was forked while a thread held the starting lock can start its own thread."""
    with _deadlines._timer_thread._starting:

        def child() -> bool:
            fired = Fired()
            timer_thread().call_later(0.01, fired)
            return fired.wait()

        assert in_child(child)


@pytest.mark.slow
def test_a_running_timer_thread_does_not_delay_the_exit() -> None:
    """A process with timers that are due in ten minutes exits at once, without output."""
    code = (
        "from pi_native._threads.timers import timer_thread; timer_thread().call_later(600, print)"
    )
    ended = run(code, flags=("-W", "error"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
