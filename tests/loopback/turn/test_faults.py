"""Each fault of a peer becomes a clear error."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    AuthGatewayError,
    Client,
    DecodeError,
    DoneEvent,
    GatewayConnectionError,
    GatewayServerError,
    IncompleteStreamError,
    PiNativeError,
    StreamProtocolError,
    TextDeltaEvent,
)

from ..calls import outcome as outcome_of, start
from ..frames import DELTA, HELLO, frame
from ..peer import CHUNKED, LAST_CHUNK, OK, UNTIL_CLOSE, Connection, Peer, answers, chunk

answer = functools.partial(answers, then=Connection.close)


def outcome(script: Callable[[Connection], object], **options: Any) -> tuple[list[Any], Any]:
    """Return the events of a turn with such a peer, and its message or its exception."""
    with Peer(script) as peer:
        return outcome_of(start(peer.url, **options))


def after_hello(bad: bytes) -> bytes:
    """Return a chunked response with one valid event, then this, then a regular end."""
    return CHUNKED + chunk(frame(DELTA)) + chunk(bad) + LAST_CHUNK


NESTED = '{"type":"x","a":' * 100_000
BROKEN_STREAMS = {
    "bad JSON": (after_hello(frame("{nonsense}")), StreamProtocolError, "{nonsense}"),
    "a proxy's text": (
        after_hello(frame("429 Too Many Requests")),
        StreamProtocolError,
        "429 Too Many Requests",
    ),
    "a number": (after_hello(frame("42")), StreamProtocolError, "not an object"),
    "an array": (after_hello(frame("[1]")), StreamProtocolError, "not an object"),
    "null": (after_hello(frame("null")), StreamProtocolError, "not an object"),
    "a string": (after_hello(frame('"x"')), StreamProtocolError, "not an object"),
    "no type": (after_hello(frame("{}")), StreamProtocolError, "type"),
    "NaN": (after_hello(frame('{"type":"x","a":NaN}')), StreamProtocolError, "NaN"),
    "an endless number": (
        after_hello(frame('{"type":"x","a":1e400}')),
        StreamProtocolError,
        "too large",
    ),
    "5,000 digits": (
        after_hello(frame('{"type":"x","a":' + "9" * 5000 + "}")),
        StreamProtocolError,
        "digits",
    ),
    "nesting": (after_hello(frame(NESTED)), StreamProtocolError, "type"),
    "done without a message": (
        after_hello(frame({"type": "done", "reason": "stop"})),
        DecodeError,
        "message",
    ),
    "a wrong type": (
        after_hello(frame({**DELTA, "delta": 7})),
        DecodeError,
        r"\$\.delta",
    ),
    "a chunk cut short": (
        CHUNKED + chunk(frame(DELTA)) + b"ff\r\ndata: {",
        GatewayConnectionError,
        "cut short",
    ),
    "no last chunk": (
        CHUNKED + chunk(frame(DELTA)),
        GatewayConnectionError,
        "cut short",
    ),
    "a chunk longer than it says": (
        CHUNKED + chunk(frame(DELTA)) + b"2\r\n" + frame(DELTA) + b"\r\n",
        GatewayConnectionError,
        "cut short",
    ),
    "a chunk size that is none": (
        CHUNKED + chunk(frame(DELTA)) + b"zz\r\n",
        GatewayConnectionError,
        "cut short",
    ),
    "fewer bytes than promised": (
        OK + b"Content-Length: 1000\r\n\r\n" + frame(DELTA),
        GatewayConnectionError,
        "cut short",
    ),
}


@pytest.mark.parametrize("on_incomplete", ["done", "error"])
@pytest.mark.parametrize(
    ("sent", "kind", "words"), BROKEN_STREAMS.values(), ids=BROKEN_STREAMS.keys()
)
def test_a_broken_stream_fails_with_what_had_arrived(
    sent: bytes, kind: type[PiNativeError], words: str, on_incomplete: str
) -> None:
    """The earlier event is yielded; the error describes the fault and has the partial."""
    events, failure = outcome(answer(sent), on_incomplete=on_incomplete)
    assert [type(event) for event in events] == [TextDeltaEvent]
    assert type(failure) is kind
    with pytest.raises(kind, match=words):
        raise failure
    assert isinstance(failure, PiNativeError)
    assert failure.partial is not None
    assert failure.partial.text == "Hello"


BROKEN_HEADS = {
    "reset": (b"", GatewayConnectionError, "no response"),
    "garbage": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", GatewayConnectionError, "no response"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", GatewayConnectionError, None),
    "binary": (b"\x16\x03\x01\x00\xff" * 20 + b"\r\n\r\n", GatewayConnectionError, "no response"),
    "a page of HTML": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Welcome to the proxy</html>",
        StreamProtocolError,
        "<html>",
    ),
    "a JSON answer": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
        b'{"message":1',
        StreamProtocolError,
        "application/json",
    ),
    "JSON as an event stream": (
        UNTIL_CLOSE + b'{"error":"unauthorized"}',
        StreamProtocolError,
        "unauthorized",
    ),
    "HTML as an event stream": (
        UNTIL_CLOSE + b"<html>Welcome</html>",
        StreamProtocolError,
        "<html>",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", AuthGatewayError, "returned empty body"),
    "205": (b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n", AuthGatewayError, "empty body"),
    "no content": (OK + b"Content-Length: 0\r\n\r\n", AuthGatewayError, "empty body"),
    "two lengths": (
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\ndata:",
        GatewayConnectionError,
        "no response",
    ),
    "a redirect": (
        b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        AuthGatewayError,
        "auth-gateway 307: redirects to",
    ),
}


@pytest.mark.parametrize(("sent", "kind", "words"), BROKEN_HEADS.values(), ids=BROKEN_HEADS.keys())
def test_an_answer_that_is_no_stream_is_a_clear_error(
    sent: bytes, kind: type[PiNativeError], words: str | None
) -> None:
    """No event is yielded, and the error describes the body that arrived."""
    then = Connection.close if sent else Connection.reset
    events, failure = outcome(answers(sent, then=then))
    assert events == []
    assert type(failure) is kind
    assert isinstance(failure, PiNativeError)
    assert failure.partial is None
    assert words is None or words in str(failure)


def test_a_page_that_is_no_stream_is_an_error_also_with_incomplete_turns_accepted() -> None:
    """A page is never an empty success, whatever its content type says."""
    for head in (OK.replace(b"text/event-stream", b"text/html"), OK):
        for body in (b"<p>hello</p>", b'\n{"error":"unauthorized"}', b"[1]", b'"no"'):
            _, failure = outcome(answer(head + b"\r\n" + body), on_incomplete="done")
            assert isinstance(failure, StreamProtocolError)


@pytest.mark.parametrize(
    "when",
    ["Thu, 01 Jan 99999999999999999999 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:00 +99999999999999"],
)
def test_a_retry_after_out_of_range_is_ignored(when: str) -> None:
    """The error has its status, and no `retry_after`."""
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: %b\r\n\r\n" % when.encode()
    _, failure = outcome(answer(head))
    assert isinstance(failure, GatewayServerError)
    assert failure.retry_after is None


def test_a_refused_connection_names_the_address() -> None:
    """The error has the address and the message of the operating system."""
    with Peer(lambda _: None) as peer:
        url = peer.url
    with pytest.raises(GatewayConnectionError, match="Connection refused") as caught:
        Client(url).complete("x/y", "hi")
    assert url in str(caught.value)
    assert caught.value.phase == "connect"


def test_a_host_that_does_not_exist_is_a_connection_error() -> None:
    """A failed DNS look-up is a connection error."""
    with pytest.raises(GatewayConnectionError) as caught:
        Client("http://no-such-host.invalid:1").complete("x/y", "hi")
    assert caught.value.phase == "connect"


@pytest.mark.parametrize("on_incomplete", ["done", "error"])
@pytest.mark.parametrize(
    "sent",
    [
        CHUNKED + chunk(frame(DELTA)) + LAST_CHUNK,
        CHUNKED + chunk(frame(DELTA)) + chunk(frame("[DONE]")) + LAST_CHUNK,
        UNTIL_CLOSE + frame(DELTA),
        OK + b"Content-Length: %d\r\n\r\n" % len(frame(DELTA)) + frame(DELTA),
        CHUNKED + chunk(frame(DELTA)) + chunk(b'data: {"type":"text_de') + LAST_CHUNK,
    ],
    ids=["chunked", "after [DONE]", "until close", "with a length", "with a cut-off frame"],
)
def test_an_orderly_end_without_a_terminal_event_is_the_callers_choice(
    sent: bytes, on_incomplete: str
) -> None:
    """It is a "done" event without content, or an error with the partial."""
    events, ending = outcome(answer(sent), on_incomplete=on_incomplete)
    if on_incomplete == "error":
        assert isinstance(ending, IncompleteStreamError)
        assert ending.partial is not None
        assert ending.partial.text == "Hello"
        assert len(events) == 1
        return
    assert isinstance(ending, AssistantMessage)
    assert isinstance(events[-1], DoneEvent)
    assert events[-1].message is ending
    assert (ending.stop_reason, ending.content, ending.provider, ending.model) == (
        "stop",
        [],
        "x",
        "y",
    )
    assert ending.usage.total_tokens == 0
    assert ending.timestamp > 1.7e12


def test_the_last_frame_may_lack_its_blank_line() -> None:
    """A complete event at the end of the stream counts without its blank line."""
    done = frame({"type": "done", "reason": "stop", "message": HELLO}).rstrip(b"\n")
    events, message = outcome(answer(UNTIL_CLOSE + frame(DELTA) + done))
    assert isinstance(message, AssistantMessage)
    assert message.text == "Hello"
    assert len(events) == 2


def test_an_endless_event_is_cut_at_its_limit() -> None:
    """A stream without a line end fails once max_event_bytes have arrived."""
    sent = threading.Event()

    def pour(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED)
        for _ in range(10_000):
            connection.send(chunk(b"x" * 10_000))
        sent.set()

    _, failure = outcome(pour, max_event_bytes=100_000)
    assert type(failure) is StreamProtocolError
    assert "max_event_bytes" in str(failure)
    assert not sent.is_set()


def test_an_endless_error_body_is_cut_at_a_megabyte() -> None:
    """The error has the status although the body never ends."""

    def pour(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n")
        for _ in range(10_000):
            connection.send(b"x" * 100_000)

    _, failure = outcome(pour)
    assert isinstance(failure, GatewayServerError)
    assert failure.status == 503
    assert len(failure.body) == 1024 * 1024
    assert len(str(failure)) < 5000


def test_an_error_body_cut_short_does_not_hide_the_status() -> None:
    """The error has the status and the part of the body that arrived."""
    sent = b"HTTP/1.1 502 Bad\r\nContent-Length: 1000\r\nx-request-id: r1\r\n\r\nhalf"
    _, failure = outcome(answer(sent))
    assert isinstance(failure, GatewayServerError)
    assert (failure.status, failure.body, failure.request_id) == (502, "half", "r1")


def test_what_follows_a_terminal_event_is_dropped() -> None:
    """Events and invalid data after the terminal event change nothing."""
    done = {"type": "done", "reason": "stop", "message": HELLO}
    sent = CHUNKED + chunk(frame(done)) + chunk(frame(DELTA) + frame("{nonsense}")) + LAST_CHUNK
    events, message = outcome(answer(sent))
    assert [type(event) for event in events] == [DoneEvent]
    assert isinstance(message, AssistantMessage)


def test_a_reset_after_the_terminal_event_is_no_failure() -> None:
    """After the terminal event, a reset does not change the outcome."""
    done = frame({"type": "done", "reason": "stop", "message": HELLO})
    _, message = outcome(answers(CHUNKED + chunk(done), then=Connection.reset))
    assert isinstance(message, AssistantMessage)
    assert message.text == "Hello"


def test_the_gateways_own_breakdown_is_a_failed_turn() -> None:
    """An error event without a message gets a message with the gateway's text."""
    broke = frame({"type": "error", "reason": "error", "errorMessage": "no credential"})
    events, message = outcome(answer(CHUNKED + chunk(frame(DELTA) + broke) + LAST_CHUNK))
    assert isinstance(message, AssistantMessage)
    assert (message.stop_reason, message.error_message) == ("error", "no credential")
    assert len(events) == 2


