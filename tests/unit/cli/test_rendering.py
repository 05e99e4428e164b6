"""Blocks of an answer are rendered without losing a word, and settled in pieces."""

from __future__ import annotations

import html
import io
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rich.cells import cell_len
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
from pi_native._cli.live import Trimmed
from pi_native._cli.rendering import THEME, render, settled, source_of

from ...repetitions import repetitions


def shown(
    block: object, source: str | None = None, *, width: int = 60, soft_wrap: bool = True
) -> str:
    """Return a block as plain text, as a terminal of this width gets it."""
    out = io.StringIO()
    screen = Console(file=out, width=width, color_system=None, highlight=False, theme=THEME)
    screen.print(Trimmed(render(block, source, soft_wrap=soft_wrap)), crop=False)
    return out.getvalue().removesuffix("\n")


def markdown(source: str, *, width: int = 60) -> str:
    """Return Markdown as a terminal shows it."""
    return shown(TextContent(""), source, width=width)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (RedactedThinkingContent("x"), "[thinking that the provider has encrypted]"),
        (ImageContent("AAAA", "image/png"), "[an image, image/png]"),
        (FallbackContent({"model": "a"}, {"model": "b"}), "[another model continues here]"),
        (UnknownContent({"type": "new"}), "[a block of an unknown type]"),
    ],
)
def test_a_block_without_text_is_named(block: object, text: str) -> None:
    """A block that a terminal cannot show is one line in brackets."""
    assert shown(block) == text


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
def test_a_tool_call_is_a_panel(block: object, title: str) -> None:
    """The title of the panel is the name of the tool."""
    first, *_, last = shown(block).splitlines()
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
def test_texts_grow_in_pieces(block: object, source: str | None) -> None:
    """Text and thinking have a source that grows; other blocks are rendered as a whole."""
    assert source_of(block) == source


@pytest.mark.parametrize(
    ("source", "piece"),
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
def test_markdown_is_settled_when_the_next_block_begins(source: str, piece: str) -> None:
    """A block can change until another one follows: a list may continue, a line become a title."""
    assert source[: settled(TextContent(""), source)] == piece


def test_thinking_is_settled_by_lines() -> None:
    """Thinking is plain text: a line that has ended does not change."""
    assert settled(ThinkingContent(""), "a\nb\nc") == len("a\nb\n")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Vec<String> and <your-token>", "Vec<String> and <your-token>"),
        ("low<mid and mid>high", "low<mid and mid>high"),
        ('<div class="card">kept</div>', '<div class="card">kept</div>'),
        ("a <!-- x --> b", "a <!-- x --> b"),
        ("![chart](https://a.example/c.png)", "!chart (https://a.example/c.png)"),
        ("[manual][1]\n\n[1]: https://a.example/m", "[manual][1]\n\n[1]: https://a.example/m"),
        ("<https://a.example>", "<https://a.example>"),
        ('[a](https://a.example "title")', 'a (https://a.example "title")'),
        ("[a](https://ä.example/ö)", "a (https://ä.example/ö)"),
        ("3. x\n7. y", " 3 x\n 7 y"),
        ('```python title="a.py"\nx\n```', 'python title="a.py"\nx'),
        ("| a |\n|---|\n| 1 | lost |", "| a |\n|---|\n| 1 | lost |"),
        ("a \ud83d\ude00 \udc00", "a 😀 \ufffd"),
    ],
)
def test_text_that_markdown_would_hide_is_shown(source: str, text: str) -> None:
    """HTML, addresses, definitions, numbers and cells without a column are on the screen."""
    assert markdown(source) == text


def test_html_in_a_table_is_shown() -> None:
    """A cell shows a line break of HTML as it is written."""
    assert "a<br>b" in markdown("| x | y |\n|---|---|\n| a<br>b | c |")


def test_a_table_in_a_narrow_terminal_is_a_list() -> None:
    """A table whose longest words do not fit side by side is a list of its cells."""
    table = "| colour | wavelength |\n|---|---|\n| ultraviolet | 350 |"
    assert markdown(table, width=22) == "colour: ultraviolet\nwavelength: 350"


def test_a_long_line_of_code_is_one_line() -> None:
    """The terminal wraps code, so that it is copied without line ends that were not there."""
    line = "x = " + " + ".join(["value"] * 30)
    assert markdown(f"```python\n{line}\n```") == f"python\n{line}"


def test_a_growing_piece_has_lines_of_the_width_of_the_terminal() -> None:
    """A piece that is rendered again has no longer line, because its rows are counted."""
    source = "```\n" + "x" * 100
    text = shown(TextContent(""), source, soft_wrap=False)
    assert max(map(len, text.splitlines())) == 60


