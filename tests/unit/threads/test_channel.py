"""The channel: events in order, each once in all, and behind them one end for everybody."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest
from hypothesis import given, strategies as st

from pi_native._threads import channel as _channel
from pi_native._threads.channel import Channel
from pi_native._threads.outcome import Outcome
from pi_native._threads.timers import timer_thread
from pi_native.errors import PiNativeError

from ...conftest import wait_until
from ...forking import forks, in_child
from ...programs import run
from ..races import race

LEFT = 20.0  # seconds in which whatever is to happen has happened

Ints = Channel[int, str]


class Readers:
    """Threads that read a channel to its end, and what came to them."""

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
        except BaseException as end:  # noqa: BLE001 - looked at by the test
            self.ends.append(end)

    def finish(self) -> list[int]:
        """Wait for all to come to the end; returns all that they read."""
        for thread in self._threads:
            thread.join(LEFT)
            assert not thread.is_alive(), "a reader was not woken"
        return list(itertools.chain(*self.events))


def read(channel: Ints) -> list[int]:
    """All the events up to the end, which must be a good one."""
    events = []
    while True:
        try:
            events.append(channel.next())
        except StopIteration:
            return events


# One producer, one reader.


def test_a_reader_that_is_roused_for_nothing_waits_on() -> None:
    """Rousing a reader whose event does not come yet changes nothing for it."""
    channel = Ints()
    readers = Readers(channel)
    for number in range(3):
        assert wait_until(lambda: channel._queue.not_empty._waiters)
        channel.rouse()
        assert wait_until(lambda: channel._queue.not_empty._waiters)
        channel.push(number)
    channel.settle(Outcome(result="end"))
    assert readers.finish() == [0, 1, 2]


def test_events_come_in_order_and_then_the_end() -> None:
    """A reader gets the events in the order they were pushed, and then the end for good."""
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


def test_the_last_event_comes_behind_the_others_and_once() -> None:
    """The event that an outcome brings along is read last, by one reader."""
    channel = Ints()
    channel.push(1)
    channel.settle(Outcome(result="done", event=2))
    assert read(channel) == [1, 2]
    assert read(channel) == []


def test_what_is_pushed_after_the_end_is_dropped() -> None:
    """Nothing is delivered behind the end."""
    channel = Ints()
    channel.settle(Outcome(result="done"))
    channel.push(1)
    assert read(channel) == []


def test_only_the_first_end_counts() -> None:
    """Settling twice says so, and changes neither the result nor the events."""
    channel = Ints()
    assert channel.settle(Outcome(result="first"))
    assert not channel.settle(Outcome(failure=ValueError("second")))
    assert not channel.settle(Outcome(result="third", event=3))
    assert channel.result() == "first"
    assert read(channel) == []


def test_none_is_a_result() -> None:
    """A channel may end with nothing to say."""
    channel = Channel[int, None]()
    channel.settle(Outcome())
    assert channel.result() is None


def test_a_batch_is_the_same_as_its_events_one_by_one() -> None:
    """Events that are handed over together come in order, and none after the end."""
    channel = Ints()
    channel.push_all([1, 2, 3])
    channel.push_all([])
    channel.push_all([4])
    channel.settle(Outcome(result="done"))
    channel.push_all([5, 6])
    assert read(channel) == [1, 2, 3, 4]


def test_events_that_nobody_asks_for_are_not_kept() -> None:
    """Told so, a channel drops what is pushed; the end is as it would have been."""
    channel = Ints()
    channel.push(1)
    channel.discard_events()
    channel.push_all([2, 3])
    channel.settle(Outcome(result="done", event=4))
    assert read(channel) == [1, 4]
    assert channel.result(0) == "done"


def test_a_batch_wakes_as_many_readers_as_it_has_events() -> None:
    """Every event of a batch is taken by a waiting reader, though nothing else happens."""
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
    """wait_settled() says whether the end came in time, and is woken by it."""
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


def test_a_failure_is_raised_after_the_events_to_everybody() -> None:
    """Each reader, and result(), raises the same failure, behind the events that came before."""
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
    """An outcome may bring an event and a failure: first the one, then the other."""
    channel = Ints()
    channel.settle(Outcome(failure=ValueError("broken"), event=7))
    assert channel.next() == 7
    with pytest.raises(ValueError, match="broken"):
        channel.next()


# Waiting for the result.


def test_result_gives_up_after_its_timeout() -> None:
    """A result that does not come in time is a TimeoutError, and the channel goes on."""
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
    """The result is there though nobody reads the events, and the events stay to be read."""
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
    """Each event comes to one reader, each reader's are in order, and all come to the end."""
    channel = Ints()
    readers = Readers(channel, count)
    for number in range(1000):
        channel.push(number)
    channel.settle(Outcome(result="done", event=1000))
    assert sorted(readers.finish()) == list(range(1001))
    assert all(events == sorted(events) for events in readers.events)
    assert [type(end) for end in readers.ends] == [StopIteration] * count


