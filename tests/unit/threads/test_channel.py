"""The channel: events in order, each delivered once, and then one end for all readers."""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import itertools
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pi_native._threads import channel as _channel
from pi_native._threads.channel import Channel
from pi_native._threads.outcome import Outcome
from pi_native._threads.timers import timer_thread
from pi_native.errors import PiNativeError

from ...forking import forks, in_child
from ...programs import run
from ..races import race

LEFT = 20.0  # seconds that a wait may take at most

Ints = Channel[int, str]


class Readers:
    """Threads that read a channel to its end, and the events they got."""

    def __init__(self, channel: Ints, count: int = 1) -> None:
        self._channel = channel
        self.events: list[list[int]] = [[] for _ in range(count)]
        self.ends: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._read, args=(events,), daemon=True)
            for events in self.events
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, events: list[int]) -> None:
        try:
            while True:
                events.append(self._channel.next())
        except BaseException as end:  # noqa: BLE001 - checked by the test
            self.ends.append(end)

    def finish(self) -> list[int]:
        """Wait for all to reach the end; return all events that they read."""
        for thread in self._threads:
            thread.join(LEFT)
            assert not thread.is_alive(), "a reader was not woken"
        return list(itertools.chain(*self.events))


def read(channel: Ints) -> list[int]:
    """Return all events up to the end, which must not be a failure."""
    events = []
    while True:
        try:
            events.append(channel.next())
        except StopIteration:
            return events


# One producer, one reader.


def test_events_arrive_in_order_and_then_the_end() -> None:
    """A reader gets the events in the order they were pushed, and then always the end."""
    channel = Ints()
    for number in range(100):
        channel.push(number)
    assert not channel.settled
    assert channel.settle(Outcome(result="done"))
    assert channel.settled
    assert read(channel) == list(range(100))
    assert read(channel) == []
    assert channel.result() == "done"
    assert channel.result(0) == "done"


def test_a_waiting_reader_gets_each_event_as_it_is_pushed() -> None:
    """An event reaches a reader that waits for it while the channel is still open."""
    channel = Ints()
    got: list[int] = []
    arrived = threading.Semaphore(0)

    def reader() -> None:
        for _ in range(3):
            got.append(channel.next())
            arrived.release()

    thread = threading.Thread(target=reader)
    thread.start()
    for number in range(3):
        channel.push(number)
        assert arrived.acquire(timeout=LEFT)
        assert got[-1] == number
    thread.join()


def test_the_last_event_is_read_last_and_once() -> None:
    """The event of an outcome is read last, by one reader."""
    channel = Ints()
    channel.push(1)
    channel.settle(Outcome(result="done", event=2))
    assert read(channel) == [1, 2]
    assert read(channel) == []


def test_events_pushed_after_the_end_are_dropped() -> None:
    """No event is delivered after the end."""
    channel = Ints()
    channel.settle(Outcome(result="done"))
    channel.push(1)
    assert read(channel) == []


def test_only_the_first_end_counts() -> None:
    """A second settle() returns False, and changes neither the result nor the events."""
    channel = Ints()
    assert channel.settle(Outcome(result="first"))
    assert not channel.settle(Outcome(failure=ValueError("second")))
    assert not channel.settle(Outcome(result="third", event=3))
    assert channel.result() == "first"
    assert read(channel) == []


def test_none_is_a_result() -> None:
    """A channel may end with None as its result."""
    channel = Channel[int, None]()
    channel.settle(Outcome())
    assert channel.result() is None


def test_a_batch_is_the_same_as_its_events_one_by_one() -> None:
    """Events pushed together arrive in order, and none after the end."""
    channel = Ints()
    channel.push_all([1, 2, 3])
    channel.push_all([])
    channel.push_all([4])
    channel.settle(Outcome(result="done"))
    channel.push_all([5, 6])
    assert read(channel) == [1, 2, 3, 4]


def test_discarded_events_are_not_kept() -> None:
    """After `discard_events()` a channel drops pushed events; the end is the same."""
    channel = Ints()
    channel.push(1)
    channel.discard_events()
    channel.push_all([2, 3])
    channel.settle(Outcome(result="done", event=4))
    assert read(channel) == [1, 4]
    assert channel.result(0) == "done"


