"""The protocol's rules: what one frame's data is, and what an ending means."""

from __future__ import annotations

import json
import types
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pi_native import (
    AssistantMessage,
    AssistantMessageEvent,
    DecodeError,
    DoneEvent,
    ErrorEvent,
    IncompleteStreamError,
    Model,
    ProviderError,
    StartEvent,
    StreamProtocolError,
    TextContent,
    TextDeltaEvent,
    UnknownEvent,
    Usage,
    to_wire,
)
from pi_native._protocol.rules import NO_PROGRESS, aborted, ended_early, quote, read_event, stand_in
from pi_native._types import messages as _messages

from ...characters import CHARACTERS

MODEL = Model("y/z", "x", "some-api")
MESSAGE = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
DELTA = {"type": "text_delta", "contentIndex": 0, "delta": "Hi", "partial": MESSAGE}
NOW = 1_700_000_000_123


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock."""
    clock = types.SimpleNamespace(time_ns=lambda: NOW * 1_000_000 + 456_789)
    monkeypatch.setattr(_messages, "time", clock)


def read(data: object, *, trailing: bool = False) -> AssistantMessageEvent | None:
    """Return the event in some data; what is no text is written as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    return read_event(text, trailing=trailing, model=MODEL)


@pytest.mark.parametrize("trailing", [False, True])
def test_empty_data_is_nothing(trailing: bool) -> None:
    """A frame without data is no event, and no fault."""
    assert read("", trailing=trailing) is None


@pytest.mark.parametrize("trailing", [False, True])
def test_an_object_with_a_type_is_an_event(trailing: bool) -> None:
    """An event counts also when the stream ended before its blank line came."""
    event = read(DELTA, trailing=trailing)
    assert isinstance(event, TextDeltaEvent)
    assert (event.content_index, event.delta) == (0, "Hi")
    assert event.partial is not None
    assert event.partial.text == "Hi"


def test_white_space_around_an_event_is_none_of_it() -> None:
    """JSON may have spaces around it, and within."""
    assert read(f" \t{json.dumps(DELTA, indent=1)}\n") == read(DELTA)


def test_a_type_that_is_not_known_is_handed_on() -> None:
    """An event of a newer gateway is the object as it came."""
    event = read({"type": "inference_admission", "position": 3, "x": None})
    assert isinstance(event, UnknownEvent)
    assert event.data == {"type": "inference_admission", "position": 3, "x": None}


def test_every_cut_off_event_is_dropped_at_the_end() -> None:
    """Cut anywhere, an event whose stream has ended is nothing, and one in mid-stream a fault."""
    whole = json.dumps(DELTA)
    for end in range(1, len(whole)):
        assert read(whole[:end], trailing=True) is None
        with pytest.raises(StreamProtocolError, match="an event is not JSON"):
            read(whole[:end])


@pytest.mark.parametrize("data", ["[1,", " {", "\t[", '{"a": tru', "["])
def test_a_cut_off_array_is_dropped_too(data: str) -> None:
    """An object or an array that is cut off is dropped, with spaces before it or not."""
    assert read(data, trailing=True) is None


@pytest.mark.parametrize("trailing", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        *("429 Too Many Requests", '"cut o', "tru", "-", "<html>", " ", "}", "'{}'"),
        *('{"type":"x"} junk', "[1] [", "{}{}"),  # whole, and then something else
    ],
)
def test_what_is_no_json_is_a_fault(data: str, trailing: bool) -> None:
    """A proxy's words in a stream fail it, at its end as well, and are quoted."""
    with pytest.raises(StreamProtocolError) as caught:
        read(data, trailing=trailing)
    assert str(caught.value).startswith("an event is not JSON (")
    assert str(caught.value).endswith(f"): {data!r}")


