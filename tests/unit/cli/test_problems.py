"""The command line's words for what went wrong."""

from __future__ import annotations

import socket
import ssl

import pytest

from pi_native import (
    AssistantMessage,
    AuthenticationError,
    GatewayConnectionError,
    GatewayServerError,
    InvalidRequestError,
    PiNativeError,
    ProviderError,
    RateLimitError,
    StreamTimeoutError,
)
from pi_native._cli.problems import explain


def unreachable(cause: OSError) -> GatewayConnectionError:
    """No connection, for that reason."""
    failure = GatewayConnectionError("cannot reach it")
    failure.__cause__ = cause
    return failure


PROBLEMS = [
    (PiNativeError("oh"), "oh"),
    (
        GatewayConnectionError("cannot reach http://gw: refused"),
        "cannot reach http://gw: refused; is a gateway running there? "
        "--base-url or PI_NATIVE_BASE_URL names another",
    ),
    (
        unreachable(ssl.SSLCertVerificationError()),
        "cannot reach it; whoever signed its certificate is not known here: "
        "REQUESTS_CA_BUNDLE names a file with that authority's",
    ),
    (
        unreachable(ssl.SSLError()),
        "cannot reach it; what listens there speaks no TLS: does its URL begin with http://?",
    ),
    (
        unreachable(socket.gaierror()),
        "cannot reach it; no host of that name is known here; "
        "--base-url or PI_NATIVE_BASE_URL names another",
    ),
    (GatewayConnectionError("cut", phase="body"), "cut"),
    (
        AuthenticationError("auth-gateway 401: no", status=401),
        "auth-gateway 401: no; "
        "give the gateway's key in PI_NATIVE_API_KEY, or its file with --api-key-file; "
        "`pi-native doctor` tells where the one in use comes from",
    ),
    (
        AuthenticationError("No credential", status=401, code="authentication_error"),
        "No credential (HTTP 401); "
        "your key was accepted; it is the gateway that lacks a key for this provider",
    ),
    (
        InvalidRequestError("Unknown model: a/b", status=404, code="invalid_request_error"),
        "Unknown model: a/b (HTTP 404); `pi-native models` lists the models that there are",
    ),
    (
        InvalidRequestError("auth-gateway 404: nothing here", status=404),
        "auth-gateway 404: nothing here; "
        "is this the URL of a pi-native gateway? See --base-url and PI_NATIVE_BASE_URL",
    ),
    (InvalidRequestError("too long", status=400), "too long (HTTP 400)"),
    (
        RateLimitError("slow down", status=429, retry_after=7.0),
        "slow down (HTTP 429); try again in 7 s",
    ),
    (RateLimitError("slow down", status=429), "slow down (HTTP 429)"),
    (GatewayServerError("x" * 9999, status=500), "x" * 600 + "..."),
    (StreamTimeoutError("stalled", phase="idle", limit=0.5), "stalled (0.5 s)"),
    (StreamTimeoutError("stalled"), "stalled"),
    (ProviderError("overloaded"), "the turn failed: overloaded"),
    (
        ProviderError("overloaded", message=AssistantMessage(error_status=529)),
        "the turn failed: overloaded (HTTP 529)",
    ),
]


@pytest.mark.parametrize(("problem", "words"), PROBLEMS)
def test_says_what_happened_and_what_to_do(problem: PiNativeError, words: str) -> None:
    """Advice comes with those failures that somebody at a keyboard can do something about."""
    assert explain(problem) == words
