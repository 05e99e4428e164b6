"""Reading and writing wire JSON, case by case; what holds for all JSON is tested next door."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from typing import Any

import pytest

from pi_native._protocol.convert import LazyMessage, decode_event, from_wire, to_wire
from pi_native._types import events as ev
from pi_native._types.content import (
    Block,
    FallbackContent,
    ImageContent,
    TextContent,
    ThinkingContent,
    ToolCall,
    UnknownContent,
)
from pi_native._types.events import AssistantMessageEvent
from pi_native._types.gateway import CredentialsCheck, ModelInfo, UsageSnapshot
from pi_native._types.messages import (
    AssistantMessage,
    Cost,
    Message,
    ToolResultMessage,
    UnknownMessage,
    Usage,
    UserMessage,
)
from pi_native._types.request import Context, Model, Tool
from pi_native.errors import DecodeError


def problems(data: object, cls: Any) -> tuple[str, ...]:
    """Return the faults that reading finds."""
    with pytest.raises(DecodeError) as caught:
        from_wire(data, cls)
    return caught.value.problems


def nested(depth: int) -> Any:
    """Return an array in an array in an array."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


ASSISTANT = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "hm", "thinkingSignature": "s"},
        {"type": "toolCall", "id": "1", "name": "add", "arguments": {"a": 1}, "streamIndex": 0},
    ],
    "api": "mock",
    "provider": "p",
    "model": "m",
    "usage": {"input": 1, "output": 2, "cost": {"total": 0}},
    "stopReason": "toolUse",
    "stopDetails": None,
    "timestamp": 1_700_000_000_000,
    "toolCallAbortMessages": {"1": "stopped"},
}
DELTA = {"type": "text_delta", "contentIndex": 0, "delta": "x", "partial": ASSISTANT}


# Reading.


def test_members_become_fields() -> None:
    """Members are fields in snake_case, objects have classes, unknown members are in `extra`."""
    message = from_wire(ASSISTANT, AssistantMessage)
    thinking, call = message.content
    assert thinking == ThinkingContent("hm", thinking_signature="s")
    assert call == ToolCall("1", "add", {"a": 1}, extra={"streamIndex": 0})
    assert (message.stop_reason, message.timestamp) == ("toolUse", 1_700_000_000_000)
    assert message.tool_call_abort_messages == {"1": "stopped"}


def test_what_is_missing_is_none() -> None:
    """A missing member has no default: it is None, and stays absent when written."""
    message = from_wire({"role": "user"}, UserMessage)
    assert [message.content, message.timestamp, message.extra] == [None, None, {}]
    assert to_wire(message) == {"role": "user"}
    usage = from_wire(ASSISTANT, AssistantMessage).usage
    assert [usage.output, usage.cache_read, usage.cost.input] == [2, None, None]


def test_a_missing_role_is_missing_too() -> None:
    """Asked for a class, reading takes an object that does not say its kind, and writes it so."""
    assert from_wire({}, AssistantMessage).role is None
    assert to_wire(from_wire({}, AssistantMessage)) == {}
    assert to_wire(from_wire({"type": None, "text": "x"}, TextContent)) == {
        "type": None,
        "text": "x",
    }


def test_null_is_remembered_until_something_is_set() -> None:
    """An explicit null is None in the field and null in `extra`, where a value set later wins."""
    message = from_wire({**ASSISTANT, "errorMessage": None, "new": None}, AssistantMessage)
    assert message.error_message is None
    assert message.extra == {"stopDetails": None, "errorMessage": None, "new": None}
    message.error_message = "no"
    assert to_wire(message)["errorMessage"] == "no"
    assert to_wire(message)["stopDetails"] is None


@pytest.mark.parametrize("number", [0, 0.0, 7, 7.0, 1.5, -1, 2**70])
def test_numbers_stay_as_they_are(number: float) -> None:
    """An integer is not made a float where dollars are due, nor the other way round."""
    written = to_wire(from_wire({"total": number}, Cost))
    assert json.dumps(written) == json.dumps({"total": number})


