"""The rules of two providers for a history with calls; a request that breaks one gets a 400."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def check_anthropic(body: Json) -> None:
    """Check a request to `/v1/messages`: each `tool_use` is answered by the next message."""
    messages: list[Json] = body["messages"]
    thinks = body.get("thinking", {}).get("type") == "enabled"
    assert messages[0]["role"] == messages[-1]["role"] == "user"
    for number, message in enumerate(messages):
        blocks = anthropic_blocks(message)
        if message["role"] == "assistant":
            _check_thinking(blocks, required=thinks)
            used = [block["id"] for block in blocks if block["type"] == "tool_use"]
            assert len(set(used)) == len(used), "an id is used twice"
            assert not used or number + 1 < len(messages), "the last call is open"
            following = anthropic_blocks(messages[number + 1]) if used else []
            kinds = [block["type"] for block in following]
            assert kinds[: len(used)] == ["tool_result"] * len(used), "results come first"
            assert [block["tool_use_id"] for block in following[: len(used)]] == used
        else:
            before = anthropic_blocks(messages[number - 1]) if number else []
            known = {block["id"] for block in before if block["type"] == "tool_use"}
            given = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            assert set(given) == known, "a result without a call, or a call without one"
            assert len(given) == len(known), "two results of one call"


def _check_thinking(blocks: list[Json], *, required: bool) -> None:
    """Check that thinking comes first, with its signature, before calls."""
    kinds = [block["type"] for block in blocks]
    assert all(block["signature"] for block in blocks if block["type"] == "thinking")
    if required and "tool_use" in kinds:
        assert kinds[0] == "thinking", "with thinking on, a message with calls begins with it"


def anthropic_blocks(message: Json) -> list[Json]:
    """Return the blocks of a message, also of one whose content is a string."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def check_openai(body: Json) -> None:
    """Check a request to `/chat/completions`: tool messages answer the calls before them, once."""
    open_calls: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_calls, "a result without an open call"
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls, f"calls without a result: {open_calls}"
        open_calls = [call["id"] for call in message.get("tool_calls", ())]
        assert len(set(open_calls)) == len(open_calls), "an id is used twice"
    assert not open_calls, f"calls without a result: {open_calls}"


def check_native(messages: list[Json]) -> None:
    """Check our request to the gateway, which could repair it: a result for each call, in order."""
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "toolResult":
            assert open_calls[:1] == [message["toolCallId"]], "a result out of order"
            del open_calls[0]
            continue
        assert not open_calls, f"calls without a result: {open_calls}"
        if message["role"] == "assistant":
            blocks = message["content"]
            open_calls = [block["id"] for block in blocks if block["type"] == "toolCall"]
    assert not open_calls, f"calls without a result: {open_calls}"
