"""`ResponsesToolRunner` of openai."""

from __future__ import annotations

import inspect
from typing import Any

from .situations import REASON, Situation

PACKAGE = "openai"


def run(situation: Situation, url: str) -> str:
    """Run the situation, and return the text of the last response."""
    import openai
    from openai.lib._tools import pydantic_responses_function_tool
    from openai.lib.responses_tool_runner import RegisteredFunction, ResponsesToolRunner

    function = RegisteredFunction.from_tool(
        pydantic_responses_function_tool(_model(situation)),
        execute=lambda arguments: situation.function(**arguments.model_dump()),
        allow_output_override=situation.approval,
    )
    runner = ResponsesToolRunner(functions=[function])
    params: Any = {"model": "fake", "input": [{"role": "user", "content": "Go."}]}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0) as client:
        for turn in runner.iterate(client, params, max_steps=situation.limit):
            if situation.approval and not turn.final:
                _refuse(turn)
        return str(turn.response.output_text)


def _refuse(turn: Any) -> None:
    """Supply the outputs by hand: the runner asks for approval of MCP and computer calls only."""
    turn.supply_outputs(
        [
            {"type": "function_call_output", "call_id": item.call_id, "output": REASON}
            for item in turn.response.output
            if item.type == "function_call"
        ]
    )


def _model(situation: Situation) -> Any:
    """Return the parameters of the function as a pydantic model."""
    import pydantic

    fields: dict[str, Any] = {
        name: (parameter.annotation, ...)  # strict schemas have no defaults
        for name, parameter in inspect.signature(situation.function).parameters.items()
    }
    return pydantic.create_model(situation.function.__name__, **fields)
