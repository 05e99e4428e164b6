"""The command line's tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from pi_native import ModelInfo
from pi_native._cli.pages import model_row, report_rows
from pi_native._cli.tables import plain_table

NOON = datetime(2026, 3, 4, 12, 0)


def test_columns_are_aligned() -> None:
    """Cells are made one line, numbers stand at the right, and no line ends in spaces."""
    rows = [["a", "NUMBER", "b"], ["long\nname", "7", ""]]
    assert plain_table(rows, None, right=[1]) == ["a          NUMBER  b", "long name       7"]


ROWS = [["ID", "NAME", "TOKENS"], ["acme/large-2026", "The large one of Acme", "200,000"]]


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (80, [f"{ROWS[0][0]:<17}{'NAME':<23} TOKENS", "  ".join(ROWS[1])]),
        (
            40,
            [
                "ID               NAME             TOKENS",
                "acme/large-2026  The large one   200,000",
                "                 of Acme",
            ],
        ),
        (
            20,
            [
                "ID      acme/large-2026",
                "NAME    The large one of Acme",
                "TOKENS  200,000",
            ],
        ),
    ],
)
def test_a_table_fits_into_its_terminal(columns: int, lines: list[str]) -> None:
    """Texts are folded, numbers never; a row is a list where there is no room for columns."""
    assert plain_table(ROWS, columns, right=[2]) == lines


def test_the_name_of_a_row_is_folded_last() -> None:
    """It is there to be copied."""
    name = "acme/a-name-of-28-characters"
    rows = [["ID", "NAME"], [name, "Words that can be parted"]]
    least = len(name) + len("  parted")
    assert plain_table(rows, least)[1:3] == [f"{name}  Words", f"{'':28}  that"]
    assert plain_table(rows, least - 1)[0] == f"ID    {name}"


def test_rows_in_a_list_are_apart() -> None:
    """By an empty line."""
    assert plain_table([["A", "B"], ["1", "2"], ["3", "4"]], 1) == [
        *("A  1", "B  2"),
        "",
        *("A  3", "B  4"),
    ]


def test_a_model_may_say_little_of_itself() -> None:
    """What it does not say is a dash."""
    assert model_row(ModelInfo(id="acme/small")) == ["acme/small", "-", "-", "-", "-"]


def limit(**amount: Any) -> dict[str, Any]:
    """A limit of which so much is used."""
    return {"label": "5 Hour", "amount": amount, "status": "ok"}


@pytest.mark.parametrize(
    ("amount", "shown"),
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
def test_usage_is_a_share_where_it_can_be(amount: dict[str, Any], shown: str) -> None:
    """Else it is a number and its unit, else a dash."""
    (row,) = report_rows({"provider": "acme", "limits": [limit(**amount)]})
    assert row == ["acme", "-", "5 Hour", shown, "-", "ok"]


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(NOON.timestamp() * 1000, "2026-03-04 12:00"), (1e300, "-"), ("soon", "-")],
)
def test_limits_say_when_they_are_reset(milliseconds: object, shown: str) -> None:
    """By the clock of whoever reads it."""
    report = {"limits": [{"window": {"resetsAt": milliseconds}}]}
    assert report_rows(report) == [["-", "-", "-", "-", shown, "-"]]


@pytest.mark.parametrize("report", [{}, {"limits": []}, {"limits": 7}, {"limits": [7]}, None])
def test_a_report_without_limits_is_a_row_too(report: Any) -> None:
    """What the gateway passes on is the providers', and nobody has checked it."""
    assert report_rows(report) == [["-"] * 6]
