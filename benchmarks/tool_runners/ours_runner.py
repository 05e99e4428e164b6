"""`Conversation.run` of pi_native."""

from __future__ import annotations

from typing import Any

from .gateway import KEY
from .situations import REASON, Situation

PACKAGE = "pi-native"


def run(situation: Situation, url: str) -> str:
    """Run the situation, and return the text of the last message."""
    from pi_native import Client, Conversation, tool

    function = tool(situation.function, approve=situation.approval)
    limit: dict[str, Any] = {} if situation.limit is None else {"max_rounds": situation.limit}
    with Client(url, KEY, max_retries=0) as client:
        chat = Conversation(client, "fake/model", tools=[function])
        return chat.run("Go.", approve=lambda _call: REASON, **limit).text
