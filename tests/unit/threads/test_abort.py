"""Abort signals: the first reason stays, and each listener is called once."""

from __future__ import annotations

import functools
import gc
import logging
import pickle
import signal
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from pi_native import AbortController, AbortError, AbortSignal
from pi_native._threads.abort import _Waiter, as_exception

from ...programs import run
from ..races import race

# Listening and aborting.


def test_a_signal_begins_not_aborted() -> None:
    """A new signal is not aborted, has no reason, raises nothing and blocks no thread."""
    fresh = AbortController().signal
    assert not fresh.aborted
    assert fresh.reason is None
    fresh.throw_if_aborted()
    assert not fresh.wait(0)


@pytest.mark.parametrize("reason", [None, "enough", 0, ValueError("x"), ("a", 1)])
def test_a_signal_has_its_reason(reason: object) -> None:
    """An aborted signal is `aborted`, and its reason is the object that was passed."""
    controller = AbortController()
    controller.abort(reason)
    assert controller.signal.aborted
    assert controller.signal.reason is reason
    assert controller.signal.wait(0)


def test_the_first_reason_stays() -> None:
    """A second abort changes nothing and calls no listener again."""
    controller = AbortController()
    heard: list[object] = []
    controller.signal.add_listener(lambda: heard.append(controller.signal.reason))
    controller.abort("first")
    controller.abort("second")
    controller.abort()
    assert controller.signal.reason == "first"
    assert heard == ["first"]


def test_of_many_threads_one_aborts() -> None:
    """When many threads abort at once, one reason stays and each listener runs once."""

    def one_round() -> None:
        controller = AbortController()
        heard: list[object] = []
        for _ in range(3):
            controller.signal.add_listener(lambda: heard.append(controller.signal.reason))
        race(*(functools.partial(controller.abort, number) for number in range(8)))
        assert heard == [controller.signal.reason] * 3
        assert controller.signal.reason in range(8)

    for _ in range(50):
        one_round()


def test_listeners_run_in_the_aborting_thread() -> None:
    """A listener has run, in the thread that aborts, when abort() returns."""
    controller = AbortController()
    ran_in: list[threading.Thread] = []
    controller.signal.add_listener(lambda: ran_in.append(threading.current_thread()))
    thread = threading.Thread(target=controller.abort)
    thread.start()
    thread.join()
    assert ran_in == [thread]


def test_a_late_listener_runs_at_once() -> None:
    """A listener added after the abort runs at once, and once only."""
    controller = AbortController()
    controller.abort()
    ran_in: list[threading.Thread] = []
    remove = controller.signal.add_listener(lambda: ran_in.append(threading.current_thread()))
    assert ran_in == [threading.current_thread()]
    remove()
    controller.abort()
    assert len(ran_in) == 1


def test_a_listener_sees_the_signal_aborted() -> None:
    """Within a listener the signal is aborted already, also for threads that wait for it."""
    controller = AbortController()
    seen: list[tuple[bool, bool]] = []
    controller.signal.add_listener(
        lambda: seen.append((controller.signal.aborted, controller.signal.wait(0)))
    )
    controller.abort()
    assert seen == [(True, True)]


def test_a_listener_can_be_removed() -> None:
    """A listener that was removed, even twice, is not called, and the others are."""
    controller = AbortController()
    heard: list[str] = []
    remove = controller.signal.add_listener(lambda: heard.append("taken back"))
    controller.signal.add_listener(lambda: heard.append("kept"))
    remove()
    remove()
    controller.abort()
    remove()
    assert heard == ["kept"]


def test_the_same_function_may_listen_twice() -> None:
    """Two registrations of one function are two listeners, of which one can be removed."""
    controller = AbortController()
    heard: list[str] = []

    def listener() -> None:
        heard.append("heard")

    controller.signal.add_listener(listener)
    remove = controller.signal.add_listener(listener)
    controller.signal.add_listener(listener)
    remove()
    controller.abort()
    assert heard == ["heard", "heard"]


def test_a_listener_can_remove_another() -> None:
    """A listener that an earlier one removes is not called."""
    controller = AbortController()
    heard: list[str] = []
    taken: list[Callable[[], None]] = []
    controller.signal.add_listener(lambda: taken[0]())
    taken.append(controller.signal.add_listener(lambda: heard.append("taken back")))
    controller.abort()
    assert heard == []


def test_a_listener_that_a_listener_adds_is_called() -> None:
    """A listener that is added while the others are called is called at once."""
    controller = AbortController()
    heard: list[str] = []
    controller.signal.add_listener(
        lambda: controller.signal.add_listener(lambda: heard.append("inner"))
    )
    controller.signal.add_listener(lambda: heard.append("outer"))
    controller.abort()
    assert heard == ["inner", "outer"]


