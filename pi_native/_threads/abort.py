"""Cancelling: a controller aborts, and its signal passes that on to threads and listeners.

The names and rules are those of the web's `AbortController`: the first reason stays, and a listener
runs once, in the thread that aborts, or at once when the signal has aborted before.

There is no lock: `abort()` may run in a signal handler or a finaliser, on top of any method here in
the same thread. The reason, the listeners and the waiting threads are entries of one dict, and each
step is one atomic operation on it. So of an `abort()` and a new listener at the same time at least
one sees the other, with and without the GIL.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import AbortError
from .clock import monotonic

_log = logging.getLogger("pi_native")
# The main thread looks for signals this often: CPython misses one that comes just before a wait
# (2 of 700 on a busy machine), and on Windows no signal ends a wait for a lock.
_LOOK_SECONDS = 0.2

_REASON = "reason"

_schedule: Callable[[float, Callable[[], None]], object] | None = None


def set_clock(schedule: Callable[[float, Callable[[], None]], object]) -> None:
    """Set the function that runs another one after some seconds; this module has no clock."""
    global _schedule
    _schedule = schedule


def as_exception(reason: object) -> BaseException:
    """Return the reason if it is an exception, else an `AbortError` with it."""
    if isinstance(reason, BaseException):
        return reason
    return AbortError("aborted" if reason is None else str(reason), reason=reason)


class _Waiter:
    """The key of a thread in `wait`, which is woken before any listener runs."""

    __slots__ = ()


class AbortSignal:
    """Says whether its controller has aborted, and why. Any number of threads may share it."""

    def __init__(self) -> None:
        self._entries: dict[object, Any] = {}
        self._sources: list[AbortSignal] = []
        self._kept: dict[int, AbortSignal] = {}

    @property
    def aborted(self) -> bool:
        """True once the controller has aborted."""
        return _REASON in self._entries

    @property
    def reason(self) -> object:
        """The argument of `abort()`; None before it, or without one."""
        return self._entries.get(_REASON)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the abort, at most `timeout` seconds; return whether it has happened."""
        woken = threading.Lock()
        woken.acquire()
        waiter = _Waiter()
        self._entries[waiter] = woken.release
        try:
            if not self.aborted:
                _wait_for(woken, timeout)
        finally:
            self._entries.pop(waiter, None)
        return self.aborted

    def throw_if_aborted(self) -> None:
        """Raise the reason after an abort: an exception as it is, else an `AbortError`."""
        if self.aborted:
            raise as_exception(self.reason)

    def add_listener(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call `listener()` once, when the signal aborts; return a function that removes it.

        It runs in the thread that aborts, and at once if the signal has aborted already. For
        `AbortSignal.timeout` that is a thread of its own. An exception is logged, so that the other
        listeners run; anything else, such as `SystemExit`, is raised after they have run.
        """
        key = object()
        self._entries[key] = listener
        for source in self._sources:
            source._kept[id(self)] = self
        if self.aborted:
            self._call(key)
            self._release_without_listeners()

        def remove() -> None:
            self._entries.pop(key, None)
            self._release_without_listeners()

        return remove

    @classmethod
    def timeout(cls, seconds: float) -> AbortSignal:
        """Return a signal that aborts after `seconds`, with a `TimeoutError` as its reason.

        The `TimeoutError` is raised by the call that has the signal, not here.

            >>> signal = AbortSignal.timeout(0.01)
            >>> signal.wait(60), signal.reason
            (True, TimeoutError('timed out after 0.01 s'))
        """
        if _schedule is None:
            raise RuntimeError("there is no clock yet: import pi_native, not its modules")
        signal = cls()
        reason = TimeoutError(f"timed out after {seconds:g} s")
        _schedule(seconds, lambda: _abort_in_a_thread(signal, reason))
        return signal

    @classmethod
    def any(cls, signals: Iterable[AbortSignal]) -> AbortSignal:
        """Return a signal that aborts when the first of `signals` does, with its reason.

        If one of them has aborted already, so has the result.

            >>> button = AbortController()
            >>> either = AbortSignal.any([button.signal, AbortSignal.timeout(300)])
            >>> button.abort("enough")
            >>> either.reason
            'enough'
        """
        derived = cls()
        for source in signals:
            _follow(source, derived)
        return derived

    def _abort(self, reason: object) -> None:
        try:
            self._entries.setdefault(_REASON, reason)
            self._publish()
        except BaseException:
            # Ctrl-C, or a listener's SystemExit. Every step can be repeated, and an entry that was
            # called is gone, so this ends.
            if self.aborted:
                self._abort(reason)
            raise

    def _publish(self) -> None:
        for key in list(self._entries):
            if isinstance(key, _Waiter):
                self._call(key)
        while keys := [key for key in list(self._entries) if key is not _REASON]:
            for key in keys:
                self._call(key)
        self._release_without_listeners()

    def _call(self, key: object) -> None:
        listener = self._entries.pop(key, None)
        if listener is None:
            return
        try:
            listener()
        except Exception:  # noqa: BLE001 - a listener is the caller's code
            _log.exception("an abort listener raised")

    def _release_without_listeners(self) -> None:
        if all(key is _REASON or isinstance(key, _Waiter) for key in list(self._entries)):
            for source in self._sources:
                source._kept.pop(id(self), None)

    def __repr__(self) -> str:
        state = f"aborted, reason={self.reason!r}" if self.aborted else "not aborted"
        return f"<AbortSignal: {state}>"


class AbortController:
    """Aborts its `signal`, which is passed to what should stop, for example to turns.

    One controller may stop any number of turns.

        >>> controller = AbortController()
        >>> controller.abort("the user has left")  # at any time, from any thread
        >>> Client().stream("acme/slow", "Why?", signal=controller.signal).result()
        Traceback (most recent call last):
        pi_native.errors.AbortError: the user has left
    """

    def __init__(self) -> None:
        self.signal: AbortSignal = AbortSignal()

    def abort(self, reason: object = None) -> None:
        """Abort. May be called from any thread and from signal handlers; the first call counts."""
        self.signal._abort(reason)


def _wait_for(woken: threading.Lock, timeout: float | None) -> None:
    """Wait until the lock is released, at most `timeout` seconds."""
    end = None if timeout is None else monotonic() + timeout
    in_main_thread = threading.current_thread() is threading.main_thread()
    longest = _LOOK_SECONDS if in_main_thread else threading.TIMEOUT_MAX
    while True:
        left = longest if end is None else min(longest, max(0.0, end - monotonic()))
        if woken.acquire(timeout=left) or (end is not None and monotonic() >= end):
            return


def _abort_in_a_thread(signal: AbortSignal, reason: BaseException) -> None:
    """Abort outside of the timer thread, where a slow listener would delay every timeout."""
    thread = threading.Thread(
        target=_abort_and_log, args=(signal, reason), name="abort-timeout", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:  # no thread can be started: a late timeout is better than none
        _abort_and_log(signal, reason)


def _abort_and_log(signal: AbortSignal, reason: BaseException) -> None:
    try:
        signal._abort(reason)
    except BaseException:  # noqa: BLE001 - SystemExit of a listener: no caller could catch it
        _log.exception("an abort listener raised")


def _follow(source: AbortSignal, derived: AbortSignal) -> None:
    """Abort `derived` with `source`, which keeps it alive only while it has listeners.

    A program's one signal may outlive thousands of calls, each with a signal derived from it.
    """
    derived._sources.append(source)
    weak = weakref.ref(derived)

    def pass_on() -> None:
        target = weak()
        if target is not None:
            target._abort(source.reason)

    weakref.finalize(derived, source.add_listener(pass_on)).atexit = False
