"""Messages, blocks and models as Python objects: how they are made, shown, and what they offer."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import pytest

from pi_native._types.content import (
    FallbackContent,
    ImageContent,
    RedactedThinkingContent,
    ServerToolContent,
    TextContent,
    ThinkingContent,
    ToolCall,
    UnknownContent,
)
from pi_native._types.gateway import CredentialStatus, Health, ModelInfo
from pi_native._types.messages import (
    AssistantMessage,
    Cost,
    DeveloperMessage,
    Message,
    ToolResultMessage,
    UnknownMessage,
    Usage,
    UserMessage,
)
from pi_native._types.request import Context, Model, ModelCost, Tool
from pi_native.errors import ProviderError

# Making them.


@pytest.mark.parametrize("cls", [UserMessage, DeveloperMessage])
def test_content_is_positional_and_the_time_is_now(
    cls: type[UserMessage] | type[DeveloperMessage],
) -> None:
    """A message needs its content only, and is stamped with whole milliseconds."""
    before = time.time_ns() // 1_000_000
    message = cls("hi")
    assert message.content == "hi"
    assert type(message.timestamp) is int
    assert before <= message.timestamp <= time.time_ns() // 1_000_000


def test_blocks_take_their_essentials_by_position() -> None:
    """Required fields are positional; all others are absent until given by name."""
    assert TextContent("x").text == "x"
    assert TextContent("x").text_signature is None
    assert ThinkingContent("x").thinking == "x"
    assert RedactedThinkingContent("x").data == "x"
    assert ImageContent("eA==", "image/png").mime_type == "image/png"
    assert ToolCall("1", "add", {"a": 1}).arguments == {"a": 1}
    assert FallbackContent({"model": "a"}, {"model": "b"}).from_ == {"model": "a"}
    assert ServerToolContent({"a": 1}).block == {"a": 1}
    with pytest.raises(TypeError, match="positional"):
        TextContent("x", "signature")  # type: ignore[call-arg, arg-type]


def test_each_class_knows_its_type_or_role() -> None:
    """`type` and `role` are the words of the wire."""
    assert [TextContent("").type, ToolCall("", "", {}).type] == ["text", "toolCall"]
    assert ServerToolContent({}).type == "anthropicServerTool"
    assert [UserMessage("").role, ToolResultMessage("", "", "").role] == ["user", "toolResult"]


def test_a_tool_result_takes_a_text() -> None:
    """A text becomes a single text block; blocks stay what they are."""
    assert ToolResultMessage("1", "add", "3").content == [TextContent("3")]
    assert ToolResultMessage("1", "add", [], True).content == []
    assert not ToolResultMessage("1", "add", "3").is_error


@pytest.mark.parametrize("result", [{"time": 9}, 9.5, b"9", True])
def test_a_tool_result_of_a_wrong_type(result: Any) -> None:
    """A result that is no text is an error that says how to make it one."""
    with pytest.raises(TypeError, match=r"a text or a list of blocks, not .*json\.dumps"):
        ToolResultMessage("1", "clock", result)


def test_usage_starts_at_zero() -> None:
    """Usage and cost are all zeros by default, and each has its own."""
    assert Usage().total_tokens == Usage().cost.total == Cost().input == ModelCost().output == 0
    assert Usage().cost is not Usage().cost
    assert AssistantMessage().usage == Usage()


def test_a_system_prompt_is_a_list() -> None:
    """A single string is refused when given and when set, since it would be sent by letters."""
    with pytest.raises(TypeError, match=r"system_prompt is a list of strings.*\['Be brief'\]"):
        Context([], system_prompt="Be brief")  # type: ignore[arg-type]
    context = Context([], system_prompt=["Be brief"])
    with pytest.raises(TypeError, match="list"):
        context.system_prompt = "Be brief"  # type: ignore[assignment]


def test_the_answers_of_the_gateway_can_be_made_by_hand() -> None:
    """Tests of other people's code can make what the gateway would have said."""
    assert Health(True, "18").ok
    assert ModelInfo(id="a/b").object == "model"
    assert CredentialStatus(id=1, provider="a", type="oauth").ok is None
    assert Tool("add", "adds", {}).strict is None


def test_they_are_matched_by_class() -> None:
    """A match statement takes a message apart by position."""

    def said(message: Message) -> object:
        match message:
            case UserMessage(str() as text) | AssistantMessage([TextContent(text)]):
                return text
            case ToolResultMessage(call_id, _, [TextContent(text)], False):
                return call_id, text
            case UnknownMessage(data):
                return data
            case _:
                return None

    assert said(UserMessage("hi")) == "hi"
    assert said(AssistantMessage([TextContent("oh")])) == "oh"
    assert said(ToolResultMessage("1", "add", "3")) == ("1", "3")
    assert said(UnknownMessage({"a": 1})) == {"a": 1}
    assert said(UserMessage([])) is None


