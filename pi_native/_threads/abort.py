"""Cancelling, as a value that can be handed around: a controller aborts, its signal tells.

The names and rules are those of the web's `AbortController`, on top of `threading.Event`. The first
reason stays; a listener runs once, in the aborting thread, or at once when it comes too late.

There is no lock here: `abort()` may be called from a signal handler or a finaliser, which can run
in the middle of any of these methods, in the same thread. Who is first is decided by taking a lock
that is never given back, and a listener belongs to whoever pops it from the dict; both are atomic.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable

from ..errors import AbortError

_log = logging.getLogger("pi_native")

_schedule: Callable[[float, Callable[[], None]], object] | None = None


def set_clock(schedule: Callable[[float, Callable[[], None]], object]) -> None:
    """Hand in what runs a function after so many seconds; this module owns no clock."""
    global _schedule
    _schedule = schedule


def as_exception(reason: object) -> BaseException:
    """The exception that a reason becomes: itself, or an `AbortError` that says it."""
    if isinstance(reason, BaseException):
        return reason
    return AbortError("aborted" if reason is None else str(reason), reason=reason)


class AbortSignal:
    """Tells whether its controller has aborted, and why. Safe to share between threads."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._waiting: list[int] = []  # the threads that are in `wait`
        self._first = threading.Lock()
        self._aborted = False
        self._reason: object = None
        self._listeners: dict[object, Callable[[], object]] = {}
        self._sources: list[AbortSignal] = []
        self._kept: dict[int, AbortSignal] = {}

    @property
    def aborted(self) -> bool:
        """Whether it has happened."""
        return self._aborted

    @property
    def reason(self) -> object:
        """What was given to `abort()`; None before it, or when nothing was given."""
        return self._reason

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it happens, at most `timeout` seconds; returns whether it has."""
        self._waiting.append(threading.get_ident())
        try:
            self._event.wait(timeout)
        finally:
            self._waiting.remove(threading.get_ident())
        return self._aborted

    def throw_if_aborted(self) -> None:
        """Raise the reason if it has happened: an exception as it is, else an `AbortError`."""
        if self._aborted:
            raise as_exception(self._reason)

    def add_listener(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have `listener()` called once when it happens; returns a function that takes it back.

        It runs in the thread that aborts; here and now if that has happened already. What it
        raises is logged, so that one listener cannot keep the others from hearing.
        """
        key = object()
        self._listeners[key] = listener
        for source in self._sources:
            source._kept[id(self)] = self
        if self._aborted:
            self._tell(key)
            self._let_go_if_unheard()

        def remove() -> None:
            self._listeners.pop(key, None)
            self._let_go_if_unheard()

        return remove

    @classmethod
    def timeout(cls, seconds: float) -> AbortSignal:
        """A signal that aborts by itself after `seconds`, with a `TimeoutError` as its reason.

        Raises nothing here: what it was given to raises that `TimeoutError`.

            >>> signal = AbortSignal.timeout(0.01)
            >>> signal.wait(60), signal.reason
            (True, TimeoutError('timed out after 0.01 s'))
        """
        if _schedule is None:
            raise RuntimeError("no clock: import pi_native, not its parts")
        signal = cls()
        reason = TimeoutError(f"timed out after {seconds:g} s")
        _schedule(seconds, lambda: signal._abort(reason))
        return signal

    @classmethod
    def any(cls, signals: Iterable[AbortSignal]) -> AbortSignal:
        """A signal that aborts when the first of `signals` does, with that one's reason.

        It has aborted already if one of them has.

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
        if not self._first.acquire(blocking=False):
            return
        self._reason = reason
        self._aborted = True
        self._wake_waiting()
        while self._listeners:
            for key in list(self._listeners):
                self._tell(key)
        self._let_go_if_unheard()

    def _wake_waiting(self) -> None:
        # On top of a `wait` in this thread, `set` would wait for the lock which that may hold.
        if _schedule is not None and threading.get_ident() in self._waiting:
            _schedule(0, self._event.set)
        else:
            self._event.set()

    def _let_go_if_unheard(self) -> None:
        if not self._listeners:
            for source in self._sources:
                source._kept.pop(id(self), None)

    def _tell(self, key: object) -> None:
        listener = self._listeners.pop(key, None)
        if listener is None:
            return
        try:
            listener()
        except Exception:  # noqa: BLE001 - a listener is the caller's code
            _log.exception("an abort listener raised")

    def __repr__(self) -> str:
        state = f"aborted, reason={self._reason!r}" if self._aborted else "not aborted"
        return f"<AbortSignal: {state}>"


class AbortController:
    """The one who may abort; give `signal` to what should stop.

    One controller may stop any number of turns.

        >>> controller = AbortController()
        >>> controller.abort("the user has left")  # at any time, from any thread
        >>> Client().stream("acme/slow", "Why?", signal=controller.signal).result()
        Traceback (most recent call last):
        pi_native.errors.AbortError: the user has left
    """

    def __init__(self) -> None:
        self.signal = AbortSignal()

    def abort(self, reason: object = None) -> None:
        """Abort. Returns at once, may be called from any thread, and only the first call counts."""
        self.signal._abort(reason)


def _follow(source: AbortSignal, derived: AbortSignal) -> None:
    """Abort `derived` with `source`, which keeps it alive only while it has listeners.

    A program's one signal outlives thousands of calls, each with a signal derived from it.
    """
    derived._sources.append(source)
    weak = weakref.ref(derived)

    def pass_on() -> None:
        target = weak()
        if target is not None:
            target._abort(source.reason)

    weakref.finalize(derived, source.add_listener(pass_on)).atexit = False
