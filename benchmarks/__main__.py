"""`python -m benchmarks`: measure all sections, or the named ones."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from . import batch, crowd, daily, framings, imports, latency, machine, memory, turns
from .harness import Bench, Table, find_packages, find_typescript, serving

SECTIONS: dict[str, Callable[[Bench], list[Table]]] = {
    "turns": turns.measure,
    "memory": memory.measure,
    "latency": latency.measure,
    "crowd": crowd.measure,
    "daily": daily.measure,
    "framings": framings.measure,
    "imports": imports.measure,
    "batch": batch.measure,
}
PEERS = ("openai", "anthropic")
_BEGIN, _END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the files that the options name."""
    options = _parse(arguments)
    with serving() as url:
        bench = _bench(options, url)
        about = machine.describe(bench)
        tables = [table for name in options.sections for table in SECTIONS[name](bench)]
        about.insert(2, f"When it ended: {machine.load()}.")
    page = "\n\n".join(["\n".join(f"* {line}" for line in about), *(t.markdown() for t in tables)])
    print(page)
    if options.json:
        data = {"about": about, **{table.title: table.data for table in tables}}
        Path(options.json).write_text(json.dumps(data, indent=1), encoding="utf-8")
    if options.write:
        write_into(Path(options.write), page)


def write_into(path: Path, page: str) -> None:
    """Replace the figures in a page, between two comments."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise SystemExit(f"{path} has no place for the figures: {_BEGIN.strip()} … {_END.strip()}")
    path.write_text(f"{before}{_BEGIN}\n{page}\n\n{_END}{after}", encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument(
        "--quick", action="store_true", help="use tiny turns, to check that the sections run"
    )
    parser.add_argument("--rounds", type=int, help="processes per figure (3; quick: 1)")
    parser.add_argument(
        "--no-peers", action="store_true", help="measure this client and the drain only"
    )
    parser.add_argument("--bun", metavar="FILE", help="the bun that runs the TypeScript client")
    parser.add_argument("--modules", metavar="DIR", help="the node_modules with @oh-my-pi")
    parser.add_argument("--json", metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--write", metavar="FILE", help="also write the figures into this page")
    options = parser.parse_args(arguments)
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    options.sections = options.sections or list(SECTIONS)
    return options


def _bench(options: argparse.Namespace, url: str) -> Bench:
    peers = not options.no_peers
    return Bench(
        url,
        rounds=options.rounds or (1 if options.quick else 3),
        quick=options.quick,
        packages=find_packages(PEERS) if peers else frozenset(),
        typescript=find_typescript(options.bun, options.modules) if peers else None,
    )


if __name__ == "__main__":
    main()
