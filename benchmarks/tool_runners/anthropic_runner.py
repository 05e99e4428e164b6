"""`client.beta.messages.tool_runner` of anthropic. It has no approval: the function asks itself."""

from __future__ import annotations

from typing import Any

from .situations import Situation

PACKAGE = "anthropic"


def run(situation: Situation, url: str) -> str:
    """Run the situation, and return the text of the last message."""
    import anthropic
    from anthropic.lib.tools import ToolError

    limit: dict[str, Any] = {} if situation.limit is None else {"max_iterations": situation.limit}
    with anthropic.Anthropic(base_url=url, api_key="key", max_retries=0) as client:
        message = client.beta.messages.tool_runner(
            model="fake",
            max_tokens=100,
            messages=[{"role": "user", "content": "Go."}],
            tools=[anthropic.beta_tool(situation.asking_itself(ToolError))],
            thread=False,  # each request has the whole history
            **limit,
        ).until_done()
    return "".join(block.text for block in message.content if block.type == "text")