def test_no_colour_needs_a_dark_or_a_light_terminal() -> None:
    """Code sets no background, and no colour that is pale on white or dark on black."""
    out = io.StringIO()
    screen = Console(file=out, width=60, force_terminal=True, color_system="standard", theme=THEME)
    source = "Use `code`.\n\n```python\n@x\ndef f(a):  # c\n    '''Doc.'''\n    return 1, 'a'\n```"
    screen.print(render(TextContent(""), source))
    codes = set(re.findall(r"\d+", " ".join(re.findall(r"\x1b\[([\d;]*)m", out.getvalue()))))
    assert codes <= {"0", "1", "2", "3", "32", "35", "36"}, codes


WORDS = st.text("abcdefgh0123", min_size=1, max_size=9)
ODD = st.sampled_from(
    [
        "Vec<String>",
        "<your-token>",
        '<div class="card">kept</div>',
        "<!-- x -->",
        "![chart](https://a.example/c.png)",
        "![i][ref]",
        "[manual][1]",
        '[a](http://a.example "title")',
        "<https://auto.example>",
        "<a@b.c>",
        "a<br>b",
        "`code<T>`",
        "**bold**",
        "~~gone~~",
        "&amp;",
        "&lt;b&gt;",
        "a_b_c",
        "日本語テキスト",
        "x|y",
        "\\*",
        "[^1]",
        "$5",
    ]
)
LINES = st.lists(st.one_of(WORDS, ODD), min_size=1, max_size=12).map(" ".join)


def table_of(columns: int) -> st.SearchStrategy[str]:
    """Return tables with so many columns, whose rows have up to one cell more."""
    headings = st.lists(st.one_of(WORDS, ODD), min_size=columns, max_size=columns)
    rows = st.lists(st.lists(LINES, min_size=1, max_size=columns + 1), max_size=3)
    return st.tuples(headings, rows).map(
        lambda parts: "\n".join(
            [f"| {' | '.join(parts[0])} |", "|---" * columns + "|"]
            + [f"| {' | '.join(row)} |" for row in parts[1]]
        )
    )


def nested(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return lists and quotations of these blocks."""

    def build(parts: tuple[str | int, list[str]]) -> str:
        first, items = parts
        lines = []
        for number, item in enumerate(items):
            mark = first if isinstance(first, str) else f"{first + 2 * number}. "
            lines.append(
                mark + item.replace("\n", f"\n{mark if mark == '> ' else ' ' * len(mark)}")
            )
        return "\n".join(lines)

    marks = st.sampled_from(["- ", "* ", "> ", 1, 7, 100])
    return st.tuples(marks, st.lists(children, min_size=1, max_size=3)).map(build)


SINGLE = st.one_of(
    LINES,
    st.tuples(st.integers(1, 6), LINES).map(lambda parts: f"{'#' * parts[0]} {parts[1]}"),
    st.tuples(
        st.sampled_from(["", "python", "rust ignore", "text", 'js title="a.js"']),
        st.lists(LINES, max_size=4),
    ).map(lambda parts: "```" + "\n".join([parts[0], *parts[1], "```"])),
    LINES.map(lambda text: f"<div>\n{text}\n</div>"),
    st.tuples(WORDS, WORDS).map(lambda parts: f"[{parts[0]}]: https://{parts[1]}.example 't'"),
    st.integers(1, 7).flatmap(table_of),
    LINES.map(lambda text: f"{text}\n==="),
    st.just("---"),
)
DOCUMENTS = st.lists(st.recursive(SINGLE, nested, max_leaves=6), min_size=1, max_size=4).map(
    "\n\n".join
)


def letters(text: str) -> Counter[str]:
    """Return how often each letter and digit is in a text."""
    return Counter(re.findall(r"[^\W_]", text))


@settings(max_examples=repetitions(60, 10))
@given(DOCUMENTS, st.integers(20, 300), st.booleans())
def test_every_word_is_on_the_screen(source: str, width: int, soft_wrap: bool) -> None:
    """For every width from 20 to 300 no letter of the source is missing, and no line too long."""
    text = shown(TextContent(""), source, width=width, soft_wrap=soft_wrap)
    assert not letters(html.unescape(source)) - letters(text), text
    if not soft_wrap:
        assert max(map(cell_len, text.split("\n"))) <= width


@settings(max_examples=repetitions(60, 10))
@given(st.lists(st.one_of(WORDS, ODD), min_size=1, max_size=40), st.integers(20, 300))
def test_words_stay_whole(words: list[str], width: int) -> None:
    """A word that fits into a line is not cut."""
    text = shown(TextContent(""), "\n\n".join(words), width=width)
    for word in words:
        if cell_len(html.unescape(word)) > width:
            continue
        for part in re.findall(r"[^\W_]+", html.unescape(word)):
            assert part in text


@pytest.mark.parametrize(
    "block", [ToolCall("1", "clock", {"zone": "UTC " * 50}), ThinkingContent("")]
)
@pytest.mark.parametrize("width", [20, 80, 300])
def test_other_blocks_lose_nothing(block: Any, width: int) -> None:
    """Arguments of calls and thinking are shown in full at every width."""
    source = "a long thought " * 30 if isinstance(block, ThinkingContent) else None
    expected = source or '{"zone": "' + "UTC " * 50
    assert not letters(expected) - letters(shown(block, source, width=width))
