"""Draw the blocks of an answer with rich: Markdown, dimmed thinking, tool calls in panels.

Markdown is rendered without losing a word. HTML, images, autolinks and the definitions of links are
shown as they are written, because a terminal cannot show what they mean. A block of which a word
would be missing, or that is nested too deep for the width, is shown as its source.

A block that grows is rendered in pieces: a piece that cannot change any more is printed once, and
only the rest is rendered again.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console as Screen, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markdown import (
    CodeBlock,
    Heading,
    ListElement,
    ListItem,
    Markdown,
    MarkdownContext,
    TableElement,
)
from rich.panel import Panel
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from pi_native import (
    FallbackContent,
    ImageContent,
    RedactedThinkingContent,
    ServerToolContent,
    TextContent,
    ThinkingContent,
    ToolCall,
)

from .columns import column_widths, longest
from .console import one_line, showable

# Colours of the terminal's own palette that can be read on a light and on a dark background, and no
# background of their own.
THEME = Theme({"markdown.code": "cyan", "markdown.code_block": "cyan", "markdown.link_url": "cyan"})
_CODE_THEME = ANSISyntaxTheme(
    {
        ("Comment",): Style(dim=True, italic=True),
        ("Keyword",): Style(color="magenta"),
        ("Name", "Decorator"): Style(color="cyan"),
        ("Name", "Function"): Style(bold=True),
        ("Name", "Class"): Style(bold=True),
        ("Literal", "Number"): Style(color="cyan"),
        ("Literal", "String"): Style(color="green"),
    }
)

_WORD = re.compile(r"[^\W_]+")
_NARROWEST = 16  # columns that are left for text in the deepest list or quotation
_INDENT = 5  # columns that a level of lists or quotations takes at most
_TABLE_GAP = 3  # columns between two columns of a table


def source_of(block: object) -> str | None:
    """Return the text of a block that is rendered in pieces; None for any other block."""
    if isinstance(block, TextContent):
        return block.text or ""
    if isinstance(block, ThinkingContent):
        return block.thinking or ""
    return None


def settled(block: object, source: str) -> int:
    """Return how many characters of a growing block cannot change any more."""
    if not isinstance(block, TextContent):
        return source.rfind("\n") + 1
    # A block of Markdown has ended when another one has begun.
    starts = [token.map[0] for token in _PARSER.parse(source) if token.map and not token.level]
    lines = source.split("\n")  # as Markdown counts them; splitlines() knows other ends
    return sum(len(line) + 1 for line in lines[: max(starts, default=0)])


def render(block: object, source: str | None = None, *, soft_wrap: bool = True) -> RenderableType:
    """Return a block, or a piece of it, as rich draws it.

    With `soft_wrap` the terminal wraps long lines of code, so that they are copied in one piece.
    """
    if isinstance(block, TextContent):
        return _LosslessMarkdown(showable(source or ""), soft_wrap)
    if isinstance(block, ThinkingContent):
        return Text(showable(source or "").rstrip("\n"), style="dim italic")
    if isinstance(block, ToolCall):
        return _panel(block.name, block.arguments)
    if isinstance(block, ServerToolContent):
        return _panel(_name_in(block.block), block.block)
    return _remark(block)


class _Parser(MarkdownIt):
    """Markdown without the syntax that cannot be shown, and with addresses as they are written."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False})
        self.enable(["table", "strikethrough"]).disable(["reference", "image", "autolink"])

    def normalizeLink(self, url: str) -> str:  # noqa: N802  (the name is markdown-it's)
        return url


_PARSER = _Parser()


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text))


def _texts_of(tokens: Iterable[Token]) -> Iterator[str]:
    """Yield every text in the tokens that is rendered."""
    for token in tokens:
        yield from (token.info, "" if token.children else token.content)
        yield from (str(token.attrs.get(name, "")) for name in ("href", "title"))
        yield from _texts_of(token.children or ())