@pytest.mark.parametrize("count", [2, 8])
def test_several_readers_share_packed_events(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same when many events wait and are packed: each once, each reader's in order."""
    monkeypatch.setattr(_channel, "_PACKED_TOGETHER", 16)
    channel = Ints(tuple)
    for number in range(500):
        channel.push(number)
    readers = Readers(channel, count)
    for number in range(500, 1000):
        channel.push(number)
    channel.settle(Outcome(result="done", event=1000))
    assert sorted(readers.finish()) == list(range(1001))
    assert all(events == sorted(events) for events in readers.events)


def test_a_packed_batch_wakes_every_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """All readers that wait get their part of a batch that is packed at once."""
    monkeypatch.setattr(_channel, "_PACKED_TOGETHER", 4)
    channel = Ints(tuple)
    together = threading.Barrier(3)
    got: list[int] = []

    def read_one() -> None:
        got.append(channel.next())
        together.wait(LEFT)

    threads = [threading.Thread(target=read_one, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    channel.push_all(range(8))
    together.wait(LEFT)
    for thread in threads:
        thread.join(LEFT)
    assert sorted(got) == [0, 1]
    channel.settle(Outcome(result="done"))
    assert read(channel) == [2, 3, 4, 5, 6, 7]


def test_every_waiting_reader_is_told_the_failure() -> None:
    """A failure wakes every reader that waits for an event."""
    channel = Ints()
    readers = Readers(channel, 8)
    failure = ValueError("broken")
    channel.settle(Outcome(failure=failure))
    assert readers.finish() == []
    assert readers.ends == [failure] * 8


# Holding an outcome back.


def test_a_held_outcome_is_told_when_it_is_released() -> None:
    """hold() decides the outcome, but readers hear of it only with release()."""
    channel = Ints()
    channel.push(1)
    channel.hold(Outcome(result="held", event=2))
    channel.push(99)
    assert not channel.settled
    with pytest.raises(TimeoutError):
        channel.result(0)
    assert channel.release()
    assert not channel.release()
    assert channel.result() == "held"
    assert read(channel) == [1, 2]


def test_whoever_settles_tells_the_held_outcome() -> None:
    """Once an outcome is held, a cancel or a failure tells this one."""
    channel = Ints()
    channel.hold(Outcome(result="held"))
    assert channel.settle(Outcome(failure=ValueError("too late")))
    assert channel.result() == "held"
    assert not channel.release()


def test_release_without_anything_held_does_nothing() -> None:
    """release() of a channel that holds nothing leaves it open."""
    channel = Ints()
    assert not channel.release()
    assert not channel.settled


def test_holding_after_the_end_changes_nothing() -> None:
    """An outcome that is held after another one was told stays untold."""
    channel = Ints()
    channel.settle(Outcome(result="told"))
    channel.hold(Outcome(result="held"))
    assert not channel.release()
    assert channel.result() == "told"


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(0, 99)),
            st.tuples(st.sampled_from(["hold", "settle", "fail"]), st.integers(100, 199)),
            st.just(("release", 0)),
        ),
        max_size=12,
    )
)
def test_any_order_of_calls_keeps_the_rules(calls: list[tuple[str, int]]) -> None:
    """Whatever the order of calls: events up to the first decision, then the first outcome."""
    channel = Ints()
    events: list[int] = []
    held: tuple[str, int] | None = None
    told: tuple[str, int] | None = None
    for name, value in calls:
        if name == "push":
            channel.push(value)
            if held is None and told is None:
                events.append(value)
        elif name == "hold":
            channel.hold(Outcome(result=str(value), event=value))
            held = ("settle", value)
        else:
            may = told is None and (name != "release" or held is not None)
            outcome = (
                Outcome[int, str](failure=ValueError(str(value)))
                if name == "fail"
                else Outcome(result=str(value), event=value)
            )
            assert (channel.release() if name == "release" else channel.settle(outcome)) == may
            if may:
                told = held or (name, value)
    assert channel.settled == (told is not None)
    kind, last = told or ("settle", -1)
    channel.settle(Outcome(result="-1", event=-1))
    if held is not None and told is None:
        kind, last = held
    assert [channel.next() for _ in events] == events
    if kind == "settle":
        assert channel.next() == last
        assert read(channel) == []
        assert channel.result() == str(last)
    else:
        for ask in (channel.next, channel.result):
            with pytest.raises(ValueError, match=str(last)):
                ask()


