"""Each error response of the gateway becomes a specific exception."""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Callable
from typing import Any

import pytest

from pi_native import (
    AuthenticationError,
    AuthGatewayError,
    GatewayServerError,
    InvalidRequestError,
    RateLimitError,
)
from pi_native.testing import FakeGateway

from ..calls import failure, start
from ..frames import REFUSAL
from ..peer import OK, Peer, answers

REFUSALS: list[tuple[int, type[AuthGatewayError], bool]] = [
    (301, AuthGatewayError, False),
    (304, AuthGatewayError, False),
    (400, InvalidRequestError, False),
    (401, AuthenticationError, False),
    (403, AuthenticationError, False),
    (404, InvalidRequestError, False),
    (408, InvalidRequestError, True),
    (413, InvalidRequestError, False),
    (422, InvalidRequestError, False),
    (429, RateLimitError, True),
    (499, InvalidRequestError, False),
    (500, GatewayServerError, True),
    (502, GatewayServerError, True),
    (503, GatewayServerError, True),
    (529, GatewayServerError, True),
    (599, GatewayServerError, True),
    (600, AuthGatewayError, False),
]


@pytest.mark.parametrize(("status", "kind", "retryable"), REFUSALS)
def test_a_status_decides_the_error(
    gateway: FakeGateway, status: int, kind: type[AuthGatewayError], retryable: bool
) -> None:
    """Each status has its exception class, which says whether a retry may help."""
    body = None if status == 304 else REFUSAL
    gateway.error(status, body=b"" if body is None else body, headers={"x-request-id": "r-1"})
    failed = failure(start(gateway.url))
    assert type(failed) is kind
    assert isinstance(failed, AuthGatewayError)
    assert (failed.status, failed.retryable) == (status, retryable)
    assert (failed.request_id, failed.partial) == ("r-1", None)
    assert failed.headers["X-Request-ID"] == "r-1"
    if body is not None:
        assert (failed.args[0], failed.code, failed.body) == ("because", "some_error", body)


BODIES: dict[str, tuple[object, str, str | None]] = {
    "the protocol's": (REFUSAL, "because", "some_error"),
    "without a type": ({"error": {"message": "because"}}, "because", None),
    "with a type of 7": ({"error": {"type": 7, "message": "because"}}, "because", None),
    "without a message": ({"error": {"type": "t"}}, "auth-gateway 503", "t"),
    "with a message of 7": ({"error": {"type": "t", "message": 7}}, "auth-gateway 503", "t"),
    "with an empty message": ({"error": {"type": "t", "message": ""}}, "", "t"),
    "the server's": (
        {"error": "internal error"},
        'auth-gateway 503: {"error":"internal error"}',
        None,
    ),
    "another object": ({"a": [1, "ü"]}, 'auth-gateway 503: {"a":[1,"ü"]}', None),
    "a list": ([1, {"a": 2}], 'auth-gateway 503: [1,{"a":2}]', None),
    "a JSON string": (b'"so \\"sorry\\""', 'auth-gateway 503: so "sorry"', None),
    "a number": (b"42", "auth-gateway 503: 42", None),
    "text": ("upstream is gone", "auth-gateway 503: upstream is gone", None),
    "HTML": (
        "<html>\n</html>",
        "auth-gateway 503: an HTML page instead of JSON; a proxy or a web server answered, not the "
        "gateway",
        None,
    ),
    "nothing": (b"", "auth-gateway 503: Service Unavailable", None),
    "no UTF-8": (b"caf\xe9", "auth-gateway 503: caf\ufffd", None),
}


@pytest.mark.parametrize(("body", "message", "code"), BODIES.values(), ids=BODIES.keys())
def test_the_error_has_the_message_of_the_body(
    gateway: FakeGateway, body: object, message: str, code: str | None
) -> None:
    """The error has the message of the body, in any format, and the body itself."""
    gateway.error(503, body=body)
    failed = failure(start(gateway.url))
    assert isinstance(failed, GatewayServerError)
    assert (str(failed), failed.code) == (message, code)
    if not isinstance(body, bytes):
        assert failed.body == body


def test_the_error_has_the_message_of_the_gateway() -> None:
    """A wrong key, path or model raises an error with the gateway's message."""
    with FakeGateway("other", models=["x/z"]) as gateway:
        wrong_key = failure(start(gateway.url))
        wrong_path = failure(start(gateway.url + "/nowhere", api_key="other"))
        wrong_model = failure(start(gateway.url, api_key="other"))
    assert isinstance(wrong_key, AuthenticationError)
    assert wrong_key.args[0] == 'auth-gateway 401: {"error":"unauthorized"}'
    assert isinstance(wrong_path, InvalidRequestError)
    assert wrong_path.status == 404
    assert "No route" in str(wrong_path)
    assert isinstance(wrong_model, InvalidRequestError)
    assert (wrong_model.code, wrong_model.args[0]) == (
        "invalid_request_error",
        "Unknown model: x/y",
    )


def in_seconds(seconds: float, **options: Any) -> str:
    """Return the time so many seconds from now as an HTTP date."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(when, **options)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        (" 120 ", 120, 120),
        ("0", 0, 0),
        ("1.5", 1.5, 1.5),
        ("5, 5", 5, 5),
        ("1, 2.5 ,2", 2.5, 2.5),
        ("1,", 1, 1),
        ("1, soon", 1, 1),
        ("1.", 1, 1),
        (lambda: in_seconds(3600, usegmt=True), 3000, 3600),
        (lambda: in_seconds(3600), 3000, 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 0, 0),
    ],
)
def test_retry_after_is_in_seconds(
    gateway: FakeGateway, value: str | Callable[[], str], least: float, most: float
) -> None:
    """Both forms of the header become seconds from now; a past time becomes 0."""
    gateway.error(429, headers={"Retry-After": value() if callable(value) else value})
    failed = failure(start(gateway.url))
    assert isinstance(failed, RateLimitError)
    assert failed.retry_after is not None
    assert least <= failed.retry_after <= most


@pytest.mark.parametrize("value", [None, "soon", "-1", "", "1e3", "\u00b2", ".5"])
def test_an_invalid_retry_after_is_ignored(gateway: FakeGateway, value: str | None) -> None:
    """An absent or invalid header leaves None."""
    gateway.error(503, headers={} if value is None else {"Retry-After": value})
    failed = failure(start(gateway.url))
    assert isinstance(failed, GatewayServerError)
    assert failed.retry_after is None


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\nx-request-id: r-1\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\nx-request-id: r-1\r\n\r\n",
        OK + b"Content-Length: 0\r\nx-request-id: r-1\r\n\r\n",
    ],
    ids=["204", "205", "no length"],
)
@pytest.mark.parametrize("on_incomplete", ["done", "error"])
def test_a_success_without_a_body_is_an_error(head: bytes, on_incomplete: str) -> None:
    """A 2xx status that excludes a body is an error of the gateway."""
    with Peer(answers(head)) as peer:
        failed = failure(start(peer.url, on_incomplete=on_incomplete))
    assert isinstance(failed, AuthGatewayError)
    assert str(failed) == "auth-gateway returned empty body"
    assert failed.status in (200, 204, 205)
    assert failed.request_id == "r-1"
