"""The terminal event decides the outcome, and the rest of the response is drained."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, get_args

import pytest

from pi_native import (
    AbortController,
    Client,
    Conversation,
    ErrorEvent,
    ProviderError,
    SseEvent,
    UnknownEvent,
)
from pi_native.testing import FakeGateway, Stall
from pi_native.testing._replies import ErrorShape

from ...conftest import wait_until
from ..calls import KEY, outcome, start, types, workers
from ..frames import DELTA, FINISHED, HELLO, START, frame
from ..peer import CHUNKED, Connection, Peer, chunk

# A busy machine is late once; a client that waits for other events is late every time.
TRIES = 10
_never = threading.Event()


@pytest.mark.parametrize("reason", ["stop", "length", "toolUse"])
def test_done_ends_the_turn(gateway: FakeGateway, reason: str) -> None:
    """A "done" is the terminal event; its message is the result, with its stop reason."""
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
    """Without a message it gets one, with stop reason "error" and the gateway's text."""
    gateway.events([{"type": "error", "reason": "error", "errorMessage": "broke"}])
    events, message = outcome(start(gateway.url))
    assert isinstance(events[-1], ErrorEvent)
    assert events[-1].error is message
    assert (message.stop_reason, message.error_message) == ("error", "broke")
    assert (message.provider, message.model, message.content) == ("x", "y", [])


@pytest.mark.parametrize("text", ["", "What had arrived."])
@pytest.mark.parametrize("shape", get_args(ErrorShape))
def test_a_failed_turn_keeps_the_text_that_had_arrived(
    gateway: FakeGateway, client: Client, shape: ErrorShape, text: str
) -> None:
    """The message, the exception and the stream have it for an `error` event of every shape."""
    gateway.failed_turn(400, "no", shape=shape, text=text, times=2)
    with pytest.raises(ProviderError) as caught:
        client.complete("x/y", "hi")
    assert caught.value.partial is caught.value.message is not None
    assert (caught.value.message.text, caught.value.message.stop_reason) == (text, "error")
    stream = client.stream("x/y", "hi")
    assert stream.result().text == text
    assert stream.partial is stream.result()


@pytest.mark.parametrize("how", ["complete", "ask", "get_final_message"])
def test_a_cancelled_turn_keeps_the_text_that_had_arrived(
    gateway: FakeGateway, client: Client, how: str
) -> None:
    """The exception of a turn that is cancelled while it streams has the text as its `partial`."""
    gateway.reply(["One ", "two ", "three."], fault=Stall(after=3))
    controller = AbortController()
    deltas: list[str] = []

    def cancel_at_the_second_delta(event: SseEvent) -> None:
        if "text_delta" in event.data:
            deltas.append(event.data)
            controller.abort() if deltas[1:] else gateway.release()

    options: Any = {"signal": controller.signal, "on_sse_event": cancel_at_the_second_delta}
    calls: dict[str, Callable[[], object]] = {
        "complete": lambda: client.complete("x/y", "hi", **options),
        "ask": lambda: Conversation(client, "x/y").ask("hi", **options),
        "get_final_message": lambda: client.stream("x/y", "hi", **options).get_final_message(),
    }
    with pytest.raises(ProviderError) as caught:
        calls[how]()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "One "


def test_an_event_of_an_unknown_type_is_delivered(gateway: FakeGateway) -> None:
    """An unknown event is yielded in its place, with unchanged data."""
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
    """Return a script that ends the turn but not its response: silent, slow or fast."""

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
def test_the_end_is_published_within_50_ms(how: str, then: str) -> None:
    """A terminal event releases its reader at once, whatever the peer sends later."""
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
    pytest.fail(f"the end was published after {best * 1000:.0f} ms at best")


@pytest.mark.parametrize("then", ["silence", "drip"])
def test_what_follows_the_end_is_read_for_a_second(then: str) -> None:
    """An unfinished response is closed about a second after the terminal event."""
    sent_at: list[float] = []
    with Peer(after_the_end(then, sent_at)) as peer:
        assert start(peer.url).result().text == "Hello"
        assert peer.closed.wait(5)
        assert 0.8 < time.monotonic() - sent_at[0] < 3
        assert wait_until(lambda: not workers())


def test_more_than_a_mebibyte_after_the_end_is_not_read() -> None:
    """A peer that sends fast after the end is cut off before the second is over."""
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


def test_less_than_a_mebibyte_after_the_end_is_read() -> None:
    """A long rest is drained, so that the next turn can use its connection."""
    tail = [b": " + b"x" * 65_000 + b"\n\n"] * 12
    with FakeGateway(KEY) as gateway:
        for _ in range(2):
            gateway.raw([frame(FINISHED), *tail])
            assert start(gateway.url).result().text == "Hello"
            assert wait_until(lambda: not workers())
        assert gateway.connections == 1


def test_what_follows_done_is_no_event(gateway: FakeGateway) -> None:
    """`[DONE]` ends the events: a terminal event after it does not count."""
    gateway.raw([frame(DELTA), frame("[DONE]"), frame(FINISHED), frame("{nonsense")])
    events, message = outcome(start(gateway.url))
    assert types(events) == ["text_delta", "done"]
    assert message.text == ""
