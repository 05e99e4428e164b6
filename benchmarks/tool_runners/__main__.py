"""Run each situation with each runner, and print a Markdown table for each situation."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import (
    agents_runner,
    anthropic_runner,
    genai_runner,
    openai_runner,
    ours_runner,
    pydantic_ai_runner,
)
from .outcome import run_one
from .situations import all_situations
from .tables import section

RUNNERS = (
    ours_runner,
    anthropic_runner,
    openai_runner,
    agents_runner,
    genai_runner,
    pydantic_ai_runner,
)
MARK = "<!-- written by python -m benchmarks.tool_runners -->\n"


def main() -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tool_runners", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the end of this page")
    page = parser.parse_args().write
    text = _tables()
    if page is None:
        print(text)
    else:
        before, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
        page.write_text(f"{before}{mark}\n{text}", encoding="utf-8")


def _tables() -> str:
    sections = []
    for situations in zip(*(all_situations() for _ in RUNNERS), strict=True):
        pairs = zip(RUNNERS, situations, strict=True)
        outcomes = [run_one(runner, situation) for runner, situation in pairs]
        sections.append(section(situations[0].name, outcomes))
    return "\n".join(sections)


if __name__ == "__main__":
    main()