def test_an_integer_may_be_written_as_a_float() -> None:
    """JavaScript does not tell 7 from 7.0, so neither is wrong for a count or an id."""
    assert json.dumps(to_wire(from_wire({"input": 7.0}, Usage))) == '{"input": 7.0}'
    check = {"credentials": [{"id": 7.0}, {"id": 7}, {"id": "7"}]}
    assert json.dumps(to_wire(from_wire(check, CredentialsCheck))) == json.dumps(check)


def test_lone_surrogates_survive() -> None:
    """Half a character is kept until the other half comes."""
    event = decode_event({**DELTA, "delta": "\ud83d"})
    assert to_wire(event)["delta"] == "\ud83d"


def test_newer_words_are_taken() -> None:
    """A stop reason, a detail or an attribution that is not listed is no fault."""
    assert from_wire({"stopReason": "bored"}, AssistantMessage).stop_reason == "bored"  # type: ignore[comparison-overlap]
    assert from_wire({"detail": "tiny"}, ImageContent).detail == "tiny"  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("data", "cls", "expected"),
    [
        ({"type": "fallback", "from": {}, "to": {}}, Block, FallbackContent({}, {})),
        ({"type": "video", "a": 1}, Block, UnknownContent({"type": "video", "a": 1})),
        ({"text": "x"}, Block, UnknownContent({"text": "x"})),
        ({"type": ["text"]}, Block, UnknownContent({"type": ["text"]})),
        ({"role": "oracle"}, Message, UnknownMessage({"role": "oracle"})),
        ({"content": "x"}, Message, UnknownMessage({"content": "x"})),
        ({"type": "new", "a": 1}, AssistantMessageEvent, ev.UnknownEvent({"type": "new", "a": 1})),
        ({"a": 1}, UnknownContent, UnknownContent({"a": 1})),
    ],
)
def test_the_kind_decides_the_class(data: Any, cls: Any, expected: object) -> None:
    """Of a union the member with this type or role is read; what is of no known kind is kept."""
    assert from_wire(data, cls) == expected
    assert to_wire(from_wire(data, cls)) == data


def test_a_union_need_not_provide_for_the_unknown() -> None:
    """A union without an Unknown takes the kinds of its members only."""
    either: Any = TextContent | ThinkingContent
    assert from_wire({"type": "thinking"}, either) == ThinkingContent(None)  # type: ignore[arg-type]
    expected = '$.type: expected "text" or "thinking", got '
    assert problems({"type": "image"}, either) == (expected + "a string",)
    assert problems({}, either) == (expected + "nothing",)


def test_a_block_out_of_place_is_kept() -> None:
    """A user says no tool calls; one that is there all the same is kept as unknown."""
    data = {"role": "user", "content": [{"type": "toolCall", "id": 5}, {"type": "text"}]}
    message = from_wire(data, UserMessage)
    assert message.content == [UnknownContent({"type": "toolCall", "id": 5}), TextContent(None)]  # type: ignore[arg-type]
    assert to_wire(message) == data


def test_answers_of_the_gateway_keep_their_own_spelling() -> None:
    """A list of models is in snake_case on the wire as well, the other answers are not."""
    data = {"id": "p/m", "owned_by": "p", "supports_tools": True, "contextLength": 5}
    info = from_wire(data, ModelInfo)
    assert (info.owned_by, info.supports_tools, info.context_length) == ("p", True, None)
    assert to_wire(info) == data
    page = {"generatedAt": 1.5, "reports": []}
    assert from_wire(page, UsageSnapshot).generated_at == 1.5


# Faults.


def test_every_fault_is_named_with_its_path() -> None:
    """One error tells all that is wrong, and where."""
    data = {
        "role": "assistant",
        "content": [{"type": "text", "text": 7}, 5, None, {"type": "toolCall", "arguments": "x"}],
        "disabledFeatures": {"a": 1},
        "toolCallAbortMessages": {"a b": 1, "c": False},
        "errorStatus": 7.9,
        "timestamp": float("inf"),
    }
    assert problems(data, AssistantMessage) == (
        "$.content[0].text: expected a string, got 7",
        "$.content[1]: expected an object, got 5",
        "$.content[2]: expected an object, got null",
        "$.content[3].arguments: expected an object, got a string",
        "$.disabledFeatures: expected an array, got an object",
        "$.toolCallAbortMessages['a b']: expected a string, got 1",
        "$.toolCallAbortMessages.c: expected a string, got false",
        "$.errorStatus: expected an integer, got 7.9",
        "$.timestamp: expected a number, got inf",
    )


