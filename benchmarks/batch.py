"""Batches: answers, refusals and time at a rate limit, and turns per second without one.

The peers are thread pools of the same width in which each worker retries by itself: with this
client, and with the openai and anthropic SDKs, all with their default of two retries.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .harness import ROOT, Bench, Table, ask, environment, say, verdict

_TURNS, _RATE, _WORKERS, _TURN_MS = 300, 30, 32, 50
_MOST_SECONDS, _MOST_REFUSED = 1.1, 40
_CONCURRENCIES = (1, 8, 32, 128)
_LEAST_SHARE = 0.9
_PROMPT = [{"role": "user", "content": "Why is the sky blue?"}]
_NAMES = {
    "map": "Client.map",
    "pool": "pi_native in a thread pool",
    "openai": "openai in a thread pool",
    "anthropic": "anthropic in a thread pool",
}


def measure(bench: Bench) -> list[Table]:
    """Measure batches against a server with a rate limit, and without one."""
    with _serving() as url:
        return [_limited(bench, url), _unlimited(bench, url)]


def _limited(bench: Bench, url: str) -> Table:
    turns, rate = bench.pick(_TURNS, 6), _RATE
    ideal = turns / rate
    table = Table(
        f"{turns} turns, {rate} a second allowed, {_WORKERS} workers",
        ("client", "process", "answered", "failed", "refused", "seconds", f"ideal: {ideal:g}"),
    )
    for number, kind in itertools.product(range(bench.rounds), _kinds(bench)):
        say(f"batch: round {number + 1} of {bench.rounds}, {kind}")
        base = f"{url}/{kind}{number}-{rate}-{_TURN_MS}"
        result = ask("batch", kind, base, str(turns), str(_WORKERS))
        table.rows.append(_limited_row(kind, number, turns, ideal, result))
        table.data[f"{kind}, {number + 1}"] = result
    order = [*_NAMES.values()]
    table.rows.sort(key=lambda row: order.index(row[0]))
    table.notes.append(
        f"Asked: all answered, within {_MOST_SECONDS:g} times the ideal time, and at most "
        f"{_MOST_REFUSED} refused. A turn takes {_TURN_MS} ms; a refusal says `Retry-After: "
        "1`. The server is a token bucket that is full at the start."
    )
    return table


def _limited_row(
    kind: str, number: int, turns: int, ideal: float, result: dict[str, Any]
) -> tuple[str, ...]:
    met = (
        result["answered"] == turns
        and result["seconds"] <= _MOST_SECONDS * ideal
        and result["refused"] <= _MOST_REFUSED
    )
    return (
        _NAMES[kind],
        str(number + 1),
        str(result["answered"]),
        str(result["failed"]),
        str(result["refused"]),
        f"{result['seconds']:.1f}",
        verdict(met) if kind == "map" else "",
    )


def _unlimited(bench: Bench, url: str) -> Table:
    turn_ms, rounds = bench.pick(1000, 10), bench.pick(4, 1)
    table = Table(
        f"Turns of {turn_ms / 1000:g} s without a limit, {rounds} rounds of them",
        ("concurrency", "process", "turns per second", "ideal", "share", ""),
    )
    for number, concurrency in itertools.product(range(bench.rounds), _CONCURRENCIES):
        say(f"batch: round {number + 1} of {bench.rounds}, concurrency {concurrency}")
        base = f"{url}/free{number}x{concurrency}-0-{turn_ms}"
        result = ask("batch", "map", base, str(rounds * concurrency), str(concurrency))
        rate = result["answered"] / result["seconds"]
        share = rate / (concurrency / turn_ms * 1000)
        table.rows.append(
            (
                str(concurrency),
                str(number + 1),
                f"{rate:.2f}",
                f"{concurrency / turn_ms * 1000:g}",
                f"{share:.0%}",
                verdict(share >= _LEAST_SHARE) if concurrency == 32 else "",
            )
        )
        table.data[f"{concurrency}, {number + 1}"] = result
    table.rows.sort(key=lambda row: int(row[0]))
    table.notes.append(f"Asked: at least {_LEAST_SHARE:.0%} of the ideal at 32.")
    return table


def _kinds(bench: Bench) -> list[str]:
    return ["map", "pool", *(name for name in ("openai", "anthropic") if name in bench.packages)]


@contextlib.contextmanager
def _serving() -> Iterator[str]:
    """Run the limited server in a process of its own; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.limited_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(10)


def _with_map(base: str, turns: int, workers: int) -> int:
    from pi_native import Client

    with Client(f"{base}/text/5/one") as client:
        prompts = ("Why is the sky blue?" for _ in range(turns))
        batch = client.map("x/y", prompts, concurrency=workers, on_error="keep")
        return sum(result.error is None for result in batch)


def _with_pool(base: str, turns: int, workers: int) -> int:
    from pi_native import Client

    with Client(f"{base}/text/5/one") as client:
        return _in_threads(lambda: client.complete("x/y", "Why is the sky blue?"), turns, workers)


def _with_openai(base: str, turns: int, workers: int) -> int:
    client = importlib.import_module("openai").OpenAI(base_url=f"{base}/openai/5/one", api_key="x")

    def turn() -> None:
        for _ in client.chat.completions.create(model="y", messages=_PROMPT, stream=True):
            pass

    return _in_threads(turn, turns, workers)


def _with_anthropic(base: str, turns: int, workers: int) -> int:
    sdk = importlib.import_module("anthropic")
    client = sdk.Anthropic(base_url=f"{base}/anthropic/5/one", api_key="x")

    def turn() -> None:
        with client.messages.stream(model="y", max_tokens=9, messages=_PROMPT) as stream:
            stream.get_final_message()

    return _in_threads(turn, turns, workers)


def _in_threads(turn: Callable[[], object], turns: int, workers: int) -> int:
    """Make turns in a plain thread pool; return how many were answered."""

    def attempt(_: int) -> bool:
        try:
            turn()
        except Exception:  # noqa: BLE001 - what each SDK raises after its retries
            return False
        return True

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(attempt, range(turns)))


_WAYS = {
    "map": _with_map,
    "pool": _with_pool,
    "openai": _with_openai,
    "anthropic": _with_anthropic,
}


def job(kind: str, base: str, turns: str, workers: str) -> dict[str, Any]:
    """Make so many turns; return the answered, failed and refused ones, and the seconds."""
    importlib.import_module(kind if kind in ("openai", "anthropic") else "pi_native._batch.calls")
    started = time.perf_counter()
    answered = _WAYS[kind](base, int(turns), int(workers))
    seconds = time.perf_counter() - started
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{base}/counts", timeout=10) as response:
        counts = json.load(response)
    return {
        "answered": answered,
        "failed": int(turns) - answered,
        "refused": counts["refused"],
        "seconds": seconds,
    }
