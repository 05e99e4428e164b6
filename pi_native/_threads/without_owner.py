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
    _run_in_timer_thread(lambda: made.append(make()))
    one = made[0]
    # The owner releases it here. Waited for, so that no finaliser runs in the timer thread.
    _run_in_timer_thread(made.clear)
    return one


def _run_in_timer_thread(action: Callable[[], object]) -> None:
    """Run the action, and wait for its end."""
    done = threading.Lock()
    done.acquire()

    def run() -> None:
        try:
            action()
        finally:
            done.release()

    thread = timer_thread()
    thread.start()
    thread.soon(run)
    done.acquire()
