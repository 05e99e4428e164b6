"""The tables of the command line, and the rows of the queries."""

from __future__ import annotations

import io
import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pi_native import ModelInfo
from pi_native._cli.columns import column_widths
from pi_native._cli.console import Console
from pi_native._cli.pages import model_row, report_rows
from pi_native._cli.tables import bar, show_table

NOON = datetime(2026, 3, 4, 12, 0)
HEADINGS = ["ID", "NAME", "TOKENS"]
ROW = ["acme/large-2026", "The large one of Acme", "200,000"]


class Terminal(io.StringIO):
    """A stand-in for a terminal that rich can draw on."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal without colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    return Terminal()


def lines(terminal: Terminal) -> list[str]:
    """Return the lines on the terminal without styles."""
    return re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue()).splitlines()


def test_a_pipe_gets_tabs() -> None:
    """Without a terminal the cells of a row have a tab between them, and stay on one line."""
    out = io.StringIO()
    show_table(["A", "B"], [["long\nname\t", "\x1b7"], ["", "2"]], Console(out, None))
    assert out.getvalue() == "A\tB\nlong name\t\ufffd7\n\t2\n"


def test_a_terminal_without_rich_gets_tabs(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no second way to draw a table."""
    monkeypatch.setattr("pi_native._cli.console._has_rich", lambda: False)
    show_table(HEADINGS, [ROW], Console(terminal, None))
    assert terminal.getvalue() == "ID\tNAME\tTOKENS\n" + "\t".join(ROW) + "\n"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            "80",
            [
                "ID               NAME                    TOKENS",
                "─" * 47,
                "acme/large-2026  The large one of Acme  200,000",
            ],
        ),
        (
            "40",
            [
                "ID               NAME             TOKENS",
                "─" * 40,
                "acme/large-2026  The large one   200,000",
                "                 of Acme",
            ],
        ),
        (
            "20",
            [
                "ID      acme/large-2026",
                "NAME    The large one of Acme",
                "TOKENS  200,000",
            ],
        ),
    ],
)
def test_a_table_fits_into_the_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: str, expected: list[str]
) -> None:
    """Texts are wrapped, names and numbers never; without room each row is a list."""
    monkeypatch.setenv("COLUMNS", columns)
    show_table(HEADINGS, [ROW], Console(terminal, None), numbers=[2])
    assert lines(terminal) == expected


def test_columns_of_zero_mean_unknown(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS=0 does not hide the table."""
    monkeypatch.setenv("COLUMNS", "0")
    show_table(HEADINGS, [ROW], Console(terminal, None))
    assert "acme/large-2026" in terminal.getvalue()


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8),
    st.integers(0, 300),
)
def test_column_widths(columns: list[tuple[int, int]], room: int) -> None:
    """Each column has room for its longest word, none is wider than its text, all fit."""
    natural, least = [max(pair) for pair in columns], [min(pair) for pair in columns]
    widths = column_widths(natural, least, room)
    if widths is None:
        assert sum(least) > room
    else:
        assert all(a <= b <= c for a, b, c in zip(least, widths, natural, strict=True))
        assert sum(widths) <= room
        assert widths == natural or room - sum(widths) < len(widths)


@pytest.mark.parametrize(
    ("share", "colour", "completed"),
    [(0.25, "green", 0.25), (0.75, "yellow", 0.75), (1.5, "red", 1.0), (-1, "green", 0.0)],
)
def test_the_colour_of_a_bar_warns(share: float, colour: Any, completed: float) -> None:
    """A bar is yellow from 70 %, red from 90 %, and at most full."""
    found = bar(share)
    assert (found.complete_style, found.completed) == (colour, completed)


def test_unknown_values_of_a_model_are_dashes() -> None:
    """A model without a kind is a chat model; other missing values are dashes."""
    assert model_row(ModelInfo(id="acme/small")) == ["acme/small", "-", "-", "-", "-", "chat"]


def limit(**amount: Any) -> dict[str, Any]:
    """Return a limit of which this amount is used."""
    return {"label": "5 Hour", "amount": amount, "status": "ok"}


@pytest.mark.parametrize(
    ("amount", "cell"),
    [
        ({"usedFraction": 0.254}, "25%"),
        ({"used": 3, "limit": 4, "unit": "requests"}, "75%"),
        ({"used": 12345, "unit": "tokens"}, "12,345 tokens"),
        ({"used": 1.5, "limit": 0, "unit": "usd"}, "1.5 usd"),
        ({"used": 30, "unit": "percent"}, "30%"),
        ({"remainingFraction": 0.25}, "75%"),
        ({"used": True}, "-"),
        ({}, "-"),
    ],
)
def test_usage_is_a_share_if_the_limit_is_known(amount: dict[str, Any], cell: str) -> None:
    """Without a limit the cell is a number and its unit, else a dash."""
    (row,) = report_rows({"provider": "acme", "limits": [limit(**amount)]})
    assert row == ["acme", "-", "5 Hour", cell, "-", "ok"]


@pytest.mark.parametrize(
    ("milliseconds", "cell"),
    [(NOON.timestamp() * 1000, "2026-03-04 12:00"), (1e300, "-"), ("soon", "-")],
)
def test_the_reset_of_a_limit_is_in_local_time(milliseconds: object, cell: str) -> None:
    """A time that is no number, or out of range, is a dash."""
    report = {"limits": [{"window": {"resetsAt": milliseconds}}]}
    assert report_rows(report) == [["-", "-", "-", "-", cell, "-"]]


@pytest.mark.parametrize("report", [{}, {"limits": []}, {"limits": 7}, {"limits": [7]}, None])
def test_a_report_without_limits_is_one_row(report: Any) -> None:
    """Reports are not validated: every shape gives a row."""
    assert report_rows(report) == [["-"] * 6]
