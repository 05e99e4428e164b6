"""`Runner.run_sync` of openai-agents."""

from __future__ import annotations

from typing import Any

from .situations import REASON, Situation

PACKAGE = "openai-agents"


def run(situation: Situation, url: str) -> str:
    """Run the situation, and return the final output."""
    import agents
    import openai

    agents.set_tracing_disabled(True)
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0)
    agent: Any = agents.Agent(
        name="agent",
        model=agents.OpenAIResponsesModel("fake", client),
        tools=[agents.function_tool(situation.function, needs_approval=situation.approval)],
    )
    limit = {} if situation.limit is None else {"max_turns": situation.limit}
    result = agents.Runner.run_sync(agent, "Go.", **limit)
    while result.interruptions:
        state = result.to_state()
        for item in result.interruptions:
            state.reject(item, rejection_message=REASON)
        result = agents.Runner.run_sync(agent, state, **limit)
    return str(result.final_output)
