"""An invalid call raises an error, from the call or from its stream, and sends nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from pi_native import (
    AbortController,
    AbortError,
    AssistantMessage,
    ConfigurationError,
    Context,
    Model,
    ToolCall,
    UserMessage,
    stream_pi_native,
)
from pi_native.testing import FakeGateway

from ...conftest import threads
from ..calls import failure, start


@pytest.fixture
def no_request() -> Iterator[str]:
    """Yield the URL of a gateway, and check that it gets no request."""
    with FakeGateway(None) as gateway:
        yield gateway.url
        assert gateway.requests == []
        assert gateway.connections == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("x/y", Context([]), None),
        (None, Context([]), None),
        (Model("y", "x"), [UserMessage("hi")], None),
        (Model("y", "x"), "hi", None),
        (Model("y", "x"), Context([]), {"temperature": 1}),
        (Model("y", "x"), Context([]), "fast"),
    ],
    ids=["model", "no model", "context", "text", "options", "text for options"],
)
def test_a_wrong_type_is_raised_at_the_call(arguments: tuple[Any, Any, Any]) -> None:
    """An invalid model, context or options raise TypeError, and no thread starts."""
    before = threads()
    with pytest.raises(TypeError):
        stream_pi_native(*arguments)
    assert threads() == before


@pytest.mark.parametrize("base_url", [None, ""])
def test_a_model_without_an_address_fails_the_stream(base_url: str | None) -> None:
    """The error names the model, and the place where its URL is set."""
    failed = failure(start(None, model=Model("large", "acme", base_url=base_url)))
    assert type(failed) is ConfigurationError
    assert isinstance(failed, ValueError)
    for words in ("pi-native transport", "base_url", "'large'", "models.yml"):
        assert words in str(failed)


@pytest.mark.parametrize(
    "url",
    [
        "no url",
        "/only/a/path",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://[::1",
        "http://*.example.com",
        "http://" + "a" * 70 + ".invalid",
    ],
)
def test_an_invalid_address_fails_the_stream(url: str) -> None:
    """An invalid URL is a configuration error."""
    failed = failure(start(url))
    assert type(failed) is ConfigurationError, repr(failed)
    assert "\n" not in str(failed)


def _endless() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["again"] = inner
    return inner


def _nested() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(100_000):
        inner = {"in": inner}
    return inner


BAD_OPTIONS: dict[str, dict[str, Any]] = {
    "NaN": {"temperature": math.nan},
    "infinity": {"extra": {"newer": math.inf}},
    "a set": {"metadata": {"a": {1, 2}}},
    "bytes": {"extra": {"newer": b"x"}},
    "itself": {"metadata": _endless()},
    "a header's line end": {"api_key": "two\nlines"},
    "a header's euro": {"api_key": "3 €"},
    "a key of bytes": {"api_key": b"key"},
    "a NaN deadline": {"connect_timeout_ms": math.nan},
    "a deadline in words": {"stream_idle_timeout_ms": "soon"},
    "a deadline of True": {"total_timeout_ms": True},
}


@pytest.mark.parametrize("options", BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_an_option_that_cannot_be_sent_fails_the_stream(
    no_request: str, options: dict[str, Any]
) -> None:
    """An option that JSON or HTTP cannot represent fails the stream; nothing is sent."""
    assert type(failure(start(no_request, **options))) is ConfigurationError


@pytest.mark.parametrize(
    "argument", [object(), {1}, math.nan, _endless(), _nested()], ids=lambda a: type(a).__name__
)
def test_a_tool_argument_that_cannot_be_sent_fails_the_stream(
    no_request: str, argument: object
) -> None:
    """A conversation that JSON cannot represent fails the stream; nothing is sent."""
    context = Context([AssistantMessage([ToolCall("c", "tool", {"a": argument})])])
    assert type(failure(start(no_request, context=context))) is ConfigurationError


@pytest.mark.parametrize(
    "headers",
    [{"x": "two\r\nlines"}, {"x y": "1"}, {"": "1"}, {"x": 7}, {"x": "€"}, {"x": " padded"}],
    ids=repr,
)
def test_a_header_that_cannot_be_sent_fails_the_stream(
    no_request: str, headers: dict[str, Any]
) -> None:
    """An invalid header of a model fails the stream; nothing is sent."""
    model = Model("y", "x", base_url=no_request, headers=headers)
    assert type(failure(start(None, model=model))) is ConfigurationError


def test_a_call_that_was_cancelled_before_it_sends_nothing(no_request: str) -> None:
    """An aborted signal fails the stream with its reason; nothing is sent."""
    controller = AbortController()
    controller.abort("changed my mind")
    failed = failure(start(no_request, signal=controller.signal))
    assert isinstance(failed, AbortError)
    assert (failed.reason, str(failed)) == ("changed my mind", "changed my mind")


@pytest.mark.parametrize("reason", [KeyError("mine"), None])
def test_a_reason_becomes_the_failure(no_request: str, reason: object) -> None:
    """An exception as the reason is raised unchanged; without one the error says "aborted"."""
    controller = AbortController()
    controller.abort(reason)
    failed = failure(start(no_request, signal=controller.signal))
    assert failed is reason or (reason is None and str(failed) == "aborted")
