"""`partial` and `truncated` describe a message before its end, or without one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    ErrorEvent,
    GatewayConnectionError,
    GatewayServerError,
    IncompleteStreamError,
    Model,
    PiNativeError,
)
from pi_native.testing import FakeGateway, Garbage, HangUp, Stall

from ...conftest import wait_until
from ..calls import outcome, start, types
from ..frames import DELTA


def test_partial_follows_the_stream(gateway: FakeGateway) -> None:
    """`partial` is None at first, the newest snapshot while it streams, the message at the end."""
    gateway.reply(["one ", "two"], fault=[Stall(after=0), Stall(after=3)])
    stream = start(gateway.url)
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    assert stream.partial is None
    request.stalled.clear()
    request.released.set()
    assert wait_until(lambda: stream.partial is not None and stream.partial.text)
    message = stream.result(5)
    assert stream.partial == message
    assert message.text == "one two"


def test_partial_is_read_without_iterating(gateway: FakeGateway) -> None:
    """`partial` needs no reader: it is set while the gateway stalls."""
    gateway.reply(["one ", "two"], fault=Stall(after=3))
    with start(gateway.url) as stream:
        assert wait_until(lambda: stream.partial is not None and stream.partial.text == "one ")
        assert not stream.truncated


@pytest.mark.parametrize("fault", [HangUp(after=3), HangUp(after=3, reset=True), Garbage(after=3)])
def test_partial_stays_after_a_failure(gateway: FakeGateway, fault: Any) -> None:
    """The received content is on the stream and on the exception."""
    gateway.reply(["one ", "two"], fault=fault)
    stream = start(gateway.url)
    events, failed = outcome(stream)
    assert isinstance(failed, PiNativeError)
    assert stream.partial is not None
    assert stream.partial == failed.partial
    if not getattr(fault, "reset", False):  # a reset may discard data that was sent before it
        assert stream.partial.text == "one "
        assert types(events) == ["start", "text_start", "text_delta"]


def test_partial_stays_after_an_abort(gateway: FakeGateway) -> None:
    """An aborted turn's message is empty, but the received content is on the stream."""
    gateway.reply(["one ", "two"], fault=Stall(after=3))
    stream = start(gateway.url)
    assert wait_until(lambda: stream.partial is not None and stream.partial.text == "one ")
    stream.abort()
    events, message = outcome(stream)
    assert isinstance(events[-1], ErrorEvent)
    assert events[-1].reason == "aborted"
    assert events[-1].error is message
    assert (message.stop_reason, message.content) == ("aborted", [])
    assert message.error_message == "stream closed without terminal event"
    assert stream.partial is not None
    assert stream.partial.text == "one "


def test_truncated_shows_an_end_without_a_terminal_event(gateway: FakeGateway) -> None:
    """It is true if the response ended without a terminal event, and false otherwise."""
    gateway.reply("whole").events([DELTA]).events([DELTA]).reply("cut", fault=HangUp(after=2))
    gateway.error(500)
    assert [
        (start_and_end(gateway, on_incomplete=kind))
        for kind in ("done", "done", "error", "done", "done")
    ] == [
        (AssistantMessage, False),
        (AssistantMessage, True),
        (IncompleteStreamError, True),
        (GatewayConnectionError, True),
        (GatewayServerError, False),
    ]


def start_and_end(gateway: FakeGateway, **options: Any) -> tuple[type, bool]:
    """Make a turn; return its outcome, and whether it was truncated."""
    stream = start(gateway.url, **options)
    return type(outcome(stream)[1]), stream.truncated


def test_an_end_without_a_terminal_event_is_a_synthetic_done(gateway: FakeGateway) -> None:
    """By default it is a "done" event with an empty message that names the model."""
    gateway.events([DELTA], done=False)
    model = Model("y", "x", "some-api", gateway.url)
    before = time.time() * 1000
    events, message = outcome(start(None, model=model))
    assert types(events) == ["text_delta", "done"]
    assert events[-1].message is message
    assert (message.api, message.provider, message.model) == ("some-api", "x", "y")
    assert (message.stop_reason, message.content, message.error_message) == ("stop", [], None)
    assert message.usage.total_tokens == message.usage.cost.total == 0
    assert before - 1 <= message.timestamp <= time.time() * 1000