def test_a_batch_wakes_as_many_readers_as_it_has_events() -> None:
    """Every event of a batch is taken by a waiting reader, without another push."""
    channel = Ints()
    taken = threading.Semaphore(0)

    def take_one() -> None:
        channel.next()
        taken.release()

    threads = [threading.Thread(target=take_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    channel.push_all([1, 2, 3, 4])
    for _ in threads:
        assert taken.acquire(timeout=LEFT)
    for thread in threads:
        thread.join()


def test_waiting_for_the_end_needs_no_result() -> None:
    """wait_settled() returns true if the channel ends in time, and wakes at the end."""
    channel = Ints()
    assert not channel.wait_settled(0.001)
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(channel.wait_settled(LEFT)))
    thread.start()
    channel.settle(Outcome(failure=ValueError("broken")))
    thread.join()
    assert woken == [True]
    assert channel.wait_settled(0)


# Failures.


def test_a_failure_is_raised_after_the_events_for_every_reader() -> None:
    """Each reader, and result(), raises the same failure, after the events before it."""
    channel = Ints()
    failure = ValueError("broken")
    channel.push(1)
    channel.settle(Outcome(failure=failure))
    assert channel.next() == 1
    for _ in range(3):
        with pytest.raises(ValueError, match="broken") as raised:
            channel.next()
        assert raised.value is failure
        with pytest.raises(ValueError, match="broken") as raised:
            channel.result()
        assert raised.value is failure


def test_a_failure_does_not_collect_the_frames_of_its_readers() -> None:
    """The traceback of a failure shows where it was raised, and does not grow with each reader."""
    channel = Ints()

    def raise_it() -> None:
        raise ValueError("broken")

    try:
        raise_it()
    except ValueError as exc:
        channel.settle(Outcome(failure=exc))
    depths = []
    for _ in range(5):
        with pytest.raises(ValueError, match="broken") as raised:
            channel.result()
        frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert "raise_it" in frames
        depths.append(len(frames))
    assert len(set(depths)) == 1


def test_a_failure_with_a_last_event_gives_both() -> None:
    """An outcome may have an event and a failure: the event is delivered first."""
    channel = Ints()
    channel.settle(Outcome(failure=ValueError("broken"), event=7))
    assert channel.next() == 7
    with pytest.raises(ValueError, match="broken"):
        channel.next()


# Waiting for the result.


def test_result_raises_after_its_timeout() -> None:
    """result() raises a TimeoutError after its timeout, and the channel continues."""
    channel = Ints()
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no result within 0\.05 s"):
        channel.result(0.05)
    assert time.monotonic() - begun >= 0.05
    with pytest.raises(TimeoutError):
        channel.result(0)
    assert not channel.settled
    channel.push(1)
    channel.settle(Outcome(result="done"))
    assert channel.result(0) == "done"
    assert read(channel) == [1]


def test_result_does_not_need_a_reader() -> None:
    """The result is available although no events are read, and the events remain."""
    channel = Ints()
    channel.push(1)
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(channel.result())) for _ in range(5)]
    for thread in threads:
        thread.start()
    channel.settle(Outcome(result="done"))
    for thread in threads:
        thread.join(LEFT)
    assert results == ["done"] * 5
    assert read(channel) == [1]


# Several readers.


@pytest.mark.parametrize("count", [2, 8])
def test_several_readers_share_the_events(count: int) -> None:
    """Each event is read by one reader, in order, and all readers reach the end."""
    channel = Ints()
    readers = Readers(channel, count)
    for number in range(1000):
        channel.push(number)
    channel.settle(Outcome(result="done", event=1000))
    assert sorted(readers.finish()) == list(range(1001))
    assert all(events == sorted(events) for events in readers.events)
    assert [type(end) for end in readers.ends] == [StopIteration] * count


def test_every_waiting_reader_gets_the_failure() -> None:
    """A failure wakes every reader that waits for an event."""
    channel = Ints()
    readers = Readers(channel, 8)
    failure = ValueError("broken")
    channel.settle(Outcome(failure=failure))
    assert readers.finish() == []
    assert readers.ends == [failure] * 8


