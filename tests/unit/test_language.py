"""The text of the project is plain technical English, as CONTRIBUTING.md describes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("pi_native", "tests", "benchmarks", "fuzz", "docs", ".ci", ".github")
KINDS = {".py", ".md", ".ts", ".toml", ".cfg", ".yml", ".ipynb"}
NOT_TEXT = {"node_modules", "data", "corpus", ".work", "work", "__pycache__"}

# Words of a private dialect, each with the plain word. A space matches a line break, too.
BANNED = {
    r"whoever|whomever|whichever": "the caller, a user, any",
    r"nobody": "no caller, no thread, nothing",
    r"told": "report, notify, pass",
    r"drawn": "shown, displayed, rendered",
    r"anew|afresh": "again",
    r"besides": "also, in addition",
    r"but for": "except",
    r"(?:goes|going|went) on": "continue",
    r"stands": "is, is in",
    r"the road": "the connection",
    r"sent home": "stop",
    r"deaf": "ignores",
    r"strangers?": "untrusted",
    r"lifelines?": "socket handle",
    r"watchdogs?": "timer thread",
    r"for\s+ever": "without end, forever",
    r"by lot": "at random",
    r"by the book": "as specified",
    r"behind (?:the|its) end": "after the end",
    r"astray": "malformed, out of order",
    r"unwell": "unavailable",
    r"in vain": "without result",
    r"lets? go(?: of)?": "release, close",
}
_LETTER = "[A-Za-z]"
PATTERN = re.compile(
    rf"(?<!{_LETTER})(?:{'|'.join(BANNED)})(?!{_LETTER})".replace(" ", r"[ _-]?\s*(?:# )?"),
    re.IGNORECASE,
)
INDIRECT = {"What", "Whether", "Who", "How", "Where"}
# The first line of a docstring: ruff checks that it starts right after the quotes.
DOCSTRING = re.compile(r'^[ \t]*[rR]?"""(\S.*)', re.MULTILINE)


def area(path: Path) -> str:
    """Return the folder that is converted as one: `pi_native/_http`, `tests/unit/turn`, `docs`."""
    parts = path.relative_to(ROOT).parts
    depth = {"pi_native": 2, "tests": 3}.get(parts[0], 1)
    return "/".join(parts[: min(depth, max(1, len(parts) - 1))])


def texts() -> Iterator[Path]:
    """Yield each text file of the project, except this one, which lists the words."""
    found = chain(ROOT.iterdir(), *(ROOT.joinpath(name).rglob("*") for name in FOLDERS))
    for path in sorted(found):
        parts = path.relative_to(ROOT).parts
        if path.suffix in KINDS and NOT_TEXT.isdisjoint(parts) and path != Path(__file__):
            yield path


FILES: dict[str, list[Path]] = {}
for _path in texts():
    FILES.setdefault(area(_path), []).append(_path)


def banned_words(text: str) -> Iterator[str]:
    """Yield each banned word of a text as `line: word`."""
    for match in PATTERN.finditer(text):
        yield f"{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_banned_word(name: str) -> None:
    """The words of the list do not occur in any text of the area."""
    found = [
        f"{path.relative_to(ROOT)}:{word}"
        for path in FILES[name]
        for word in banned_words(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(FILES))
def test_docstrings_state_what_is_true_or_done(name: str) -> None:
    """At most 2 % of an area's docstrings start with What, Whether, Who, How or Where."""
    every = [
        line
        for path in FILES[name]
        if path.suffix == ".py"
        for line in DOCSTRING.findall(path.read_text(encoding="utf-8"))
    ]
    indirect = [line for line in every if line.split()[0] in INDIRECT]
    assert len(indirect) <= len(every) * 0.02, "\n".join(indirect)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Whoever reads it.", "1: Whoever"),
        ("def test_nobody_reads(): ...", "1: nobody"),
        ("All of it, but\n# for one.", "1: but\n# for"),
        ("one\nIt goes on.", "2: goes on"),
        ("def test_it_goes_on(): ...", "1: goes_on"),
    ],
)
def test_a_banned_word_is_found(text: str, word: str) -> None:
    """A word is found in names, over line ends and comment signs, and in capitals."""
    assert list(banned_words(text)) == [word]


@pytest.mark.parametrize("text", ["It is beside it.", "withdrawn", "toldo", "but forward"])
def test_a_part_of_a_word_is_not_found(text: str) -> None:
    """A banned word inside another word does not count."""
    assert list(banned_words(text)) == []
