"""A message as notebooks show it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pi_native import (
    AssistantMessage,
    Block,
    Cost,
    FallbackContent,
    ImageContent,
    RedactedThinkingContent,
    ServerToolContent,
    TextContent,
    ThinkingContent,
    ToolCall,
    UnknownContent,
    Usage,
    from_wire,
)

EVIL = "</code></pre></details>\n\n<script>alert(1)</script> [x](javascript:x) `*_$"


def shown(*blocks: Block, **more: Any) -> str:
    """The Markdown of a message with these blocks."""
    return AssistantMessage(list(blocks), **more)._repr_markdown_()


def test_a_message_shows_everything_in_order() -> None:
    """Thinking is folded, text is Markdown, a tool call has its arguments, the cost comes last."""
    usage = Usage(input=1234, output=5, cost=Cost(total=0.25))
    parts = shown(
        ThinkingContent("Hm.\nWell."),
        TextContent("It is **blue**."),
        ToolCall("call_1", "clock", {"zone": "UTC"}),
        model="m-1",
        usage=usage,
    ).split("\n\n")
    assert parts == [
        "<details><summary>Thinking</summary><p>Hm&#46;<br>Well&#46;</p></details>",
        "It is **blue**.",
        "<details open><summary>Tool call <code>clock</code></summary><pre><code>&#123;&#10;"
        "  &#34;zone&#34;&#58; &#34;UTC&#34;&#10;&#125;</code></pre></details>",
        "<p><small>m&#45;1 · 1&#44;234 tokens in&#44; 5 out&#44; &#36;0&#46;25</small></p>",
    ]


def test_an_image_shows_itself() -> None:
    """An image travels inside the page; nothing is fetched."""
    data = base64.b64encode(b"\x89PNG").decode()
    assert f'<img alt="image" src="data:image/png;base64,{data}">' in shown(
        ImageContent(data, "image/png", url="https://example.org/x.png")
    )


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        ('"><script>', "image/png"),
        ("AAAA", 'image/png"><script>'),
        ("AAAA", "image/svg+xml"),
        ("AAAA", "text/html"),
        ("", "image/png"),
        (None, None),
    ],
)
def test_what_is_no_image_is_said(data: Any, mime_type: Any) -> None:
    """What is not a picture's data and type is named, and not put into a page."""
    markdown = shown(ImageContent(data, mime_type))
    assert "An image that cannot be shown here" in markdown
    assert "<img" not in markdown
    assert "<script" not in markdown


@pytest.mark.parametrize(
    ("message", "remark"),
    [
        (AssistantMessage(stop_reason="error", error_message=EVIL), "Failed"),
        (AssistantMessage(stop_reason="error"), "did not say why"),
        (AssistantMessage(stop_reason="aborted"), "Cancelled"),
        (AssistantMessage(stop_reason="length"), "Not complete"),
    ],
)
def test_an_end_that_is_none_is_said(message: AssistantMessage, remark: str) -> None:
    """A message that failed, was cancelled or was cut off says so."""
    assert remark in message._repr_markdown_()


def test_a_good_end_needs_no_remark() -> None:
    """A message that is complete shows nothing but itself and its footer."""
    assert shown(TextContent("Hi")).count("\n\n") == 1


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (RedactedThinkingContent("secret"), "has encrypted"),
        (
            FallbackContent({"model": "big"}, {"model": "small"}),
            "Went on with small in place of big",
        ),
        (FallbackContent({}, None), "Went on with another model in place of another"),  # type: ignore[arg-type]
        (ServerToolContent({"name": "search"}), "Tool of the provider <code>search</code>"),
        (ServerToolContent({"type": "result"}), "<code>result</code>"),
        (UnknownContent({"type": "hologram"}), "Block of type <code>hologram</code>"),
        (UnknownContent({}), "Block of type <code>&#63;</code>"),
    ],
)
def test_every_kind_of_block_has_a_look(block: Block, words: str) -> None:
    """Rare and unknown blocks are named; what is encrypted stays away."""
    markdown = shown(block)
    assert words in markdown
    assert "secret" not in markdown


@pytest.mark.parametrize(
    "block",
    [
        ThinkingContent(EVIL),
        ToolCall("1", EVIL, {EVIL: EVIL}),
        ServerToolContent({"name": EVIL, "input": [EVIL]}),
        FallbackContent({"model": EVIL}, {"model": EVIL}),
        UnknownContent({"type": EVIL}),
        ImageContent(EVIL, EVIL),
    ],
)
def test_nothing_in_a_block_ends_what_it_stands_in(block: Block) -> None:
    """Only what was put around it is left of tags, however it is put together."""
    markdown = shown(block, model=EVIL, stop_reason="error", error_message=EVIL)
    assert "<script" not in markdown
    assert "](" not in markdown
    assert markdown.count("<details") == markdown.count("</details>") <= 1
    assert len(markdown.split("\n")) == 5, "three lines with an empty one between"


def test_a_message_with_everything_left_out_can_be_shown() -> None:
    """What the gateway leaves out is not asked for."""
    message = from_wire(
        {
            "role": "assistant",
            "content": [{"type": "text"}, {"type": "thinking"}, {"type": "toolCall"}],
        },
        AssistantMessage,
    )
    assert "no usage was reported" in message._repr_markdown_()
    bare = from_wire({"role": "assistant"}, AssistantMessage)
    assert bare._repr_markdown_() == "<p><small>no usage was reported</small></p>"
