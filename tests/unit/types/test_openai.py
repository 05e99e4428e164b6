"""OpenAI's messages and tools as a context."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from pi_native import (
    AssistantMessage,
    Context,
    DecodeError,
    DeveloperMessage,
    ImageContent,
    TextContent,
    Tool,
    ToolCall,
    ToolResultMessage,
    UserMessage,
    to_wire,
)

from ...characters import CHARACTERS

PIXEL = "iVBORw0KGgo="
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "clock", "arguments": '{"zone":"UTC"}'},
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "system",
        "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}],
    },
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What time is it here?"},
            {
                "type": "image_url",
                "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"},
            },
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "tool_calls": [CALL],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "noon"},
    {"role": "assistant", "content": "Noon."},
    {"role": "developer", "content": "Now in French."},
    {"role": "system", "content": "And short."},
    {"role": "user", "content": "Again?"},
]


def test_a_whole_conversation() -> None:
    """Each message, block, call and result has its counterpart, in order."""
    context = Context.from_openai(CONVERSATION)
    assert context.system_prompt == ["Be brief.", "Be kind."]
    assert context.tools is None
    user, asked, result, said, developer, later, last = context.messages
    assert isinstance(user, UserMessage)
    assert user.content == [
        TextContent("What time is it here?"),
        ImageContent(PIXEL, "image/png", detail="low"),
    ]
    assert isinstance(asked, AssistantMessage)
    assert asked.content == [ToolCall("c1", "clock", {"zone": "UTC"})]
    assert asked.stop_reason == "toolUse"
    assert isinstance(result, ToolResultMessage)
    assert (result.tool_call_id, result.tool_name, str(result)) == ("c1", "clock", "noon")
    assert (str(said), str(last)) == ("Noon.", "Again?")
    assert isinstance(developer, DeveloperMessage)
    assert isinstance(later, DeveloperMessage)
    assert (str(developer), str(later)) == ("Now in French.", "And short.")
    assert to_wire(context)["messages"][0]["content"][1]["data"] == PIXEL


def test_tools() -> None:
    """Functions become tools; a missing description or schema is an empty one."""
    schema = {"type": "object", "properties": {"zone": {"type": "string"}}}
    tools = [
        {
            "type": "function",
            "function": {"name": "a", "description": "A.", "parameters": schema, "strict": True},
        },
        {"type": "function", "function": {"name": "b"}},
    ]
    assert Context.from_openai([], tools).tools == [
        Tool("a", "A.", schema, strict=True),
        Tool("b", "", {"type": "object", "properties": {}}),
    ]


def test_an_object_of_openais_own_client() -> None:
    """A message object is read through its `model_dump`."""

    class ChatMessage:
        def model_dump(self) -> dict[str, Any]:
            return {"role": "assistant", "content": "Hi", "audio": None, "tool_calls": None}

    [message] = Context.from_openai([ChatMessage()]).messages
    assert str(message) == "Hi"


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ("hi", "$.messages[0]: expected an object"),
        ({"role": "function", "name": "f", "content": "x"}, "$.messages[0].role: expected"),
        ({"content": "x"}, "$.messages[0].role: expected"),
        ({"role": ["user"], "content": "x"}, "$.messages[0].role: expected"),
        ({"role": "user", "content": "x", "name": "bob"}, "$.messages[0].name: has no counterpart"),
        ({"role": "user"}, "$.messages[0].content: expected a string or an array"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "$.messages[0].content[0].type: "),
        ({"role": "user", "content": ["hi"]}, "$.messages[0].content[0]: expected an object"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]},
            "$.messages[0].content[0].image_url.url: expected a data URL",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "data:"}]},
            "$.messages[0].content[0].image_url: expected an object",
        ),
        ({"role": "system", "content": 7}, "$.messages[0].content: expected"),
        ({"role": "assistant", "content": "x", "function_call": {}}, "function_call: has no"),
        ({"role": "assistant", "content": "x", "refusal": "no"}, "$.messages[0].refusal: has no"),
        (
            {"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]},
            "$.messages[0].tool_calls[0].type: expected",
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}],
            },
            "$.messages[0].tool_calls[0].function.arguments: expected the JSON of an object",
        ),
        ({"role": "tool", "tool_call_id": "c9", "content": "x"}, "$.messages[0].tool_call_id: exp"),
    ],
)
def test_what_has_no_counterpart(message: Any, path: str) -> None:
    """Anything else is an error with the path, and nothing is dropped."""
    with pytest.raises(DecodeError) as caught:
        Context.from_openai([message])
    assert any(path in problem for problem in caught.value.problems), caught.value.problems
    assert path in str(caught.value)


def test_all_problems_at_once() -> None:
    """One error names the problems of all messages and tools."""
    with pytest.raises(DecodeError) as caught:
        Context.from_openai([7, {"role": "x"}], [{"type": "retrieval"}, 8])
    assert len(caught.value.problems) >= 5
    assert "more" in str(caught.value)


@pytest.mark.parametrize("messages", ["hi", b"hi", {"role": "user"}])
def test_messages_that_are_no_list(messages: Any) -> None:
    """A text or a single dict is a `TypeError`."""
    with pytest.raises(TypeError, match="messages must be a list of dicts"):
        Context.from_openai(messages)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(CHARACTERS),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(CHARACTERS), inner),
    max_leaves=6,
)
ROLES = st.sampled_from(["user", "system", "assistant", "tool", "developer"]) | JSON
MESSAGES = st.fixed_dictionaries(
    {}, optional={"role": ROLES, "content": JSON, "tool_calls": JSON, "tool_call_id": JSON}
)


@given(st.lists(MESSAGES | JSON, max_size=4))
def test_any_json_is_converted_or_refused(messages: list[Any]) -> None:
    """Any list is a context that can be sent, or a `DecodeError`."""
    try:
        context = Context.from_openai(messages)
    except DecodeError:
        return
    count = len(context.messages) + len(context.system_prompt or ())
    assert count == len(messages)
    to_wire(context)