def test_the_message_of_an_error_is_short() -> None:
    """It names what was read and a few of the faults."""
    data = {"name": 1, "description": 2, "parameters": 3, "strict": 4, "examples": 5}
    with pytest.raises(DecodeError) as caught:
        from_wire(data, Tool)
    assert str(caught.value) == (
        "not a valid Tool: $.name: expected a string, got 1; $.description: expected a string, "
        "got 2; $.parameters: expected an object, got 3; and 2 more"
    )
    assert len(caught.value.problems) == 5


def test_a_fault_quotes_no_values() -> None:
    """Long, deep and secret values are described and not shown."""
    huge = 1 << 20_000
    data = {"id": huge, "name": nested(5000), "description": b"x", "headers": {"k" * 999: 1}}
    assert problems(data, Model) == (
        "$.id: expected a string, got a huge integer",
        "$.name: expected a string, got an array",
        f"$.headers['{'k' * 60}']: expected a string, got 1",
    )
    assert problems({"data": b"x"}, ImageContent) == (
        "$.data: expected a string, got a Python bytes",
    )


@pytest.mark.parametrize(
    ("data", "cls", "problem"),
    [
        ([], AssistantMessage, "$: expected an object, got an array"),
        (None, Block, "$: expected an object, got null"),
        ("x", Message, "$: expected an object, got a string"),
        (5, AssistantMessageEvent, "$: expected an object, got 5"),
        (True, UnknownContent, "$: expected an object, got true"),
        ([], ev.UnknownEvent, "$: expected an object, got an array"),
        ({}, AssistantMessageEvent, "$.type: expected a string, got nothing"),
        ({"type": 5}, AssistantMessageEvent, "$.type: expected a string, got 5"),
        ({"type": None}, ev.UnknownEvent, "$.type: expected a string, got null"),
        ({}, ev.StartEvent, "$.type: expected a string, got nothing"),
        ({"role": "user"}, AssistantMessage, '$.role: expected "assistant", got "user"'),
        ({"role": 5}, AssistantMessage, '$.role: expected "assistant", got 5'),
        ({"content": 5}, UserMessage, "$.content: expected a string or an array, got 5"),
        ({"content": "x"}, ToolResultMessage, "$.content: expected an array, got a string"),
        ({"systemPrompt": "x"}, Context, "$.systemPrompt: expected an array, got a string"),
        ({"type": "done"}, AssistantMessageEvent, "$.message: expected an object, got nothing"),
        ({**DELTA, "partial": 5}, AssistantMessageEvent, "$.partial: expected an object, got 5"),
        (
            {**DELTA, "partial": {"usage": 5}},
            AssistantMessageEvent,
            "$.partial.usage: expected an object, got 5",
        ),
    ],
)
def test_what_is_wrong_is_refused(data: object, cls: Any, problem: str) -> None:
    """An object of the wrong kind, or none at all, is a `DecodeError` and nothing else."""
    assert problems(data, cls) == (problem,)


def test_only_types_of_the_wire_are_read() -> None:
    """To ask for anything else is the caller's mistake, and no fault of the data."""
    for cls in (int, dict, list[str], str | int, Message | None, Usage | Cost, str):
        with pytest.raises(TypeError):
            from_wire({}, cls)
    with pytest.raises(TypeError, match="no common tag"):
        from_wire({}, UserMessage | TextContent)


def test_a_lack_of_stack_is_a_decode_error() -> None:
    """Nesting never ends in a `RecursionError`, and what is carried unread may nest at will."""
    deep: dict[str, Any] = {"role": "toolResult", "details": nested(50_000)}
    assert to_wire(from_wire(deep, Message))["details"][0] is deep["details"][0]

    def with_little_stack(frames: int) -> None:
        if frames:
            with_little_stack(frames - 1)
        else:
            from_wire(ASSISTANT, AssistantMessage)

    from_wire(ASSISTANT, AssistantMessage)
    seen = set()
    for frames in range(sys.getrecursionlimit() - 300, sys.getrecursionlimit()):
        try:
            with_little_stack(frames)
        except DecodeError as error:
            seen.add(error.problems)
        except RecursionError:
            break
    assert seen == {("$: nested too deep",)}


