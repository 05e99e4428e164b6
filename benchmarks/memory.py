"""The growth of the peak resident memory of a warm process by one turn."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import wires
from .harness import Bench, Table, ask, say, turn_name, verdict

if TYPE_CHECKING:
    from pi_native import AssistantMessageEventStream, Context, Model

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_WARM_DELTAS = 500
_ALLOWED_MB = 8.0
# Wires, with their number of deltas, and that of a quick run.
_ASKED = (("text", 8_000, 60), ("text", 20_000, 70), ("tool", 3_000, 30))
_NOT_ASKED = (("tool-by-fives", 3_000, 30), ("text-at-once", 2_000, 30))
_MODES = {
    "iterate": "iterating",
    "result": "`result()` alone",
    "later": "… then iterating, every snapshot checked",
    "complete": "`complete()`",
}


def measure(bench: Bench) -> list[Table]:
    """Measure each kind of turn with each way of reading it."""
    table = Table(
        "Peak of the memory, over the warm process", ("turn", "read by", "MB", "asked", "")
    )
    if not (_STATUS.exists() and _CLEAR.exists()):
        table.notes.append("Left out: there is no /proc here that tells and resets the peak.")
        return [table]
    for wire, full, quick in _ASKED:
        modes = ("iterate", "result", "complete")
        grown = _measure_turn(bench, wire, bench.pick(full, quick), modes)
        _add(table, turn_name(wire, bench.pick(full, quick)), grown, asked=True)
    for wire, full, quick in _NOT_ASKED:
        grown = _measure_turn(bench, wire, bench.pick(full, quick), ("result",))
        _add(table, turn_name(wire, bench.pick(full, quick)), grown, asked=False)
    _measure_typescript(bench, table)
    table.notes.append(
        f"The highest of {bench.rounds} processes. Every snapshot checked: each event equals what "
        "was sent, its own snapshot included; that is asked for and compared as JSON. By fives: "
        "the provider delivers five deltas together, so that snapshots run ahead of their events. "
        "At once: all were there before the first was sent on, so that each snapshot holds all."
    )
    return [table]


def _measure_turn(bench: Bench, wire: str, count: int, modes: Sequence[str]) -> dict[str, float]:
    """Return the growth of the peak in MB, for each way of reading."""
    grown: dict[str, float] = {}
    for _ in range(bench.rounds):
        for mode in modes:
            say(f"memory: {turn_name(wire, count)}, {mode}")
            result = ask("memory", mode, bench.url, wire, str(count))
            for key, kilobytes in result.items():
                grown[key] = max(grown.get(key, 0.0), kilobytes / 1024)
    return grown


def _add(table: Table, name: str, grown: dict[str, float], *, asked: bool) -> None:
    table.data[name] = grown
    for mode, words in _MODES.items():
        if mode in grown:
            judged = asked and mode != "later"
            target = f"at most {_ALLOWED_MB:g}" if judged else ""
            met = verdict(grown[mode] <= _ALLOWED_MB) if judged else ""
            table.rows.append((name, words, f"{grown[mode]:.1f}", target, met))


def _measure_typescript(bench: Bench, table: Table) -> None:
    if bench.typescript is None:
        return
    count = bench.pick(8_000, 60)
    say("memory: TypeScript")
    url, warm = bench.wire("text", count), bench.wire("text", _WARM_DELTAS)
    grown = bench.typescript.job(warm, url, "1")["grown"] / 1024
    table.data["typescript"] = grown
    row = (turn_name("text", count), "the TypeScript client, iterating", f"{grown:.1f}", "", "")
    table.rows.append(row)


def job(mode: str, server: str, wire: str, count: str) -> dict[str, int]:
    """Make one turn in this process; return the growth of its peak memory in KB."""
    from pi_native import Context, Model, UserMessage, stream_pi_native

    context = Context([UserMessage("Why is the sky blue?")])
    warm = Model("y", "x", base_url=f"{server}/{wire}/{_WARM_DELTAS}/events")
    for _ in stream_pi_native(warm, context):
        pass
    gc.collect()
    before = _reset_peak()
    if mode == "complete":
        _complete(f"{server}/{wire}/{count}/events")
        return {mode: _peak() - before}
    model = Model("y", "x", base_url=f"{server}/{wire}/{count}/events")
    return _stream_and_read(mode, model, context, wire, int(count), before)


def _stream_and_read(
    mode: str, model: Model, context: Context, wire: str, count: int, before: int
) -> dict[str, int]:
    from pi_native import stream_pi_native

    stream = stream_pi_native(model, context)
    if mode == "iterate":
        for _ in stream:
            pass
        stream.result()
        return {mode: _peak() - before}
    stream.result()
    peak = _peak()
    _check_events(stream, wire, count)
    return {mode: peak - before, "later": _peak() - before}


def _complete(url: str) -> None:
    from pi_native import Client

    with Client(url, "key") as client:
        client.complete("x/y", "Why is the sky blue?")


def _check_events(stream: AssistantMessageEventStream, wire: str, count: int) -> None:
    """Raise unless the events of the stream are those of the wire, with their snapshots."""
    from pi_native import to_wire

    sent = (event for event in wires.WIRES[wire](count) if event != wires.DONE)
    for number, (event, expected) in enumerate(zip(stream, sent, strict=True)):
        if to_wire(event) != _parsed(expected):
            raise RuntimeError(f"event {number} is not what was sent")


def _parsed(event: bytes) -> Any:
    return json.loads(event.removeprefix(b"data: "))


def _reset_peak() -> int:
    """Reset the peak; return the current memory in KB."""
    _CLEAR.write_text(_RESET_PEAK)
    return _kilobytes("VmRSS")


def _peak() -> int:
    return _kilobytes("VmHWM")


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/self/status has no {name}")
    return int(found[1])
