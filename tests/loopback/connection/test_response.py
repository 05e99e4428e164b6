"""Looking on: `response`, `on_response` and `on_sse_event`."""

from __future__ import annotations

import json
import threading

import pytest

from pi_native import (
    AuthGatewayError,
    GatewayConnectionError,
    RateLimitError,
    ResponseInfo,
    SseEvent,
    StreamProtocolError,
)
from pi_native.testing import FakeGateway, Stall

from ...conftest import wait_until
from ..calls import failure, outcome, start, types, workers
from ..frames import DELTA, FINISHED, START, frame
from ..peer import CHUNKED, LAST_CHUNK, OK, Connection, Peer, answers, chunk


@pytest.mark.parametrize("together", [True, False])
def test_interim_answers_are_skipped(together: bool) -> None:
    """An interim response, as a proxy's `103 Early Hints`, is skipped."""
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nX-Request-Id: no\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    )
    answer = (*interim, CHUNKED, chunk(frame(FINISHED)), LAST_CHUNK)
    with Peer(answers(b"".join(answer)) if together else answers(*answer)) as peer:
        stream = start(peer.url)
        assert stream.result().stop_reason == "stop"
    assert stream.response is not None
    assert stream.response.status == 200
    assert stream.response.request_id is None
    assert "link" not in stream.response.headers


def test_an_interim_answer_alone_is_none() -> None:
    """A connection that ends behind an interim answer was lost before there was an answer."""
    hints = answers(b"HTTP/1.1 103 Early Hints\r\n\r\n", then=Connection.close)
    with Peer(hints) as peer:
        exc = failure(start(peer.url))
    assert isinstance(exc, GatewayConnectionError)
    assert exc.phase == "headers"


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({"x-request-id": "r-1"}, "r-1"),
        ({"Request-Id": "r-2"}, "r-2"),
        ({"X-REQUEST-ID": "r-1", "request-id": "r-2"}, "r-1"),
        ({}, None),
    ],
)
def test_the_response_is_known(headers: dict[str, str], request_id: str | None) -> None:
    """`response` has the status, the headers by any case, and the request id of either name."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    head = (OK, lines, b"X-Mine: yes\r\nTransfer-Encoding: chunked\r\n\r\n")
    with Peer(answers(*head, chunk(frame(FINISHED)), LAST_CHUNK)) as peer:
        stream = start(peer.url)
        stream.result()
    assert stream.response is not None
    assert stream.response.status == 200
    assert stream.response.request_id == request_id
    assert [stream.response.headers[n] for n in ("x-mine", "X-Mine", "X-MINE")] == ["yes"] * 3
    assert "x-other" not in stream.response.headers


def test_the_response_is_there_before_the_first_event(gateway: FakeGateway) -> None:
    """`response` is None until the headers are in, and set from then on."""
    gateway.reply("one", fault=[Stall(after=None), Stall(after=0)])
    stream = start(gateway.url)
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    assert stream.response is None
    request.release()
    assert wait_until(lambda: stream.response is not None)
    assert stream.response is not None
    assert stream.response.request_id == request.request_id
    stream.close()


def test_the_response_of_a_refusal_is_known(gateway: FakeGateway) -> None:
    """`response` is there for an error too."""
    gateway.error(429, headers={"x-request-id": "r-1"})
    stream = start(gateway.url)
    assert isinstance(failure(stream), RateLimitError)
    assert stream.response is not None
    assert (stream.response.status, stream.response.request_id) == (429, "r-1")


def test_on_response_is_called_once_with_the_response(gateway: FakeGateway) -> None:
    """It gets what `response` is, before any event was handed over."""
    gateway.reply("one two", fault=Stall(after=0))
    seen: list[ResponseInfo] = []
    called = threading.Event()

    def on_response(info: ResponseInfo) -> None:
        seen.append(info)
        called.set()

    stream = start(gateway.url, on_response=on_response)
    assert called.wait(5)
    assert stream.partial is None
    gateway.release()
    outcome(stream)
    assert [info is stream.response for info in seen] == [True]
    assert isinstance(seen[0], ResponseInfo)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
def test_on_response_is_not_called_for_a_refusal(gateway: FakeGateway, status: int) -> None:
    """A response outside of 2xx is reported by its error alone."""
    gateway.error(status)
    seen: list[object] = []
    assert isinstance(failure(start(gateway.url, on_response=seen.append)), AuthGatewayError)
    assert seen == []


def test_on_sse_event_gets_every_event(gateway: FakeGateway) -> None:
    """It gets events as they were read, also unknown ones, the terminal one and `[DONE]`."""
    gateway.raw(
        [
            frame(START),
            b": a comment\n\n",
            b"event: news\nid: 7\nretry: 100\ndata: " + json.dumps(DELTA).encode() + b"\n\n",
            frame({"type": "newer"}),
            frame(FINISHED),
            frame("[DONE]"),
            frame("after the end"),
        ]
    )
    seen: list[SseEvent] = []
    stream = start(gateway.url, on_sse_event=seen.append)
    stream.result()
    assert wait_until(lambda: not workers())
    assert [event.data for event in seen] == [
        json.dumps(START),
        json.dumps(DELTA),
        json.dumps({"type": "newer"}),
        json.dumps(FINISHED),
        "[DONE]",
        "after the end",
    ]
    assert [event.event for event in seen] == ["message", "news", *["message"] * 4]
    assert (seen[1].id, str(seen[1].retry)) == ("7", "100")


def test_on_sse_event_comes_before_the_event_it_is_about(gateway: FakeGateway) -> None:
    """It sees an event that the stream then fails over."""
    gateway.raw([frame(DELTA), frame("{nonsense")])
    seen: list[SseEvent] = []
    events, failed = outcome(start(gateway.url, on_sse_event=seen.append))
    assert isinstance(failed, StreamProtocolError)
    assert types(events) == ["text_delta"]
    assert [event.data for event in seen] == [json.dumps(DELTA), "{nonsense"]
