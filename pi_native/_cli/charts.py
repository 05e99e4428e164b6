"""Tables with bars, drawn with rich in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .console import showable
from .live import Trimmed, screen_on
from .tables import Rows, cleaned, fitting, listed

_GAP = 3  # as rich leaves between the columns of this kind of table
_BAR_WIDTH = 12
_NEARLY_ALL, _MUCH = 0.9, 0.7


def draw_table(
    rows: Rows,
    terminal: TextIO,
    *,
    right: Sequence[int] = (),
    shares: Sequence[float | None] | None = None,
) -> None:
    """Draw a table as wide as there is room for; a bar for each share stands before the numbers."""
    screen = screen_on(terminal)
    cells = cleaned([[showable(cell) for cell in row] for row in rows])
    room = screen.width - (0 if shares is None else _BAR_WIDTH + _GAP)
    widths = fitting(cells, room, gap=_GAP, right=right)
    if widths is None:
        for line in listed(cells):
            screen.print(Text(line), soft_wrap=True)  # to be copied as it is
        return
    screen.print(Trimmed(_table(cells, widths, right, shares)))


def _table(
    cells: Rows, widths: Sequence[int], right: Sequence[int], shares: Sequence[float | None] | None
) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    place = 0 if shares is None else right[0]  # of the bars
    headings, *others = ([Text(cell) for cell in row] for row in cells)
    for number, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        if shares is not None and number == place:
            table.add_column("", width=_BAR_WIDTH)
        table.add_column(heading, justify="left", width=width, overflow="fold")
        if number in right:
            table.columns[-1].justify = "right"
    for number, row in enumerate(others):
        bars = [] if shares is None else [_bar_or_nothing(shares[number])]
        table.add_row(*row[:place], *bars, *row[place:])
    return table


def _bar_or_nothing(share: float | None) -> RenderableType:
    return "" if share is None else bar(share)


def bar(share: float) -> ProgressBar:
    """A bar for a share, 1.0 being all: green, yellow when it is much, red when nearly all."""
    colour = "red" if share >= _NEARLY_ALL else "yellow" if share >= _MUCH else "green"
    return ProgressBar(
        total=1.0,
        completed=min(max(share, 0.0), 1.0),
        width=_BAR_WIDTH,
        complete_style=colour,
        finished_style=colour,
    )
