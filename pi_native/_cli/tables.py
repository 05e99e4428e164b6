"""Plain aligned tables, and how they get into a terminal that is narrower than they are.

Texts are folded first, a row's name last, and numbers never. Where that would leave columns too
narrow to be read, each row becomes a list of its cells instead.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence

from .console import Console, one_line
from .rich import canvas_for_rich

NOTHING = "-"
"""What stands in a cell for what is not known."""

Rows = Sequence[Sequence[str]]

_GAP = 2
_NAME, _WORD = 28, 16  # how wide the first column stays, and any other that is folded


def show_table(
    rows: Rows,
    console: Console,
    *,
    right: Sequence[int] = (),
    shares: Sequence[float | None] | None = None,
) -> None:
    """Show a table, whose first row are the headings, on stdout: drawn where that can be.

    `right` columns are numbers. `shares` are what the first of them says, for bars beside it.
    """
    terminal = canvas_for_rich(console)
    if terminal is not None:
        from .charts import draw_table

        with console.drawing():
            draw_table(rows, terminal, right=right, shares=shares)
        return
    for line in plain_table(rows, console.columns, right=right):
        console.line(line)


def plain_table(rows: Rows, columns: int | None, *, right: Sequence[int] = ()) -> list[str]:
    """The lines of a table in a terminal of so many columns; None: as wide as it is."""
    cells = cleaned(rows)
    widths = _longest(cells) if columns is None else fitting(cells, columns, gap=_GAP, right=right)
    if widths is None:
        return listed(cells)
    return [line for row in cells for line in _folded(row, widths, right)]


def cleaned(rows: Rows) -> list[list[str]]:
    """The rows with each cell on one line."""
    return [[one_line(cell) for cell in row] for row in rows]


def fitting(cells: Rows, columns: int, *, gap: int, right: Sequence[int] = ()) -> list[int] | None:
    """How wide each column is where there is room for so many, gaps included; None: too narrow."""
    widths = _longest(cells)
    spare = [
        0 if number in right else width - _least(column, _WORD if number else _NAME)
        for number, (width, column) in enumerate(zip(widths, zip(*cells, strict=True), strict=True))
    ]
    excess = sum(widths) + gap * (len(widths) - 1) - columns
    for number in sorted(range(len(widths)), key=lambda n: (n == 0, -spare[n])):
        less = max(0, min(excess, spare[number]))
        widths[number] -= less
        excess -= less
    return None if excess > 0 else widths


def listed(cells: Rows) -> list[str]:
    """Each row as a list: a line for each cell, behind its heading."""
    headings, *others = cells
    width = max(map(len, headings)) + _GAP
    return [
        line
        for number, row in enumerate(others)
        for line in (
            *([""] if number else []),
            *(f"{name:<{width}}{cell}" for name, cell in zip(headings, row, strict=True)),
        )
    ]


def _longest(cells: Rows) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _least(column: Sequence[str], limit: int) -> int:
    """How narrow a column may get: its words stay whole if they are not too long."""
    heading, *texts = column
    words = [word for text in texts for word in text.split()]
    return max(len(heading), min(limit, max(map(len, words), default=0)))


def _folded(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> Iterator[str]:
    parts = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    for line in itertools.zip_longest(*parts, fillvalue=""):
        yield (" " * _GAP).join(_aligned(line, widths, right)).rstrip()


def _aligned(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if number in right else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
