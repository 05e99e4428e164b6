"""The standard suites of `langchain-tests` as they run here, and answers to their prompts."""

from __future__ import annotations

import inspect
import re
from typing import TypeVar

import pytest

from pi_native import ToolCall
from pi_native.testing import RecordedRequest, Reply

T = TypeVar("T", bound=type)

PNG = b"\x89PNG\r\n\x1a\n..."


def mark_asynchronous(suite: T) -> T:
    """Mark the asynchronous tests of a suite, which expects a setting that marks all of them."""
    for name, function in inspect.getmembers(suite, inspect.iscoroutinefunction):
        if name.startswith("test_"):
            setattr(suite, name, pytest.mark.asyncio(function))
    return suite


def answer(request: RecordedRequest) -> Reply:
    """Return an answer that fits a prompt of the suites: a call of the tool to use, or a text."""
    tools = {tool["name"]: tool for tool in request.context.get("tools") or ()}
    choice = request.options.get("toolChoice")
    if isinstance(choice, dict):
        tools = {choice["name"]: tools[choice["name"]]}
    elif choice != "any" and request.messages[-1]["role"] == "toolResult":
        tools = {}
    if not tools:
        return Reply("Hello there, this is an answer.", thinking="Let me see.")
    name, tool = next(iter(tools.items()))
    quoted = re.search("'(.*)'", request.last_user_text or "")
    arguments = {
        field: 3 if schema.get("type") == "integer" else quoted[1] if quoted else "a text"
        for field, schema in tool["parameters"].get("properties", {}).items()
    }
    return Reply(tool_calls=[ToolCall("call_1", name, arguments)])
