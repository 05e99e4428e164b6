"""The units in flight: given to the executor, and collected with their outcomes.

An answer is saved in the thread that reports it, so that a slow reader of the batch loses nothing.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import queue
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future

import attrs

from .._threads.abort import AbortController
from .._threads.clock import monotonic
from .attempt_client import ClientHandle
from .executors import own_executor
from .rules.driver import Item
from .saving.save_file import SaveFile
from .source import Entry
from .work import Outcome, WorkUnit, run_unit

_CANCEL_SECONDS = 2.0


@attrs.define(eq=False)
class Flight:
    """One unit on its way, and its outcome once it has ended."""

    entry: Entry
    item: Item
    outcome: Outcome = attrs.field(factory=Outcome)
    fault: BaseException | None = None  # of the executor or of the save file, not of the prompt


class Flights:
    """Submits units and collects their ends. `executor` None: an own pool of threads."""

    def __init__(
        self,
        executor: Executor | None,
        concurrency: int,
        handle: ClientHandle,
        save: SaveFile | None,
    ) -> None:
        self._own = None if executor is not None else own_executor(concurrency)
        self._executor = executor if executor is not None else self._own
        self._handle = handle
        self._save = save
        self._variables = contextvars.copy_context()
        self._controller = AbortController()
        self._inbox: queue.SimpleQueue[Flight | None] = queue.SimpleQueue()
        self._ended: collections.deque[Flight] = collections.deque()
        self._futures: dict[Flight, Future[Outcome]] = {}
        # No lock: `cancel` may run in a signal handler, on top of any of these methods.
        self._unsaved: set[Flight] = set()
        self._closed = False

    def submit(self, entry: Entry, item: Item) -> None:
        """Give one unit to the executor. A broken executor is a fault of the flight."""
        flight = Flight(entry, item)
        unit = WorkUnit(
            item.index,
            item.attempts,
            self._handle,
            entry.call,
            self._controller.signal,
            self._variables.copy(),
        )
        self._unsaved.add(flight)
        try:
            assert self._executor is not None
            future = self._executor.submit(run_unit, unit)
        except Exception as exc:  # noqa: BLE001 - an executor may raise anything
            flight.fault = exc
            self._report(flight)
            return
        self._futures[flight] = future
        future.add_done_callback(lambda done: self._done(flight, done))

    def wait(self, seconds: float) -> None:
        """Block until a unit ends, `wake` is called, or the time is over."""
        with contextlib.suppress(queue.Empty):
            self._take(self._inbox.get(timeout=max(0.0, seconds)))

    def wake(self) -> None:
        """End a `wait`, from any thread or signal handler."""
        self._inbox.put(None)

    def next_ended(self) -> Flight | None:
        """Return a unit that has ended, each once; None when there is none now."""
        with contextlib.suppress(queue.Empty):
            while not self._ended:
                self._take(self._inbox.get_nowait())
        return self._ended.popleft() if self._ended else None

    def cancel(self) -> None:
        """Cancel the turns in this process, and what no worker has begun."""
        self._controller.abort("the batch was stopped")
        for future in list(self._futures.values()):
            future.cancel()

    def wait_for_cancelled(self) -> None:
        """Wait until the own threads have ended what was cancelled, for a limited time."""
        deadline = monotonic() + _CANCEL_SECONDS
        while self._own is not None and self._futures and monotonic() < deadline:
            self.wait(deadline - monotonic())

    def close(self, wait: bool = True) -> None:
        """Release the own pool and the save file; the file stays open until the last unit ends."""
        if self._own is not None:
            self._own.shutdown(wait=wait and not self._futures, cancel_futures=True)
        self._handle.release()
        self._closed = True
        self._close_save()

    def _take(self, flight: Flight | None) -> None:
        if flight is not None:
            self._futures.pop(flight, None)
            self._ended.append(flight)

    def _done(self, flight: Flight, future: Future[Outcome]) -> None:
        """Note how a unit ended, in whatever thread the executor reports it."""
        try:
            flight.outcome = future.result()
        except BrokenExecutor as exc:
            flight.fault = exc
        except CancelledError:
            flight.outcome = Outcome(cancelled=True)
        except BaseException as exc:  # noqa: BLE001 - a unit that could not be pickled, for example
            flight.outcome = Outcome(error=exc)
        self._report(flight)

    def _report(self, flight: Flight) -> None:
        try:
            self._save_answer(flight)
        except Exception as exc:  # noqa: BLE001 - a full disk, most often
            flight.fault = exc
        self._unsaved.discard(flight)
        self._inbox.put(flight)
        self._close_save()

    def _save_answer(self, flight: Flight) -> None:
        message, key = flight.outcome.message, flight.entry.key
        if self._save is not None and key is not None and message is not None:
            self._save.add_message(key, flight.entry.index, message)

    def _close_save(self) -> None:
        if self._closed and not self._unsaved and self._save is not None:
            self._save.close()