def test_a_listener_added_while_the_signal_aborts_is_called_once() -> None:
    """Adding listeners races with aborting, and each listener is still called exactly once."""

    def one_round() -> None:
        controller = AbortController()
        calls: list[int] = []

        def listen() -> None:
            for index in range(20):
                controller.signal.add_listener(functools.partial(calls.append, index))

        race(listen, controller.abort)
        assert sorted(calls) == list(range(20))

    for _ in range(200):
        one_round()


def test_an_exception_of_a_listener_is_logged_and_the_others_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An exception of a listener is logged, and reaches neither the caller nor other listeners."""
    controller = AbortController()
    heard: list[str] = []
    controller.signal.add_listener(lambda: heard.append("before"))
    controller.signal.add_listener(lambda: 1 / 0)
    controller.signal.add_listener(lambda: heard.append("after"))
    with caplog.at_level(logging.ERROR, logger="pi_native"):
        controller.abort()
        controller.signal.add_listener(lambda: [][0])
    assert heard == ["before", "after"]
    assert [record.name for record in caplog.records] == ["pi_native"] * 2
    assert "ZeroDivisionError" in caplog.text
    assert "IndexError" in caplog.text


# Waiting and raising.


def test_wait_returns_true_after_the_abort() -> None:
    """wait() returns False after its timeout, and True once the signal aborts."""
    controller = AbortController()
    assert not controller.signal.wait(0.001)
    woken: list[bool] = []
    waiting = threading.Thread(target=lambda: woken.append(controller.signal.wait()))
    waiting.start()
    controller.abort()
    waiting.join(5)
    assert woken == [True]


def test_throw_if_aborted_raises_an_exception_as_it_is() -> None:
    """A reason that is an exception is raised itself, not wrapped."""
    reason = KeyError("mine")
    controller = AbortController()
    controller.abort(reason)
    with pytest.raises(KeyError) as raised:
        controller.signal.throw_if_aborted()
    assert raised.value is reason


@pytest.mark.parametrize(
    ("reason", "text"), [(None, "aborted"), ("enough", "enough"), (7, "7"), ("", "")]
)
def test_any_other_reason_becomes_an_abort_error(reason: object, text: str) -> None:
    """A reason that is no exception is raised as an AbortError that shows it and holds it."""
    controller = AbortController()
    controller.abort(reason)
    with pytest.raises(AbortError) as raised:
        controller.signal.throw_if_aborted()
    assert str(raised.value) == text
    assert raised.value.reason is reason


def test_an_exception_class_is_not_an_exception() -> None:
    """A class given as the reason becomes an AbortError, as it cannot be raised as it is."""
    assert isinstance(as_exception(KeyError), AbortError)


def test_the_repr_shows_the_state() -> None:
    """The repr of a signal shows its state and its reason."""
    controller = AbortController()
    assert repr(controller.signal) == "<AbortSignal: not aborted>"
    controller.abort("enough")
    assert repr(controller.signal) == "<AbortSignal: aborted, reason='enough'>"


# Signals made of others.


def test_any_follows_the_first() -> None:
    """A signal of several aborts with the first of them, with its reason, and keeps it."""
    one, other = AbortController(), AbortController()
    derived = AbortSignal.any([one.signal, other.signal])
    assert not derived.aborted
    other.abort("other")
    assert derived.aborted
    assert derived.reason == "other"
    one.abort("one")
    assert derived.reason == "other"


def test_any_of_an_aborted_one_is_aborted() -> None:
    """A signal made of one that has aborted has aborted too, with the first such reason."""
    fresh, first, second = AbortController(), AbortController(), AbortController()
    second.abort("second")
    first.abort("first")
    derived = AbortSignal.any([fresh.signal, first.signal, second.signal])
    assert derived.aborted
    assert derived.reason == "first"


def test_any_takes_any_iterable() -> None:
    """Signals may come from a generator; of none at all, the signal never aborts."""
    controller = AbortController()
    derived = AbortSignal.any(signal for signal in [controller.signal])
    controller.abort("enough")
    assert derived.reason == "enough"
    assert not AbortSignal.any([]).aborted


def test_any_can_be_nested() -> None:
    """An abort passes through a signal that only the derived signal holds."""
    controller, never = AbortController(), AbortController()
    derived = AbortSignal.any([AbortSignal.any([controller.signal]), never.signal])
    gc.collect()
    controller.abort("deep")
    assert derived.reason == "deep"


def test_a_derived_signal_is_not_kept_alive() -> None:
    """A derived signal is freed when dropped, and its source keeps no listener of it."""
    source = AbortController()
    derived = AbortSignal.any([source.signal])
    gone = weakref.ref(derived)
    before = len(source.signal._entries)
    del derived
    gc.collect()
    assert gone() is None
    assert len(source.signal._entries) == before - 1
    source.abort()
    assert source.signal.aborted


def test_a_source_is_freed_with_its_last_derived_signal() -> None:
    """A source that only a derived signal needs lives as long as that one, and no longer."""
    source = AbortController().signal
    derived = AbortSignal.any([source])
    gone = weakref.ref(source)
    del source
    gc.collect()
    assert gone() is not None
    del derived
    gc.collect()
    assert gone() is None


def test_a_derived_signal_that_is_listened_to_stays() -> None:
    """A listener is called on a source's abort even if only the source holds the signal."""
    source = AbortController()
    heard: list[str] = []
    AbortSignal.any([source.signal]).add_listener(lambda: heard.append("heard"))
    gc.collect()
    source.abort()
    assert heard == ["heard"]


