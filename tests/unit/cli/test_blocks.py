"""How blocks of an answer look, and what of them can change no more."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pi_native import (
    FallbackContent,
    ImageContent,
    RedactedThinkingContent,
    ServerToolContent,
    TextContent,
    ThinkingContent,
    ToolCall,
    UnknownContent,
)
from pi_native._cli.blocks import drawn, settled, source_of
from pi_native._cli.charts import bar


def looks(block: object, source: str | None = None) -> str:
    """A block as plain text, without the spaces at the ends of its lines."""
    out = io.StringIO()
    Console(file=out, width=60, color_system=None).print(drawn(block, source))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


@pytest.mark.parametrize(
    ("block", "look"),
    [
        (RedactedThinkingContent("x"), "[thinking that its provider has encrypted]"),
        (ImageContent("AAAA", "image/png"), "[an image, image/png]"),
        (FallbackContent({"model": "a"}, {"model": "b"}), "[another model went on from here]"),
        (UnknownContent({"type": "new"}), "[a block of a type that is not known here]"),
    ],
)
def test_what_cannot_be_drawn_is_told(block: object, look: str) -> None:
    """In a line, so that nothing is missing without a word."""
    assert looks(block) == look


@pytest.mark.parametrize(
    ("block", "title"),
    [
        (ToolCall("1", "clock", {"zone": "UTC"}), "clock"),
        (ToolCall("1", None, None), "?"),  # type: ignore[arg-type]  # a gateway may leave them out
        (ServerToolContent({"name": "web_search"}), "web_search"),
        (ServerToolContent({"type": "server_tool_use"}), "server_tool_use"),
        (ServerToolContent(None), "?"),  # type: ignore[arg-type]
    ],
)
def test_tool_calls_are_boxed(block: object, title: str) -> None:
    """With the tool's name on the box."""
    first, *_, last = looks(block).splitlines()
    assert first.startswith(f"╭─ {title} ─")
    assert last.startswith("╰─")


@pytest.mark.parametrize(
    ("block", "source"),
    [
        (TextContent("a"), "a"),
        (TextContent(None), ""),  # type: ignore[arg-type]
        (ThinkingContent("b"), "b"),
        (ThinkingContent(None), ""),  # type: ignore[arg-type]
        (ToolCall("1", "clock", {}), None),
    ],
)
def test_text_grows_in_pieces(block: object, source: str | None) -> None:
    """Thinking does too; all else is drawn as a whole."""
    assert source_of(block) == source


@pytest.mark.parametrize(
    ("source", "over"),
    [
        ("", ""),
        ("One para", ""),
        ("One para\n\n", ""),
        ("One para\n\nTwo", "One para\n\n"),
        ("Title\n=====\nTwo", "Title\n=====\n"),
        ("- a\n- b\n\n- c\n\n  more", ""),
        ("- a\n\nTwo", "- a\n\n"),
        ("```\ncode\n\nmore", ""),
        ("```\ncode\n```\n", ""),
        ("```\ncode\n```\nTwo\n\nThree", "```\ncode\n```\nTwo\n\n"),
        ("| a |\n|---|\n| 1 |\n", ""),
        ("> q\nlazy\n\nTwo", "> q\nlazy\n\n"),
        ("One\r\n\r\nTwo", "One\r\n\r\n"),
        ("One \u2028 line\x0c\n\nTwo", "One \u2028 line\x0c\n\n"),
        ("\n\nOne", "\n\n"),
    ],
)
def test_markdown_is_over_when_the_next_block_begins(source: str, over: str) -> None:
    """Not before: a list may go on, and a line may become a title."""
    assert source[: settled(TextContent(""), source)] == over


def test_thinking_is_over_by_lines() -> None:
    """It is no Markdown."""
    assert settled(ThinkingContent(""), "a\nb\nc") == len("a\nb\n")


def test_halves_of_characters_are_shown_as_such() -> None:
    """No terminal can take them."""
    assert looks(TextContent(""), "a \ud83d\ude00 \udc00") == "a 😀 �"


@pytest.mark.parametrize(
    ("share", "colour", "drawn_to"),
    [(0.25, "green", 0.25), (0.75, "yellow", 0.75), (1.5, "red", 1.0), (-1, "green", 0.0)],
)
def test_bars_warn(share: float, colour: Any, drawn_to: float) -> None:
    """By their colour; what is too much is drawn as all."""
    found = bar(share)
    assert (found.complete_style, found.completed) == (colour, drawn_to)
