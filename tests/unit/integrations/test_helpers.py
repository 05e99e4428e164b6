"""Shared parts of the integrations: whole characters, complete histories, kept messages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from pi_native import (
    AssistantMessage,
    Message,
    TextContent,
    ToolCall,
    ToolResultMessage,
    UserMessage,
)
from pi_native.integrations._characters import CharacterJoiner, encodable, encodable_json
from pi_native.integrations._history import with_results
from pi_native.integrations._kept import keep, restore

TEXTS = st.text(st.characters(exclude_categories=[]))  # with half surrogate pairs


@given(st.text(), st.data())
def test_a_text_survives_any_division(text: str, data: st.DataObject) -> None:
    """Pieces of a text in UTF-16, as JavaScript divides it, join to the text."""
    units = text.encode("utf-16-le")
    halves = [
        units[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(units), 2)
    ]
    joiner, joined = CharacterJoiner(), ""
    while halves:
        size = data.draw(st.integers(1, 3))
        joined += joiner.join(0, "".join(halves[:size]))
        del halves[:size]
    assert joined == text


@given(TEXTS)
def test_any_text_can_be_encoded(text: str) -> None:
    """A text with half surrogate pairs becomes one that UTF-8 can encode, and JSON as well."""
    encodable(text).encode()
    json.dumps(encodable_json({text: [text, 1, None]}), ensure_ascii=False).encode()


def test_blocks_are_joined_on_their_own() -> None:
    """Half a character of one block is not joined to the text of another."""
    joiner = CharacterJoiner()
    assert joiner.join(0, "a\ud83d") == "a"
    assert joiner.join(1, "b") == "b"
    assert joiner.join(0, "\ude00") == "\N{GRINNING FACE}"


def calling(*ids: str) -> AssistantMessage:
    """Return an answer that calls tools."""
    return AssistantMessage([ToolCall(name, "clock", {}) for name in ids])


def outline(messages: list[Message]) -> list[str]:
    """Return a word for each message: its role, or the id of the call that it answers."""
    return [
        f"{m.tool_call_id}{'!' if m.is_error else ''}"
        if isinstance(m, ToolResultMessage)
        else str(m.role)
        for m in messages
    ]


RESULT = ToolResultMessage("a", "clock", "12:00")
HISTORIES = [
    ([UserMessage("Hi")], ["user"]),
    ([calling("a"), RESULT], ["assistant", "a"]),
    ([calling("a", "b"), RESULT, UserMessage("Hi")], ["assistant", "a", "b!", "user"]),
    ([calling("a"), UserMessage("Hi"), RESULT], ["assistant", "a!", "user", "a"]),
    ([calling("a"), calling("b")], ["assistant", "a!", "assistant", "b!"]),
    ([calling("a", "b")], ["assistant", "a!", "b!"]),
]


@pytest.mark.parametrize(("messages", "complete"), HISTORIES)
def test_each_call_has_a_result(messages: list[Message], complete: list[str]) -> None:
    """A call without a result before the next message gets one that is an error."""
    assert outline(with_results(messages)) == complete


def test_a_kept_message_is_restored() -> None:
    """The message comes back as it was, also through JSON."""
    message = AssistantMessage([TextContent("Hi", text_signature="s"), ToolCall("a", "clock", {})])
    kept = json.loads(json.dumps(keep([message], "Hi", ["a"])))
    assert restore(kept, "Hi", ["a"]) == [message]


@pytest.mark.parametrize(
    ("text", "calls"), [("Ho", ["a"]), ("Hi", []), ("Hi", ["b"]), ("Hi\0a", [])]
)
def test_a_changed_form_is_not_restored(text: str, calls: list[str]) -> None:
    """When the framework's form has other text or other calls, the kept message is not used."""
    assert restore(keep([AssistantMessage([TextContent("Hi")])], "Hi", ["a"]), text, calls) == []


@pytest.mark.parametrize(
    "kept", [None, {}, [], "text", {"form": "x"}, {"messages": 3}, {"messages": [{"role": 1}]}]
)
def test_damaged_data_is_not_restored(kept: object) -> None:
    """Anything that `keep` did not write is ignored."""
    if isinstance(kept, dict):
        kept = {"form": keep([], "", [])["form"], **kept}
    assert restore(kept, "", []) == []
