"""Threads that do something at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable

_LEFT = 20.0  # seconds in which whatever is to happen has happened


def race(*actions: Callable[[], object]) -> None:
    """Run each action in a thread of its own, all at once, and wait for them."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        start.wait(_LEFT)
        action()

    threads = [threading.Thread(target=run, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_LEFT)
        assert not thread.is_alive(), "one of them never came to its end"
