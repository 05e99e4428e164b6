"""`Agent.run_sync` of pydantic-ai."""

from __future__ import annotations

from typing import Any

from .situations import REASON, Situation

PACKAGE = "pydantic-ai-slim"


def run(situation: Situation, url: str) -> str:
    """Run the situation, and return the output."""
    import openai
    import pydantic_ai as ai
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0)
    agent: Any = ai.Agent(
        OpenAIChatModel("fake", provider=OpenAIProvider(openai_client=client)),
        tools=[ai.Tool(situation.function, requires_approval=situation.approval)],
        output_type=[str, ai.DeferredToolRequests],
    )
    limits = ai.UsageLimits(request_limit=situation.limit or 50)
    result = agent.run_sync("Go.", usage_limits=limits)
    while isinstance(result.output, ai.DeferredToolRequests):
        refused = ai.DeferredToolResults()
        for call in result.output.approvals:
            refused.approvals[call.tool_call_id] = ai.ToolDenied(REASON)
        result = agent.run_sync(
            message_history=result.all_messages(), deferred_tool_results=refused
        )
    return str(result.output)
