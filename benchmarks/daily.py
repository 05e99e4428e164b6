"""Everyday use: the first answer of a process, short turns, and answers at a model's pace."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .clients import CLIENTS
from .harness import Bench, Table, ask, say
from .turns import Target

_NAMES = {"pi_native": "pi_native", "openai": "openai SDK", "anthropic": "anthropic SDK"}
_PACE = "paced-2000"  # microseconds between two events


@dataclass(frozen=True)
class Case:
    """One kind of use. `less` has the targets for the openai and the anthropic SDK."""

    name: str
    turns: int
    deltas: int
    less: tuple[float, float]
    threads: int = 1
    framing: str = "events"
    warm: bool = True

    def target(self, client: str) -> Target:
        """Return the target for the CPU of pi_native against a client."""
        return Target(times_less={"openai": self.less[0], "anthropic": self.less[1]}.get(client, 0))


CASES = (
    Case("the first answer of a process", 1, 20, (3.3, 6.9), warm=False),
    Case("200 turns of 20 deltas, in a row", 200, 20, (2.3, 1.7)),
    Case("200 turns of 20 deltas, in 16 threads", 200, 20, (2.3, 1.7), threads=16),
    Case("500 deltas, 2 ms apart", 1, 500, (1.9, 1.5), framing=_PACE),
    Case("500 deltas, 2 ms apart, in 20 threads", 20, 500, (1.9, 1.5), threads=20, framing=_PACE),
)


def measure(bench: Bench) -> list[Table]:
    """Measure each case with each installed client, in alternation."""
    header = (
        "use",
        "client",
        "CPU a turn, ms",
        "from, to",
        "wall, ms",
        "against ours",
        "asked",
        "",
    )
    table = Table("Everyday use", header)
    names = [name for name in _NAMES if name == "pi_native" or name in bench.packages]
    for case in CASES:
        results: dict[str, list[Any]] = {name: [] for name in names}
        for number in range(bench.rounds):
            for name in names:
                say(f"daily: {case.name}, round {number + 1} of {bench.rounds}, {name}")
                results[name].append(_run(bench, case, name))
        _add_rows(table, case, results)
    table.notes.append(
        "CPU is user and system time of the client's process, divided by the number of turns; for "
        "the first answer it includes the imports. The median of the processes; from, to: the "
        "lowest and the highest. Wall is the time of all turns together."
    )
    return [table]


def _run(bench: Bench, case: Case, name: str) -> Any:
    deltas, turns = bench.pick(case.deltas, 3), bench.pick(case.turns, case.threads)
    wire = "text" if name == "pi_native" else name
    url = bench.wire(wire, deltas, case.framing)
    result = ask("daily", name, url, str(turns), str(case.threads), str(int(case.warm)))
    if result["deltas"] != turns * deltas:
        raise RuntimeError(f"{name} read {result['deltas']} of {turns * deltas} deltas")
    return result


def _add_rows(table: Table, case: Case, results: dict[str, list[Any]]) -> None:
    cpu = {name: [each["cpu"] for each in found] for name, found in results.items()}
    ours = statistics.median(cpu["pi_native"])
    for name, seconds in cpu.items():
        median = statistics.median(seconds)
        target = case.target(name)
        table.rows.append(
            (
                case.name,
                _NAMES[name],
                f"{median * 1e3:.1f}",
                f"{min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f}",
                f"{statistics.median(each['wall'] for each in results[name]) * 1e3:.0f}",
                "" if name == "pi_native" else f"{median / ours:.2f}x",
                target.text(),
                target.judge(ours, median),
            )
        )
    table.data[case.name] = results


def job(client: str, url: str, turns: str, threads: str, warm: str) -> dict[str, float]:
    """Make turns in threads; return the CPU seconds per turn, the wall seconds and the deltas."""
    cpu, wall = time.process_time(), time.perf_counter()
    turn = CLIENTS[client](url)
    if int(warm):
        turn()
        cpu, wall = time.process_time(), time.perf_counter()
    deltas = _make_turns(turn, int(turns), int(threads))
    return {
        "cpu": (time.process_time() - cpu) / int(turns),
        "wall": time.perf_counter() - wall,
        "deltas": deltas,
    }


def _make_turns(turn: Callable[[], int], turns: int, threads: int) -> int:
    """Make the turns, divided among the threads; return the number of their deltas."""
    if threads == 1:
        return sum(turn() for _ in range(turns))
    left = iter(range(turns))
    lock = threading.Lock()
    counts: list[int] = []

    def work() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            counts.append(turn())

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts)