# Races.


def test_of_many_ends_at_once_one_wins() -> None:
    """When many threads settle at once, one call returns True, and its outcome is published."""

    def one_round() -> None:
        channel = Ints()
        readers = Readers(channel, 2)
        won: list[int] = []

        def settle(number: int) -> None:
            if channel.settle(Outcome(result=str(number), event=number)):
                won.append(number)

        race(*(functools.partial(settle, number) for number in range(6)))
        assert len(won) == 1
        assert channel.result(0) == str(won[0])
        assert readers.finish() == won

    timer_thread().start()
    for _ in range(100):
        one_round()


def test_a_push_that_races_with_the_end_is_delivered_or_dropped() -> None:
    """Events that were pushed before the end all arrive, in order, and none after it."""

    def one_round(delay: int) -> None:
        channel = Ints()
        readers = Readers(channel)
        pushed_before = 0
        ended = threading.Event()

        def produce() -> None:
            nonlocal pushed_before
            for number in range(60):
                channel.push(number)
                if not ended.is_set():
                    pushed_before = number + 1

        def end() -> None:
            for _ in range(delay):
                pass
            ended.set()
            channel.settle(Outcome(result="done", event=1000))

        race(produce, end)
        channel.push(2000)
        *events, last = readers.finish()
        assert last == 1000
        assert events == list(range(len(events)))
        assert len(events) >= pushed_before - 1  # the flag is set a moment before the end

    timer_thread().start()
    for delay in range(0, 4000, 40):
        one_round(delay)


def test_an_event_pushed_before_the_end_is_never_lost() -> None:
    """If push() returns before another thread calls settle(), the event is delivered."""

    def one_round() -> None:
        channel = Ints()
        readers = Readers(channel, 2)
        for number in range(20):
            channel.push(number)
        race(
            lambda: channel.settle(Outcome(result="one")),
            lambda: channel.settle(Outcome(failure=ValueError("other"))),
            lambda: channel.push(20),
        )
        assert sorted(readers.finish())[:20] == list(range(20))
        assert len(set(map(repr, readers.ends))) == 1

    timer_thread().start()
    for _ in range(100):
        one_round()


def test_an_end_during_a_push_is_read_after_the_event() -> None:
    """An event that is being pushed when another thread ends the stream is read before the end."""
    channel = Ints()

    class Slow(collections.deque[int]):
        def extend(self, items: Iterable[int]) -> None:
            race(lambda: channel.settle(Outcome(result="done", event=2)))
            super().extend(items)

    channel.queue = Slow()
    readers = Readers(channel)
    channel.push(1)
    assert readers.finish() == [1, 2]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(0, 99)),
            st.tuples(st.sampled_from(["settle", "fail"]), st.integers(100, 199)),
        ),
        max_size=12,
    )
)
def test_any_order_of_calls_gives_the_events_before_the_first_end(
    calls: list[tuple[str, int]],
) -> None:
    """Readers get the events up to the first end, then that end, with any later calls."""
    channel = Ints()
    events: list[int] = []
    ended: tuple[str, int] | None = None
    for name, value in [*calls, ("settle", -1)]:
        if name == "push":
            channel.push(value)
            events += [value] if ended is None else []
            continue
        outcome = (
            Outcome[int, str](failure=ValueError(str(value)))
            if name == "fail"
            else Outcome(result=str(value), event=value)
        )
        assert channel.settle(outcome) == (ended is None)
        ended = ended or (name, value)
    assert channel.settled
    assert ended is not None
    kind, last = ended
    assert [channel.next() for _ in events] == events
    if kind == "settle":
        assert channel.next() == last
        assert read(channel) == []
        assert channel.result() == str(last)
    else:
        for ask in (channel.next, channel.result):
            with pytest.raises(ValueError, match=str(last)):
                ask()


# Interrupted at every point.