@pytest.mark.parametrize("trailing", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        '{"type":"x","a":NaN}',
        '{"type":"x","a":Infinity}',
        '{"type":"x","a":-Infinity}',
        '{"type":"x","a":1e999}',
        '{"type":"x","a":-1e999}',
        '{"type":"x","a":' + "9" * 5_000 + "}",
        '{"type":"x","a":' + "[" * 100_000,
    ],
    ids=["nan", "inf", "minus inf", "large", "minus large", "long", "deep"],
)
def test_json_that_cannot_be_used_is_a_fault(data: str, trailing: bool) -> None:
    """Numbers that JSON cannot hold, and nesting too deep, fail the stream with a short quote."""
    with pytest.raises(StreamProtocolError) as caught:
        read(data, trailing=trailing)
    assert str(caught.value).startswith("an event is not usable JSON (")
    assert str(caught.value).endswith(quote(data))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("trailing", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        "null",
        "true",
        "17",
        "1.5",
        '"start"',
        "[]",
        '[{"type":"start"}]',
        "{}",
        '{"type":null}',
        '{"type":7}',
        '{"type":["start"]}',
        '{"Type":"start"}',
    ],
)
def test_what_is_no_object_with_a_type_is_a_fault(data: str, trailing: bool) -> None:
    """Other JSON is no event, and is quoted."""
    with pytest.raises(StreamProtocolError) as caught:
        read(data, trailing=trailing)
    assert str(caught.value) == f"an event is not an object with a type: {data!r}"
    assert type(caught.value) is StreamProtocolError


def test_a_fault_has_no_cause_that_would_hold_the_data() -> None:
    """The JSON parser's own error, which keeps the whole text, is not shown with ours."""
    for data in ("no", '{"type":"x","a":NaN}', '{"type":"text_delta","delta":7}'):
        with pytest.raises(StreamProtocolError) as caught:
            read(data)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_an_event_that_does_not_fit_names_every_fault() -> None:
    """All faults are there with their paths, and the start of the data is quoted."""
    data = json.dumps({"type": "text_delta", "contentIndex": "0", "delta": 7})
    with pytest.raises(DecodeError) as caught:
        read(data)
    assert len(caught.value.problems) == 2
    assert all(
        any(name in problem for problem in caught.value.problems)
        for name in ("contentIndex", "delta")
    )
    assert str(caught.value).endswith(f", in {data!r}")


@pytest.mark.parametrize("missing", [True, False])
def test_the_gateways_own_failure_gets_a_message(missing: bool) -> None:
    """An error without a message has a synthetic one with its error text."""
    data: dict[str, Any] = {"type": "error", "reason": "error", "errorMessage": "it broke"}
    event = read(data if missing else {**data, "error": None})
    assert isinstance(event, ErrorEvent)
    assert event.reason == "error"
    assert event.error == AssistantMessage(
        [],
        api="some-api",
        provider="x",
        model="y/z",
        stop_reason="error",
        error_message="it broke",
        timestamp=NOW,
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [("aborted", "aborted"), ("error", "error"), ("other", "error"), (None, "error"), (7, "error")],
)
def test_the_gateways_own_failure_has_a_reason(said: object, reason: str) -> None:
    """It was aborted when it says so, and is an error in all other cases."""
    event = read({"type": "error", "reason": said})
    assert isinstance(event, ErrorEvent)
    assert (event.reason, event.error.stop_reason) == (reason, reason)


@pytest.mark.parametrize("said", [None, 7, {}, ["it broke"], ""])
def test_a_failure_without_a_text_shows_its_json(said: object) -> None:
    """The error text of an event without any text is the event's JSON."""
    data = {"type": "error", "errorMessage": said}
    event = read(data)
    assert isinstance(event, ErrorEvent)
    assert json.loads(event.error.error_message or "") == data


@pytest.mark.parametrize("message", [{}, {"role": "assistant"}, {"content": None}])
def test_a_done_without_content_is_no_empty_success(message: dict[str, Any]) -> None:
    """Its message gets the content of the newest snapshot; without one the event is a fault."""
    data = json.dumps({"type": "done", "reason": "stop", "message": message})
    with pytest.raises(DecodeError, match=r"\$.message.content: expected an array, got nothing"):
        read(data)
    newest = AssistantMessage([TextContent("Hi")])
    event = read_event(data, trailing=False, model=MODEL, newest=lambda: newest)
    assert isinstance(event, DoneEvent)
    assert (event.message.content, event.message.stop_reason) == (newest.content, "stop")
    assert event.message.content is not newest.content


