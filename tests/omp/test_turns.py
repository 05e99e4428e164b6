"""Turns through the real gateway of omp, by a client that was given nothing."""

from __future__ import annotations

import pytest

from pi_native import (
    Client,
    Context,
    ImageContent,
    ProviderError,
    TextContent,
    Tool,
    ToolResultMessage,
    UserMessage,
)

from .conftest import GATEWAY
from .provider import Provider

pytestmark = [pytest.mark.omp, pytest.mark.usefixtures("running")]

MODEL = "anthropic/claude-sonnet-4-5"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_the_gateway_is_found(client: Client) -> None:
    """`Client()` finds the address and the token of the gateway on its host."""
    origins = {setting.name: (setting.value, setting.origin) for setting in client.settings}
    assert origins["base_url"] == (GATEWAY, "default")
    assert origins["api_key"] == ("set", "~/.omp/auth-gateway.token")
    assert client.health().version == "18.3.4"


def test_a_turn(client: Client) -> None:
    """The text arrives in pieces, with the usage and the cost of the provider."""
    stream = client.stream(MODEL, "why is the sky blue")
    assert "".join(stream.text_stream).split() == ["why", "is", "the", "sky", "blue"]
    message = stream.get_final_message()
    assert (message.usage.input, message.usage.output, message.stop_reason) == (11, 7, "stop")
    assert message.usage.cost.total > 0
    assert stream.stats.events > 5


def test_a_bare_name_and_a_row_of_the_list_are_models(client: Client) -> None:
    """The gateway resolves an id without its provider, and `models()` lists what it serves."""
    (row,) = [model for model in client.models() if model.id == MODEL]
    assert client.complete(row, "hi").text.strip() == "hi"
    assert client.complete(MODEL.partition("/")[2], "hi").text.strip() == "hi"


def test_a_tool_call_and_its_result(client: Client, provider: Provider) -> None:
    """The call arrives with its arguments, and its result goes back to the provider."""
    context = Context([UserMessage("tool")], tools=[Tool("weather", "Return the weather.", CITY)])
    message = client.complete(MODEL, context)
    (call,) = message.tool_calls
    assert (call.name, call.arguments, message.stop_reason) == (
        "weather",
        {"city": "Oslo"},
        "toolUse",
    )
    context.messages += [message, ToolResultMessage(call.id, call.name, "rain")]
    assert "rain" in client.complete(MODEL, context).text
    asked, answered = provider.bodies
    assert asked["tools"][0]["name"] == "weather"
    assert [part["type"] for part in answered["messages"][1]["content"]] == ["tool_use"]


def test_an_image(client: Client) -> None:
    """The provider receives the bytes of the image."""
    image = ImageContent.from_bytes(PNG)
    message = client.complete(MODEL, UserMessage([image, TextContent("look")]))
    assert message.text.split() == [str(len(PNG)), "bytes", "look"]


def test_a_cancel_reaches_the_provider(client: Client, provider: Provider) -> None:
    """After `abort()` the gateway closes its connection to the provider; the text so far stays."""
    stream = client.stream(MODEL, "hang")
    assert next(stream.text_stream)
    stream.abort()
    assert stream.result(5).stop_reason == "aborted"
    assert stream.partial is not None
    assert stream.partial.text.startswith("word 0")
    assert provider.left.wait(30)


def test_a_429_has_its_wait(client: Client, provider: Provider) -> None:
    """The refusal of a provider is a rate limit with the wait that it asks for, and no retry."""
    with pytest.raises(ProviderError, match="slow down") as caught:
        client.complete(MODEL, "429")
    assert (caught.value.kind, caught.value.retry_after) == ("rate_limit", 7200)
    assert not caught.value.retryable
    assert len(provider.bodies) == 1


def test_pages(client: Client) -> None:
    """The other pages of the gateway are read: the limits, and the state of the credential."""
    assert isinstance(client.usage().reports, list)
    (credential,) = client.check_credentials().credentials
    assert credential.provider == "anthropic"
