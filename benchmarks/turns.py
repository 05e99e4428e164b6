"""CPU time of a turn, in this client and in others, and its growth with the length."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .harness import Bench, Table, ask, say, turn_name, verdict

_WARM_DELTAS = 50


@dataclass(frozen=True)
class Target:
    """Target for the CPU time, relative to another client."""

    times_less: float = 0.0  # that many times less than the other client
    at_most: float = 0.0  # or at most that many times the other client

    def text(self) -> str:
        """Return the target in words."""
        if self.times_less:
            return f"{self.times_less:g}x less"
        return f"at most {self.at_most:g}x" if self.at_most else ""

    def judge(self, ours: float, other: float) -> str:
        """Return whether the target is met; empty without a target."""
        if self.times_less:
            return verdict(other >= self.times_less * ours)
        return verdict(ours <= self.at_most * other) if self.at_most else ""


_NONE = Target()
_OPENAI, _ANTHROPIC = Target(times_less=5), Target(times_less=2)


@dataclass(frozen=True, eq=False)
class Case:
    """One kind and length of turn, and its targets."""

    wire: str
    count: int
    turns: int
    typescript_turns: int
    targets: dict[str, Target]

    @property
    def name(self) -> str:
        """Description of the turn."""
        return turn_name(self.wire, self.count)

    def wire_of(self, client: str) -> str:
        """Return the wire on which a client reads as many deltas."""
        return client if client in ("openai", "anthropic") else self.wire


def _text(count: int, turns: int, typescript_turns: int, less: float, drain: float) -> Case:
    targets = {
        "typescript": Target(times_less=less),
        "openai": _OPENAI,
        "anthropic": _ANTHROPIC,
        "drain": Target(at_most=drain),
    }
    return Case("text", count, turns, typescript_turns, targets)


CASES = (
    _text(500, 11, 3, 1.5, 5),
    _text(2_000, 7, 3, 3, 3.5),
    _text(8_000, 5, 1, 5, 3.5),
    Case("tool", 3_000, 5, 1, {"drain": Target(at_most=4)}),
    Case("tool-by-fives", 3_000, 3, 1, {}),
    Case("text-at-once", 2_000, 3, 1, {}),
)
QUICK_CASES = (_text(60, 1, 1, 1.5, 5), Case("tool", 30, 1, 1, {"drain": Target(at_most=4)}))
_NAMES = {
    "pi_native": "pi_native",
    "typescript": "TypeScript under Bun",
    "openai": "openai SDK",
    "anthropic": "anthropic SDK",
    "plain": "sseclient + json.loads",
    "drain": "only draining",
}


@dataclass
class Figure:
    """The cost of the turns of one client, in seconds."""

    cpu: float
    lowest: float  # of the medians of the processes
    highest: float
    wall: float
    returned: int  # deltas; bytes for the drain

    def data(self) -> dict[str, float]:
        """Return the figures for JSON."""
        return dict(vars(self))


def measure(bench: Bench) -> list[Table]:
    """Measure all clients on all cases, one process after the other."""
    cases = QUICK_CASES if bench.quick else CASES
    figures = {case: _measure_case(bench, case) for case in cases}
    return [_costs(figures), _growth(figures)]


_Figures = dict[Case, dict[str, Figure]]


def _measure_case(bench: Bench, case: Case) -> dict[str, Figure]:
    names = [name for name in _NAMES if _is_measured(bench, case, name)]
    answers: dict[str, list[Any]] = {name: [] for name in names}
    for number in range(bench.rounds):
        for name in names:  # interleaved, so that a busy moment affects all clients
            say(f"turns: {case.name}, round {number + 1} of {bench.rounds}, {name}")
            answers[name].append(_run(bench, case, name))
    return {name: _figure(case, name, results) for name, results in answers.items()}


def _is_measured(bench: Bench, case: Case, name: str) -> bool:
    if name == "typescript":
        return bench.typescript is not None
    if name in ("openai", "anthropic"):
        return name in bench.packages and case.wire == "text"
    return True


def _run(bench: Bench, case: Case, name: str) -> Any:
    url = bench.wire(case.wire_of(name), case.count)
    if name == "typescript":
        assert bench.typescript is not None
        warm = bench.wire(case.wire, _WARM_DELTAS)
        return bench.typescript.job(warm, url, str(case.typescript_turns))
    return ask("clients", name, url, str(case.turns))


def _figure(case: Case, name: str, results: Sequence[Any]) -> Figure:
    returned = results[0]["returned"]
    if name != "drain" and any(result["returned"] != case.count for result in results):
        raise RuntimeError(f"{name} read {returned} of {case.count} deltas")
    medians = [statistics.median(result["cpu"]) for result in results]
    return Figure(
        cpu=_median_of(results, "cpu"),
        lowest=min(medians),
        highest=max(medians),
        wall=_median_of(results, "wall"),
        returned=returned,
    )


def _median_of(results: Sequence[Any], name: str) -> float:
    seconds: list[float] = [each for result in results for each in result[name]]
    return statistics.median(seconds)


def _costs(figures: _Figures) -> Table:
    header = ("turn", "client", "CPU, ms", "from, to", "wall, ms", "against ours", "asked", "")
    table = Table("CPU time of a turn", header)
    for case, measured in figures.items():
        for name, figure in measured.items():
            table.rows.append(_cost_row(case, name, figure, measured["pi_native"]))
        table.data[case.name] = {name: figure.data() for name, figure in measured.items()}
    table.notes.append(
        "CPU is user and system time of the client's process, the median of all turns; from, to: "
        "the lowest and the highest median of a single process. Against ours: the client's CPU "
        "through that of pi_native; for the drain the other way round. The wall time is the peer's "
        "as well, which writes as fast as the client reads."
    )
    return table


def _cost_row(case: Case, name: str, figure: Figure, ours: Figure) -> Sequence[str]:
    target = case.targets.get(name, _NONE)
    ratio = ours.cpu / figure.cpu if name == "drain" else figure.cpu / ours.cpu
    return (
        case.name,
        _NAMES[name],
        _ms(figure.cpu),
        f"{_ms(figure.lowest)} to {_ms(figure.highest)}",
        _ms(figure.wall),
        "" if name == "pi_native" else f"{ratio:.2f}x",
        target.text(),
        target.judge(ours.cpu, figure.cpu),
    )


def _growth(figures: _Figures) -> Table:
    header = ("turn", "MB", "pi_native: µs a delta", "ns a byte", "beyond the drain: µs a delta")
    table = Table("How it grows with the length of the turn", header)
    for case, measured in figures.items():
        ours, drain, count = measured["pi_native"], measured["drain"], case.count
        table.rows.append(
            (
                case.name,
                f"{drain.returned / 1e6:.1f}",
                f"{ours.cpu / count * 1e6:.1f}",
                f"{ours.cpu / drain.returned * 1e9:.2f}",
                f"{(ours.cpu - drain.cpu) / count * 1e6:.1f}",
            )
        )
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