class _Block:
    """A block of Markdown that is not in another one: its source and its tokens."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self._source = source
        self._tokens = tokens
        lost = _words(html.unescape(source)) - _words(" ".join(_texts_of(tokens)))
        # Without this many columns the block is shown as its source, as if it were code.
        self._least = math.inf if lost else _NARROWEST + _INDENT * _depth(tokens)

    def tokens(self, width: int) -> list[Token]:
        """Return the tokens to draw in a terminal of this width."""
        if width >= self._least:
            return self._tokens
        return [Token("code_block", "code", 0, content=self._source)]


def _blocks(source: str) -> Iterator[_Block]:
    lines = source.split("\n")
    tokens: list[Token] = []
    for token in _PARSER.parse(source):
        tokens.append(token)
        if token.level == 0 and token.nesting <= 0:
            start, end = tokens[0].map or (0, 0)
            yield _Block("\n".join(lines[start:end]), tokens)
            tokens = []


class _LosslessMarkdown(Markdown):
    """Markdown without loss; links show their address, which could be another than they say."""

    def __init__(self, source: str, soft_wrap: bool) -> None:
        super().__init__("", hyperlinks=False)
        self.soft_wrap = soft_wrap
        self._blocks = list(_blocks(source))

    def __rich_console__(self, screen: Screen, options: ConsoleOptions) -> RenderResult:
        self.parsed = [t for block in self._blocks for t in block.tokens(options.max_width)]
        for token in _flat(self.parsed):
            if token.type == "link_open" and token.attrs.get("title"):
                token.attrs["href"] = f'{token.attrs["href"]} "{token.attrs.pop("title")}"'
        yield from super().__rich_console__(screen, options)


def _flat(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or ())


def _depth(tokens: Iterable[Token]) -> int:
    """Return how deep lists and quotations are nested."""
    depth = deepest = 0
    for token in tokens:
        if token.type in ("list_item_open", "blockquote_open"):
            depth += 1
        elif token.type in ("list_item_close", "blockquote_close"):
            depth -= 1
        deepest = max(deepest, depth)
    return deepest


class _Heading(Heading):
    """A heading at the left, also of the first level."""

    def __rich_console__(self, _screen: Screen, _options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Code(CodeBlock):
    """A block of code, below the line that names its language."""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Code:
        code = cls(token.info.partition(" ")[0], "")
        code.info = token.info.strip()
        code.soft_wrap = isinstance(markdown, _LosslessMarkdown) and markdown.soft_wrap
        return code

    info: str
    soft_wrap: bool

    def on_enter(self, context: MarkdownContext) -> None:
        """Note whether the code is in a list or a quotation, which need lines of their own."""
        super().on_enter(context)
        self.soft_wrap = self.soft_wrap and len(list(context.stack)) == 1

    def __rich_console__(self, screen: Screen, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip().expandtabs(4)
        known = _is_language(self.lexer_name)
        if self.info:
            yield Text(self.info, style="dim", overflow="fold")
        text = Syntax("", self.lexer_name, theme=_CODE_THEME).highlight(code) if known else None
        text = text or Text(code, style="markdown.code_block")
        text.rstrip()
        text.no_wrap = self.soft_wrap
        text.overflow = "ignore" if self.soft_wrap else "fold"
        yield text


def _is_language(name: str) -> bool:
    return name not in ("", "text") and Syntax("", name).lexer is not None


class _Item(ListItem):
    """An item of a list, with the number that is written before it, or None."""

    @classmethod
    def create(cls, _markdown: Markdown, token: Token) -> _Item:
        item = cls()
        item.number = int(token.info) if token.info.isdecimal() else None
        return item

    number: int | None


class _List(ListElement):
    """A list with its numbers as they are written, even if they do not count up."""

    def __rich_console__(self, screen: Screen, options: ConsoleOptions) -> RenderResult:
        numbers = [item.number or 0 for item in self.items if isinstance(item, _Item)]
        for item in self.items:
            if isinstance(item, _Item) and item.number is not None:
                yield from item.render_number(screen, options, item.number, max(numbers))
            else:
                yield from item.render_bullet(screen, options)


class _Table(TableElement):
    """A table, or a list of its cells where the terminal is too narrow."""

    def __rich_console__(self, screen: Screen, options: ConsoleOptions) -> RenderResult:
        header = None if self.header is None else self.header.row
        headings = [] if header is None else [cell.content for cell in header.cells]
        body = [] if self.body is None else self.body.rows
        rows = [[cell.content for cell in row.cells] for row in body]
        columns = [
            longest([text.plain for text in column], cell_len)
            for column in zip(headings, *rows, strict=True)
        ]
        room = options.max_width - _TABLE_GAP * (len(columns) - 1)
        widths = column_widths(
            [full for full, _ in columns], [max(1, word) for _, word in columns], room
        )
        if widths is None:
            yield _as_lists(headings, rows)
            return
        table = Table(box=SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1))
        for heading, width in zip(headings, widths, strict=True):
            table.add_column(_bold(heading), width=width, overflow="fold")
        for row in rows:
            table.add_row(*row)
        yield table


def _bold(text: Text) -> Text:
    bold = text.copy()
    bold.stylize("bold")
    return bold


def _as_lists(headings: list[Text], rows: list[list[Text]]) -> RenderableType:
    parts = [[_bold(Text.assemble(heading, " ")) for heading in headings]] if not rows else []
    parts += [
        [
            Text.assemble(_bold(heading), ": ", cell, overflow="fold")
            for heading, cell in zip(headings, row, strict=True)
        ]
        for row in rows
    ]
    lines = [
        line for number, part in enumerate(parts) for line in ([Text("")] * bool(number) + part)
    ]
    return Group(*lines)


_LosslessMarkdown.elements = {
    **Markdown.elements,
    "heading_open": _Heading,
    "fence": _Code,
    "code_block": _Code,
    "table_open": _Table,
    "bullet_list_open": _List,
    "ordered_list_open": _List,
    "list_item_open": _Item,
}


def _panel(name: str | None, data: Any) -> Panel:
    shown = json.dumps(data, ensure_ascii=False, indent=2)
    return Panel(
        Text(showable(shown), overflow="fold"),
        title=Text(one_line(showable(name or "?")), style="bold"),
        title_align="left",
        border_style="cyan",
        expand=False,
    )


def _remark(block: object) -> Text:
    if isinstance(block, ImageContent):
        said = f"an image, {block.mime_type}"
    elif isinstance(block, RedactedThinkingContent):
        said = "thinking that the provider has encrypted"
    elif isinstance(block, FallbackContent):
        said = "another model continues here"
    else:
        said = "a block of an unknown type"
    return Text(f"[{one_line(showable(said))}]", style="dim")


def _name_in(block: Any) -> str | None:
    name = block.get("name") or block.get("type") if isinstance(block, dict) else None
    return name if isinstance(name, str) else None
