"""Automatic function calling of google-genai. It has no approval: the function asks itself."""

from __future__ import annotations

from typing import Any

from .situations import Situation

PACKAGE = "google-genai"


def run(situation: Situation, url: str) -> str:
    """Run the situation, and return the text of the last response."""
    from google import genai
    from google.genai import types

    limit: dict[str, Any] = (
        {} if situation.limit is None else {"maximum_remote_calls": situation.limit}
    )
    client = genai.Client(api_key="key", http_options=types.HttpOptions(base_url=url))
    chat = client.chats.create(
        model="fake",
        config=types.GenerateContentConfig(
            tools=[situation.asking_itself(PermissionError)],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(**limit),
        ),
    )
    content = chat.send_message("Go.").candidates[0].content
    return "".join(part.text or "" for part in content.parts)
