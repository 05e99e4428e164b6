"""The last event: what it makes of the turn, and what is read behind it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import pytest

from pi_native import ErrorEvent, ProviderError, UnknownEvent
from pi_native.testing import FakeGateway

from ...conftest import wait_until
from ..calls import KEY, outcome, start, types, workers
from ..frames import DELTA, FINISHED, HELLO, START, frame
from ..peer import CHUNKED, Connection, Peer, chunk

# A busy machine may be late once; what waits for something else is late every time.
TRIES = 10
_never = threading.Event()


@pytest.mark.parametrize("reason", ["stop", "length", "toolUse"])
def test_done_ends_the_turn(gateway: FakeGateway, reason: str) -> None:
    """A "done" is the last event, and its message the result, with its stop reason."""
    message = {**HELLO, "stopReason": reason, "usage": {"input": 3, "output": 4}}
    gateway.events([DELTA, {"type": "done", "reason": reason, "message": message}, DELTA])
    events, result = outcome(start(gateway.url))
    assert types(events) == ["text_delta", "done"]
    assert events[-1].reason == result.stop_reason == reason
    assert (result.text, result.usage.input, result.usage.output) == ("Hello", 3, 4)
    assert result.raise_for_error() is result


@pytest.mark.parametrize("reason", ["error", "aborted"])
def test_error_is_a_message_and_not_an_exception(gateway: FakeGateway, reason: str) -> None:
    """A provider's failure is the result; `raise_for_error` makes it an exception."""
    failed = {**HELLO, "stopReason": reason, "errorMessage": "overloaded", "errorStatus": 529}
    gateway.events([DELTA, {"type": "error", "reason": reason, "error": failed}])
    stream = start(gateway.url)
    events, message = outcome(stream)
    assert isinstance(events[-1], ErrorEvent)
    assert (events[-1].reason, events[-1].error) == (reason, message)
    assert (message.stop_reason, message.error_message) == (reason, "overloaded")
    assert (message.error_status, message.text) == (529, "Hello")
    assert stream.partial == message
    with pytest.raises(ProviderError, match="overloaded") as caught:
        message.raise_for_error()
    assert caught.value.message is message
    assert caught.value.partial is message


def test_the_gateways_own_failure_is_an_error_event(gateway: FakeGateway) -> None:
    """An error without a message gets one, with stop reason "error" and what was said."""
    gateway.events([DELTA, {"type": "error", "reason": "error", "errorMessage": "broke"}])
    events, message = outcome(start(gateway.url))
    assert isinstance(events[-1], ErrorEvent)
    assert events[-1].error is message
    assert (message.stop_reason, message.error_message) == ("error", "broke")
    assert (message.provider, message.model, message.content) == ("x", "y", [])


def test_an_event_of_an_unknown_type_is_handed_on(gateway: FakeGateway) -> None:
    """What a newer gateway sends arrives in its place, with its data as it came."""
    newer = [
        {"type": "inference_admission", "position": 3},
        {"type": "", "a": None},
        {"type": "text_shimmer", "contentIndex": 0, "partial": HELLO},
    ]
    gateway.events([newer[0], START, newer[1], DELTA, newer[2], FINISHED])
    events, message = outcome(start(gateway.url))
    assert [e.data for e in events if isinstance(e, UnknownEvent)] == newer
    assert types(events) == [
        "inference_admission",
        "start",
        "",
        "text_delta",
        "text_shimmer",
        "done",
    ]
    assert message.text == "Hello"


def after_the_end(then: str, sent_at: list[float]) -> Callable[[Connection], None]:
    """A script: finish the turn but not the answer, then keep silent, drip junk, or pour it."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED, chunk(frame(DELTA)))
        sent_at.append(time.monotonic())
        connection.send(chunk(frame(FINISHED)))
        while then != "silence":
            connection.send(chunk(b": junk" * (1 if then == "drip" else 5000) + b"\n\n"))
            if then == "drip":
                _never.wait(0.005)

    return script


@pytest.mark.parametrize("then", ["silence", "drip", "pour"])
@pytest.mark.parametrize("how", ["iterating", "result"])
def test_the_end_is_told_within_50_ms(how: str, then: str) -> None:
    """A terminal event frees its reader at once, whatever the peer does behind it."""
    sent_at: list[float] = []
    best = math.inf
    with Peer(after_the_end(then, sent_at)) as peer:
        for _ in range(TRIES):
            stream = start(peer.url)
            if how == "iterating":
                assert types(list(stream)) == ["text_delta", "done"]
            else:
                assert stream.result().text == "Hello"
            best = min(best, time.monotonic() - sent_at[-1])
            if best < 0.05:
                return
    pytest.fail(f"the end was told after {best * 1000:.0f} ms at best")


@pytest.mark.parametrize("then", ["silence", "drip"])
def test_what_follows_the_end_is_read_for_a_second(then: str) -> None:
    """A peer that does not end its answer sees the connection closed after about a second."""
    sent_at: list[float] = []
    with Peer(after_the_end(then, sent_at)) as peer:
        assert start(peer.url).result().text == "Hello"
        assert peer.closed.wait(5)
        assert 0.8 < time.monotonic() - sent_at[0] < 3
        assert wait_until(lambda: not workers())


def test_more_than_a_mebibyte_behind_the_end_is_not_read() -> None:
    """A peer that pours junk behind the end is cut off long before the second is over."""
    sent_at: list[float] = []
    best = math.inf
    for _ in range(TRIES):
        with Peer(after_the_end("pour", sent_at)) as peer:
            assert start(peer.url).result().text == "Hello"
            assert peer.closed.wait(5)
            best = min(best, time.monotonic() - sent_at[-1])
        if best < 0.5:
            return
    pytest.fail(f"the connection was closed after {best:.2f} s at best")


def test_less_than_a_mebibyte_behind_the_end_is_read() -> None:
    """A long tail is read to its end, so that its connection serves the next turn."""
    tail = [b": " + b"x" * 65_000 + b"\n\n"] * 12
    with FakeGateway(KEY) as gateway:
        for _ in range(2):
            gateway.raw([frame(FINISHED), *tail])
            assert start(gateway.url).result().text == "Hello"
            assert wait_until(lambda: not workers())
        assert gateway.connections == 1


def test_what_follows_done_is_no_event(gateway: FakeGateway) -> None:
    """`[DONE]` ends the events: a terminal event behind it does not count."""
    gateway.raw([frame(DELTA), frame("[DONE]"), frame(FINISHED), frame("{nonsense")])
    events, message = outcome(start(gateway.url))
    assert types(events) == ["text_delta", "done"]
    assert message.text == ""
