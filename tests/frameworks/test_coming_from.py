"""The table of docs/coming-from.md: each cell runs, and both cells of a row give the same value."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pi_native
from pi_native import Client, Tool, ToolCall
from pi_native.testing import FakeGateway, RecordedRequest, Reply

from .servers import need
from .wire import CALL, PIECES, running_wire

PAGE = Path(__file__).parent.parent.parent / "docs" / "coming-from.md"
MESSAGES = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"zone": {"type": "string"}}}
FUNCTION = {"name": "clock", "description": "Return the time.", "parameters": SCHEMA}
COMMON = {"model": "acme/small", "messages": MESSAGES, "json": json, "png": "aGVsbG8="}


@dataclass
class Time:
    """The answer of the task about values."""

    hour: int


def tasks() -> dict[str, tuple[str, str]]:
    """Return the code of both columns of each row."""
    text = PAGE.read_text(encoding="utf-8").partition("## Everyday tasks")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {task: (code(theirs), code(ours)) for task, theirs, ours in rows[2:]}


def code(cell: str) -> str:
    """Return the lines of code of a cell."""
    return "\n".join(re.findall(r"`([^`]+)`", cell))


def value(source: str, names: dict[str, Any]) -> Any:
    """Run the lines, and return the value of the last one."""
    *lines, last = source.splitlines()
    exec("\n".join(lines), names)
    return eval(last, names)


def answer(request: RecordedRequest) -> Reply:
    """Return what the fake of the other wire returns, as a turn."""
    tools = [tool["name"] for tool in request.context.get("tools") or ()]
    if tools == ["answer"]:
        return Reply(tool_calls=[ToolCall("call_1", "answer", {"hour": 12})])
    if tools and request.messages[-1]["role"] == "user":
        return Reply(tool_calls=[ToolCall("call_1", CALL["name"], CALL["arguments"])])
    limit = request.options.get("maxTokens") == 1
    return Reply(
        PIECES,
        thinking="A clock says it." if request.options.get("reasoning") else "",
        usage={"input": 11, "output": 7, "totalTokens": 18},
        stop_reason="length" if limit else None,
    )


@pytest.fixture
def ours(gateway: FakeGateway) -> Iterator[dict[str, Any]]:
    """Return the names of the right column."""
    gateway.default = answer
    gateway.models = [{"id": "acme/small"}]
    key = str(gateway.api_key)
    with Client(gateway.url, key, max_retries=0) as client:
        clock = Tool("clock", "Return the time.", SCHEMA)
        own = {"client": client, "url": gateway.url, "key": key, "clock": clock, "Time": Time}
        yield {**vars(pi_native), **COMMON, **own}


@pytest.fixture
def theirs() -> Iterator[dict[str, Any]]:
    """Return the names of the left column."""
    need("openai", "anthropic", "pydantic")
    openai, anthropic, pydantic = map(importlib.import_module, ("openai", "anthropic", "pydantic"))
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_wire())
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0)
        claude = anthropic.Anthropic(base_url=url, api_key="key", max_retries=0)
        stack.enter_context(client)
        stack.enter_context(claude)
        own = {"client": client, "claude": claude, "ThreadPoolExecutor": ThreadPoolExecutor}
        time = pydantic.create_model("Time", hour=(int, ...))
        tools = [{"type": "function", "function": FUNCTION}]
        yield {**COMMON, **own, "Time": time, "tools": tools}


def test_there_are_twenty_tasks() -> None:
    """The table has at least twenty rows."""
    assert len(tasks()) >= 20


@pytest.mark.parametrize("task", tasks())
def test_our_column_runs(ours: dict[str, Any], task: str) -> None:
    """The code of the right column runs."""
    value(tasks()[task][1], ours)


@pytest.mark.slow
@pytest.mark.parametrize("task", tasks())
def test_both_columns_give_the_same_value(
    theirs: dict[str, Any], ours: dict[str, Any], task: str
) -> None:
    """The code of the left column, at a fake of its own wire, gives the value of the right one."""
    left, right = tasks()[task]
    assert value(left, theirs) == value(right, ours)
