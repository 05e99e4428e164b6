"""Unusual framings: the cost per byte, compared with one chunk per event."""

from __future__ import annotations

import statistics
from typing import Any

from .harness import Bench, Table, ask, say, verdict

_MEGABYTE = 1024 * 1024
_NOISE = 1.1


def measure(bench: Bench) -> list[Table]:
    """Measure each unusual framing, and the same events with one chunk per event, at two sizes."""
    header = ("wire", "odd framing: ns a byte", "one chunk an event: ns a byte", "ratio", "")
    table = Table("Odd framings", header)
    for size in (bench.pick(4, 1), bench.pick(8, 2)):
        name = f"an event of {size} MB in chunks of 1 KB"
        _compare(bench, table, name, "big", size * _MEGABYTE, "pieces")
    for count in (bench.pick(30_000, 300), bench.pick(60_000, 600)):
        _compare(bench, table, f"{count:,} events in one chunk", "same", count, "one")
    table.notes.append(
        "Asked: no slower a byte than one chunk an event (a tenth is left for noise), and linear, "
        "that is, the same for the double. CPU time of the client; medians of the turns of "
        f"{bench.rounds} processes each."
    )
    return [table]


def _compare(bench: Bench, table: Table, name: str, wire: str, count: int, framing: str) -> None:
    say(f"framings: {name}")
    size = ask("clients", "drain", bench.wire(wire, count), "0")["returned"]
    odd: list[Any] = []
    even: list[Any] = []
    for _ in range(bench.rounds):
        odd += _turns(bench, wire, count, framing)
        even += _turns(bench, wire, count, "events")
    a_byte = statistics.median(odd) / size * 1e9
    usual = statistics.median(even) / size * 1e9
    table.data[name] = {"odd_ns": a_byte, "usual_ns": usual}
    met = verdict(a_byte <= usual * _NOISE)
    table.rows.append((name, f"{a_byte:.2f}", f"{usual:.2f}", f"{a_byte / usual:.2f}x", met))


def _turns(bench: Bench, wire: str, count: int, framing: str) -> list[float]:
    url = bench.wire(wire, count, framing)
    seconds: list[float] = ask("clients", "pi_native", url, str(bench.pick(5, 1)))["cpu"]
    return seconds