def test_an_invalid_snapshot_raises_on_access() -> None:
    """It fails no stream and hides no later failure; access to it raises."""
    bad = {**DELTA, "partial": {"role": "assistant", "content": 7}}
    events, failure = outcome(answer(CHUNKED + chunk(frame(bad))))
    assert isinstance(failure, GatewayConnectionError)
    assert failure.partial is None
    assert isinstance(events[0], TextDeltaEvent)
    with pytest.raises(DecodeError, match=r"\$\.partial\.content"):
        _ = events[0].partial


def test_an_observer_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of on_sse_event is logged, and the turn continues."""
    done = frame({"type": "done", "reason": "stop", "message": HELLO})
    seen = []

    def observer(event: Any) -> None:
        seen.append(event.data)
        raise RuntimeError("observer")

    with caplog.at_level(logging.ERROR, "pi_native"):
        sent = CHUNKED + chunk(frame(DELTA) + done + frame("[DONE]")) + LAST_CHUNK
        _, message = outcome(answer(sent), on_sse_event=observer)
    assert isinstance(message, AssistantMessage)
    assert seen[-1] == "[DONE]"
    assert len(seen) == 3
    assert len(caplog.records) == 3


def test_what_on_response_raises_fails_the_stream_as_it_is() -> None:
    """The stream raises the same exception object."""
    mine = KeyError("mine")

    def refuse(_: object) -> None:
        raise mine

    _, failure = outcome(answer(CHUNKED + chunk(frame(DELTA)) + LAST_CHUNK), on_response=refuse)
    assert failure is mine