# Writing.


def test_fields_become_members() -> None:
    """Absent members are not written; others have their wire names, the kind first."""
    context = Context(
        [UserMessage([TextContent("hi")], timestamp=5)],
        system_prompt=["Be brief"],
        tools=[Tool("add", "adds", {"type": "object"}, defer_loading=True)],
    )
    assert json.dumps(to_wire(context)) == json.dumps(
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "hi"}], "timestamp": 5}
            ],
            "systemPrompt": ["Be brief"],
            "tools": [
                {
                    "name": "add",
                    "description": "adds",
                    "parameters": {"type": "object"},
                    "deferLoading": True,
                }
            ],
        }
    )


def test_a_model_is_written_in_camel_case() -> None:
    """All of a model's own fields have wire names; what was added goes along."""
    model = Model("m", "p", base_url="http://x", context_window=5, extra={"compat": {}})
    assert to_wire(model) == {
        "id": "m",
        "provider": "p",
        "api": "pi-native",
        "baseUrl": "http://x",
        "contextWindow": 5,
        "compat": {},
    }


def test_an_extra_member_does_not_hide_a_field() -> None:
    """A field that is set wins over `extra`, and one that is not leaves it the place."""
    assert to_wire(TextContent("x", extra={"text": "y"}))["text"] == "x"
    assert to_wire(TextContent("x", extra={"textSignature": "y"}))["textSignature"] == "y"


def test_plain_json_among_objects_is_written_as_it_is() -> None:
    """Blocks and messages given as JSON, or in a tuple, are sent all the same."""
    block: Any = {"type": "text", "text": "x"}
    assert to_wire(UserMessage([block], timestamp=1))["content"] == [block]
    messages: Any = (UserMessage("x", timestamp=1),)
    assert to_wire(Context(messages))["messages"][0]["content"] == "x"


def test_changing_what_was_written_changes_no_object() -> None:
    """Lists and objects that the protocol describes are new ones."""
    message = from_wire(copy.deepcopy(ASSISTANT), AssistantMessage)
    unknown = UnknownContent({"type": "video"})
    before = copy.deepcopy(message)
    written = to_wire(message)
    written["content"][1]["arguments"]["b"] = 2
    written["toolCallAbortMessages"].clear()
    written["usage"]["cost"]["total"] = 5
    written["content"].clear()
    to_wire(unknown).clear()
    assert message == before
    assert unknown.data == {"type": "video"}


@pytest.mark.parametrize("obj", [{}, [], None, "x", LazyMessage({}), UserMessage])
def test_only_objects_of_the_wire_are_written(obj: Any) -> None:
    """Anything else is the caller's mistake."""
    with pytest.raises(TypeError, match="not a type of the wire"):
        to_wire(obj)


# Events.


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"type": "text_start", "contentIndex": 1}, ev.TextStartEvent(1)),
        ({"type": "thinking_end", "contentIndex": 1, "content": "x"}, ev.ThinkingEndEvent(1, "x")),
        ({"type": "start", "partial": None}, ev.StartEvent(extra={"partial": None})),
        (
            {"type": "toolcall_end", "contentIndex": 1, "toolCall": {"type": "toolCall"}},
            ev.ToolCallEndEvent(1, ToolCall(None, None, None)),  # type: ignore[arg-type]
        ),
        (
            {"type": "image_end", "contentIndex": 1, "content": {"type": "image"}},
            ev.ImageEndEvent(1, ImageContent(None, None)),  # type: ignore[arg-type]
        ),
        (
            {"type": "done", "reason": "stop", "message": ASSISTANT},
            ev.DoneEvent("stop", from_wire(ASSISTANT, AssistantMessage)),
        ),
        (
            {"type": "error", "reason": "error", "error": ASSISTANT},
            ev.ErrorEvent("error", from_wire(ASSISTANT, AssistantMessage)),
        ),
    ],
)
def test_events_are_read(data: Any, expected: object) -> None:
    """Each kind has its class, and its snapshot may be missing or null."""
    assert decode_event(data) == from_wire(data, AssistantMessageEvent) == expected
    assert to_wire(decode_event(data)) == data


