"""The rules of a batch: when to start a turn, when to wait, what to do with a failure.

Pure: it has no thread and no clock. The caller gives the time, starts what `take` returns, and
reports each end, so that a simulation runs the same rules as an executor does. Times are in
seconds of one monotonic clock.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import attrs

from .budget import Account
from .verdict import Final, Refused, Retry, Verdict
from .window import Window

_BASE_SECONDS = 0.5
_LONGEST_BACKOFF = 8.0
_LONGEST_HOLD = 30.0
# On top of a hint: batches that were refused together do not return together. The window already
# limits how many turns of one batch return. 300 turns at 30 a second with hints of one second take
# 10.3 s without jitter, 10.6 s with 5 % and 12.4 s with the 20 % of a single turn (simulated).
_JITTER = 0.05


@attrs.define(eq=False)
class Item:
    """One prompt on its way: how often it was sent, and when it may be sent again."""

    index: int
    attempts: int = 0
    seconds: float = 0.0
    retries: int = 0
    not_before: float = 0.0
    epoch: int = 0


class Driver:
    """Decides what to start now, and what a failure means for its prompt and for the pace.

    * `window` limits the turns in flight; refusals make it smaller.
    * After a refusal nothing starts for the time of its hint, else for a growing pause.
    * A refused prompt is put back and does not use up its `retries`. Refusals for `patience`
      seconds without one success end the batch.
    """

    def __init__(
        self,
        concurrency: int,
        retries: int,
        patience: float,
        account: Account,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.window: Window = Window(concurrency)
        self.running: int = 0
        self.stopped: bool = False
        self.over_budget: bool = False
        self.out_of_patience: bool = False
        self._account = account
        self._retries = retries
        self._patience = patience
        self._uniform = uniform
        self._waiting: list[tuple[int, Item]] = []
        self._delayed: list[tuple[float, int, Item]] = []
        self._held_until = 0.0
        self._refused_since: float | None = None
        self._pauses = 0

    @property
    def waiting(self) -> int:
        """The number of prompts that were read and are not in flight."""
        return len(self._waiting) + len(self._delayed)

    def add(self, item: Item) -> None:
        """Accept a prompt that may start at once."""
        heapq.heappush(self._waiting, (item.index, item))

    def wants_item(self, now: float) -> bool:
        """Return True when a turn could start now and no prompt is waiting for that."""
        self._collect_due(now)
        return self._has_room(now) and not self._waiting

    def take(self, now: float) -> Item | None:
        """Return the prompt to send now, the oldest first, or None."""
        self._collect_due(now)
        if not self._waiting or not self._has_room(now):
            return None
        if not self._account.allows(self.running):
            if not self.running:  # no outcome can lower the mean any more
                self.over_budget = self.stopped = True
            return None
        _, item = heapq.heappop(self._waiting)
        item.epoch = self.window.epoch
        self.running += 1
        return item

    def wake_at(self, now: float) -> float | None:
        """Return the time at which something may start; None when that depends on outcomes only."""
        if self.stopped or self.running >= self.window.size:
            return None
        if now < self._held_until:
            return self._held_until
        return self._delayed[0][0] if self._delayed and not self._waiting else None

    def stop(self) -> None:
        """Start nothing from here on."""
        self.stopped = True

    def ended(self) -> None:
        """Report that a turn in flight has ended; its result is reported beside that."""
        self.running -= 1

    def succeeded(self, now: float) -> None:
        """Report an answered turn."""
        self.window.succeeded(now)
        self._refused_since = None
        self._pauses = 0

    def failed(self, item: Item, verdict: Verdict, now: float) -> bool:
        """Report a failed attempt; return True when the prompt is put back."""
        if isinstance(verdict, Refused):
            return self._put_back(item, verdict, now)
        if isinstance(verdict, Final):
            return False
        return self._retry_later(item, verdict, now)

    def _put_back(self, item: Item, refusal: Refused, now: float) -> bool:
        self._hold(refusal, self.window.refused(item.epoch, now), now)
        if self._refused_since is None:
            self._refused_since = now
        if self._held_until - self._refused_since > self._patience:
            self.out_of_patience = self.stopped = True
            return False
        self.add(item)
        return True

    def _hold(self, refusal: Refused, new_round: bool, now: float) -> None:
        if refusal.wait is not None:
            wait = refusal.wait
        elif new_round:
            self._pauses += 1
            wait = min(_LONGEST_HOLD, _BASE_SECONDS * 2.0 ** (self._pauses - 1))
        else:
            return
        self._held_until = max(self._held_until, now + wait * self._uniform(1.0, 1.0 + _JITTER))

    def _retry_later(self, item: Item, verdict: Retry, now: float) -> bool:
        limit = self._retries if verdict.limit is None else min(verdict.limit, self._retries)
        if item.retries >= limit:
            return False
        item.retries += 1
        longest = min(_LONGEST_BACKOFF, _BASE_SECONDS * 2.0 ** (item.retries - 1))
        item.not_before = now + longest * self._uniform(0.5, 1.0)
        heapq.heappush(self._delayed, (item.not_before, item.index, item))
        return True

    def _has_room(self, now: float) -> bool:
        return not self.stopped and self.running < self.window.size and now >= self._held_until

    def _collect_due(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self.add(heapq.heappop(self._delayed)[2])
