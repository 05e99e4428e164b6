"""Responses outside of 2xx as errors, from the gateway or from a proxy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pi_native import (
    AuthenticationError,
    AuthGatewayError,
    GatewayServerError,
    InvalidRequestError,
    RateLimitError,
)
from pi_native._protocol.error_response import refusal

from ...characters import CHARACTERS

CALLS = json.loads(
    (Path(__file__).parent.parent.parent / "data" / "calls.json").read_text(encoding="utf-8")
)
REFUSED = [name for name, answer in CALLS.items() if answer["status"] >= 300]


def refused(content: bytes | str, status: int = 500, reason: str = "Oops") -> AuthGatewayError:
    """Return the error for an answer with this body."""
    data = content.encode() if isinstance(content, str) else content
    return refusal(status, reason, {}, data)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        # The gateway's protocol handlers.
        ('{"error":{"type":"upstream_error","message":"it broke"}}', "it broke", "upstream_error"),
        ('{"error":{"message":"it broke"}}', "it broke", None),
        ('{"error":{"message":""}}', "", None),
        ('{"error":{"message":"it broke","type":7}}', "it broke", None),
        ('{"error":{"type":"upstream_error"}}', "auth-gateway 500", "upstream_error"),
        ('{"error":{"type":"x","message":null}}', "auth-gateway 500", "x"),
        ('{"error":{"message":["it broke"]}}', "auth-gateway 500", None),
        ('{"error":{}}', "auth-gateway 500", None),
        ('{"error":[]}', "auth-gateway 500", None),
        # The server around them, and proxies before it.
        ('{"error":"unauthorized"}', 'auth-gateway 500: {"error":"unauthorized"}', None),
        ('{ "error" : "no" }', 'auth-gateway 500: {"error":"no"}', None),
        ('{"error":null}', 'auth-gateway 500: {"error":null}', None),
        ('{"error":false}', 'auth-gateway 500: {"error":false}', None),
        ('{"message":"it broke"}', 'auth-gateway 500: {"message":"it broke"}', None),
        ("{}", "auth-gateway 500: {}", None),
        ("[1, 2]", "auth-gateway 500: [1,2]", None),
        ('[{"error":{"message":"no"}}]', 'auth-gateway 500: [{"error":{"message":"no"}}]', None),
        ("17.0", "auth-gateway 500: 17.0", None),
        ("null", "auth-gateway 500: null", None),
        ("true", "auth-gateway 500: true", None),
        ('"a \\"text\\""', 'auth-gateway 500: a "text"', None),
        ('{"a":"\\u00e9"}', 'auth-gateway 500: {"a":"é"}', None),
        ("Bad <html>", "auth-gateway 500: Bad <html>", None),
        ('{"error":{"message":"it br', 'auth-gateway 500: {"error":{"message":"it br', None),
        # Nothing.
        ("", "auth-gateway 500: Oops", None),
        ('""', "auth-gateway 500: Oops", None),
    ],
)
def test_a_body_says_what_the_matter_is(body: str, message: str, code: str | None) -> None:
    """The message and the machine's code are read from each form that a body can have."""
    error = refused(body)
    assert (error.args[0], error.code) == (message, code)


def test_nothing_at_all() -> None:
    """Without a body and without a reason there is still the status."""
    assert str(refused(b"", 502, "")) == "auth-gateway 502: "


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (302, AuthGatewayError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, InvalidRequestError),
        (429, RateLimitError),
        (503, GatewayServerError),
    ],
)
def test_the_status_decides_the_class(status: int, cls: type[AuthGatewayError]) -> None:
    """Whatever the body says, the status says which error it is."""
    error = refused('{"error":{"type":"upstream_error","message":"no"}}', status)
    assert type(error) is cls
    assert error.status == status


def test_an_error_takes_along_what_the_answer_said() -> None:
    """Headers, body, request id and the time to wait are the error's."""
    headers = {"x-request-id": "r-1"}
    error = refusal(
        429,
        "Too Many Requests",
        headers,
        b'{"error":{"type":"rate_limit_error","message":"slow down"}}',
        request_id="r-1",
        retry_after=2.5,
    )
    assert error.headers is headers
    assert error.body == {"error": {"type": "rate_limit_error", "message": "slow down"}}
    assert (error.request_id, error.retry_after) == ("r-1", 2.5)
    assert error.partial is None


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"null", None),
        (b"plain", "plain"),
        (b"", ""),
        (b"\xff\xfe!", "\ufffd\ufffd!"),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b"NaN", "NaN"),
        (b'{"a": 1e999}', '{"a": 1e999}'),
        (b"[" * 100_000, "[" * 100_000),
        (b"9" * 5_000, "9" * 5_000),
    ],
    ids=["object", "null", "text", "empty", "bytes", "string", "nan", "inf", "deep", "long"],
)
def test_a_body_is_json_or_else_text(content: bytes, body: Any) -> None:
    """A body that is no usable JSON is kept as its text, in which bad bytes are replaced."""
    assert refused(content).body == body


