"""Show tables: rendered with rich in a terminal, else as text with tabs between the cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from .columns import column_widths, longest
from .console import Console, one_line, showable

if TYPE_CHECKING:
    from rich.console import Console as Screen
    from rich.progress_bar import ProgressBar

NOTHING = "-"
"""The text of a cell whose value is unknown."""

Rows = Sequence[Sequence[str]]

_GAP = 2  # columns of the terminal between two columns of a table
_BAR_WIDTH = 12
_NEARLY_ALL, _MUCH = 0.9, 0.7


def show_table(
    headings: Sequence[str],
    rows: Rows,
    console: Console,
    *,
    numbers: Sequence[int] = (),
    shares: Sequence[float | None] | None = None,
) -> None:
    """Show a table on stdout. `numbers` are the columns that are aligned on the right.

    `shares` are the values of the first of them, for a bar in front of each; only a terminal has
    bars. Raises `OutputLostError`.
    """
    cells = [[one_line(showable(cell)) for cell in row] for row in rows]
    terminal = console.rich_terminal()
    if terminal is None:
        for row in [headings, *cells]:
            console.line("\t".join(row))
        return
    with console.drawing():
        _draw(headings, cells, terminal, numbers, shares)


def _draw(
    headings: Sequence[str],
    rows: Rows,
    terminal: TextIO,
    numbers: Sequence[int],
    shares: Sequence[float | None] | None,
) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    from .live import Trimmed, screen_on

    screen = screen_on(terminal)
    columns = [longest([*column], cell_len) for column in zip(headings, *rows, strict=True)]
    # A name must stay in one piece, to be copied.
    least = [
        full if number in (0, *numbers) else word for number, (full, word) in enumerate(columns)
    ]
    gaps = _GAP * (len(columns) - 1) + (0 if shares is None else _BAR_WIDTH + _GAP)
    widths = column_widths([full for full, _ in columns], least, screen.width - gaps)
    if widths is None:
        _draw_lists(headings, rows, screen)
        return
    table = _new_table(headings, widths, numbers, shares is not None)
    for number, row in enumerate(rows):
        line: list[Any] = [Text(cell) for cell in row]
        if shares is not None:
            share = shares[number]
            line.insert(numbers[0], "" if share is None else bar(share))
        table.add_row(*line)
    screen.print(Trimmed(table))


def _new_table(
    headings: Sequence[str], widths: Sequence[int], numbers: Sequence[int], has_bars: bool
) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for number, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        if has_bars and number == numbers[0]:
            table.add_column("", width=_BAR_WIDTH)
        table.add_column(
            heading,
            justify="right" if number in numbers else "left",
            width=width,
            overflow="fold",
        )
    return table


def _draw_lists(headings: Sequence[str], rows: Rows, screen: Screen) -> None:
    """Draw each row as a list of its cells, for a terminal that is too narrow for the table."""
    from rich.text import Text

    width = max(map(len, headings)) + _GAP
    for number, row in enumerate(rows):
        if number:
            screen.print()
        for heading, cell in zip(headings, row, strict=True):
            line = Text.assemble((f"{heading:<{width}}", "dim"), cell)
            screen.print(line, soft_wrap=True)  # can be copied in one piece


def bar(share: float) -> ProgressBar:
    """Return a bar for a share, 1.0 being all: green, yellow from 70 %, red from 90 %."""
    from rich.progress_bar import ProgressBar

    colour = "red" if share >= _NEARLY_ALL else "yellow" if share >= _MUCH else "green"
    return ProgressBar(
        total=1.0,
        completed=min(max(share, 0.0), 1.0),
        width=_BAR_WIDTH,
        complete_style=colour,
        finished_style=colour,
    )