def test_the_gateways_own_failure_keeps_what_else_it_said() -> None:
    """Members that no field is there for are kept, its own words included."""
    event = read({"type": "error", "reason": "error", "errorMessage": "no", "trace": None, "x": 1})
    assert isinstance(event, ErrorEvent)
    assert event.extra == {"errorMessage": "no", "trace": None, "x": 1}


PROVIDERS = {"type": "overloaded_error", "message": "Overloaded"}
SAID = [{"type": "text", "text": "so far"}]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"error": PROVIDERS}, "Overloaded"),
        ({"error": {"error": PROVIDERS}}, "Overloaded"),
        ({"error": {"errorMessage": "first", "message": "second"}}, "first"),
        ({"error": PROVIDERS, "errorMessage": "first"}, "first"),
        ({"error": "Overloaded"}, "Overloaded"),
        ({"error": "second", "errorMessage": "first"}, "first"),
        ({"error": {"type": "overloaded_error"}}, "overloaded_error"),
        ({"error": {}}, '"error"'),
        ({"error": []}, '"error"'),
        ({"error": 7}, '"error":7'),
        ({"error": False}, '"error":false'),
        ({"error": ""}, '"error":""'),
        ({"message": "Overloaded"}, "Overloaded"),
        ({"error": {**MESSAGE, "content": SAID}}, ""),
        ({"error": {**MESSAGE, "content": SAID, "stopReason": "stop"}}, ""),
        ({"error": {**MESSAGE, "stopReason": "stop", "errorMessage": "no"}}, "no"),
        ({"error": {**MESSAGE, "stopReason": "length"}, "errorMessage": "no"}, "no"),
        ({"error": {**MESSAGE, "stopReason": None}}, ""),
        ({"error": {**MESSAGE, "content": 7}, "errorMessage": "no"}, "no"),
        ({"error": {**MESSAGE, "content": 7}}, "content"),
    ],
)
@pytest.mark.parametrize("reason", ["error", "aborted", "stop", None])
def test_every_error_event_is_a_failed_turn(
    members: dict[str, Any], text: str, reason: str | None
) -> None:
    """The event decides: whatever its `error` is, its message has failed and has an error text."""
    event = read({"type": "error", **members, **({"reason": reason} if reason else {})})
    assert isinstance(event, ErrorEvent)
    assert (
        event.reason == event.error.stop_reason == ("aborted" if reason == "aborted" else "error")
    )
    assert text in (event.error.error_message or "")
    with pytest.raises(ProviderError):
        event.error.raise_for_error()
    if isinstance(members.get("error"), dict) and members["error"].get("content") == SAID:
        assert event.error.text == "so far"


@given(
    st.recursive(
        st.none() | st.text(CHARACTERS) | st.integers() | st.booleans(), st.lists, max_leaves=4
    )
    | st.dictionaries(
        st.sampled_from(["role", "content", "stopReason", "message", "errorMessage"]),
        st.none() | st.text(CHARACTERS) | st.sampled_from(["stop", "error", "aborted"]),
    )
)
def test_no_error_event_is_a_success(error: Any) -> None:
    """No value of `error` makes an `error` event a success, or an error without a text."""
    event = read({"type": "error", "error": error})
    assert isinstance(event, ErrorEvent)
    assert event.error.failed
    with pytest.raises(ProviderError) as caught:
        event.error.raise_for_error()
    assert str(caught.value)


@pytest.mark.parametrize("reason", ["error", "aborted"])
def test_a_done_event_with_a_failing_reason_is_a_failed_turn(reason: str) -> None:
    """A `done` event whose reason says that the turn failed is read as an `error` event."""
    event = read({"type": "done", "reason": reason, "message": {**MESSAGE, "stopReason": "stop"}})
    assert isinstance(event, ErrorEvent)
    assert event.error.stop_reason == reason