@given(st.lists(st.tuples(st.sampled_from(["push", "read"]), st.integers(0, 9)), max_size=40))
def test_events_that_were_packed_come_as_if_they_were_not(calls: list[tuple[str, int]]) -> None:
    """However pushes and reads follow one another, the events are all there, and in order."""
    packs: list[int] = []

    def pack(events: Sequence[int]) -> list[int]:
        packs.append(len(events))
        return [*events]

    channel = Ints(pack)
    pushed: list[int] = []
    got: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_channel, "_PACKED_TOGETHER", 8)
        for what, count in calls:
            if what == "push":
                new = range(len(pushed), len(pushed) + count)
                channel.push_all(new)
                pushed += new
            else:
                got += [channel.next() for _ in range(min(count, len(pushed) - len(got)))]
            assert len(channel._items) < len(packs) + 8
        channel.settle(Outcome(result="done"))
        assert got + read(channel) == pushed
    assert all(size >= 8 for size in packs)


# Races.


def test_of_many_ends_at_once_one_wins() -> None:
    """When many threads settle at once, one says it was the first, and its outcome stands."""

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


def test_a_push_that_races_with_the_end_is_whole_or_nothing() -> None:
    """Events that were pushed before the end all arrive, in order, and none comes behind it."""

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
    """Where push() has returned before settle() is called elsewhere, the event is delivered."""

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


def test_releasing_races_with_settling() -> None:
    """Whether the held outcome is released or overtaken by a cancel, it is told, and once."""

    def one_round() -> None:
        channel = Ints()
        readers = Readers(channel)
        channel.hold(Outcome(result="held", event=1))
        won: list[bool] = []
        race(
            lambda: won.append(channel.release()),
            lambda: won.append(channel.settle(Outcome(failure=ValueError("cancel")))),
            lambda: won.append(channel.release()),
        )
        assert sorted(won) == [False, False, True]
        assert readers.finish() == [1]
        assert channel.result(0) == "held"

    timer_thread().start()
    for _ in range(100):
        one_round()


def test_an_end_in_the_middle_of_a_push_comes_behind_the_event() -> None:
    """An event that is just being pushed when the end comes is read before the end."""
    timer_thread().start()
    channel = Ints()

    class Slow(collections.deque[int]):
        def extend(self, items: Iterable[int]) -> None:
            race(lambda: channel.settle(Outcome(result="done", event=2)))
            had_its_chance = threading.Event()
            timer_thread().soon(had_its_chance.set)
            assert not had_its_chance.wait(0.1)  # it waits for this push
            super().extend(items)

    channel._items = channel._queue.queue = Slow()
    channel.push(1)
    assert read(channel) == [1, 2]