def test_a_derived_signal_without_listeners_is_freed() -> None:
    """Removing its last listener, or aborting, releases a signal that has no other reference."""
    source, other = AbortController(), AbortController()
    derived = AbortSignal.any([source.signal, other.signal])
    removes = [derived.add_listener(int), derived.add_listener(int)]
    second = AbortSignal.any([source.signal, other.signal])
    second.add_listener(int)
    gone, second_gone = weakref.ref(derived), weakref.ref(second)
    del derived, second
    removes.pop()()
    gc.collect()
    assert gone() is not None
    removes.pop()()
    gc.collect()
    assert gone() is None
    assert second_gone() is not None
    other.abort()
    gc.collect()
    assert second_gone() is None


def test_a_late_listener_keeps_nothing_alive() -> None:
    """A listener added after the abort does not make the other sources hold the signal."""
    source, other = AbortController(), AbortController()
    derived = AbortSignal.any([source.signal, other.signal])
    other.abort()
    derived.add_listener(int)
    gone = weakref.ref(derived)
    del derived
    gc.collect()
    assert gone() is None


def test_many_derived_signals_do_not_leak() -> None:
    """A thousand calls with one long-lived signal do not grow it."""
    source = AbortController()
    for _ in range(1000):
        AbortSignal.any([source.signal, AbortController().signal])
    gc.collect()
    assert len(source.signal._entries) < 10


def test_a_derived_signal_can_be_dropped_during_the_abort() -> None:
    """A signal that is finalised while its source aborts does not affect the others."""
    source = AbortController()
    kept = AbortSignal.any([source.signal])
    dropped = [AbortSignal.any([source.signal])]
    later = AbortSignal.any([source.signal])
    kept.add_listener(dropped.clear)
    source.abort("all")
    assert (kept.reason, later.reason) == ("all", "all")


# Timeouts.


def test_timeout_aborts_by_itself() -> None:
    """A timeout signal aborts after its time, with a TimeoutError that states the time."""
    signal = AbortSignal.timeout(0.01)
    assert signal.wait(10)
    assert isinstance(signal.reason, TimeoutError)
    assert str(signal.reason) == "timed out after 0.01 s"
    with pytest.raises(TimeoutError):
        signal.throw_if_aborted()


def test_timeout_is_not_early() -> None:
    """A timeout signal does not abort before its time."""
    assert not AbortSignal.timeout(600).wait(0.02)


def test_timeout_can_be_combined() -> None:
    """A timeout signal works as one of several."""
    derived = AbortSignal.any([AbortController().signal, AbortSignal.timeout(0.01)])
    assert derived.wait(10)
    assert isinstance(derived.reason, TimeoutError)


def test_without_a_clock_a_timeout_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """timeout() raises if no clock was set, instead of never aborting."""
    monkeypatch.setattr("pi_native._threads.abort._schedule", None)
    with pytest.raises(RuntimeError, match="import pi_native"):
        AbortSignal.timeout(1)


# Aborts from signal handlers, finalisers and other unusual places.


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_abort_from_a_signal_handler() -> None:
    """A signal handler may abort while the interrupted thread waits for the same signal."""
    controller = AbortController()
    heard: list[str] = []
    controller.signal.add_listener(lambda: heard.append("heard"))
    before = signal.signal(signal.SIGUSR1, lambda *_: controller.abort("handler"))
    waiting, done = threading.Event(), threading.Event()

    def poke() -> None:
        waiting.wait()
        # Python does not handle a signal that arrives just before the wait for the lock.
        while not done.wait(0.05):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    thread = threading.Thread(target=poke)
    thread.start()
    try:
        waiting.set()
        assert controller.signal.wait(10)
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert controller.signal.reason == "handler"
    assert heard == ["heard"]