@pytest.mark.parametrize("more", [{}, {"new": 1}])
def test_a_snapshot_is_not_read_before_it_is_asked_for(more: dict[str, Any]) -> None:
    """A snapshot that is no message is found out when it is looked at, and is written unread."""
    raw = {"role": "assistant", "content": 5}
    event = decode_event({**DELTA, "partial": raw, **more})
    assert to_wire(event)["partial"] is raw
    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            _ = event.partial
        assert caught.value.problems == ("$.partial.content: expected an array, got 5",)


def test_a_snapshot_that_was_read_is_written_as_it_is_now() -> None:
    """A change of a snapshot is in the written event."""
    event = decode_event(DELTA)
    assert event.partial is not None
    event.partial.api = "changed"
    assert to_wire(event)["partial"] == {**ASSISTANT, "api": "changed"}


def test_a_snapshot_of_another_make_is_written() -> None:
    """A function that is not ours is called; what gives no message is not written."""
    message = from_wire(ASSISTANT, AssistantMessage)
    assert to_wire(ev.TextStartEvent(0, lambda: message))["partial"] == ASSISTANT
    assert "partial" not in to_wire(ev.TextStartEvent(0, lambda: None))


def test_events_can_be_pickled_with_their_snapshots_unread() -> None:
    """A decoded event crosses to another process as cheaply as it came."""
    event = pickle.loads(pickle.dumps(decode_event(DELTA)))
    assert event == decode_event(DELTA)
    assert to_wire(event) == DELTA


@pytest.mark.parametrize(
    "data",
    [
        {**DELTA, "partial": 5},
        {**DELTA, "partial": "x"},
        {**DELTA, "contentIndex": True},
        {**DELTA, "contentIndex": "0"},
        {**DELTA, "delta": 5},
        {"type": "done", "reason": "stop"},
        {"type": "done", "reason": "stop", "message": None},
        {"type": "error", "reason": "error", "errorMessage": "x"},
        {"contentIndex": 0},
        {"type": ["text_delta"]},
        ["type"],
        "type",
        None,
    ],
)
def test_faulty_events_are_refused_at_once(data: object) -> None:
    """The streaming path is as strict as any other, except for the content of the snapshot."""
    with pytest.raises(DecodeError, match="not a valid event"):
        decode_event(data)


def test_a_snapshot_can_be_given_apart() -> None:
    """A snapshot that was removed from the JSON is the `partial`."""
    head = {"type": "text_delta", "contentIndex": 0, "delta": "x"}
    message = from_wire(ASSISTANT, AssistantMessage)
    for data in (head, {**head, "new": 1}, {**head, "contentIndex": 0.0}):
        assert decode_event(data, lambda: message).partial is message
    assert decode_event({"type": "text_start", "contentIndex": 0}, message).partial is message
    assert decode_event({"type": "new"}, message).partial is message
    done = decode_event({"type": "done", "message": {}}, message)
    assert done == from_wire({"type": "done", "message": {}}, ev.DoneEvent)


def test_an_unknown_event_may_hold_a_snapshot() -> None:
    """Its `partial` is read if it is a message, and is not held against it if it is none."""
    known = decode_event({"type": "new", "partial": ASSISTANT})
    assert known.partial == from_wire(ASSISTANT, AssistantMessage)
    for partial in (5, None, {"content": 5}):
        assert decode_event({"type": "new", "partial": partial}).partial is None


def test_a_partial_of_a_terminal_event_is_nothing_special() -> None:
    """`done` and `error` have no snapshot: a member of this name is kept like any other."""
    data = {"type": "done", "reason": "stop", "message": ASSISTANT, "partial": {"content": 5}}
    assert to_wire(decode_event(data)) == data
