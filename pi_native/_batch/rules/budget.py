"""A limit on what a batch may spend, and the account that keeps to it."""

from __future__ import annotations

import math
import warnings

import attrs

from ..._types.messages import Cost, Usage
from ...errors import ConfigurationError

_COUNTS = ("input", "output", "cache_read", "cache_write")
_OPTIONAL = ("premium_requests", "reasoning_tokens")
_PRICES = ("input", "output", "cache_read", "cache_write", "total")


@attrs.frozen
class Budget:
    """An amount of US dollars, of tokens, or of both.

    As an argument it limits a batch; each amount that is not None is a limit.

        >>> client = Client()
        >>> prompts = ["Why is the sky blue?", "Why is grass green?"]
        >>> batch = client.map("acme/parrot", prompts, budget=Budget(tokens=100_000))
        >>> [result.value for result in batch]
        ['Because of the air.', 'Because of the air.']
    """

    dollars: float | None = None
    tokens: int | None = None


def as_budget(value: float | Budget | None) -> Budget | None:
    """Return a `budget` argument; a number is dollars. Raises `ConfigurationError`."""
    if value is None:
        return None
    budget = value if isinstance(value, Budget) else Budget(dollars=value)
    amounts = [a for a in (budget.dollars, budget.tokens) if a is not None]
    if not amounts or not all(map(_is_amount, amounts)):
        raise ConfigurationError(
            f"budget must be a number of dollars or Budget(dollars=..., tokens=...) "
            f"with amounts of 0 or more, not {value!r:.60}"
        )
    return budget


def _is_amount(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value < math.inf  # type: ignore[operator]


class Account:
    """The spending of a batch, and the check that one more turn fits its budget.

    The mean cost of a turn is reserved for each turn in flight.
    """

    def __init__(self, limit: Budget | None) -> None:
        self._limit = limit
        self._turns = 0
        self._warned = False
        self.usage: Usage = Usage()

    @property
    def spent(self) -> Budget:
        """The dollars and the tokens that were spent so far."""
        return Budget(self.usage.cost.total, self.usage.total_tokens)

    def add(self, usage: Usage | None) -> None:
        """Count what a finished turn has used."""
        if usage is None:
            return
        tokens = tokens_of(usage)
        if not tokens and not (usage.cost and usage.cost.total):
            return  # a turn that was refused before it began
        self._turns += 1
        _add(self.usage, usage)

    def allows(self, running: int) -> bool:
        """Return True when one more turn, beside those in flight, stays within the budget."""
        if self._limit is None:
            return True
        spent = self.spent
        return self._fits(spent.dollars or 0.0, self._limit.dollars, running) and self._fits(
            spent.tokens or 0, self._limit.tokens, running
        )

    def warn_without_prices(self) -> None:
        """Issue one `UserWarning` when a turn was counted and a budget in dollars has no effect.

        A filter may turn it into an exception, so the caller keeps the turn's result first.
        """
        limited = self._limit is not None and self._limit.dollars is not None
        if limited and self._turns and not self._warned and not self.usage.cost.total:
            self._warned = True
            warnings.warn(
                "the gateway reports no cost for this model, so a budget in dollars limits "
                "nothing; use budget=Budget(tokens=...)",
                UserWarning,
                stacklevel=2,
            )

    def _fits(self, spent: float, limit: float | None, running: int) -> bool:
        if limit is None:
            return True
        mean = spent / self._turns if self._turns else 0.0
        # Sums of prices are rounded: a budget for exactly ten turns pays for ten.
        return spent < limit and spent + (running + 1) * mean <= limit * (1 + 1e-9)


def tokens_of(usage: Usage) -> int:
    """Return the tokens of a turn: the total, else the sum of its parts."""
    parts = (usage.input, usage.output, usage.cache_read, usage.cache_write)
    return usage.total_tokens or sum(part or 0 for part in parts)


def total_usage(usages: list[Usage]) -> Usage | None:
    """Return the sum of several usages; None when there is none."""
    if not usages:
        return None
    total = Usage()
    for usage in usages:
        _add(total, usage)
    return total


def _add(total: Usage, more: Usage) -> None:
    """Add the numbers of one usage to a total. A provider may leave any of them out."""
    for name in _COUNTS:
        setattr(total, name, getattr(total, name) + (getattr(more, name) or 0))
    total.total_tokens += tokens_of(more)
    for name in _OPTIONAL:
        if (value := getattr(more, name)) is not None:
            setattr(total, name, (getattr(total, name) or 0) + value)
    cost = more.cost or Cost()
    for name in _PRICES:
        setattr(total.cost, name, getattr(total.cost, name) + (getattr(cost, name) or 0))
