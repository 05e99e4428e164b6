"""For any JSON: reading and writing loses nothing, and only `DecodeError` comes out.

The tables below say again, apart from the code, which members each object has.
"""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from pi_native._protocol.convert import decode_event, from_wire, to_wire
from pi_native._types.content import Block
from pi_native._types.events import AssistantMessageEvent
from pi_native._types.gateway import CredentialsCheck, Health, ModelInfo, UsageSnapshot
from pi_native._types.messages import AssistantMessage, Message, Usage
from pi_native._types.request import Context, Model
from pi_native.errors import DecodeError

from ...repetitions import repetitions

# JSON in general.

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates too
INT = st.integers(-(2**60), 2**60) | st.integers(-50, 50).map(float)
NUMBER = INT | st.floats(allow_nan=False, allow_infinity=False)
BOOL = st.booleans()
ANY = st.recursive(
    st.none() | BOOL | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
OBJECT = st.dictionaries(TEXT, ANY, max_size=3)
TEXTS = st.lists(TEXT, max_size=3)

Json = dict[str, Any]
Members = dict[str, st.SearchStrategy[Any]]


def same(one: object, other: object) -> bool:
    """Return True for the same JSON text: 0 is not 0.0, and 1 is not True."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def parsed(value: Any) -> Any:
    """As it would come off the wire: two halves of a surrogate pair that meet become one."""
    return json.loads(json.dumps(value))


def an_object(fixed: Members, members: Members) -> st.SearchStrategy[Json]:
    """Return an object with any of the members, some of them null, and unknown others."""
    taken = {*fixed, *members}
    return st.builds(
        lambda known, unknown: {**known, **{k: v for k, v in unknown.items() if k not in taken}},
        st.fixed_dictionaries(fixed, optional={k: v | st.none() for k, v in members.items()}),
        OBJECT,
    )


def tagged(name: str, value: str, members: Members) -> st.SearchStrategy[Json]:
    """Return an object of a known kind."""
    return an_object({name: st.just(value)}, members)


# The protocol.

TEXT_BLOCK = tagged("type", "text", {"text": TEXT, "textSignature": TEXT})
IMAGE = tagged(
    "type",
    "image",
    {"data": TEXT, "mimeType": TEXT, "detail": TEXT, "providerFile": OBJECT, "url": TEXT},
)
TOOL_CALL = tagged(
    "type",
    "toolCall",
    {
        **dict.fromkeys(["id", "name", "thoughtSignature", "intent", "rawBlock"], TEXT),
        "customWireName": TEXT,
        "arguments": OBJECT,
        "providerMetadata": ANY,
    },
)
BLOCK = st.one_of(
    TEXT_BLOCK,
    IMAGE,
    TOOL_CALL,
    tagged("type", "thinking", dict.fromkeys(["thinking", "thinkingSignature", "itemId"], TEXT)),
    tagged("type", "redactedThinking", {"data": TEXT}),
    tagged("type", "fallback", {"from": OBJECT, "to": OBJECT}),
    tagged("type", "anthropicServerTool", {"block": OBJECT}),
    tagged("type", "newInTheNextVersion", {"text": ANY}),
    OBJECT.filter(lambda block: not isinstance(block.get("type"), str)),
)
COST = an_object({}, dict.fromkeys(["input", "output", "cacheRead", "cacheWrite", "total"], NUMBER))
USAGE = an_object(
    {},
    {
        **dict.fromkeys(["input", "output", "cacheRead", "cacheWrite", "totalTokens"], INT),
        **dict.fromkeys(["contextTokens", "reasoningTokens"], INT),
        **dict.fromkeys(["orchestration", "cttl", "server", "credits"], OBJECT),
        "premiumRequests": NUMBER,
        "cost": COST,
    },
)
FROM_OUTSIDE = {
    "content": TEXT | st.lists(TEXT_BLOCK | IMAGE | BLOCK, max_size=3),
    "synthetic": BOOL,
    "attribution": TEXT,
    "providerPayload": ANY,
    "timestamp": NUMBER,
}
ASSISTANT_MEMBERS = {
    "content": st.lists(BLOCK, max_size=3),
    "usage": USAGE,
    **dict.fromkeys(["api", "provider", "model", "responseId", "upstreamProvider"], TEXT),
    **dict.fromkeys(["upstreamModel", "stopReason", "errorMessage"], TEXT),
    "errorClassificationMessage": TEXT,
    **dict.fromkeys(["errorStatus", "errorId"], INT),
    **dict.fromkeys(["timestamp", "duration", "ttft", "completedAt"], NUMBER),
    **dict.fromkeys(["stopDetails", "contextSnapshot", "retryRecovery", "providerPayload"], ANY),
    "toolCallAbortMessages": st.dictionaries(TEXT, TEXT, max_size=3),
    "disabledFeatures": TEXTS,
    "inputTransformations": st.lists(ANY, max_size=3),
}
ASSISTANT = tagged("role", "assistant", ASSISTANT_MEMBERS)
MESSAGE = st.one_of(
    ASSISTANT,
    tagged("role", "user", {**FROM_OUTSIDE, "steering": BOOL, "historyRewriteAt": NUMBER}),
    tagged("role", "developer", {**FROM_OUTSIDE, "userInitiated": BOOL}),
    tagged(
        "role",
        "toolResult",
        {
            **dict.fromkeys(["toolCallId", "toolName", "attribution"], TEXT),
            **dict.fromkeys(["details", "providerMetadata"], ANY),
            **dict.fromkeys(["isError", "useless"], BOOL),
            **dict.fromkeys(["prunedAt", "timestamp"], NUMBER),
            "content": st.lists(BLOCK, max_size=3),
        },
    ),
    tagged("role", "oracle", {"content": ANY}),
    OBJECT.filter(lambda message: not isinstance(message.get("role"), str)),
)


def progress(kind: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Return an event with a snapshot, mostly in the plain form of the streaming path."""
    plain = {"contentIndex": st.integers(0, 9), **members}
    with_all = {"type": st.just(kind), **plain, "partial": ASSISTANT}
    return st.fixed_dictionaries(with_all) | tagged("type", kind, {**plain, "partial": ASSISTANT})


EVENT = st.one_of(
    progress("start"),
    *(progress(f"{kind}_start") for kind in ("text", "thinking", "toolcall")),
    *(progress(f"{kind}_delta", delta=TEXT) for kind in ("text", "thinking", "toolcall")),
    *(progress(f"{kind}_end", content=TEXT) for kind in ("text", "thinking")),
    progress("toolcall_end", toolCall=TOOL_CALL),
    progress("image_end", content=IMAGE),
    an_object({"type": st.just("done"), "message": ASSISTANT}, {"reason": TEXT}),
    an_object({"type": st.just("error"), "error": ASSISTANT}, {"reason": TEXT}),
    tagged("type", "inference_admission", {"partial": ANY}),
)
TOOL = an_object(
    {},
    {
        **dict.fromkeys(["name", "description", "customWireName"], TEXT),
        **dict.fromkeys(["parameters", "customFormat", "native"], OBJECT),
        **dict.fromkeys(["strict", "deferLoading"], BOOL),
        "examples": st.lists(ANY, max_size=2),
    },
)
OTHERS: dict[type, st.SearchStrategy[Json]] = {
    AssistantMessage: an_object({}, {"role": st.just("assistant"), **ASSISTANT_MEMBERS}),
    Usage: USAGE,
    Context: an_object(
        {},
        {
            "messages": st.lists(MESSAGE, max_size=2),
            "systemPrompt": TEXTS,
            "tools": st.lists(TOOL, max_size=2),
        },
    ),
    Model: an_object(
        {},
        {
            **dict.fromkeys(["id", "provider", "api", "baseUrl", "name", "transport"], TEXT),
            **dict.fromkeys(["contextWindow", "maxTokens"], INT),
            "headers": st.dictionaries(TEXT, TEXT, max_size=2),
            "reasoning": BOOL,
            "input": TEXTS,
            "cost": COST,
        },
    ),
    ModelInfo: an_object(
        {},
        {
            **dict.fromkeys(["id", "object", "owned_by", "api", "display_name"], TEXT),
            **dict.fromkeys(["context_length", "max_output_tokens"], INT),
            "input_modalities": TEXTS,
            "supports_tools": BOOL,
        },
    ),
    Health: an_object({"ok": BOOL}, {"version": TEXT}),
    UsageSnapshot: an_object({"reports": st.lists(OBJECT, max_size=2)}, {"generatedAt": NUMBER}),
    CredentialsCheck: an_object(
        {
            "credentials": st.lists(
                an_object(
                    {},
                    {
                        **dict.fromkeys(["provider", "type", "reason", "email"], TEXT),
                        "id": INT | TEXT,
                        "ok": BOOL,
                    },
                ),
                max_size=2,
            ),
        },
        {"generatedAt": NUMBER},
    ),
}
UNIONS: list[tuple[Any, st.SearchStrategy[Json]]] = [
    (Block, BLOCK),
    (Message, MESSAGE),
    (AssistantMessageEvent, EVENT),
]
NAMES = ["Block", "Message", "AssistantMessageEvent"] + [cls.__name__ for cls in OTHERS]
everything = pytest.mark.parametrize(("cls", "wire"), [*UNIONS, *OTHERS.items()], ids=NAMES)


# Nothing is lost.


@everything
@given(st.data())
def test_reading_and_writing_is_the_identity(
    cls: Any, wire: st.SearchStrategy[Json], data: st.DataObject
) -> None:
    """Whatever decodes is written as the same JSON, and what was read is left as it was."""
    given_json = parsed(data.draw(wire))
    before = copy.deepcopy(given_json)
    assert same(to_wire(from_wire(given_json, cls)), before)
    assert same(given_json, before)


@everything
@settings(max_examples=repetitions(30, 8))
@given(st.data())
def test_copies_are_equal(cls: Any, wire: st.SearchStrategy[Json], data: st.DataObject) -> None:
    """A pickled, a copied and a deeply copied object are equal to it and written the same."""
    given_json = parsed(data.draw(wire))
    obj = from_wire(given_json, cls)
    for other in (pickle.loads(pickle.dumps(obj)), copy.copy(obj), copy.deepcopy(obj)):
        assert other == obj
        assert same(to_wire(other), given_json)


@everything
@settings(max_examples=repetitions(20, 8))
@given(st.data())
def test_any_object_has_a_repr(
    cls: Any, wire: st.SearchStrategy[Json], data: st.DataObject
) -> None:
    """A repr names the class, whatever is missing from the object."""
    obj = from_wire(parsed(data.draw(wire)), cls)
    assert repr(obj).startswith(type(obj).__name__)


# The streaming path.


@given(EVENT)
def test_the_streaming_path_reads_the_same_events(wire: Json) -> None:
    """`decode_event` gives what `from_wire` gives, with the snapshot set aside or in place."""
    wire = parsed(wire)
    event = from_wire(wire, AssistantMessageEvent)
    assert decode_event(wire) == event
    assert decode_event(wire).partial == event.partial
    assert same(to_wire(decode_event(wire)), wire)


@given(EVENT.filter(lambda wire: isinstance(wire.get("partial"), dict)))
def test_a_snapshot_taken_out_before_makes_no_difference(wire: Json) -> None:
    """`decode_event` with a snapshot gives the event that had the snapshot within it."""
    wire = parsed(wire)
    whole = decode_event(wire)
    if whole.type in ("done", "error", "inference_admission"):
        return
    head = {name: value for name, value in wire.items() if name != "partial"}
    assert decode_event(head, snapshot=whole.partial) == whole
    assert decode_event(head, snapshot=lambda: whole.partial) == whole


# Nothing but DecodeError.


@given(ANY, st.sampled_from([cls for cls, _ in UNIONS] + list(OTHERS)))
def test_no_json_raises_anything_else(value: Any, cls: Any) -> None:
    """Any JSON value is read, and then written back the same, or is a `DecodeError`."""
    try:
        obj = from_wire(value, cls)
    except DecodeError:
        return
    assert same(to_wire(obj), value)


@given(EVENT, ANY, st.data())
def test_no_spoilt_event_raises_anything_else(wire: Json, junk: Any, data: st.DataObject) -> None:
    """An event with one member replaced decodes lazily when it does eagerly, or is refused."""
    wire[data.draw(st.sampled_from(sorted(wire)))] = junk
    try:
        event = from_wire(wire, AssistantMessageEvent)
    except DecodeError:
        with pytest.raises(DecodeError):
            _ = decode_event(wire).partial
    else:
        assert decode_event(wire) == event


# Some members of each kind, and values that are of another.
WRONG: list[tuple[str, list[str], list[Any]]] = [
    ("a string", ["api", "model", "stopReason", "errorMessage"], [7, True, []]),
    ("a number", ["timestamp", "duration", "ttft"], ["7", True, {}]),
    ("an integer", ["errorStatus", "errorId"], [7.5, "7", False]),
    ("an array", ["content", "disabledFeatures"], ["x", {"a": 1}, 0]),
    ("an object", ["usage", "toolCallAbortMessages"], [[], "x", 1.5]),
]
FAULT = st.sampled_from(
    [(name, kind, value) for kind, names, values in WRONG for name in names for value in values]
)


@settings(max_examples=repetitions(50, 10))
@given(ASSISTANT, st.lists(FAULT, min_size=1, unique_by=lambda fault: fault[0]))
def test_every_fault_is_named(wire: Json, faults: list[tuple[str, str, Any]]) -> None:
    """Each wrong member is named with its path and what it should have been, and no other."""
    wire.update({name: value for name, _, value in faults})
    with pytest.raises(DecodeError) as caught:
        from_wire(wire, AssistantMessage)
    named = {problem.partition(", got ")[0] for problem in caught.value.problems}
    assert named == {f"$.{name}: expected {kind}" for name, kind, _ in faults}