def run_interrupted(
    action: Callable[[], object], interrupt: Callable[[], object], point: int
) -> bool:
    """Run an action, with an interrupt before its n-th line in the channel's module.

    Return true if it has so many lines. As a signal handler, the interrupt may raise.
    """
    left = point

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != _channel.__file__:
            return None
        if event != "return":
            left -= 1
            if not left:
                sys.settrace(None)
                interrupt()
        return trace

    before = sys.gettrace()
    gc.disable()  # an interrupt in a finalizer is reported, and raised nowhere
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
        gc.enable()
    return left <= 0


def ctrl_c() -> None:
    """Do what Python's handler of SIGINT does."""
    raise KeyboardInterrupt


def test_a_ctrl_c_at_any_point_of_settle_blocks_no_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted anywhere, settle() has ended the stream for all readers, or not at all."""
    monkeypatch.setattr(_channel, "_OTHER_THREADS_LOOK", 0.02)
    ended = set()
    for point in itertools.count(1):
        channel, kept = Ints(), set[str | None]()
        channel.before_end = lambda outcome, kept=kept: kept.add(outcome.result)
        readers = Readers(channel)
        results: list[str] = []
        asking = threading.Thread(target=lambda r=results, c=channel: r.append(c.result()))
        asking.start()
        settle = functools.partial(channel.settle, Outcome(result="done", event=1))
        try:
            interrupted = run_interrupted(settle, ctrl_c, point)
        except KeyboardInterrupt:
            interrupted = True
        ended.add("outcome" in channel._decided)
        channel.settle(Outcome(result="second", event=2))
        assert readers.finish() in ([1], [2])
        asking.join(LEFT)
        assert results == [channel.result(0)]
        assert kept == set(results)
        if not interrupted:
            break
    assert ended == {False, True}


def test_before_end_is_called_again_after_a_ctrl_c() -> None:
    """If a Ctrl-C interrupts `before_end`, it is called again before a reader sees the end."""
    channel, calls = Ints(), list[str]()

    def before_end(_: Outcome[int, str]) -> None:
        calls.append("begun")
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append("kept")

    channel.before_end = before_end
    with pytest.raises(KeyboardInterrupt):
        channel.settle(Outcome(result="done"))
    assert channel.result(0) == "done"
    assert calls == ["begun", "begun", "kept"]


def test_a_handler_that_reads_during_a_read_gets_other_events() -> None:
    """Each event is read once if a handler reads during a read of the same thread."""
    for point in itertools.count(1):
        channel = Ints()
        channel.push_all(range(3))
        channel.settle(Outcome(result="done", event=3))
        got: list[int] = []
        both = [lambda got=got, c=channel: got.append(c.next())] * 2
        done = not run_interrupted(both[0], both[1], point)
        assert sorted(got + read(channel)) == [0, 1, 2, 3]
        if done:
            break
    assert point > 5


def test_a_handler_that_reads_during_the_last_event_gets_it_once() -> None:
    """The terminal event is read once if a handler reads during a read."""
    for point in itertools.count(1):
        channel = Ints()
        channel.settle(Outcome(result="done", event=3))
        got: list[int] = []
        both = [lambda got=got, c=channel: got.extend(read(c))] * 2
        done = not run_interrupted(both[0], both[1], point)
        assert got == [3]
        if done:
            break


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_a_ctrl_c_while_waiting_has_no_other_error_as_its_context() -> None:
    """The traceback of a Ctrl-C in a wait shows the wait, and not how the queue is read."""
    channel = Ints()
    with alarm(ctrl_c, 0.05), pytest.raises(KeyboardInterrupt) as caught:
        channel.next()
    assert caught.value.__context__ is None


# Settling without waiting for a lock.


def test_settling_under_the_lock_of_the_same_thread_does_not_wait() -> None:
    """If the same thread holds the lock, settle() returns at once, and wakes the readers."""
    channel = Ints()
    channel.push(1)
    readers = Readers(channel, 3)
    results: list[str] = []
    waiter = threading.Thread(target=lambda: results.append(channel.result()))
    waiter.start()
    with channel.mutex:
        assert channel.settle(Outcome(result="done", event=2))
        assert channel.settled
        assert not channel.settle(Outcome(result="again"))
    assert sorted(readers.finish()) == [1, 2]
    waiter.join(LEFT)
    assert results == ["done"]


def test_settling_under_the_lock_of_another_thread_does_not_hang_either() -> None:
    """While another thread holds the lock, settle() returns, and the reader is woken afterwards."""
    channel = Ints()
    readers = Readers(channel)
    with channel.mutex:
        race(lambda: channel.settle(Outcome(result="done")))
    assert readers.finish() == []


@pytest.mark.slow
def test_a_stream_without_a_turn_also_wakes_its_readers() -> None:
    """In a process without a timer thread, an end wakes the reader although the lock is held."""
    code = """
