"""`models`, `health` and `usage`: show what the gateway reports about itself."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from pi_native import ModelInfo, to_wire

from .console import Console
from .inputs import client_for_queries
from .tables import NOTHING, show_table

_MODEL_HEADINGS = ["ID", "NAME", "CONTEXT", "OUTPUT", "MODALITIES", "KIND"]
_USAGE_HEADINGS = ["PROVIDER", "ACCOUNT", "LIMIT", "USED", "RESETS", "STATUS"]
_CHAT = "chat"


def models(args: argparse.Namespace, console: Console) -> int:
    """List the models that the gateway offers."""
    with client_for_queries(args) as client:
        offered = client.models(kind=None)
    wanted = [model for model in offered if _is_wanted(model, args)]
    if args.json:
        for model in wanted:
            console.json(to_wire(model))
    elif args.ids:
        for model in wanted:
            console.line(model.id)
    elif wanted:
        show_table(_MODEL_HEADINGS, list(map(model_row, wanted)), console, numbers=[2, 3])
    else:
        which = f"such models, among {len(offered):,} in all" if offered else "models"
        console.note(f"The gateway offers no {which}.")
    return 0


def kind_of(model: ModelInfo) -> str:
    """Return the kind of a model; the gateway leaves "chat" out."""
    return model.kind or _CHAT


def _is_wanted(model: ModelInfo, args: argparse.Namespace) -> bool:
    """Tell whether a model has all the words, all the modalities, enough context and the kind."""
    names = f"{model.id} {model.display_name}".casefold()
    return (
        all(word.casefold() in names for word in args.words)
        and set(args.input) <= set(model.input_modalities or ())
        and (model.context_length or 0) >= args.context
        and (args.all or kind_of(model) == args.kind)
    )


def model_row(model: ModelInfo) -> list[str]:
    """Return a model's row in the table."""
    return [
        model.id or NOTHING,
        model.display_name or NOTHING,
        _count(model.context_length),
        _count(model.max_output_tokens),
        ", ".join(model.input_modalities or ()) or NOTHING,
        kind_of(model),
    ]


def health(args: argparse.Namespace, console: Console) -> int:
    """Show whether the gateway is up, and its version."""
    with client_for_queries(args) as client:
        found = client.health()
    if args.json:
        console.json(to_wire(found))
    else:
        console.line(f"{'ok' if found.ok else 'not ok'}, version {found.version or 'unknown'}")
    return 0 if found.ok else 1


def usage(args: argparse.Namespace, console: Console) -> int:
    """Show how much of the providers' limits is used."""
    with client_for_queries(args) as client:
        reports = client.usage().reports or []
    if args.json:
        for report in reports:
            console.json(report)
    elif reports:
        rows = [row for report in reports for row in report_rows(report)]
        limits = [limit for report in reports for limit in limits_in(report)]
        shares = list(map(_share_of, limits))
        used = _USAGE_HEADINGS.index("USED")
        show_table(_USAGE_HEADINGS, rows, console, numbers=[used], shares=shares)
    else:
        console.note("The gateway has nothing to report.")
    return 0


def report_rows(report: Any) -> list[list[str]]:
    """Return a row for each limit. A report is the JSON of a provider, which is not validated."""
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
    """Return the limits in a report; for a report without limits one that is None."""
    found = _dig(report, "limits")
    return found if isinstance(found, list) and found else [None]


def _share_of(limit: Any) -> float | None:
    return _used_share(_dig(limit, "amount"))


def _used(amount: Any) -> str:
    """Return the used share of the limit if it is known, else the used amount."""
    share = _used_share(amount)
    if share is not None:
        return f"{share:.0%}"
    used = _number(_dig(amount, "used"))
    return NOTHING if used is None else f"{used:,.6g} {_dig(amount, 'unit') or ''}"


def _used_share(amount: Any) -> float | None:
    """Return the used share of the limit, 1.0 being all. Providers report different numbers."""
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
    """Return a time in the user's time zone."""
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
