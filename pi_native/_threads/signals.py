"""The signal that a caller passes to a turn: an `AbortSignal`, a plain event, or None."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from .abort import AbortSignal
from .timers import watch_event

CallerSignal: TypeAlias = AbortSignal | threading.Event | None


def is_set(signal: CallerSignal) -> bool:
    """Return whether the caller has aborted, even if no thread has noticed it yet."""
    if isinstance(signal, AbortSignal):
        return signal.aborted
    return signal is not None and signal.is_set()


def reason_of(signal: CallerSignal) -> object:
    """Return the reason of an abort; an event has none."""
    return signal.reason if isinstance(signal, AbortSignal) else None


def on_abort(signal: CallerSignal, action: Callable[[object], object]) -> Callable[[], None] | None:
    """Call `action(reason)` when the caller aborts; return a function that stops listening."""
    if signal is None:
        return None
    if isinstance(signal, AbortSignal):
        return signal.add_listener(lambda: action(signal.reason))
    return watch_event(signal, lambda: action(None))
