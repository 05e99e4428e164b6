"""`stats` of a stream describes a turn over a real socket."""

from __future__ import annotations

import time

import pytest

from pi_native import (
    AbortController,
    AbortError,
    AssistantMessage,
    AuthenticationError,
    Client,
    GatewayConnectionError,
    Usage,
)
from pi_native.testing import FakeGateway, HangUp, Slow, Stall

from ..frames import DELTA, FINISHED, frame
from ..peer import CHUNKED, Connection, Peer, chunk


def test_a_turn_is_measured(gateway: FakeGateway, client: Client) -> None:
    """The times are in order and within the caller's measurement; all events are counted."""
    gateway.reply("One two three", fault=Slow(0.01), usage=Usage(output=50))
    began = time.monotonic()
    stream = client.stream("x/y", "Count.")
    count = len(list(stream))
    took = time.monotonic() - began
    stats = stream.stats
    assert stats.attempts == 1
    assert stats.time_to_headers is not None
    assert stats.time_to_first_event is not None
    assert stats.time_to_first_text is not None
    assert 0 < stats.time_to_headers < stats.time_to_first_event <= stats.time_to_first_text
    assert stats.time_to_first_text <= stats.duration < took
    assert stats.events == count
    assert stats.tokens_per_second is not None
    assert 50 / stats.duration < stats.tokens_per_second
    assert stream.stats == stats  # and remains final
    assert stream.result().stats == stats


def test_bytes_are_those_of_the_body() -> None:
    """The count excludes chunk framing, headers, and data after the terminal event."""
    body = frame(DELTA), frame(FINISHED)

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED, *map(chunk, body))
        connection.send(chunk(b"data: [DONE]\n\n"), b"0\r\n\r\n")

    with Peer(script) as peer, Client(peer.url, "k") as client:
        stats = client.complete("x/y", "hi").stats
    assert stats is not None
    whole = sum(map(len, body))
    assert stats.bytes in (whole, whole + len(b"data: [DONE]\n\n"))  # the last read may return both
    assert stats.events == 2


def test_they_are_there_while_the_turn_runs(gateway: FakeGateway, client: Client) -> None:
    """Duration and counts grow during the turn; after a cancel they are final."""
    gateway.reply("One two three", fault=Stall(after=3))
    with client.stream("x/y", "Count.") as stream:
        next(stream.text_stream)
        first, second = stream.stats, stream.stats
        assert first.events >= 1
        assert first.duration < second.duration
        assert second.tokens_per_second is None
    assert stream.result().stop_reason == "aborted"
    assert stream.stats == stream.stats == stream.result().stats
    assert stream.stats.duration >= second.duration


@pytest.mark.usefixtures("quick_retries")
def test_a_retrys_wait_is_in_the_times(gateway: FakeGateway, client: Client) -> None:
    """The times include both attempts; only the last one's events are counted."""
    gateway.reply("never", fault=HangUp(after=1)).error(503, "busy").reply("Hello")
    stream = client.stream("x/y", "hi", max_retries=2)
    count = len(list(stream))
    assert stream.stats.attempts == stream.attempts == 3
    assert stream.stats.events == count
    first, second, third = gateway.requests
    assert stream.stats.time_to_headers is not None
    assert stream.stats.time_to_headers > third.arrived_at - first.arrived_at
    assert second.arrived_at > first.arrived_at


def test_a_failed_turn_is_measured_up_to_its_failure(gateway: FakeGateway, client: Client) -> None:
    """A refused and an interrupted turn have figures up to the failure."""
    gateway.error(401, "who are you?").reply("Hello world", fault=HangUp(after=3))
    refused = client.stream("x/y", "hi")
    with pytest.raises(AuthenticationError):
        refused.result()
    assert refused.stats == refused.stats
    assert refused.stats.time_to_headers is not None
    assert (refused.stats.events, refused.stats.time_to_first_event) == (0, None)
    cut = client.stream("x/y", "hi")
    with pytest.raises(GatewayConnectionError):
        cut.result()
    assert cut.stats == cut.stats
    assert cut.stats.events == 3


def test_a_turn_that_was_never_sent(client: Client) -> None:
    """It has no attempt, and its figures are final."""
    controller = AbortController()
    controller.abort()
    stream = client.stream("x/y", "hi", signal=controller.signal)
    with pytest.raises(AbortError):
        stream.result()
    assert stream.stats.attempts == 0
    assert stream.stats == stream.stats


def test_a_message_of_ones_own_has_none() -> None:
    """Only a message that a turn returned has stats."""
    assert AssistantMessage([]).stats is None
