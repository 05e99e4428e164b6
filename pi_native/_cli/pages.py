"""`models`, `health` and `usage`: what the gateway says about itself."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from pi_native import ModelInfo, to_wire

from .console import Console
from .gateway import client_for_pages
from .tables import NOTHING, show_table

_MODEL_HEADINGS = ["ID", "NAME", "CONTEXT", "OUTPUT", "MODALITIES"]
_USAGE_HEADINGS = ["PROVIDER", "ACCOUNT", "LIMIT", "USED", "RESETS", "STATUS"]


def models(args: argparse.Namespace, console: Console) -> int:
    """List the models that the gateway offers."""
    with client_for_pages(args) as client:
        offered = client.models()
    wanted = [model for model in offered if _is_wanted(model, args)]
    if args.json:
        for model in wanted:
            console.json(to_wire(model))
    elif wanted:
        show_table([_MODEL_HEADINGS, *map(model_row, wanted)], console, right=[2, 3])
    else:
        which = f"such models, among {len(offered):,} in all" if offered else "models"
        console.note(f"The gateway offers no {which}.")
    return 0


def _is_wanted(model: ModelInfo, args: argparse.Namespace) -> bool:
    """Whether a model has all the words in its names, all the modalities, and enough context."""
    names = f"{model.id} {model.display_name}".casefold()
    return (
        all(word.casefold() in names for word in args.words)
        and set(args.input) <= set(model.input_modalities or ())
        and (model.context_length or 0) >= args.context
    )


def model_row(model: ModelInfo) -> list[str]:
    """A model's row in the table."""
    return [
        model.id or NOTHING,
        model.display_name or NOTHING,
        _count(model.context_length),
        _count(model.max_output_tokens),
        ", ".join(model.input_modalities or ()) or NOTHING,
    ]


def health(args: argparse.Namespace, console: Console) -> int:
    """Say whether the gateway is up, and which version it is."""
    with client_for_pages(args) as client:
        found = client.health()
    if args.json:
        console.json(to_wire(found))
    else:
        console.line(f"{'ok' if found.ok else 'not ok'}, version {found.version or 'unknown'}")
    return 0 if found.ok else 1


def usage(args: argparse.Namespace, console: Console) -> int:
    """Show how much of the providers' limits is used."""
    with client_for_pages(args) as client:
        reports = client.usage().reports or []
    if args.json:
        for report in reports:
            console.json(report)
    elif reports:
        rows = [row for report in reports for row in report_rows(report)]
        limits = [limit for report in reports for limit in limits_in(report)]
        shares = list(map(_share_of, limits))
        used = _USAGE_HEADINGS.index("USED")
        show_table([_USAGE_HEADINGS, *rows], console, right=[used], shares=shares)
    else:
        console.note("The gateway has nothing to report.")
    return 0


def report_rows(report: Any) -> list[list[str]]:
    """A row for each limit. The reports are the gateway's own JSON, which nothing has checked."""
    return [
        [
            _text(_dig(report, "provider")),
            _text(_dig(report, "metadata", "email") or _dig(limit, "scope", "accountId")),
            _text(_dig(limit, "label")),
            _used(_dig(limit, "amount")),
            _moment(_dig(limit, "window", "resetsAt")),
            _text(_dig(limit, "status")),
        ]
        for limit in limits_in(report)
    ]


def limits_in(report: Any) -> list[Any]:
    """The limits that a report tells of; a report without any has one that is None."""
    found = _dig(report, "limits")
    return found if isinstance(found, list) and found else [None]


def _share_of(limit: Any) -> float | None:
    return _used_share(_dig(limit, "amount"))


def _used(amount: Any) -> str:
    """A share of the limit where that can be told, else how much it was."""
    share = _used_share(amount)
    if share is not None:
        return f"{share:.0%}"
    used = _number(_dig(amount, "used"))
    return NOTHING if used is None else f"{used:,.6g} {_dig(amount, 'unit') or ''}"


def _used_share(amount: Any) -> float | None:
    """What is used of the limit, 1.0 being all. Which of the numbers are there differs."""
    used, limit = _number(_dig(amount, "used")), _number(_dig(amount, "limit"))
    share, left = (_number(_dig(amount, f"{word}Fraction")) for word in ("used", "remaining"))
    if share is not None:
        return share
    if used is not None and limit:
        return used / limit
    if used is not None and _dig(amount, "unit") == "percent":
        return used / 100
    return None if left is None else 1 - left


def _moment(milliseconds: Any) -> str:
    """A time as the user's clock shows it."""
    since_1970 = _number(milliseconds)
    if since_1970 is None:
        return NOTHING
    try:
        return datetime.fromtimestamp(since_1970 / 1000).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return NOTHING


def _dig(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return NOTHING if value in (None, "") else str(value)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"