def test_copies_can_be_changed_alone() -> None:
    """A pickled or deep copy is equal, and shares nothing."""
    message = AssistantMessage([ToolCall("1", "add", {"a": [1]})], extra={"b": []})
    for other in (pickle.loads(pickle.dumps(message)), copy.deepcopy(message)):
        assert other == message
        other.tool_calls[0].arguments["a"].append(2)
        other.extra["b"].append(2)
    assert message == AssistantMessage(
        [ToolCall("1", "add", {"a": [1]})], timestamp=message.timestamp, extra={"b": []}
    )


# Reading them.


def test_an_answer_offers_its_parts() -> None:
    """The text and the thinking are joined, the tool calls listed, and the rest left out."""
    call = ToolCall("1", "add", {})
    message = AssistantMessage(
        [ThinkingContent("hm "), TextContent("a"), call, ThinkingContent("!"), TextContent("b")]
    )
    assert (message.text, message.thinking, message.tool_calls) == ("ab", "hm !", [call])


def test_an_answer_without_content_has_no_parts() -> None:
    """A gateway that left `content` or a text out breaks no property."""
    message = AssistantMessage(None)  # type: ignore[arg-type]
    assert (message.text, message.thinking, message.tool_calls) == ("", "", [])
    message.content = [TextContent(None), ThinkingContent(None)]  # type: ignore[arg-type]
    assert (message.text, message.thinking) == ("", "")


@pytest.mark.parametrize(
    ("reason", "text"), [("error", "no luck"), ("aborted", "the turn was cancelled: no luck")]
)
def test_a_failed_turn_raises(reason: str, text: str) -> None:
    """The error has the message and its text, and names a cancel."""
    message = AssistantMessage(stop_reason=reason, error_message="no luck")  # type: ignore[arg-type]
    with pytest.raises(ProviderError, match=f"^{text}$") as caught:
        message.raise_for_error()
    assert caught.value.message is message


def test_a_failed_turn_without_words_names_its_stop_reason() -> None:
    """There is something to read even if the provider said nothing."""
    with pytest.raises(ProviderError, match="'aborted'"):
        AssistantMessage(stop_reason="aborted").raise_for_error()


@pytest.mark.parametrize("reason", ["stop", "length", "toolUse", None, "new"])
def test_any_other_turn_is_returned(reason: str) -> None:
    """`raise_for_error` gives the message itself, to be chained."""
    message = AssistantMessage(stop_reason=reason)  # type: ignore[arg-type]
    assert message.raise_for_error() is message


def test_what_is_unknown_tells_its_type() -> None:
    """An unknown block or message has the type or role of its data, if that is a string."""
    assert str(UnknownContent({"type": "video"}).type) == "video"
    assert str(UnknownMessage({"role": "oracle"}).role) == "oracle"
    assert UnknownContent({"type": 5}).type is None
    assert UnknownMessage({}).role is None


# Showing them.


def test_a_repr_leaves_out_what_is_absent() -> None:
    """Only what is there is shown, under the names that it is made with."""
    assert repr(TextContent("hi")) == "TextContent(text='hi')"
    assert repr(FallbackContent({}, {})) == "FallbackContent(from_={}, to={})"
    assert repr(UserMessage("hi", timestamp=5)) == "UserMessage(content='hi', timestamp=5)"


def test_a_repr_is_not_flooded() -> None:
    """Base64 is cut, and of an unknown object or unknown members there is a glimpse only."""
    image = ImageContent("A" * 1_000_000, "image/png")
    assert repr(image) == (
        "ImageContent(data='AAAAAAAAAAAAAAAA'... (1000000 characters), mime_type='image/png')"
    )
    assert repr(ImageContent("eA==", "a/b")) == "ImageContent(data='eA==', mime_type='a/b')"
    assert len(repr(ThinkingContent("", thinking_signature="A" * 1000))) < 100
    assert len(repr(UnknownContent({"data": "A" * 1000}))) < 100
    assert repr(TextContent("", extra={"a": "A" * 1000})) == "TextContent(text='', extra=<a>)"


def test_a_repr_keeps_header_values_to_itself() -> None:
    """A model shows the names of its headers, which may hold credentials."""
    model = Model("m", "p", headers={"Authorization": "Bearer secret"})
    assert repr(model) == "Model(id='m', provider='p', api='pi-native', headers=<Authorization>)"
