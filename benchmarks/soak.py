"""Many turns of all kinds, for minutes: each turn ends, and all resources are released.

    python -m benchmarks.soak [--seconds 600] [--threads 32]

At the end there must be as many threads and descriptors as before, hardly more memory than when
the run was warm, no connection open at the gateway, and an outcome for every turn, the one that its
kind has to have. Exits with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pi_native import Client

from .soak_turns import KINDS, LONGEST, Kind, Ledger

ROOT = Path(__file__).parent.parent
MAX_GROWTH_MIB = 16.0  # from the end of the warm-up to the end of the run
_TURNS_A_CLIENT = 50
_SETTLE_SECONDS = 10.0
_WARM_SHARE, _WARM_SECONDS = 0.2, 60.0
_SAMPLE_SECONDS = 1.0
_SHOWN_PROBLEMS = 20
_PACKAGES = ("pi-native", "requests", "urllib3", "sseclient-py", "attrs", "cattrs")
_DESCRIPTORS = Path("/proc/self/fd")
_STATM = Path("/proc/self/statm")


@dataclass
class Run:
    """The counts and samples of a run."""

    threads: int
    seconds: float
    ledger: Ledger = field(default_factory=Ledger)
    rss: list[float] = field(default_factory=list)  # MiB, one sample per second
    warm_rss: float | None = None
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)


@contextmanager
def gateway() -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
    """Start a gateway in a new process; yield its address, its key, and a function to stop it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.soak_gateway"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin, process.stdout:
        url, key = process.stdout.readline().split()

        def end() -> dict[str, Any]:
            return dict(json.loads(process.communicate(timeout=60)[0]))

        yield url, key, end


def soak(seconds: float, threads: int, kinds: tuple[Kind, ...]) -> Run:
    """Make turns for that many seconds in that many threads."""
    run = Run(threads, seconds)
    warnings.filterwarnings("ignore", "a stream was dropped", ResourceWarning)
    with gateway() as (url, key, end):
        with Client(url, key) as client:
            client.complete("soak/whole", "hi")
        before = _now()
        _make_turns(run, url, key, kinds)
        _compare(run, before)
        run.seen = end()
    if run.seen["open"]:
        run.ledger.complain(f"{run.seen['open']} connections are still open at the gateway")
    return run


def _make_turns(run: Run, url: str, key: str, kinds: tuple[Kind, ...]) -> None:
    """Start the threads: half share a client, the others make one each and replace it at times."""
    began = time.monotonic()
    deadline = began + run.seconds
    with Client(url, key) as shared:
        workers = [
            threading.Thread(
                target=_Caller(run.ledger, kinds, number, url, key, shared if number % 2 else None),
                args=(deadline,),
                name=f"soak-{number}",
                daemon=True,
            )
            for number in range(run.threads)
        ]
        for worker in workers:
            worker.start()
        _watch(run, began, deadline)
        for worker in workers:
            worker.join(2 * LONGEST)
            if worker.is_alive():
                run.ledger.complain("a turn never ended")


@dataclass
class _Caller:
    """Thread that makes one turn after the other."""

    ledger: Ledger
    kinds: tuple[Kind, ...]
    number: int
    url: str
    key: str
    shared: Client | None

    def __call__(self, deadline: float) -> None:
        """Make turns until the given time."""
        chance = random.Random(self.number)
        weights = [kind.weight for kind in self.kinds]
        while time.monotonic() < deadline:
            client = self.shared or Client(self.url, self.key)
            for turn in range(_TURNS_A_CLIENT):
                if time.monotonic() >= deadline:
                    break
                kind = chance.choices(self.kinds, weights)[0]
                kind.run(client, f"turn {turn} of thread {self.number}", self.ledger)
            if client is not self.shared:
                client.close()


def _watch(run: Run, began: float, deadline: float) -> None:
    """Sample the memory until the given time."""
    warm_at = began + min(run.seconds * _WARM_SHARE, _WARM_SECONDS)
    while (now := time.monotonic()) < deadline:
        memory = _rss()
        if memory is not None:
            run.rss.append(memory)
            if run.warm_rss is None and now >= warm_at:
                run.warm_rss = memory
        time.sleep(min(_SAMPLE_SECONDS, run.seconds / 20, max(0.0, deadline - now)))


def _now() -> dict[str, int]:
    counts = {"threads": threading.active_count()}
    if _DESCRIPTORS.exists():
        counts["descriptors"] = len(os.listdir(_DESCRIPTORS))
    return counts


def _rss() -> float | None:
    """Return the resident memory of the process in MiB, or None without /proc."""
    if not _STATM.exists():
        return None
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _compare(run: Run, before: dict[str, int]) -> None:
    """Compare threads, descriptors and memory with those before the run; record each difference."""
    gc.collect()
    deadline = time.monotonic() + _SETTLE_SECONDS
    while (after := _now()) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    for what, count in before.items():
        run.rows.append((what, str(count), str(after[what])))
        if after[what] != count:
            run.ledger.complain(f"{after[what]} {what} instead of {count}")
    memory = _rss()
    if memory is not None and run.warm_rss is not None:
        run.rows.append(("memory, MiB", f"{run.warm_rss:.1f} (warm)", f"{memory:.1f}"))
        if memory - run.warm_rss > MAX_GROWTH_MIB:
            grown = memory - run.warm_rss
            run.ledger.complain(f"memory grew by {grown:.1f} MiB, not {MAX_GROWTH_MIB:g} at most")


def report(run: Run) -> str:
    """Return the report as Markdown."""
    ledger = run.ledger
    sent, seen = sum(ledger.requests.values()), sum(run.seen["requests"].values())
    lines = [
        _about(),
        "",
        f"{ledger.turns:,} turns in {run.seconds:g} s, {run.threads} at a time; "
        f"{sent:,} requests asked for, {seen:,} seen by the gateway.",
        "",
        "| turns that are | turns | ended as | slowest, s |",
        "| --- | ---: | --- | ---: |",
        *(_row(ledger, name) for name in sorted(ledger.outcomes)),
        "",
        "| | before | after |",
        "| --- | ---: | ---: |",
        *(f"| {' | '.join(row)} |" for row in run.rows),
        "",
    ]
    if run.rss:
        lines += [f"Memory was {min(run.rss):.1f} to {max(run.rss):.1f} MiB.", ""]
    problems = ledger.problems
    lines += [f"Promises broken: {len(problems) or 'none'}."]
    lines += [f"* {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
    return "\n".join(lines)


def _about() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores, {platform.system()}; {python}; {versions}."


def _row(ledger: Ledger, name: str) -> str:
    outcomes = ledger.outcomes[name]
    ended = ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common())
    return f"| {name} | {outcomes.total():,} | {ended} | {ledger.slowest[name]:.2f} |"


def main(arguments: list[str] | None = None) -> int:
    """Run and print a soak; return 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--threads", type=int, default=32)
    options = parser.parse_args(arguments)
    run = soak(options.seconds, options.threads, KINDS)
    print(report(run))
    return 1 if run.ledger.problems else 0


if __name__ == "__main__":
    sys.exit(main())
