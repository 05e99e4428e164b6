"""Messages refuse wrong content at once; every object can be written as a dict and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    Context,
    DeveloperMessage,
    DoneEvent,
    Message,
    TextContent,
    ToolCall,
    ToolResultMessage,
    UnknownMessage,
    Usage,
    UserMessage,
    from_wire,
    to_wire,
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "content must be a string or a list of content blocks, not NoneType"),
        (7, "not int"),
        (TextContent("x"), "not TextContent"),
        (["hi"], r"content\[0\] must be a content block, not str; TextContent\(text\) makes"),
        ([TextContent("x"), None], r"content\[1\] must be a content block, not NoneType"),
        (
            [{"type": "image_url", "image_url": {}}],
            r"content\[0\] must be a content block, not dict",
        ),
        ([ToolCall("1", "f", {})], r"content\[0\] must be a content block, not ToolCall"),
    ],
)
def test_wrong_content_of_an_input_message(content: Any, words: str) -> None:
    """The error names the item, at construction and at assignment."""
    for cls in (UserMessage, DeveloperMessage):
        with pytest.raises(TypeError, match=words):
            cls(content)
        message = cls("hi")
        with pytest.raises(TypeError, match=words):
            message.content = content
        assert message.content == "hi"


@pytest.mark.parametrize("content", ["hi", ["hi"], [7], 7])
def test_wrong_content_of_an_answer(content: Any) -> None:
    """The content of an assistant message is a list of blocks."""
    with pytest.raises(TypeError, match="content"):
        AssistantMessage(content)


@pytest.mark.parametrize("content", [None, 7, ["hi"], {"a": 1}])
def test_wrong_content_of_a_tool_result(content: Any) -> None:
    """A tool's result is a text or a list of blocks."""
    with pytest.raises(TypeError):
        ToolResultMessage("1", "f", content)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("hi", "messages must be a list of messages, not str"),
        (UserMessage("hi"), "not UserMessage"),
        ([UserMessage("hi"), "x"], r"messages\[1\] must be a message, not str"),
        ([{"role": "user"}], r"messages\[0\] must be a message, not dict; Context.from_openai"),
    ],
)
def test_wrong_messages_of_a_context(messages: Any, words: str) -> None:
    """The error names the item."""
    with pytest.raises(TypeError, match=words):
        Context(messages)


@pytest.mark.parametrize("role", ["user", "developer", "assistant", "toolResult"])
def test_a_message_of_the_wire_may_lack_its_content(role: str) -> None:
    """A member that is missing on the wire is None, and absent when it is written."""
    message: Any = from_wire({"role": role}, Message)
    assert message.content is None
    assert str(message) == ""
    assert to_wire(message) == {"role": role}


TEXTS: list[tuple[Any, str]] = [
    (UserMessage("hi"), "hi"),
    (UserMessage([TextContent("a"), TextContent("b")]), "ab"),
    (DeveloperMessage("hi"), "hi"),
    (AssistantMessage([TextContent("a"), ToolCall("1", "f", {})]), "a"),
    (AssistantMessage([]), ""),
    (ToolResultMessage("1", "f", "noon"), "noon"),
]


@pytest.mark.parametrize(("message", "text"), TEXTS)
def test_the_text_of_a_message(message: Any, text: str) -> None:
    """`str()` of a message is its text, and its repr is not."""
    assert str(message) == f"{message}" == text
    assert repr(message).startswith(type(message).__name__)


@pytest.mark.parametrize(
    "obj",
    [
        *(message for message, _ in TEXTS),
        Usage(input=1),
        Context([UserMessage("\ud83d caf\xe9")]),
        DoneEvent("stop", AssistantMessage([TextContent("x")])),
        UnknownMessage({"role": "judge", "x": None}),
    ],
)
def test_an_object_as_a_dict_and_as_json(obj: Any) -> None:
    """`to_dict` is `to_wire`, and `to_json` its JSON in ASCII."""
    assert obj.to_dict() == to_wire(obj)
    assert json.loads(obj.to_json()) == to_wire(obj)
    assert obj.to_json().isascii()


@pytest.mark.parametrize("value", [1.5, "12", True, [], {}])
@pytest.mark.parametrize("name", ["input", "output", "cacheRead", "totalTokens", "reasoningTokens"])
def test_a_count_that_is_none(name: str, value: Any) -> None:
    """A count of a wrong type is kept in `extra`; the message is read and written unchanged."""
    data = {"role": "assistant", "content": [], "usage": {"input": 7, name: value}}
    message: Any = from_wire(data, AssistantMessage)
    assert message.usage.extra == {name: value}
    assert to_wire(message) == data
    assert str(message.usage)


@pytest.mark.parametrize("value", ["0.5", True, []])
def test_a_price_that_is_none(value: Any) -> None:
    """A cost of a wrong type is kept in `extra`."""
    data = {"input": 1.5, "total": value}
    usage: Any = from_wire({"cost": data}, Usage)
    assert (usage.cost.total, usage.cost.extra) == (None, {"total": value})
    assert to_wire(usage) == {"cost": data}
