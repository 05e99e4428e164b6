"""The rules of a batch, in simulated time."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from pi_native._batch.rules.budget import Budget
from pi_native._batch.rules.verdict import Final, Refused, Retry, Verdict

from .simulation import Limiter, Simulation


@pytest.mark.parametrize(("seconds", "factor"), [(0.02, 1.1), (0.05, 1.1), (0.3, 1.5), (1.0, 1.5)])
def test_a_rate_limit_is_met_with_few_refusals(seconds: float, factor: float) -> None:
    """300 turns at 30 a second: at most 40 are refused, and short turns take 1.1 times the ideal.

    Long turns take longer, because the window grows by one a round after a cut.
    """
    simulation = Simulation(Limiter(30, seconds, hint=1.0))
    simulation.run(300)
    assert sorted(simulation.answered) == list(range(300))
    assert simulation.refused <= 40
    assert simulation.now <= factor * 10 + seconds


def test_refusals_without_a_hint_are_met_with_pauses() -> None:
    """Without a hint the batch still ends, and sends at most twice what is needed."""
    simulation = Simulation(Limiter(30, 0.05, hint=None))
    simulation.run(300)
    assert sorted(simulation.answered) == list(range(300))
    assert len(simulation.starts) < 600


def test_without_refusals_the_window_is_the_concurrency() -> None:
    """32 turns of one second at a time: 320 turns take ten seconds."""
    simulation = Simulation(lambda _now, _index: (1.0, None))
    simulation.run(320)
    assert simulation.most_running == 32
    assert simulation.now == pytest.approx(10.0)


def test_one_round_of_refusals_cuts_the_window_once() -> None:
    """32 refusals of one round cut it to 60 %, not to nothing; it grows by one a round."""
    simulation = Simulation(
        lambda now, _index: (0.1, Refused(1.0)) if now < 0.05 else (0.1, None), concurrency=32
    )
    simulation.run(32)
    assert simulation.refused == 32
    grown = simulation.driver.window.size
    assert 19 <= grown <= 22


def test_nothing_starts_within_the_time_of_a_hint() -> None:
    """A hint of 20 seconds is a pause of at least 20 seconds for every prompt."""
    simulation = Simulation(
        lambda now, index: (0.1, Refused(20.0) if now < 1 and index == 3 else None), concurrency=4
    )
    simulation.run(40)
    later = [start for start, _ in simulation.starts if start > 0.1]
    assert min(later) >= 20.1
    assert sorted(simulation.answered) == list(range(40))


@pytest.mark.parametrize("edge", [min, max], ids=["least", "most"])
def test_a_hint_is_obeyed_in_full_and_at_most_5_percent_longer(edge: Callable[..., float]) -> None:
    """The jitter is on top of the hint, and small: the window spreads the turns of a batch."""
    simulation = Simulation(lambda now, _index: (0.0, Refused(20.0) if now < 1 else None))
    simulation.driver._uniform = edge
    simulation.run(1)
    assert simulation.now == pytest.approx(edge(20.0, 21.0))


def test_refused_prompts_are_sent_first_after_the_pause() -> None:
    """A prompt that was put back is older than the unread ones, and goes before them."""
    simulation = Simulation(
        lambda now, index: (0.1, Refused(1.0) if now < 0.05 and index < 2 else None), concurrency=4
    )
    simulation.run(12)
    again = [index for start, index in simulation.starts if start > 0.5]
    assert again[:2] == [0, 1]


def test_refusals_use_up_patience_and_not_retries() -> None:
    """A gateway that refuses everything is asked until the patience is over."""
    simulation = Simulation(lambda _now, _index: (0.01, Refused(5.0)), retries=0, patience=60.0)
    simulation.run(100)
    assert simulation.driver.out_of_patience
    assert 50.0 <= simulation.now <= 60.0
    assert simulation.answered == []


def test_a_success_renews_the_patience() -> None:
    """Refusals that are mixed with answers never end a batch."""
    simulation = Simulation(
        lambda now, _index: (0.1, None if int(now) % 3 == 0 else Refused(1.0)),
        patience=8.0,
        concurrency=4,
    )
    simulation.run(60)
    assert sorted(simulation.answered) == list(range(60))


def test_a_hint_beyond_the_patience_ends_the_batch_at_once() -> None:
    """There is no use in waiting for less than the gateway asks for."""
    simulation = Simulation(lambda _now, _index: (0.01, Refused(3600.0)))
    simulation.run(100)
    assert simulation.driver.out_of_patience
    assert simulation.now < 1.0


@pytest.mark.parametrize(
    ("verdict", "sent"), [(Retry(), 5), (Retry(1), 2), (Retry(9), 5), (Final(), 1)]
)
def test_retries_are_limited_by_both_sides(verdict: Verdict, sent: int) -> None:
    """A failed turn is sent again `retries` times, or as often as its failure allows."""
    simulation = Simulation(lambda _now, _index: (0.1, verdict), retries=4)
    simulation.run(1)
    assert len(simulation.starts) == sent
    assert simulation.failed == [0]


def test_a_retry_waits_and_does_not_hold_the_others() -> None:
    """The pause before a retry grows, and other prompts are sent meanwhile."""
    simulation = Simulation(
        lambda now, index: (0.1, Retry() if index == 0 and now < 2 else None), concurrency=2
    )
    simulation.run(10)
    mine = [start for start, index in simulation.starts if index == 0]
    pauses = [after - before for before, after in itertools.pairwise(mine)]
    assert pauses == sorted(pauses)
    assert pauses[0] >= 0.25
    assert simulation.answered[-1] == 0


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_budget_is_kept_and_used(concurrency: int) -> None:
    """Ten turns of a dollar are made from a budget of ten, and none of eight is made from zero."""
    simulation = Simulation(
        lambda _now, _index: (1.0, None),
        concurrency=concurrency,
        budget=Budget(dollars=10.0),
        cost=1.0,
    )
    simulation.run(100)
    assert len(simulation.answered) == 10
    assert simulation.driver.over_budget
    nothing = Simulation(
        lambda _now, _index: (1.0, None), budget=Budget(dollars=0.0), cost=1.0, concurrency=8
    )
    nothing.run(100)
    assert nothing.starts == []


def test_until_a_cost_is_known_at_most_the_concurrency_starts() -> None:
    """A budget that is far too small costs no more than the first turns in flight."""
    simulation = Simulation(
        lambda _now, _index: (1.0, None), budget=Budget(tokens=15), concurrency=8
    )
    simulation.run(100)
    assert len(simulation.starts) == 8
    assert simulation.driver.over_budget


def test_a_dollar_budget_without_prices_warns_once_and_offers_tokens() -> None:
    """A provider that reports no cost makes a budget in dollars useless: one warning says so."""
    simulation = Simulation(lambda _now, _index: (1.0, None), budget=Budget(dollars=1.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulation.run(100)
    assert len(simulation.answered) == 100
    [warning] = caught
    assert "Budget(tokens=" in str(warning.message)


VERDICTS = st.sampled_from([None, None, None, Refused(0.5), Refused(None), Retry(), Final()])


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0.001, 3.0), VERDICTS), min_size=1, max_size=60),
    st.integers(1, 12),
)
def test_every_prompt_ends_once(script: list[tuple[float, Verdict | None]], most: int) -> None:
    """Whatever the gateway does, each prompt ends once, and never too many are in flight."""
    answers = iter(script)
    simulation = Simulation(
        lambda _now, _index: next(answers, (0.1, None)), concurrency=most, retries=2
    )
    simulation.run(20)
    assert sorted([*simulation.answered, *simulation.failed]) == list(range(20))
    assert simulation.most_running <= most
    assert simulation.driver.running == simulation.driver.waiting == 0
