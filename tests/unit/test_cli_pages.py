"""The command line's tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from pi_native import ModelInfo
from pi_native._cli._pages import model_row, report_rows
from pi_native._cli._tables import table

NOON = datetime(2026, 3, 4, 12, 0)


def test_columns_are_aligned() -> None:
    """Cells are made one line, numbers stand at the right, and no line ends in spaces."""
    rows = [["a", "NUMBER", "b"], ["long\nname", "7", ""]]
    assert table(rows, right=[1]) == ["a          NUMBER  b", "long name       7"]


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
