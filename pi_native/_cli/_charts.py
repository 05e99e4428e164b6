"""Tables with colours and bars, drawn with rich in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ._console import one_line, showable
from ._live import screen_on

_BAR_WIDTH = 12
_NEARLY_ALL, _MUCH = 0.9, 0.7


def draw_table(
    rows: Sequence[Sequence[str]], terminal: TextIO, *, right: Sequence[int] = ()
) -> None:
    """Draw a table; its first row are the headings. `right` columns are aligned to the right."""
    headings, *others = rows
    table = _table(headings, right)
    for row in others:
        table.add_row(*map(_cell, row))
    screen_on(terminal).print(table)


def draw_usage(
    rows: Sequence[Sequence[str]], shares: Sequence[float | None], terminal: TextIO, *, used: int
) -> None:
    """Draw a table with a bar for each share, before the column `used`."""
    headings, *others = rows
    table = _table([*headings[:used], "", *headings[used:]], [used + 1])
    for row, share in zip(others, shares, strict=True):
        cells = [_cell(cell) for cell in row]
        table.add_row(*cells[:used], "" if share is None else bar(share), *cells[used:])
    screen_on(terminal).print(table)


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


def _table(headings: Sequence[str], right: Sequence[int]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number in right else "left", overflow="fold")
    return table


def _cell(text: str) -> Text:
    return Text(one_line(showable(text)))
