"""Send any number of wires at their own pace, from one thread.

With a thread for each of 200 wires the server itself was too slow, because the threads wait for the
interpreter's lock.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator

Write = Callable[[bytes], object]


class Paced:
    """One wire: an event every `gap` seconds, created when it is due."""

    def __init__(self, events: Iterator[bytes], write: Write, gap: float) -> None:
        self._events = events
        self._write = write
        self._finished = threading.Event()
        self._failure: OSError | None = None
        self.gap = gap

    def step(self) -> bool:
        """Send the next event; return whether there may be more."""
        try:
            event = next(self._events, None)
            if event is not None:
                self._write(event)
                return True
        except OSError as exc:
            self._failure = exc
        self._finished.set()
        return False

    def wait(self) -> None:
        """Block until all events are sent; raise the `OSError` if the client disconnects."""
        self._finished.wait()
        if self._failure is not None:
            raise self._failure


class Pacer:
    """A thread that runs as long as there are events to send."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Paced]] = []
        self._order = itertools.count()
        self._running = False

    def send(self, paced: Paced) -> None:
        """Start to send a wire, without blocking."""
        with self._changed:
            self._plan(time.monotonic() + paced.gap, paced)
            self._changed.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, daemon=True).start()

    def _plan(self, due: float, paced: Paced) -> None:
        heapq.heappush(self._due, (due, next(self._order), paced))

    def _run(self) -> None:
        while following := self._wait():
            due, paced = following
            if paced.step():
                with self._changed:
                    self._plan(due + paced.gap, paced)

    def _wait(self) -> tuple[float, Paced] | None:
        """Wait for the next event that is due; return None when no wire is left."""
        with self._changed:
            while self._due:
                left = self._due[0][0] - time.monotonic()
                if left <= 0:
                    due, _, paced = heapq.heappop(self._due)
                    return due, paced
                self._changed.wait(left)
            self._running = False
            return None