def run_with(
    act: Callable[[], object], at: int, functions: tuple[str, ...], run: Callable[[], object]
) -> bool:
    """Run `run()`, and `act()` before line `at` of these functions; return true if it ran."""
    lines = 0

    def trace(frame: types.FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code.co_name not in functions or not frame.f_code.co_filename.endswith(
            "abort.py"
        ):
            return None
        if event == "line":
            lines += 1
            if lines == at:
                act()
        return trace

    before = sys.gettrace()
    gc.disable()  # an interrupt in a finalizer is reported, and raised nowhere
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
        gc.enable()
    return lines >= at


def test_abort_by_a_signal_handler_at_every_line_of_wait() -> None:
    """A signal handler that aborts anywhere within `wait` ends that wait."""
    line = 1
    while True:
        controller = AbortController()
        woken: list[bool] = []
        ran = run_with(
            lambda c=controller: c.abort("handler"),  # type: ignore[misc]
            line,
            ("wait", "_wait_for"),
            lambda c=controller, w=woken: w.append(c.signal.wait(0.05)),  # type: ignore[misc]
        )
        if not ran:
            break
        assert woken == [True]
        line += 1
    assert line > 5


def test_an_interrupt_at_any_line_of_abort_leaves_no_thread_waiting() -> None:
    """If Ctrl-C comes after the decision, waiting threads are woken and listeners called.

    Only the listener that the interrupt stops may be missing.
    """
    line = 1
    while True:
        controller = AbortController()
        heard: list[int] = []
        for number in range(3):
            controller.signal.add_listener(functools.partial(heard.append, number))
        woken = threading.Lock()
        woken.acquire()
        controller.signal._entries[_Waiter()] = woken.release

        def interrupt() -> None:
            raise KeyboardInterrupt

        abort = functools.partial(controller.abort, "enough")
        try:
            ran = run_with(interrupt, line, ("_abort", "_publish", "_call"), abort)
        except KeyboardInterrupt:
            ran = True
        if not ran:
            break
        if controller.signal.aborted:
            missing = 3 - len(heard) + (not woken.acquire(blocking=False))
            assert missing <= 1, f"line {line}"
            assert controller.signal.wait(0)
        line += 1
    assert line > 10


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_a_listener_that_raises_system_exit_does_not_stop_the_others(
    raised: type[BaseException],
) -> None:
    """`SystemExit` of a listener reaches the caller of `abort()` after the others have run."""
    controller = AbortController()
    heard: list[str] = []

    def leave() -> None:
        raise raised

    controller.signal.add_listener(lambda: heard.append("before"))
    controller.signal.add_listener(leave)
    controller.signal.add_listener(leave)
    controller.signal.add_listener(lambda: heard.append("after"))
    with pytest.raises(raised):
        controller.abort()
    assert heard == ["before", "after"]


def test_threads_that_wait_are_woken_before_listeners_run() -> None:
    """A slow listener does not delay a thread that waits for the signal."""
    controller = AbortController()
    woken = threading.Event()
    entered = threading.Event()

    def wait() -> None:
        entered.set()
        controller.signal.wait(20)
        woken.set()

    controller.signal.add_listener(lambda: woken.wait(20))
    waiter = threading.Thread(target=wait)
    waiter.start()
    assert entered.wait(20)
    began = time.monotonic()
    controller.abort()
    waiter.join(20)
    assert time.monotonic() - began < 10


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_abort_from_a_signal_handler_during_every_method() -> None:
    """Handlers that abort during listening, removing and aborting cause no deadlock."""
    current = [AbortController()]
    before = signal.signal(signal.SIGALRM, lambda *_: current[0].abort("handler"))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0003)
    interrupted = 0
    try:
        while interrupted < 50:
            controller = current[0] = AbortController()
            calls: list[int] = []
            for index in range(30):
                controller.signal.add_listener(functools.partial(calls.append, index))
                controller.signal.add_listener(int)()
            controller.abort("own")
            assert sorted(calls) == list(range(30))
            interrupted += controller.signal.reason == "handler"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 50


def test_abort_from_a_finaliser() -> None:
    """An object's finaliser may abort, also during another abort."""
    controller = AbortController()

    class Owner:
        def __del__(self) -> None:
            controller.abort("finaliser")

    owner = [Owner()]
    heard: list[object] = []
    controller.signal.add_listener(owner.clear)
    controller.signal.add_listener(lambda: heard.append(controller.signal.reason))
    controller.abort("own")
    assert owner == []
    assert heard == ["own"]


@pytest.mark.slow
def test_signals_do_not_affect_interpreter_exit() -> None:
    """A process that exits with live signals, derived ones and timeouts prints nothing."""
    code = (
        "from pi_native import AbortController, AbortSignal\n"
        "c = AbortController()\n"
        "d = AbortSignal.any([c.signal, AbortSignal.timeout(100)])\n"
    )
    ended = run(code, flags=("-W", "error"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_an_abort_error_keeps_its_reason_when_pickled() -> None:
    """A pickled AbortError keeps its reason."""
    copy = pickle.loads(pickle.dumps(as_exception("enough")))
    assert (type(copy), str(copy), copy.reason) == (AbortError, "enough", "enough")
