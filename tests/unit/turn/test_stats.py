"""What is measured of a turn, by a clock that the test moves."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import attrs
import pytest

from pi_native import (
    AssistantMessage,
    AssistantMessageEventStream,
    StreamStats,
    from_wire,
    to_wire,
)
from pi_native._turn.stats import StatsRecorder
from pi_native._types.events import AssistantMessageEvent


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


A_TURN = StreamStats(
    attempts=1,
    time_to_headers=0.5,
    time_to_first_event=1.0,
    time_to_first_text=3.0,
    duration=6.0,
    events=7,
    bytes=300,
    tokens_per_second=25.0,
)


@pytest.fixture
def clock() -> Clock:
    """The clock by which the meter measures."""
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> StatsRecorder:
    """A meter that has begun its first attempt."""
    meter = StatsRecorder(clock)
    meter.begin_attempt()
    return meter


def events(*kinds: str) -> list[AssistantMessageEvent]:
    """Events of these kinds."""
    members: dict[str, Any] = {"contentIndex": 0, "delta": "x", "content": "x", "partial": {}}
    return [from_wire({"type": kind, **members}, AssistantMessageEvent) for kind in kinds]


def saw(meter: StatsRecorder, clock: Clock, *kinds: str, news: bool = True) -> bool:
    """Have the meter note a read that brought these events now, as the turn does."""
    meter.events += len(kinds)
    return meter.saw(events(*kinds), clock(), news=news)


def test_a_turn_from_call_to_end(meter: StatsRecorder, clock: Clock) -> None:
    """Each time counts from the call; the speed from the first event with content on."""
    clock.seconds += 0.5
    meter.headers_in()
    clock.seconds += 0.5
    assert saw(meter, clock, "start", news=False)
    meter.bytes += 100
    clock.seconds += 1
    assert not saw(meter, clock, "thinking_start", "thinking_delta")
    clock.seconds += 1
    saw(meter, clock, "text_start", "text_delta")
    meter.bytes += 200
    clock.seconds += 3
    saw(meter, clock, "text_delta", "text_end")
    meter.stop(100)
    clock.seconds += 5
    meter.stop(7)
    assert meter.stats() == A_TURN


def test_while_it_runs_the_duration_grows(meter: StatsRecorder, clock: Clock) -> None:
    """What has not happened yet is None, and there is no speed before the usage is known."""
    clock.seconds += 1
    assert meter.stats() == StreamStats(attempts=1, duration=1.0)
    saw(meter, clock, "text_delta")
    clock.seconds += 1
    saw(meter, clock, "text_delta")
    stats = meter.stats()
    assert (stats.duration, stats.events, stats.tokens_per_second) == (2.0, 2, None)


@pytest.mark.parametrize("output", [None, 0])
def test_there_is_no_speed_without_usage(
    meter: StatsRecorder, clock: Clock, output: int | None
) -> None:
    """A gateway that does not count tokens gives none to divide."""
    for _ in range(2):
        saw(meter, clock, "text_delta")
        clock.seconds += 1
    meter.stop(output)
    assert meter.stats().tokens_per_second is None


def test_an_answer_that_comes_at_once_has_no_speed(meter: StatsRecorder, clock: Clock) -> None:
    """What one read brought tells nothing about how fast it was made."""
    clock.seconds += 1
    saw(meter, clock, "start", "text_delta")
    clock.seconds += 0.0001
    meter.stop(1000)
    assert meter.stats().tokens_per_second is None


def test_another_attempt_begins_anew_but_for_the_time(meter: StatsRecorder, clock: Clock) -> None:
    """What the failed one had brought is forgotten; the wait is in the times."""
    meter.headers_in()
    saw(meter, clock, "start", news=False)
    meter.bytes += 100
    clock.seconds += 10
    meter.begin_attempt()
    assert meter.stats() == StreamStats(attempts=2, duration=10.0)
    clock.seconds += 1
    saw(meter, clock, "text_delta")
    assert meter.stats().time_to_first_event == 11.0
    assert meter.stats().events == 1


def test_it_is_said_in_a_line() -> None:
    """What is not known is left out."""
    assert str(StreamStats(duration=1.256, events=1200)) == "1.26 s, 1,200 events, 0 bytes"
    every = attrs.evolve(A_TURN, attempts=2, bytes=52312, tokens_per_second=33.333)
    assert str(every) == (
        "6.00 s, first event after 1.00 s, first text after 3.00 s, 7 events, 52,312 bytes, "
        "33.3 tokens/s, 2 attempts"
    )


def test_a_stream_without_a_producer_has_nothing_to_tell() -> None:
    """Such as one that was made in a test."""
    assert AssistantMessageEventStream().stats == StreamStats()


def test_a_messages_stats_stay_on_this_side() -> None:
    """They make no difference to what is sent, or equal; a copy and a pickle have them."""
    message = AssistantMessage([], timestamp=1)
    plain = copy.deepcopy(message)
    message.stats = StreamStats(events=3)
    assert message == plain
    assert to_wire(message) == to_wire(plain)
    assert repr(message) == repr(plain)
    for other in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert other.stats == message.stats
    read = from_wire({**to_wire(plain), "stats": {"of": "theirs"}}, AssistantMessage)
    assert read.stats is None
    assert to_wire(read)["stats"] == {"of": "theirs"}
