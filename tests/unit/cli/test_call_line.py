"""A call that must be approved is shown as it is: no character of it is hidden."""

from __future__ import annotations

import json

import pytest

from pi_native import ToolCall
from pi_native._cli.chat.tools import call_line


@pytest.mark.parametrize(
    "hidden",
    [
        "\u202e",
        "\u2066",
        "\u200b",
        "\u200f",
        "\u2028",
        "\x1b",
        "\x9b",
        "\r",
        "\U000e0041",
    ],
)
def test_characters_that_are_not_seen_are_escaped(hidden: str) -> None:
    """Direction marks, control characters and the like are JSON escapes, which mean the same."""
    line = call_line(ToolCall("1", "delete", {"path": f"a{hidden}b"}))
    assert hidden not in line
    assert json.loads(line.removeprefix("delete ")) == {"path": f"a{hidden}b"}


def test_other_characters_are_shown() -> None:
    """Letters of any language stay as they are."""
    line = call_line(ToolCall("1", "delete", {"path": "Zürich/東京/שלום 🙂"}))
    assert line == 'delete {"path": "Zürich/東京/שלום 🙂"}'
