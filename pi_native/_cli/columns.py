"""The widths of the columns of a table in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def column_widths(natural: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Return how wide each column is in a table of this width; None when it is too narrow.

    `natural` is the width of the longest cell of each column, `least` that of its longest word.
    """
    if (spare := room - sum(least)) < 0:
        return None
    widths = list(least)
    wanted = [full - word for full, word in zip(natural, least, strict=True)]
    by_need = sorted(range(len(widths)), key=wanted.__getitem__)
    for done, number in enumerate(by_need):
        more = min(wanted[number], spare // (len(by_need) - done))
        widths[number] += more
        spare -= more
    return widths


def longest(texts: Sequence[str], length: Callable[[str], int] = len) -> tuple[int, int]:
    """Return the length of the longest text, and of the longest word in them."""
    words = [word for text in texts for word in text.split()]
    return max(map(length, texts), default=0), max(map(length, words), default=0)
