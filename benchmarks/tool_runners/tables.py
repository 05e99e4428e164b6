"""The outcomes as Markdown: a table for each situation."""

from __future__ import annotations

from collections.abc import Sequence

from .outcome import Outcome
from .situations import LEDGER

SHOWN = 150  # characters of a text
HEAD = (
    "| runner | requests | tool ran | results that the provider got | the call |\n"
    "| --- | --- | --- | --- | --- |"
)


def section(situation: str, outcomes: Sequence[Outcome]) -> str:
    """Return the section of a situation."""
    rows = "\n".join(map(row, outcomes))
    text = f"## {situation.capitalize()}\n\n{HEAD}\n{rows}\n"
    leaks = ", ".join(outcome.runner for outcome in outcomes if outcome.leaked)
    return f"{text}\nThe provider got `{LEDGER}` from {leaks}.\n" if leaks else text


def row(outcome: Outcome) -> str:
    """Return the row of one runner."""
    results = "<br>".join(_code(result) for result in outcome.results) or "none"
    ended = (
        f"raised {_code(outcome.ended)}" if outcome.raised else f"returned {_code(outcome.ended)}"
    )
    return (
        f"| {outcome.runner} | {outcome.requests} | {_times(outcome.ran)} | {results} | {ended} |"
    )


def _times(count: int) -> str:
    return {0: "no", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _code(text: str) -> str:
    line = " ".join(text.replace("|", "\\|").split())
    line = line if len(line) <= SHOWN else f"{line[:SHOWN]}..."
    return f"`` {line} ``" if "`" in line else f"`{line}`"
