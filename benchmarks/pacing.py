"""Sends any number of wires at their own pace, from one thread.

A thread for each would spend the machine's time on fighting for the interpreter's lock: with 200 of
them, the server and not the client was what fell behind.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator

Write = Callable[[bytes], object]


class Paced:
    """One wire: an event every `gap` seconds, made when it is due."""

    def __init__(self, events: Iterator[bytes], write: Write, gap: float) -> None:
        self._events = events
        self._write = write
        self._finished = threading.Event()
        self._failure: OSError | None = None
        self.gap = gap

    def step(self) -> bool:
        """Send the next event; returns whether there may be more."""
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
        """Block until all is sent. Raises the `OSError` of a client that went away."""
        self._finished.wait()
        if self._failure is not None:
            raise self._failure


class Pacer:
    """The thread, which is there as long as there is something to send."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Paced]] = []
        self._order = itertools.count()
        self._running = False

    def send(self, paced: Paced) -> None:
        """Have a wire sent from now on; returns at once."""
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
        """What is to be sent now; None when there is nothing left at all."""
        with self._changed:
            while self._due:
                left = self._due[0][0] - time.monotonic()
                if left <= 0:
                    due, _, paced = heapq.heappop(self._due)
                    return due, paced
                self._changed.wait(left)
            self._running = False
            return None
