"""A stranger's text as Markdown that can do nothing but be read.

A notebook trusts what its own cells put out: JupyterLab runs a script that it finds in Markdown,
in a page that may start programs. So nothing that a model wrote reaches the page as a tag, as a
picture fetched from somewhere, or as a link that runs script.

Renderers differ in what they take for code, so nothing here depends on guessing that right. Code
stays as it is only where it would be harmless as prose too; else all its punctuation is encoded,
and no parser finds anything in it. A wrong guess costs looks, never safety.
"""

from __future__ import annotations

import re

_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\ufffd")
_CONTROLS |= {ord("\t"): "\t", ord("\n"): "\n"}
_PUNCTUATION = {code: f"&#{code};" for code in range(0x21, 0x7F) if not chr(code).isalnum()}
_PUNCTUATION[ord("\n")] = "&#10;"

_CODE_OR_MATH = re.compile(
    r"""
    ^(?P<indent>[ ]*)(?P<fence>`{3,}|~{3,})(?P<language>[^`\n]*)(?:\n|\Z)
        (?P<block>(?s:.*?)) (?P<end>^[ ]*(?P=fence)[`~]*[ ]*$ | \Z)
    | (?<!`)(?P<ticks>`+)(?!`)(?P<span>[^\n]+?)(?<!`)(?P=ticks)(?!`)
    | (?P<math>\$\$[^$]+\$\$ | \$[^$\n]+\$)
    """,
    re.MULTILINE | re.VERBOSE,
)

# What begins a tag. A line break is harmless, and models like it in tables.
_TAG = re.compile(r"<(?!br[ ]?/?>)(?=[A-Za-z/!?])")
_PICTURE = re.compile(r"!(?=\[)")
# Browsers decode these inside an address, where they could spell or hide a scheme.
_REFERENCE = re.compile(r"&(?=#|(?:colon|Tab|NewLine);)")
_SCRIPT = re.compile(r"(javascript)(?=\s*\\*:)", re.IGNORECASE)
_JOINER = "\u2060"  # cannot be seen, and is no part of a scheme

_DANGERS = (_TAG, _PICTURE, _REFERENCE, _SCRIPT)


def whole_characters(text: str) -> str:
    """The text without control characters and halves of surrogate pairs, which no page can hold."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\r\n", "\n").translate(_CONTROLS)


def encoded(text: str) -> str:
    """The text as it is, on one line, with nothing left in it that means anything to a parser."""
    return whole_characters(text).translate(_PUNCTUATION)


def defused(text: str) -> str:
    """Markdown that reads as it did, but brings no tags, no pictures and no script."""
    text = whole_characters(text)
    parts: list[str] = []
    position = 0
    for match in _CODE_OR_MATH.finditer(text):
        parts += _prose(text[position : match.start()]), _code_or_math(match)
        position = match.end()
    return "".join([*parts, _prose(text[position:])])


def _prose(text: str) -> str:
    text = _REFERENCE.sub("&amp;", text)
    text = _TAG.sub("&lt;", text)
    text = _PICTURE.sub("&#33;", text)
    return _SCRIPT.sub(rf"\1{_JOINER}", text)


def _code_or_math(match: re.Match[str]) -> str:
    if match["math"]:
        return _math(match["math"])
    whole = match[0]
    dangerous = any(danger.search(whole) for danger in _DANGERS)
    if match["span"]:
        return f"<code>{encoded(match['span'].strip())}</code>" if dangerous else whole
    if dangerous:
        return f"{match['indent']}<pre><code>{encoded(_unindented(match))}</code></pre>\n"
    # What is still being written has no end yet; what comes after must not fall into it.
    return whole if match["end"] else f"{whole.rstrip()}\n{match['indent']}{match['fence']}\n"


def _math(formula: str) -> str:
    # TeX has a word of its own for the sign; a character reference would be shown as it stands.
    return _prose(_TAG.sub(r"\\lt ", formula))


def _unindented(match: re.Match[str]) -> str:
    return re.sub(f"^ {{0,{len(match['indent'])}}}", "", match["block"], flags=re.MULTILINE)
