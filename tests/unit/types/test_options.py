"""Options: what crosses the wire, under which name, and what never does."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import attrs
import pytest

from pi_native._protocol.convert import from_wire, to_wire
from pi_native._types.options import NEVER_SENT, ResponseInfo, SseEvent, StreamOptions, wire_options

# The options that the gateway of today lets through, as the protocol lists them.
WIRE_NAMES = {
    "temperature",
    "topP",
    "topK",
    "minP",
    "presencePenalty",
    "frequencyPenalty",
    "repetitionPenalty",
    "stopSequences",
    "maxTokens",
    "cacheRetention",
    "cachedContent",
    "headers",
    "initiatorOverride",
    "maxRetryDelayMs",
    "metadata",
    "sessionId",
    "promptCacheKey",
    "promptCache",
    "statefulResponses",
    "streamFirstEventTimeoutMs",
    "streamIdleTimeoutMs",
    "reasoning",
    "disableReasoning",
    "hideThinkingSummary",
    "thinkingBudgets",
    "toolChoice",
    "serviceTier",
    "guardrailIdentifier",
    "guardrailVersion",
    "guardrailTrace",
    "requestMetadata",
    "kimiApiFormat",
    "syntheticApiFormat",
    "preferWebsockets",
    "openrouterVariant",
    "loopGuard",
    "acceptEmptyResponse",
    "anthropicCompaction",
    "forceReasoningOff",
    "userProfileId",
}
LOCAL = {
    "api_key",
    "signal",
    "session",
    "connect_timeout_ms",
    "on_response",
    "on_retry",
    "on_sse_event",
    "on_incomplete",
    "max_retries",
    "total_timeout_ms",
    "max_event_bytes",
    "event_timeout_ms",
    "wire_timeout_margin_ms",
    "extra",
}


def test_every_wire_option_has_a_field_and_no_other() -> None:
    """Each field is an option of the protocol or one of those that stay on this side."""
    names = {a.name for a in attrs.fields(StreamOptions)} - LOCAL
    values: dict[str, Any] = dict.fromkeys(names, 1)
    sent = wire_options(StreamOptions(**values))
    assert set(sent) == WIRE_NAMES
    assert len(names) == len(WIRE_NAMES)


def test_nothing_is_sent_by_default() -> None:
    """Absent options are absent, and not null."""
    assert wire_options(StreamOptions()) == {}


def test_values_are_sent_as_they_are() -> None:
    """Falsy values are no absence, and names within a value are left alone."""
    options = StreamOptions(
        temperature=0, stop_sequences=[], disable_reasoning=False, thinking_budgets={"x_high": 1}
    )
    assert wire_options(options) == {
        "temperature": 0,
        "stopSequences": [],
        "disableReasoning": False,
        "thinkingBudgets": {"x_high": 1},
    }


def test_values_of_newer_gateways_are_taken() -> None:
    """An enumeration of today is no limit at run time."""
    options = StreamOptions(reasoning="galactic")  # type: ignore[arg-type]
    assert wire_options(options) == {"reasoning": "galactic"}


def test_local_options_never_cross_the_wire() -> None:
    """Nothing of what stays on this side is sent."""
    options = StreamOptions(
        api_key="secret",
        signal=threading.Event(),
        connect_timeout_ms=1,
        on_response=print,
        on_sse_event=print,
        on_incomplete="error",
        max_retries=3,
        total_timeout_ms=1,
        max_event_bytes=1,
    )
    assert wire_options(options) == {}


def test_extra_options_go_by_their_wire_names() -> None:
    """`extra` is sent as it is, explicit nulls included, but a field that is set wins."""
    extra = {"newOption": {"a": None}, "topP": 0.1, "topK": None, "maxTokens": 1}
    options = StreamOptions(top_p=0.9, extra=extra)
    assert wire_options(options) == {
        "newOption": {"a": None},
        "topP": 0.9,
        "topK": None,
        "maxTokens": 1,
    }


@pytest.mark.parametrize(
    "name",
    [
        "signal",
        "apiKey",
        "fetch",
        "onPayload",
        "onResponse",
        "onSseEvent",
        "execHandlers",
        "cursorExecHandlers",
        "cursorOnToolResult",
        "providerSessionState",
        "onBeforeRequest",
    ],
)
def test_some_names_never_cross_the_wire(name: str) -> None:
    """Names that must not be sent are not, also from `extra`."""
    assert wire_options(StreamOptions(extra={name: "secret", "ok": 1})) == {"ok": 1}
    assert name in NEVER_SENT


def test_changing_what_is_sent_does_not_change_the_options() -> None:
    """Lists and dicts of typed options are copied."""
    options = StreamOptions(stop_sequences=["a"], headers={"a": "b"})
    sent = wire_options(options)
    sent["stopSequences"].append("b")
    sent["headers"].clear()
    assert options == StreamOptions(stop_sequences=["a"], headers={"a": "b"})


def test_to_wire_of_options_is_wire_options() -> None:
    """`to_wire` knows about what must not be sent; options are never read from the wire."""
    options = StreamOptions(temperature=1, api_key="secret", extra={"apiKey": "secret"})
    assert to_wire(options) == {"temperature": 1}
    with pytest.raises(TypeError, match="StreamOptions"):
        from_wire({}, StreamOptions)


def test_a_repr_shows_no_secrets() -> None:
    """Neither the key nor a header's value nor that of an extra option is shown."""
    options = StreamOptions(
        api_key="secret", headers={"x-key": "secret"}, extra={"token": "secret"}, temperature=1
    )
    shown = repr(options)
    assert "secret" not in shown
    assert "temperature=1, headers=<x-key>" in shown
    assert "extra=<token>" in shown


def test_the_defaults_of_this_side() -> None:
    """The low-level call tries once, takes an early end for the end, and bounds the connecting."""
    options = StreamOptions()
    assert (options.max_retries, options.on_incomplete) == (0, "done")
    assert (options.connect_timeout_ms, options.total_timeout_ms) == (10_000, None)
    assert options.max_event_bytes == 64 * 1024 * 1024


def test_options_can_be_copied() -> None:
    """Options without a signal or a session can be pickled and copied."""
    options = StreamOptions(temperature=1, extra={"a": 1})
    assert pickle.loads(pickle.dumps(options)) == copy.deepcopy(options) == options


def test_a_pickle_of_options_has_no_key() -> None:
    """The key stays behind in a pickle, and comes along in a copy."""
    options = StreamOptions(api_key="gateway-token", temperature=1, headers={"x-a": "b"})
    pickled = pickle.dumps(options)
    assert b"gateway-token" not in pickled
    assert pickle.loads(pickled) == attrs.evolve(options, api_key=None)
    deep = copy.deepcopy(options)
    assert deep == copy.copy(options) == options
    assert deep.headers is not options.headers


def test_what_the_callbacks_get() -> None:
    """The head of an answer and a server-sent event are plain values."""
    assert ResponseInfo(200, {"a": "b"}).request_id is None
    assert SseEvent("message", "{}") == SseEvent("message", "{}", None, None)
