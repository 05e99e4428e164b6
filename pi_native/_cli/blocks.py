"""The blocks of an answer, drawn with rich: Markdown, dimmed thinking, boxed tool calls.

A block that grows is drawn in pieces. What can change no more is a piece, and scrolls away with the
rest of the terminal; only what is left of it has to be drawn again and again.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import RenderableType
from rich.markdown import Markdown
from rich.panel import Panel
from rich.text import Text

from pi_native import (
    FallbackContent,
    ImageContent,
    RedactedThinkingContent,
    ServerToolContent,
    TextContent,
    ThinkingContent,
    ToolCall,
)

from .console import one_line, showable


def source_of(block: object) -> str | None:
    """The text of a block that grows and can be drawn in pieces; None for any other."""
    if isinstance(block, TextContent):
        return block.text or ""
    if isinstance(block, ThinkingContent):
        return block.thinking or ""
    return None


def settled(block: object, source: str) -> int:
    """How many characters of a text block's rest can change no more, whatever comes."""
    if not isinstance(block, TextContent):
        return source.rfind("\n") + 1
    # A block of Markdown is over when another one has begun; the last one may still be anything.
    tokens = _markdown(source).parsed
    starts = [token.map[0] for token in tokens if token.map and not token.level]
    lines = source.split("\n")  # as Markdown counts them; splitlines() knows other ends
    return sum(len(line) + 1 for line in lines[: max(starts, default=0)])


def drawn(block: object, source: str | None = None) -> RenderableType:
    """A block as it looks, or a piece of it."""
    if isinstance(block, TextContent):
        return _markdown(source or "")
    if isinstance(block, ThinkingContent):
        return Text(showable(source or "").rstrip("\n"), style="dim italic")
    if isinstance(block, ToolCall):
        return _box(block.name, block.arguments)
    if isinstance(block, ServerToolContent):
        return _box(_name_in(block.block), block.block)
    return _remark(block)


def _markdown(source: str) -> Markdown:
    # Addresses are spelled out: a link could lead elsewhere than it says.
    return Markdown(showable(source), code_theme="ansi_dark", hyperlinks=False)


def _box(name: str | None, data: Any) -> Panel:
    shown = json.dumps(data, ensure_ascii=False, indent=2)
    return Panel(
        Text(showable(shown)),
        title=Text(one_line(showable(name or "?")), style="bold"),
        title_align="left",
        border_style="cyan",
        expand=False,
    )


def _remark(block: object) -> Text:
    if isinstance(block, ImageContent):
        said = f"an image, {block.mime_type}"
    elif isinstance(block, RedactedThinkingContent):
        said = "thinking that its provider has encrypted"
    elif isinstance(block, FallbackContent):
        said = "another model went on from here"
    else:
        said = "a block of a type that is not known here"
    return Text(f"[{one_line(said)}]", style="dim")


def _name_in(block: Any) -> str | None:
    name = block.get("name") or block.get("type") if isinstance(block, dict) else None
    return name if isinstance(name, str) else None
