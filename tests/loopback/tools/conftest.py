"""A conversation with tools, and what its history must always be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pi_native import AssistantMessage, Client, Conversation, Message, ToolCall, ToolResultMessage
from pi_native.testing import FakeGateway

pytest.importorskip("msgspec")
pytest.importorskip("docstring_parser")

MODEL = "acme/parrot"
Chat = Callable[..., Conversation]


@pytest.fixture
def chat(client: Client) -> Chat:
    """Return a function that makes a conversation with these tools."""

    def chat(*tools: Any, **options: Any) -> Conversation:
        return Conversation(client, MODEL, tools=tools, **options)

    return chat


def calls(gateway: FakeGateway, *named: tuple[str, Any], **reply: Any) -> FakeGateway:
    """Script a reply that calls these tools with these arguments."""
    made = [ToolCall(f"call_{n}", name, args) for n, (name, args) in enumerate(named, 1)]
    return gateway.reply(tool_calls=made, **reply)


def results(messages: list[Message]) -> list[tuple[str, bool]]:
    """Return the text of each result, and whether it is an error."""
    return [(str(m), m.is_error) for m in messages if isinstance(m, ToolResultMessage)]


def assert_closed(messages: list[Message]) -> None:
    """Check that the results of each call follow its message, one for each, in order."""
    position = 0
    while position < len(messages):
        message = messages[position]
        position += 1
        if isinstance(message, AssistantMessage):
            for call in message.tool_calls:
                result = messages[position]
                assert isinstance(result, ToolResultMessage), f"the call {call.id} is open"
                assert (result.tool_call_id, result.tool_name) == (call.id, call.name)
                position += 1
        else:
            assert not isinstance(message, ToolResultMessage), "a result without a call"
