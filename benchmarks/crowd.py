"""Many concurrent streams in one process: CPU per event, and lag."""

from __future__ import annotations

import itertools
import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .harness import Bench, Table, ask, say, verdict
from .latency import percentile_99, received, stamps

_STREAMS = 200
_SECONDS = 10
_EVENTS_A_SECOND = 50
_ALLOWED_US = 60.0
_NAMES = {
    "pi_native": "pi_native",
    "queue": "only threads and queues",
    "socket": "only threads",
}


def measure(bench: Bench) -> list[Table]:
    """Measure all streams in one client process."""
    streams, count = bench.pick(_STREAMS, 5), bench.pick(_SECONDS * _EVENTS_A_SECOND, 10)
    period_us = 1_000_000 // _EVENTS_A_SECOND
    url = bench.wire("stamped", count, f"paced-{period_us}")
    header = (
        "reader",
        "process",
        "CPU an event, µs",
        "lag: median, ms",
        "p99, ms",
        "most, ms",
        "behind",
        "",
        "",
    )
    table = Table(f"{streams} streams at once, {_EVENTS_A_SECOND} events a second each", header)
    for number, reader in itertools.product(range(bench.rounds), _NAMES):
        say(f"crowd: round {number + 1} of {bench.rounds}, {reader}")
        result = ask("crowd", reader, url, str(streams), str(period_us))
        if result["events"] != streams * count:
            raise RuntimeError(f"{result['events']} of {streams * count} events arrived")
        table.rows.append(_row(reader, number, result))
        table.data[f"{reader}, {number + 1}"] = result
    order = [*_NAMES.values()]
    table.rows.sort(key=lambda row: order.index(row[0]))
    table.notes.append(
        f"Asked: under {_ALLOWED_US:g} µs of CPU an event, and no stream behind. The lag is from "
        "the peer's write to the `for` body. A stream is behind when the median lag of its last "
        "tenth is more than the time between two events. The peer has the same cores. The second "
        "reader has a thread for each stream, too, which receives bytes and puts them into a "
        "`queue.Queue`, and does nothing else: no HTTP, no JSON, no events, no deadlines. In the "
        "third, the thread that reads a stream receives its bytes itself, without any queue."
    )
    return [table]


def _row(reader: str, number: int, result: Any) -> tuple[str, ...]:
    ours = reader == "pi_native"
    return (
        _NAMES[reader],
        str(number + 1),
        f"{result['cpu_us']:.1f}",
        f"{result['median_ms']:.2f}",
        f"{result['p99_ms']:.1f}",
        f"{result['most_ms']:.1f}",
        str(result["behind"]),
        verdict(result["cpu_us"] < _ALLOWED_US) if ours else "",
        verdict(not result["behind"]) if ours else "",
    )


def _with_pi_native(url: str) -> Iterator[int]:
    """Yield the time at which each delta was made, when its event is read."""
    from pi_native import Context, Model, UserMessage, stream_pi_native

    context = Context([UserMessage("Why is the sky blue?")])
    for event in stream_pi_native(Model("y", "x", base_url=url), context):
        if event.type == "text_delta":
            yield int(event.delta)


def _with_a_queue(url: str) -> Iterator[int]:
    """Yield the same without a client: only threads and queues."""
    waiting: queue.Queue[bytes] = queue.Queue()

    def receive() -> None:
        for data in received(url):
            waiting.put(data)
        waiting.put(b"")

    threading.Thread(target=receive).start()
    yield from stamps(iter(waiting.get, b""))


def _with_a_socket(url: str) -> Iterator[int]:
    """Yield the same without a queue: the reading thread receives."""
    return stamps(received(url))


_READERS = {"pi_native": _with_pi_native, "queue": _with_a_queue, "socket": _with_a_socket}


@dataclass
class _Streams:
    """The lags that the readers of the streams recorded."""

    read: Callable[[str], Iterator[int]]
    url: str
    started: threading.Barrier
    lags: list[list[int]] = field(default_factory=list)

    def read_one(self) -> None:
        """Read a stream to its end; pass the barrier when every stream has started."""
        lags: list[int] = []
        self.lags.append(lags)
        for stamp in self.read(self.url):
            lags.append(time.monotonic_ns() - stamp)
            if len(lags) == 1:
                self.started.wait()


def job(reader: str, url: str, streams: str, period_us: str) -> dict[str, float]:
    """Read the streams concurrently; count CPU from when all have started until all have ended."""
    count = int(streams)
    marks: list[float] = []
    started = threading.Barrier(count, lambda: marks.append(time.process_time()))
    state = _Streams(_READERS[reader], url, started)
    readers = [threading.Thread(target=state.read_one) for _ in range(count)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    used = time.process_time() - marks[0]
    every = [lag for lags in state.lags for lag in lags]
    allowed = int(period_us) * 1_000
    return {
        "events": len(every),
        "cpu_us": used / len(every) * 1e6,
        "median_ms": statistics.median(every) / 1e6,
        "p99_ms": percentile_99(every) / 1e6,
        "most_ms": max(every) / 1e6,
        "behind": sum(_at_the_end(lags) > allowed for lags in state.lags),
    }


def _at_the_end(lags: list[int]) -> float:
    return statistics.median(lags[-max(1, len(lags) // 10) :])