import threading
from pi_native import EventStream
stream = EventStream()
reader = threading.Thread(target=list, args=(stream,), daemon=True)
reader.start()
with stream._channel.mutex:  # as while another thread pushes
    stream.end("done")
reader.join(3)
raise SystemExit(reader.is_alive())
"""
    assert run(code).returncode == 0


@contextlib.contextmanager
def alarm(handler: Callable[[], object], first: float, interval: float = 0) -> Iterator[None]:
    """Interrupt the main thread within the block to run `handler`."""
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, first, interval)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")


@needs_alarm
@pytest.mark.parametrize("ask", ["next", "result"])
def test_a_signal_handler_may_settle_while_its_thread_reads(ask: str) -> None:
    """A handler that settles while the same thread waits for the channel ends that wait."""
    timer_thread().start()
    channel = Ints()
    with alarm(lambda: channel.settle(Outcome(result="done", event=5)), 0.05):
        assert getattr(channel, ask)() in (5, "done")
    assert channel.result(0) == "done"


@needs_alarm
def test_a_signal_handler_may_settle_at_any_moment() -> None:
    """The reader reaches the end if a handler settles at any point of a push or a read."""
    timer_thread().start()
    current = [Ints()]
    ended_by_handler = 0
    with alarm(lambda: current[0].settle(Outcome(result="handler")), 0.0003, 0.0002):
        while ended_by_handler < 100:
            channel = current[0] = Ints()
            for number in range(40):
                channel.push(number)
                if channel.settled:
                    break
                assert channel.next() == number
                with contextlib.suppress(TimeoutError):
                    channel.result(0)
                if channel.settled:
                    break
            channel.settle(Outcome(result="own"))
            assert len(read(channel)) <= 1
            ended_by_handler += channel.result() == "handler"
    assert ended_by_handler == 100


@needs_alarm
@pytest.mark.parametrize("ask", ["next", "result"])
def test_ctrl_c_reaches_a_blocked_reader(ask: str) -> None:
    """A KeyboardInterrupt ends a wait at once, and the channel stays usable."""
    channel = Ints()

    def interrupt() -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with alarm(interrupt, 0.05), pytest.raises(KeyboardInterrupt):
        getattr(channel, ask)()
    assert time.monotonic() - begun < 5
    channel.push(1)
    channel.settle(Outcome(result="done"))
    assert read(channel) == [1]
    assert channel.result(0) == "done"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("ask", ["next", "result"])
def test_a_signal_that_wakes_no_thread_is_still_handled(ask: str) -> None:
    """A Ctrl-C that another thread receives, or that arrives just before a wait, still ends it."""
    channel = Ints()

    def interrupt_without_waking() -> None:
        while not channel.not_empty._waiters and not channel._ended._waiters:  # type: ignore[attr-defined]
            pass
        signal.raise_signal(signal.SIGINT)  # to this thread, so that the main one sleeps on

    thread = threading.Thread(target=interrupt_without_waking)
    thread.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        getattr(channel, ask)(*([30] if ask == "result" else []))
    assert time.monotonic() - begun < 10
    thread.join()


# Forks.


@forks
@pytest.mark.parametrize("ask", ["next", "result"])
def test_a_forked_child_does_not_wait_for_its_parents_events(ask: str) -> None:
    """A forked child that waits for a turn of its parent gets an error at once."""
    channel = Ints()

    def child() -> None:
        with pytest.raises(PiNativeError):
            getattr(channel, ask)()

    in_child(child)
    channel.settle(Outcome(result="done"))
    assert channel.result() == "done"
