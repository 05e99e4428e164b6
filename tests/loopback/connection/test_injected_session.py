"""Calls to a stand-in for a gateway, made with the `responses` library."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses

from pi_native import (
    AbortError,
    AuthenticationError,
    AuthGatewayError,
    GatewayConnectionError,
    GatewayServerError,
    RateLimitError,
    StreamTimeoutError,
)

from ...conftest import wait_until
from ..calls import KEY, failure, outcome, start, types, workers
from ..frames import DELTA, FINISHED, REFUSAL, frame

STREAMED = frame(DELTA) + frame(FINISHED) + frame("[DONE]")
MOCKED = "http://gateway.test/v1/pi/stream"


@pytest.fixture(params=["the default session", "an injected session"])
def options(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Yield the options of a call through either session."""
    if request.param == "the default session":
        yield {}
        return
    with requests.Session() as session:
        yield {"session": session}


def test_a_mocked_answer_is_streamed(options: dict[str, Any]) -> None:
    """A body that `responses` gives as bytes is read like a gateway's."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, body=STREAMED, content_type="text/event-stream", headers={"X-A": "b"})
        stream = start("http://gateway.test", **options)
        events, message = outcome(stream)
        (call,) = mock.calls
    assert types(events) == ["text_delta", "done"]
    assert message.text == "Hello"
    assert stream.response is not None
    assert (stream.response.status, stream.response.headers["x-a"]) == (200, "b")
    assert call.request.headers["Authorization"] == f"Bearer {KEY}"
    assert json.loads(call.request.body or "")["modelId"] == "x/y"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (429, RateLimitError), (500, GatewayServerError)],
)
def test_a_mocked_refusal_is_raised(
    options: dict[str, Any], status: int, kind: type[AuthGatewayError]
) -> None:
    """An error that `responses` gives as JSON is raised like a gateway's."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, json=REFUSAL, status=status, headers={"Retry-After": "3"})
        failed = failure(start("http://gateway.test", **options))
    assert type(failed) is kind
    assert isinstance(failed, AuthGatewayError)
    assert (failed.args, failed.code, failed.retry_after) == (("because",), "some_error", 3)
    assert failed.body == REFUSAL


@pytest.mark.parametrize(
    "raised",
    [
        requests.exceptions.ConnectionError("unplugged"),
        requests.exceptions.SSLError("unplugged"),
        requests.exceptions.ProxyError("unplugged"),
        OSError("unplugged"),
        RuntimeError("unplugged"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_a_mocked_breakdown_is_a_connection_error(
    options: dict[str, Any], raised: Exception
) -> None:
    """Whatever an adapter raises comes out as our own error, with its words."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, body=raised)
        failed = failure(start("http://gateway.test", **options))
    assert type(failed) is GatewayConnectionError
    assert "unplugged" in str(failed)


@pytest.mark.parametrize(
    ("raised", "phase"),
    [(requests.exceptions.ConnectTimeout, "connect"), (requests.exceptions.ReadTimeout, "headers")],
)
def test_a_mocked_timeout_is_a_timeout(
    options: dict[str, Any], raised: type[Exception], phase: str
) -> None:
    """A timeout that an adapter tells of is a timeout of the phase it belongs to."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, body=raised("late"))
        failed = failure(start("http://gateway.test", **options))
    assert type(failed) is StreamTimeoutError
    assert isinstance(failed, TimeoutError)
    assert failed.phase == phase


def test_a_mocked_empty_answer_is_an_error(options: dict[str, Any]) -> None:
    """A 204 that `responses` gives is an answer without a body."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, status=204)
        failed = failure(start("http://gateway.test", **options))
    assert isinstance(failed, AuthGatewayError)
    assert str(failed) == "auth-gateway returned empty body"


def test_a_mocked_answer_can_be_cancelled(options: dict[str, Any]) -> None:
    """A stand-in's body has no socket to cut, but the caller is free all the same."""
    reached, go = threading.Event(), threading.Event()

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        reached.set()
        go.wait(5)
        return 200, {}, STREAMED

    with responses.RequestsMock() as mock:
        mock.add_callback("POST", MOCKED, callback=answer, content_type="text/event-stream")
        stream = start("http://gateway.test", **options)
        assert reached.wait(5)
        stream.abort("enough")
        failed = failure(stream)
        go.set()
        assert wait_until(lambda: not workers())
    assert isinstance(failed, AbortError)
    assert failed.reason == "enough"
