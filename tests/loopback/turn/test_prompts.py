"""A client accepts a model's name, prompts, system prompts and tools in several forms."""

from __future__ import annotations

from typing import Any

import pytest

from pi_native import (
    Client,
    ConfigurationError,
    Context,
    DeveloperMessage,
    ImageContent,
    Model,
    TextContent,
    Tool,
    ToolCall,
    ToolResultMessage,
    UnknownMessage,
    UserMessage,
)
from pi_native.testing import FakeGateway

from ..peer import Peer


def sent(gateway: FakeGateway) -> list[Any]:
    """Return the messages of the latest request, without their times."""
    messages = gateway.requests[-1].context["messages"]
    return [{k: v for k, v in message.items() if k != "timestamp"} for message in messages]


@pytest.mark.parametrize("name", ["x/y", "x/models/large", "x/y/"])
def test_a_model_by_name(gateway: FakeGateway, client: Client, name: str) -> None:
    """A name is sent unchanged; the id may contain slashes."""
    client.complete(name, "hi")
    assert gateway.requests[0].model == name


@pytest.mark.parametrize("name", ["", "/y", "x/"])
def test_an_invalid_name_fails_the_stream(gateway: FakeGateway, client: Client, name: str) -> None:
    """A name without a provider or an id is a configuration error of the stream."""
    stream = client.stream(name, "hi")
    with pytest.raises(ConfigurationError, match="provider/id"):
        list(stream)
    with pytest.raises(ConfigurationError):
        client.complete(name, "hi")
    assert gateway.requests == []


def test_a_model_of_another_gateway_is_refused(gateway: FakeGateway, client: Client) -> None:
    """The client's key is not sent to a different URL of a model."""
    with Peer(lambda _: None) as other:
        stream = client.stream(Model("y", "x", base_url=other.url), "hi")
        with pytest.raises(ConfigurationError, match="another gateway"):
            stream.result()
        assert other.accepted == 0
    assert client.complete(Model("y", "x", base_url=gateway.url + "/"), "hi").text


TEXT = {"type": "text", "text": "hi"}
PROMPTS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "a string": ("hi", [{"role": "user", "content": "hi"}]),
    "an empty string": ("", [{"role": "user", "content": ""}]),
    "a message": (UserMessage("hi"), [{"role": "user", "content": "hi"}]),
    "a message of blocks": (
        UserMessage([TextContent("hi"), ImageContent("aGk=", "image/png")]),
        [
            {
                "role": "user",
                "content": [TEXT, {"type": "image", "data": "aGk=", "mimeType": "image/png"}],
            }
        ],
    ),
    "a developer's": (DeveloperMessage("hi"), [{"role": "developer", "content": "hi"}]),
    "an unknown one": (UnknownMessage({"role": "new", "a": None}), [{"role": "new", "a": None}]),
    "a list": (
        [UserMessage("a"), UserMessage("b")],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    ),
    "a tuple": ((UserMessage("a"),), [{"role": "user", "content": "a"}]),
    "a tool result": (
        [ToolResultMessage("c", "clock", "noon")],
        [
            {
                "role": "toolResult",
                "toolCallId": "c",
                "toolName": "clock",
                "content": [{"type": "text", "text": "noon"}],
                "isError": False,
            }
        ],
    ),
    "a context": (Context([UserMessage("hi")]), [{"role": "user", "content": "hi"}]),
}


@pytest.mark.parametrize(("prompt", "messages"), PROMPTS.values(), ids=PROMPTS.keys())
def test_every_form_of_a_prompt(
    gateway: FakeGateway, client: Client, prompt: Any, messages: list[dict[str, Any]]
) -> None:
    """Strings, messages, sequences and contexts become the messages that they mean."""
    client.complete("x/y", prompt)
    assert sent(gateway) == messages
    assert gateway.requests[0].context.keys() == {"messages"}


@pytest.mark.parametrize(
    "prompt",
    [
        7,
        None,
        {"role": "user"},
        object(),
        b"hi",
        ["hi"],
    ],
    ids=lambda prompt: type(prompt).__name__,
)
def test_a_prompt_of_another_type_is_raised_at_the_call(
    gateway: FakeGateway, client: Client, prompt: Any
) -> None:
    """An invalid prompt is a TypeError, and nothing is sent."""
    with pytest.raises(TypeError):
        client.stream("x/y", prompt).close()
    assert gateway.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": 7},
        {"model": None},
        {"tools": 7},
        {"system": 7},
        {"system": {"be brief": 1}},
        {"system": [7]},
        {"temprature": 1},
    ],
    ids=repr,
)
def test_another_wrong_type_is_raised_at_the_call(
    gateway: FakeGateway, client: Client, wrong: dict[str, Any]
) -> None:
    """An invalid model and an unknown option are a TypeError too."""
    arguments = {"model": "x/y", "prompt": "hi", **wrong}
    with pytest.raises(TypeError):
        client.stream(**arguments)
    with pytest.raises(TypeError):
        client.complete(**arguments)
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("system", "lines"), [("be brief", ["be brief"]), (("a", "b"), ["a", "b"])]
)
def test_a_system_prompt(
    gateway: FakeGateway, client: Client, system: Any, lines: list[str]
) -> None:
    """A string is one instruction, a sequence several; they replace those of the context."""
    context = Context([UserMessage("hi")], system_prompt=["before"])
    client.complete("x/y", "hi", system=system)
    client.complete("x/y", context, system=system)
    client.complete("x/y", context)
    assert [request.context["systemPrompt"] for request in gateway.requests] == [
        lines,
        lines,
        ["before"],
    ]


def test_tools(gateway: FakeGateway, client: Client) -> None:
    """Tools replace those of the context in the request, and the context is unchanged."""
    clock = Tool("clock", "Tells the time.", {"type": "object"}, strict=True)
    context = Context([UserMessage("hi")], tools=[Tool("other", "", {})])
    client.complete("x/y", context, tools=(clock,))
    client.complete("x/y", context)
    first, second = (request.context["tools"] for request in gateway.requests)
    assert first == [
        {
            "name": "clock",
            "description": "Tells the time.",
            "parameters": {"type": "object"},
            "strict": True,
        }
    ]
    assert [tool["name"] for tool in second] == ["other"]


def test_a_conversation_continues(gateway: FakeGateway, client: Client) -> None:
    """An answer is sent back unchanged, with unknown fields, and with the tool's result."""
    gateway.reply("Let me see.", tool_calls=[ToolCall("c", "clock", {"zone": None})])
    gateway.reply("Noon.")
    context = Context([UserMessage("What time is it?")])
    answer = client.complete("x/y", context)
    (call,) = answer.tool_calls
    context.messages += [answer, ToolResultMessage(call.id, call.name, "noon")]
    assert client.complete("x/y", context).text == "Noon."
    _, history, result = gateway.requests[1].context["messages"]
    assert history["content"][1]["arguments"] == {"zone": None}
    assert history["content"][1]["partialArgs"] == '{"zone":null}'
    assert history["usage"]["cost"]["total"] > 0
    assert (result["role"], result["toolCallId"]) == ("toolResult", "c")
