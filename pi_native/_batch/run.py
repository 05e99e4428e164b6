"""One run of a batch: it drives the executor from the caller's thread, and orders the results.

Nothing runs between two calls of `next`, except the turns in flight and the saving of their
answers. The decisions are the driver's; this is where they meet the clock and the executor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs

from .._threads.abort import AbortSignal, as_exception
from .._threads.clock import monotonic
from ..errors import AbortError, BudgetError
from .display import Display
from .flights import Flight, Flights
from .progress import Progress
from .result import BatchResult
from .rules.budget import Account
from .rules.driver import Driver, Item
from .rules.verdict import verdict_of
from .saving.save_file import SaveFile
from .source import Entry, Source

# A prompt is read at most this many times the concurrency ahead of the oldest open one.
_READ_AHEAD = 4
_LONGEST_WAIT = 0.5  # the main thread runs signal handlers, and the save file is synced
_EVENT_POLL = 0.05  # for a plain threading.Event as the signal


@attrs.define(eq=False, kw_only=True)
class Plan:
    """The parts of a run, made and checked before it starts."""

    source: Source
    driver: Driver
    account: Account
    flights: Flights
    concurrency: int
    ordered: bool
    keep_errors: bool
    save: SaveFile | None = None
    signal: AbortSignal | threading.Event | None = None
    display: Display | None = None
    value_of: Callable[[Any], Any]


class Run:
    """The state of a batch while it runs. One thread calls `next`; any thread may call `stop`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._source = plan.source
        self._driver = plan.driver
        self._flights = plan.flights
        self._entries: dict[int, Entry] = {}
        self._results: dict[int, BatchResult[Any]] = {}
        self._next_index = 0
        self._done = self._failed = self._reused = 0
        self._failure: BaseException | None = None
        self._failed_index: int | None = None
        self._cancelled = False
        self._closed = False
        self._forget_signal = self._listen(plan.signal)

    @property
    def progress(self) -> Progress:
        """The state of the run at this moment."""
        return Progress(
            done=self._done,
            reused=self._reused,
            failed=self._failed,
            running=self._driver.running,
            waiting=self._driver.waiting,
            total=self._source.total,
            cost=self._plan.account.usage.cost.total,
            window=self._driver.window.size,
        )

    def next(self) -> BatchResult[Any]:
        """Return the next result. Raises the run's failure after the last one."""
        try:
            return self._next()
        except StopIteration:
            raise
        except BaseException:  # Ctrl-C, the caller's callback, or the failure itself
            self.stop()
            self.close()
            raise

    def stop(self) -> None:
        """Cancel what runs and start nothing more; what is done stays."""
        self._cancelled = True
        self._driver.stop()
        self._flights.cancel()
        self._flights.wake()

    def close(self) -> None:
        """Release the pool, the save file, the signal and the display. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._forget_signal()
        if self._cancelled:
            self._flights.wait_for_cancelled()
        self._collect()
        self._flights.close()
        if self._plan.display is not None:
            self._plan.display.close()

    def abandon(self) -> None:
        """Cancel and release without waiting: this may run in a finalizer."""
        self._closed = True
        self.stop()
        self._forget_signal()
        self._flights.close(wait=False)

    def _next(self) -> BatchResult[Any]:
        while not self._closed:
            self._check_signal()
            self._collect()
            self._fill()
            if (result := self._take_ready()) is not None:
                return result
            if self._is_over():
                self.close()
            else:
                self._wait()
        if (result := self._take_left()) is not None:
            return result
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        raise StopIteration

    # Starting

    def _fill(self) -> None:
        """Start what may start now, and read prompts for it."""
        while not self._driver.stopped:
            now = monotonic()
            if (item := self._driver.take(now)) is not None:
                self._flights.submit(self._entries[item.index], item)
            elif self._driver.wants_item(now) and self._may_read():
                self._read()
            else:
                break
        if self._driver.over_budget and self._failure is None:
            self._failure = self._budget_error()

    def _may_read(self) -> bool:
        if self._source.exhausted:
            return False
        open_count = len(self._entries) + len(self._results)
        if self._plan.ordered:
            open_count = self._source.read_count - self._next_index
        return open_count < _READ_AHEAD * self._plan.concurrency

    def _read(self) -> None:
        try:
            entry = self._source.read()
        except Exception as exc:  # noqa: BLE001 - the caller's iterable, or a bad prompt
            self._fail(exc)
            return
        if entry is None:
            return
        if entry.saved is None:
            self._entries[entry.index] = entry
            self._driver.add(Item(entry.index))
            return
        self._reused += 1
        value = self._plan.value_of(entry.saved)
        self._store(BatchResult(entry.index, entry.prompt, value, entry.saved, reused=True))

    # Ending

    def _collect(self) -> None:
        """Take in the units that have ended."""
        # One by one: the caller's callback may raise between two of them.
        while (flight := self._flights.next_ended()) is not None:
            self._driver.ended()
            self._judge(flight)
            self._plan.account.warn_without_prices()
        if self._plan.save is not None:
            self._plan.save.sync_if_due()

    def _judge(self, flight: Flight) -> None:
        outcome, item = flight.outcome, flight.item
        item.attempts += outcome.attempts
        item.seconds += outcome.seconds
        self._plan.account.add(outcome.usage)
        if flight.fault is not None:
            self._fail(flight.fault)
        if outcome.cancelled:
            self._fail(AbortError("a worker was interrupted"))
        elif outcome.error is not None:
            self._judge_error(flight, outcome.error)
        elif outcome.attempts or flight.fault is None:
            self._driver.succeeded(monotonic())
            value = (
                outcome.value if outcome.message is None else self._plan.value_of(outcome.message)
            )
            self._store(self._result(flight, value=value))

    def _judge_error(self, flight: Flight, error: BaseException) -> None:
        verdict = verdict_of(error, flight.outcome.seconds)
        if self._driver.failed(flight.item, verdict, monotonic()):
            return
        if self._driver.out_of_patience:
            self._fail(error)
            return
        self._failed += 1
        entry = flight.entry
        if self._plan.save is not None and entry.key is not None:
            self._plan.save.add_error(entry.key, entry.index, error)
        if self._plan.keep_errors:
            self._store(self._result(flight, error=error))
        else:
            self._done += 1
            self._fail(error, entry.index)

    def _result(
        self, flight: Flight, value: Any = None, error: BaseException | None = None
    ) -> BatchResult[Any]:
        entry, item = flight.entry, flight.item
        return BatchResult(
            entry.index,
            entry.prompt,
            value,
            flight.outcome.message,
            error,
            item.attempts,
            item.seconds,
        )

    def _store(self, result: BatchResult[Any]) -> None:
        self._entries.pop(result.index, None)
        self._results[result.index] = result
        self._done += 1
        if self._plan.display is not None:
            self._plan.display.update(self.progress)

    def _fail(self, failure: BaseException, index: int | None = None) -> None:
        """Keep the first failure, to be raised after the results; start nothing more."""
        self._driver.stop()
        if self._failure is None and not self._cancelled:
            self._failure, self._failed_index = failure, index
            if index is not None and hasattr(failure, "add_note"):
                failure.add_note(f"This was prompt {index} of the batch.")

    def _budget_error(self) -> BudgetError:
        left = self._driver.waiting
        if self._source.total is not None:
            left = max(left, self._source.total - self._done)
        spent = self._plan.account.spent
        text = (
            f"the budget is used up: ${spent.dollars:,.4f} and {spent.tokens:,} tokens "
            f"were spent, at least {left:,} prompts are left; raise the budget, and use save= to "
            "keep what was paid for"
        )
        return BudgetError(text, spent=spent, left=left)

    # Handing out

    def _take_ready(self) -> BatchResult[Any] | None:
        """Return the next result in order; in any order, the first that is there."""
        index = self._next_index
        if not self._plan.ordered:
            index = next(iter(self._results), -1)
        result = self._results.pop(index, None)
        if result is not None:
            self._next_index += 1
        return result

    def _take_left(self) -> BatchResult[Any] | None:
        """Return the next result after the end: prompts without an answer leave gaps."""
        index = min(self._results, default=None)
        if index is None:
            return None
        if self._plan.ordered and self._failed_index is not None and index > self._failed_index:
            self._results.clear()  # they are saved; what follows a failure is not handed out
            return None
        return self._results.pop(index)

    def _is_over(self) -> bool:
        if self._cancelled:
            return True
        if self._driver.running:
            return False
        return self._driver.stopped or (self._source.exhausted and not self._driver.waiting)

    # Waiting and cancelling

    def _wait(self) -> None:
        longest = _LONGEST_WAIT
        if self._plan.signal is not None and not isinstance(self._plan.signal, AbortSignal):
            longest = _EVENT_POLL
        now = monotonic()
        wake_at = self._driver.wake_at(now)
        self._flights.wait(longest if wake_at is None else min(longest, wake_at - now))

    def _listen(self, signal: Any) -> Callable[[], None]:
        if not isinstance(signal, AbortSignal):
            return lambda: None
        flights = self._flights  # not the run: a signal may outlive a batch that was dropped
        return signal.add_listener(flights.wake)

    def _check_signal(self) -> None:
        signal = self._plan.signal
        if signal is None or self._cancelled:
            return
        if isinstance(signal, AbortSignal):
            aborted, reason = signal.aborted, signal.reason
        else:
            aborted, reason = signal.is_set(), None
        if aborted:
            self._fail(as_exception(reason))
            self.stop()
