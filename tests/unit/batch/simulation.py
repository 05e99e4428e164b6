"""A simulated gateway for the driver: its own clock, its own limit, no thread."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from pi_native import Usage
from pi_native._batch.rules.budget import Account, Budget
from pi_native._batch.rules.driver import Driver, Item
from pi_native._batch.rules.verdict import Refused, Verdict

Answer = Callable[[float, int], "tuple[float, Verdict | None]"]


class Simulation:
    """Runs a driver against a function that answers a start with a duration and a verdict."""

    def __init__(
        self,
        answer: Answer,
        *,
        concurrency: int = 32,
        retries: int = 4,
        patience: float = 600.0,
        budget: Budget | None = None,
        cost: float = 0.0,
    ) -> None:
        self.account = Account(budget)
        self.driver = Driver(
            concurrency, retries, patience, self.account, uniform=lambda low, high: (low + high) / 2
        )
        self.now = 0.0
        self.starts: list[tuple[float, int]] = []
        self.answered: list[int] = []
        self.failed: list[int] = []
        self.refused = 0
        self.most_running = 0
        self._answer = answer
        self._cost = cost
        self._ends: list[tuple[float, int, Item, Verdict | None]] = []
        self._order = 0

    def run(self, count: int) -> None:
        """Run so many prompts to the end, or until the driver stops."""
        for index in range(count):
            self.driver.add(Item(index))
        while True:
            self._start()
            wake_at = self.driver.wake_at(self.now)
            if self._ends and (wake_at is None or self._ends[0][0] <= wake_at):
                self._end()
            elif wake_at is not None and not self.driver.stopped:
                assert wake_at > self.now
                self.now = wake_at
            else:
                return

    def _start(self) -> None:
        while (item := self.driver.take(self.now)) is not None:
            self.starts.append((self.now, item.index))
            self.most_running = max(self.most_running, self.driver.running)
            seconds, verdict = self._answer(self.now, item.index)
            self._order += 1
            heapq.heappush(self._ends, (self.now + seconds, self._order, item, verdict))

    def _end(self) -> None:
        self.now, _, item, verdict = heapq.heappop(self._ends)
        self.driver.ended()
        if verdict is None:
            usage = Usage(input=10, total_tokens=10)
            usage.cost.total = self._cost
            self.account.add(usage)
            self.account.warn_without_prices()
            self.driver.succeeded(self.now)
            self.answered.append(item.index)
            return
        self.refused += isinstance(verdict, Refused)
        if not self.driver.failed(item, verdict, self.now):
            self.failed.append(item.index)


class Limiter:
    """A gateway that answers so many turns in each second, and refuses the rest at once."""

    def __init__(self, rate: int, seconds: float, hint: float | None) -> None:
        self._rate = rate
        self._seconds = seconds
        self._hint = hint
        self._counts: dict[int, int] = {}

    def __call__(self, now: float, index: int) -> tuple[float, Verdict | None]:
        """Answer one start."""
        second = int(now)
        self._counts[second] = self._counts.get(second, 0) + 1
        if self._counts[second] > self._rate:
            return 0.002, Refused(self._hint)
        return self._seconds * (1 + index % 7 / 20), None
