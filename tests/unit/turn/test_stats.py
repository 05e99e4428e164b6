"""The statistics of a turn, with a clock that the test advances."""

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
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return the current time."""
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
    """Return the clock of the recorder."""
    return Clock()


@pytest.fixture
def recorder(clock: Clock) -> StatsRecorder:
    """Return a recorder that has begun its first attempt."""
    recorder = StatsRecorder(clock)
    recorder.begin_attempt()
    return recorder


def events(*kinds: str) -> list[AssistantMessageEvent]:
    """Return events of these kinds."""
    members: dict[str, Any] = {"contentIndex": 0, "delta": "x", "content": "x", "partial": {}}
    return [from_wire({"type": kind, **members}, AssistantMessageEvent) for kind in kinds]


def saw(recorder: StatsRecorder, clock: Clock, *kinds: str, news: bool = True) -> bool:
    """Record a read that returned these events now, as the turn does."""
    recorder.events += len(kinds)
    return recorder.saw(events(*kinds), clock(), news=news)


def test_a_turn_from_call_to_end(recorder: StatsRecorder, clock: Clock) -> None:
    """Times count from the call, and the speed from the first event with content."""
    clock.seconds += 0.5
    recorder.headers_in()
    clock.seconds += 0.5
    assert saw(recorder, clock, "start", news=False)
    recorder.bytes += 100
    clock.seconds += 1
    assert not saw(recorder, clock, "thinking_start", "thinking_delta")
    clock.seconds += 1
    saw(recorder, clock, "text_start", "text_delta")
    recorder.bytes += 200
    clock.seconds += 3
    saw(recorder, clock, "text_delta", "text_end")
    recorder.stop(100)
    clock.seconds += 5
    recorder.stop(7)
    assert recorder.stats() == A_TURN


def test_while_it_runs_the_duration_grows(recorder: StatsRecorder, clock: Clock) -> None:
    """Later values are None, and there is no speed before the usage is known."""
    clock.seconds += 1
    assert recorder.stats() == StreamStats(attempts=1, duration=1.0)
    saw(recorder, clock, "text_delta")
    clock.seconds += 1
    saw(recorder, clock, "text_delta")
    stats = recorder.stats()
    assert (stats.duration, stats.events, stats.tokens_per_second) == (2.0, 2, None)


@pytest.mark.parametrize("output", [None, 0])
def test_there_is_no_speed_without_usage(
    recorder: StatsRecorder, clock: Clock, output: int | None
) -> None:
    """Without output tokens in the usage there is no speed."""
    for _ in range(2):
        saw(recorder, clock, "text_delta")
        clock.seconds += 1
    recorder.stop(output)
    assert recorder.stats().tokens_per_second is None


def test_an_answer_of_one_read_has_no_speed(recorder: StatsRecorder, clock: Clock) -> None:
    """Content that arrives in one read has no speed, because its duration is unknown."""
    clock.seconds += 1
    saw(recorder, clock, "start", "text_delta")
    clock.seconds += 0.0001
    recorder.stop(1000)
    assert recorder.stats().tokens_per_second is None


def test_another_attempt_resets_all_except_the_start(recorder: StatsRecorder, clock: Clock) -> None:
    """The values of the failed attempt are cleared; the times include the wait."""
    recorder.headers_in()
    saw(recorder, clock, "start", news=False)
    recorder.bytes += 100
    clock.seconds += 10
    recorder.begin_attempt()
    assert recorder.stats() == StreamStats(attempts=2, duration=10.0)
    clock.seconds += 1
    saw(recorder, clock, "text_delta")
    assert recorder.stats().time_to_first_event == 11.0
    assert recorder.stats().events == 1


def test_the_text_has_one_line() -> None:
    """`str()` leaves out unknown values."""
    assert str(StreamStats(duration=1.256, events=1200)) == "1.26 s, 1,200 events, 0 bytes"
    every = attrs.evolve(A_TURN, attempts=2, bytes=52312, tokens_per_second=33.333)
    assert str(every) == (
        "6.00 s, first event after 1.00 s, first text after 3.00 s, 7 events, 52,312 bytes, "
        "33.3 tokens/s, 2 attempts"
    )


def test_a_stream_without_a_producer_has_empty_statistics() -> None:
    """A stream that a test makes has empty statistics."""
    assert AssistantMessageEventStream().stats == StreamStats()


def test_the_stats_of_a_message_are_not_sent() -> None:
    """They affect neither the request nor equality; a copy and a pickle have them."""
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
