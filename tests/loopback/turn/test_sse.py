"""A turn as server-sent events, for the browser behind an application."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pi_native import Client
from pi_native.testing import (
    FailedTurn,
    FakeGateway,
    Garbage,
    HangUp,
    HTTPError,
    Reply,
    Stall,
)

HEARTBEAT = b": heartbeat\n\n"
DONE = b"data: [DONE]\n\n"
SECONDS = 20.0


def event(frame: bytes) -> Any:
    """Return the event of a frame."""
    return json.loads(frame.removeprefix(b"data: "))


def test_the_frames_are_those_of_the_gateway(gateway: FakeGateway, client: Client) -> None:
    """The frames contain the events that iterating the stream yields, and `[DONE]` at the end."""
    gateway.reply("one two", times=2)
    *frames, done = client.stream("x/y", "hi").sse()
    with client.stream("x/y", "hi") as stream:
        events = list(stream)
    assert [event(frame)["type"] for frame in frames] == [e.type for e in events]
    assert event(frames[-1])["message"]["content"][0]["text"] == "one two"
    assert done == DONE


def test_a_heartbeat_is_sent_while_the_provider_is_silent(
    gateway: FakeGateway, client: Client
) -> None:
    """Comments are sent between two events as long as the gateway sends nothing."""
    gateway.reply("one two", fault=Stall(after=3))
    frames = client.stream("x/y", "hi").sse(heartbeat=0.01)
    assert gateway.wait_for_request(SECONDS).stalled.wait(SECONDS)
    received: list[bytes] = []
    while received[-2:] != [HEARTBEAT] * 2:
        received.append(next(frames))
    gateway.release()
    received += frames
    types = [event(frame)["type"] for frame in received[:-1] if frame != HEARTBEAT]
    assert (types[0], types[-1]) == ("start", "done"), received
    assert received[-1] == DONE


def test_no_heartbeat_is_sent_without_an_interval(gateway: FakeGateway, client: Client) -> None:
    """`heartbeat=None` sends events only."""
    gateway.reply("one two", fault=Stall(after=3, seconds=0.1))
    assert HEARTBEAT not in list(client.stream("x/y", "hi").sse(heartbeat=None))


@pytest.mark.parametrize("read", [0, 1, 4], ids=["unread", "one frame", "up to a heartbeat"])
def test_closing_the_frames_cancels_the_turn_at_the_gateway(
    gateway: FakeGateway, client: Client, read: int
) -> None:
    """After `close()`, which a WSGI server calls, the gateway sees a closed connection."""
    gateway.reply("one two", fault=Stall(after=3))
    frames: Any = client.stream("x/y", "hi").sse(heartbeat=0.01)
    for _ in range(read):
        next(frames)
    request = gateway.wait_for_request(SECONDS)
    assert request.stalled.wait(SECONDS)
    frames.close()
    assert request.client_gone.wait(SECONDS)
    assert list(frames) == []


FAILURES = {
    "refused": HTTPError(503, "busy"),
    "cut": Reply("one two", fault=HangUp(after=3)),
    "garbage": Reply("one two", fault=Garbage(after=3)),
    "provider": FailedTurn(529, "overloaded", text="one"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_error_event(gateway: FakeGateway, client: Client, name: str) -> None:
    """A turn that fails, for whatever reason, ends with one `error` event and `[DONE]`."""
    gateway.default = FAILURES[name]
    *frames, last, done = client.stream("x/y", "hi").sse()
    assert "error" not in [event(frame)["type"] for frame in frames]
    assert event(last)["type"] == event(last)["reason"] == "error"
    assert done == DONE


def test_a_cancelled_turn_is_an_aborted_event(gateway: FakeGateway, client: Client) -> None:
    """If the application cancels the turn, the browser receives an `error` event that says so."""
    gateway.reply("one two", fault=Stall(after=3))
    stream = client.stream("x/y", "hi")
    frames = stream.sse()
    assert event(next(frames))["type"] == "start"
    stream.abort()
    *_, last, done = frames
    assert (event(last)["type"], event(last)["reason"]) == ("error", "aborted")
    assert done == DONE
