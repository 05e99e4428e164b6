"""Render untrusted Markdown as HTML that runs no script and loads nothing.

A notebook trusts the output of its cells: JupyterLab runs a script in it, in a page that can start
programs. So HTML in the Markdown is text here, an image of another host is a link, and a link leads
to a web page, an e-mail address or a relative address only. Formulas are the one thing that the
page itself reads (MathJax); all other text is marked as none.
"""

from __future__ import annotations

import functools
import html
import re
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\ufffd")
_CONTROLS |= {ord("\t"): "\t", ord("\n"): "\n"}

# No other scheme; an address without a colon has none.
_SAFE_LINK = re.compile(r"(?:https?|mailto):|[^:]*\Z", re.IGNORECASE)
_LINE_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
# As Pandoc reads it, so that "$5 a month, or $10" is no formula: no space inside of the dollar
# signs, and no digit after the second one.
_FORMULA = re.compile(r"\$\$(?P<display>[^$]+)\$\$|\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$(?!\d)")
_DISPLAY_FORMULA = re.compile(r"\$\$[^$]+\$\$\s*")
# Commands of MathJax and KaTeX that set attributes or load more commands.
_UNSAFE_TEX = re.compile(
    r"\\(?:href|url|class|cssId|style|data|html\w*|mmlToken|require)(?![A-Za-z])"
)


def safe_html(markdown: str) -> str:
    """Return the Markdown as HTML. Raises `ConfigurationError` without markdown-it-py."""
    return str(_parser().render(whole_characters(markdown)))


def escaped(text: str) -> str:
    """Return HTML that shows the text as it is."""
    return html.escape(whole_characters(text))


def view(*parts: str) -> str:
    """Return the parts as one view, in which MathJax reads only the formulas of `safe_html`."""
    content = "\n".join(filter(None, parts))
    return f'<div class="mathjax_ignore tex2jax_ignore">{content}</div>'


def whole_characters(text: str) -> str:
    """Replace control characters and halves of surrogate pairs, which a page cannot hold."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\r\n", "\n").translate(_CONTROLS)


@functools.cache
def _parser() -> MarkdownIt:
    try:
        from markdown_it import MarkdownIt
    except ImportError as exc:
        raise ConfigurationError(
            "showing a message in a notebook needs markdown-it-py: "
            "pip install '.[jupyter]' in a checkout of pi-native"
        ) from exc
    parser = MarkdownIt("commonmark", {"html": False})
    parser.enable(["table", "strikethrough"]).disable("image")
    parser.validateLink = _is_safe_link  # type: ignore[method-assign]
    parser.inline.ruler.before("escape", "formula", _inline_formula)
    parser.inline.ruler.before("autolink", "line_break", _line_break)
    parser.block.ruler.before(
        "fence",
        "formula",
        _block_formula,
        {"alt": ["paragraph", "reference", "blockquote", "list"]},
    )
    parser.add_render_rule("formula", _render_formula)
    return parser


def _is_safe_link(url: str) -> bool:
    return _SAFE_LINK.match(url) is not None


def _line_break(state: StateInline, silent: bool) -> bool:
    found = _LINE_BREAK.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos = found.end()
    return True


def _inline_formula(state: StateInline, silent: bool) -> bool:
    found = _FORMULA.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("formula", "span", 0).content = found[0]
    state.pos = found.end()
    return True


def _block_formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take a formula of several lines, in which other rules would find lists and headings."""
    if state.is_code_block(start) or not _line(state, start).startswith("$$"):
        return False
    text = ""
    for line in range(start, end):
        if state.isEmpty(line):
            return False
        text += _line(state, line) + "\n"
        if _DISPLAY_FORMULA.fullmatch(text):
            if not silent:
                state.push("formula", "div", 0).content = text.strip()
                state.line = line + 1
            return True
    return False


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _render_formula(
    _renderer: object, tokens: Sequence[Token], index: int, _options: Any, _env: Any
) -> str:
    token = tokens[index]
    formula = html.escape(token.content)
    if _UNSAFE_TEX.search(token.content):
        return f"<code>{formula}</code>"
    return f'<{token.tag} class="mathjax_process tex2jax_process">{formula}</{token.tag}>'
