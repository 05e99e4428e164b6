"""Budgets and sums of usages."""

from __future__ import annotations

import pytest

from pi_native import Cost, Usage
from pi_native._batch.rules.budget import total_usage

ONE = Usage(
    input=1,
    output=2,
    cache_read=3,
    cache_write=4,
    total_tokens=10,
    cost=Cost(input=0.25, output=0.5, cache_read=1, cache_write=2, total=3.75),
    premium_requests=1.5,
    reasoning_tokens=2,
)


@pytest.mark.parametrize("times", [1, 3])
def test_every_number_of_a_usage_is_added(times: int) -> None:
    """Each count and each price of the sum is the sum of those of the turns."""
    total = total_usage([ONE] * times)
    assert total is not None
    for name in (
        *("input", "output", "cache_read", "cache_write", "total_tokens"),
        *("premium_requests", "reasoning_tokens"),
    ):
        assert getattr(total, name) == times * getattr(ONE, name), name
    for name in ("input", "output", "cache_read", "cache_write", "total"):
        assert getattr(total.cost, name) == times * getattr(ONE.cost, name), name


def test_a_number_that_no_provider_reports_stays_absent() -> None:
    """Without a value in any usage, an optional number of the sum is None and not 0."""
    total = total_usage([Usage(input=1), Usage(input=2)])
    assert total is not None
    assert (total.input, total.reasoning_tokens, total.premium_requests) == (3, None, None)


def test_a_usage_without_a_total_counts_its_parts() -> None:
    """Providers that leave `totalTokens` out are counted by the sum of the other counts."""
    total = total_usage([Usage(input=1, output=2), ONE])
    assert total is not None
    assert total.total_tokens == 13


def test_no_usage_has_no_sum() -> None:
    """The sum of no usages is None."""
    assert total_usage([]) is None
