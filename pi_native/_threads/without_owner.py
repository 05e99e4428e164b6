"""Objects whose finaliser runs at once in the thread that drops the last reference.

On a free-threaded build each object belongs to the thread that made it. If another thread drops the
last reference, the finaliser waits until the owner runs Python code again: a dropped stream was
noticed after 4.5 s, while its owner slept, and the provider continued to bill. An object whose
owner has released it, while another thread refers to it, has no owner from then on.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from .timers import timer_thread

T = TypeVar("T")

# Not `sys._is_gil_enabled()`: such a build also counts this way when it runs with the GIL.
_HAS_OWNERS = "free-threading" in sys.version


def without_owner(make: Callable[[], T]) -> T:
    """Return `make()`, as an object that belongs to no thread."""
    if not _HAS_OWNERS or sys.is_finalizing():
        return make()
    return _made_in_timer_thread(make)


def _made_in_timer_thread(make: Callable[[], T]) -> T:
    made: list[T] = []
    ready = threading.Lock()
    ready.acquire()

    def work() -> None:
        try:
            made.append(make())
        finally:
            ready.release()

    thread = timer_thread()
    thread.start()
    thread.soon(work)
    ready.acquire()
    one = made[0]
    thread.soon(made.clear)  # the owner releases it
    return one