@pytest.mark.parametrize("form", ['{"error":{"message":"%s"}}', '"%s"', "%s"])
def test_a_long_message_is_cut_and_its_body_is_not(form: str) -> None:
    """A message of 4,096 characters is whole, one more is left out; the body has them all."""
    prefix = "" if "message" in form else "auth-gateway 500: "
    assert str(refused(form % ("x" * 4096))) == prefix + "x" * 4096
    error = refused(form % ("x" * 4097))
    assert str(error) == prefix + "x" * 4096 + "…"
    assert "x" * 4097 in str(error.body)


def test_half_a_character_can_be_quoted() -> None:
    """Half of a surrogate pair in a body neither breaks the message nor gets lost."""
    assert str(refused(b'{"a":"\\ud83d"}')) == 'auth-gateway 500: {"a":"\ud83d"}'


@given(st.binary(max_size=60) | st.text(CHARACTERS, max_size=60).map(str.encode))
def test_any_body_makes_an_error(content: bytes) -> None:
    """Any body, also a broken one, gives an error."""
    error = refused(content, 503)
    assert type(error) is GatewayServerError
    assert isinstance(str(error), str)


VALUES = st.recursive(st.none() | st.booleans() | st.integers(), st.lists, max_leaves=9)


@given(VALUES, st.sampled_from([None, 1]))
def test_json_that_is_no_envelope_is_quoted_compactly(body: Any, indent: int | None) -> None:
    """Another form is written back as JSON without its spaces."""
    error = refused(json.dumps(body, indent=indent))
    assert error.body == body
    assert str(error) == "auth-gateway 500: " + json.dumps(body).replace(" ", "")


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_real_gateway_refused(name: str) -> None:
    """Recorded refusals have the gateway's own words."""
    answer = CALLS[name]
    body = json.loads(answer["body"])
    error = refusal(answer["status"], "", answer["headers"], answer["body"].encode())
    assert error.body == body
    if isinstance(body["error"], dict):
        assert error.args[0] == body["error"]["message"]
        assert error.code == body["error"]["type"]
    else:
        assert error.args[0] == f"auth-gateway {answer['status']}: {answer['body']}"
        assert error.code is None


def test_a_real_gateway_refused_in_both_forms() -> None:
    """Among the recorded refusals are the handlers' envelope and the server's bare text."""
    forms = {type(json.loads(CALLS[name]["body"])["error"]) for name in REFUSED}
    assert forms == {dict, str}


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<html><head><title>502 Bad\n Gateway</title></head>", ' titled "502 Bad Gateway"'),
        ("\r\n<!DOCTYPE html>\n<html lang=en><title>ERROR</title>", ' titled "ERROR"'),
        ("<html>" + "x" * 4000, ""),
        ("<h1>Proxy Error</h1>", ""),
    ],
)
def test_an_html_page_is_one_line(page: str, title: str) -> None:
    """A proxy's page is one line in the message, a hint says so, and the body has all of it."""
    error = refused(page)
    assert error.args == (f"auth-gateway 500: an HTML page{title} instead of JSON",)
    assert error.hint == "a proxy or a web server answered, not the gateway"
    assert error.body == page


@pytest.mark.parametrize(
    ("location", "shown", "hint"),
    [
        ("https://gw/v1/pi/stream", "https://gw/v1/pi/stream", "use https://gw as base URL"),
        ("https://u:hush@gw/x/v1/models?a", "https://gw/x/v1/models?a", "use https://gw/x as base"),
        ("https://gw/healthz", "https://gw/healthz", "use https://gw as base URL"),
        ("/login", "/login", "check the base URL"),
    ],
)
def test_a_redirect_says_where_it_leads(location: str, shown: str, hint: str) -> None:
    """The error of a redirect names its target, without a password, and the base URL to use."""
    error = refusal(308, "Permanent", {"Location": location}, b"<html>moved</html>")
    assert error.args == (f"auth-gateway 308: redirects to {shown}",)
    assert hint in str(error)
    assert "hush" not in str(error)


def test_a_plain_request_to_a_tls_port_says_so() -> None:
    """The 400 of a TLS port for plain HTTP has the hint to write https."""
    for body in (
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<html><title>400 The plain HTTP request was sent to HTTPS port</title>",
    ):
        assert "begin the base URL with https://" in str(refusal(400, "", {}, body))


def test_a_proxy_that_requires_a_password_says_so() -> None:
    """A 407 has the hint where to write the password."""
    assert "http://user:password@host:port" in str(refusal(407, "Required", {}, b""))