def test_an_end_in_the_middle_of_another_does_nothing() -> None:
    """A handler that settles in the midst of the same thread's settling is not the first."""
    channel = Ints()
    inner: list[bool] = []

    class Interrupted(Outcome[int, str]):
        __slots__ = ()

        @property
        def failure(self) -> None:  # type: ignore[override]
            inner.append(channel.settle(Outcome(result="inner", event=2)))

        @failure.setter
        def failure(self, _: object) -> None:
            pass

    assert channel.settle(Interrupted(result="outer", event=1))
    assert not any(inner)
    assert inner
    assert channel.result(0) == "outer"
    assert read(channel) == [1]


def test_a_reader_that_comes_second_to_the_last_event_gets_the_end() -> None:
    """Of two readers that both see the last event, one gets it and the other the end."""
    channel = Ints()

    class Seen(list[int]):
        def __bool__(self) -> bool:
            return True

    channel._last_event = Seen()
    channel.settle(Outcome(result="done", event=1))
    assert channel.next() == 1
    with pytest.raises(StopIteration):
        channel.next()


# Settling where no lock may be waited for.


@pytest.mark.parametrize("lock", ["_queue.mutex", "_putting"])
def test_settling_under_a_lock_of_the_same_thread_does_not_wait(lock: str) -> None:
    """On top of a frame that holds a lock of the channel, settle() returns at once, and the
    readers are woken when the lock is free.
    """
    timer_thread().start()
    channel = Ints()
    channel.push(1)
    readers = Readers(channel, 3)
    results: list[str] = []
    waiter = threading.Thread(target=lambda: results.append(channel.result()))
    waiter.start()
    with functools.reduce(getattr, lock.split("."), channel):  # type: ignore[attr-defined]
        assert channel.settle(Outcome(result="done", event=2))
        assert channel.settled
        assert not channel.settle(Outcome(result="again"))
    assert sorted(readers.finish()) == [1, 2]
    waiter.join(LEFT)
    assert results == ["done"]


def test_settling_under_the_lock_of_another_thread_does_not_hang_either() -> None:
    """While another thread holds a lock, settle() returns, and the reader is woken afterwards."""
    timer_thread().start()
    channel = Ints()
    readers = Readers(channel)
    with channel._putting:
        race(lambda: channel.settle(Outcome(result="done")))
    assert readers.finish() == []


def test_a_stream_that_no_call_made_wakes_its_readers_too() -> None:
    """In a process without any deadline yet, an end that meets a taken lock wakes the reader."""
    code = """
import threading
from pi_native import EventStream
stream = EventStream()
reader = threading.Thread(target=list, args=(stream,), daemon=True)
reader.start()
with stream._channel._putting:  # as while another thread pushes
    stream.end("done")
reader.join(3)
raise SystemExit(reader.is_alive())
"""
    assert run(code).returncode == 0


@contextlib.contextmanager
def alarm(handler: Callable[[], object], first: float, interval: float = 0) -> Iterator[None]:
    """Within the block, the main thread is interrupted to run `handler`."""
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
def test_a_signal_handler_may_settle_under_a_blocked_reader(ask: str) -> None:
    """A handler that settles while the same thread waits for the channel sets it free."""
    timer_thread().start()
    channel = Ints()
    with alarm(lambda: channel.settle(Outcome(result="done", event=5)), 0.05):
        assert getattr(channel, ask)() in (5, "done")
    assert channel.result(0) == "done"


@needs_alarm
def test_a_signal_handler_may_settle_at_any_moment() -> None:
    """Wherever in pushing and reading a handler settles, the reader comes to the end."""
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
    """A KeyboardInterrupt breaks a wait at once, and leaves the channel as good as before."""
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
def test_a_signal_that_wakes_nobody_is_seen_all_the_same(ask: str) -> None:
    """A Ctrl-C that another thread takes, or that comes just before a wait, still breaks it."""
    channel = Ints()

    def interrupt_without_waking() -> None:
        while not channel._queue.not_empty._waiters and not channel._settled._waiters:  # type: ignore[attr-defined]
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
    """A child that asks for what a thread of its parent would bring is told so at once."""
    channel = Ints()

    def child() -> None:
        with pytest.raises(PiNativeError):
            getattr(channel, ask)()

    in_child(child)
    channel.settle(Outcome(result="done"))
    assert channel.result() == "done"