@given(st.text(st.characters(codec=None), max_size=300), st.booleans())
def test_any_text_is_an_event_or_nothing_or_a_fault(data: str, trailing: bool) -> None:
    """No data at all raises anything else than a protocol error."""
    event, failure = None, ""
    try:
        event = read_event(data, trailing=trailing, model=MODEL)
    except StreamProtocolError as exc:
        failure = str(exc)
    assert event is None or isinstance(event.type, str)
    assert not failure or quote(data) in failure


@pytest.mark.parametrize(
    ("data", "progress"),
    [
        ({"type": "start", "partial": MESSAGE}, False),
        ({"type": "inference_admission"}, False),
        ({"type": "inference_admitted"}, True),
        ({"type": "text_start", "contentIndex": 0, "partial": MESSAGE}, True),
        (DELTA, True),
        ({"type": "done", "reason": "stop", "message": MESSAGE}, True),
        ({"type": "error", "reason": "error"}, True),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_what_moves_the_deadlines(data: dict[str, Any], progress: bool) -> None:
    """Everything is progress but a start and the news of being admitted."""
    event = read(data)
    assert event is not None
    assert (event.type not in NO_PROGRESS) is progress


def test_a_start_without_a_snapshot_is_no_progress() -> None:
    """It is the kind of the event that counts, not what it holds."""
    event = read({"type": "start"})
    assert isinstance(event, StartEvent)
    assert event.type in NO_PROGRESS


@pytest.mark.parametrize(
    ("data", "quoted"),
    [
        ("", "''"),
        ("a'b", '"a\'b"'),
        ("é\n", "'é\\n'"),
        ("x" * 200, f"'{'x' * 200}'"),
        ("x" * 201, f"'{'x' * 200}'…"),
    ],
    ids=["empty", "quotes", "escapes", "just fits", "one more"],
)
def test_data_is_quoted_by_its_start(data: str, quoted: str) -> None:
    """200 characters are quoted, escaped, and more is hinted at."""
    assert quote(data) == quoted


def test_a_cancelled_stream_ends_with_an_aborted_message() -> None:
    """The caller's cut is an error event whose message is the result, and no failure."""
    outcome = aborted(MODEL)
    message = stand_in(
        MODEL, stop_reason="aborted", error_message="stream closed without terminal event"
    )
    assert outcome.failure is None
    assert outcome.result == message
    assert outcome.event == ErrorEvent("aborted", message)


def test_an_early_end_may_be_a_done() -> None:
    """With "done" it is an empty message with stop reason `stop`, without an error message."""
    outcome = ended_early(MODEL, "done")
    message = stand_in(MODEL, stop_reason="stop")
    assert message.error_message is None
    assert outcome.failure is None
    assert outcome.result == message
    assert outcome.event == DoneEvent("stop", message)


def test_an_early_end_may_be_an_error() -> None:
    """With "error" there is neither a result nor an event, but a failure."""
    outcome = ended_early(MODEL, "error")
    assert (outcome.result, outcome.event) == (None, None)
    assert type(outcome.failure) is IncompleteStreamError
    assert str(outcome.failure) == "stream closed without terminal event"


def test_a_synthetic_message() -> None:
    """It is empty, costs nothing, is stamped now, and names the model that was asked."""
    message = stand_in(MODEL, stop_reason="stop")
    assert message.usage == Usage()
    assert to_wire(message) == {
        "role": "assistant",
        "content": [],
        "api": "some-api",
        "provider": "x",
        "model": "y/z",
        "usage": {
            "input": 0,
            "output": 0,
            "cacheRead": 0,
            "cacheWrite": 0,
            "totalTokens": 0,
            "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0},
        },
        "stopReason": "stop",
        "timestamp": NOW,
    }


def test_two_messages_that_stand_in_share_nothing() -> None:
    """Changing one leaves the other as it is."""
    first, second = (stand_in(MODEL, stop_reason="stop") for _ in range(2))
    assert first.content is not second.content
    assert first.usage is not second.usage
