"""The latency from the write of the peer to the `for` body of the caller.

Each delta is the time at which it was written.
"""

from __future__ import annotations

import re
import socket
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from .harness import Bench, Table, ask, say, verdict

_ALLOWED = (150.0, 2_000.0)
_HALF = (2_000.0, 10_000.0)  # a client that waits for the rest of the chunk takes 20,000
_STAMP = re.compile(rb'"delta":"(\d+) "')
_NAMES = {"pi_native": "pi_native", "socket": "only reading a socket"}


def measure(bench: Bench) -> list[Table]:
    """Measure with one event per millisecond, and with chunks that arrive in two halves."""
    header = ("wire", "reader", "median, µs", "p99, µs", "asked", "")
    table = Table("Latency", header)
    count, processes = bench.pick(1_000, 30), bench.pick(3, 1) * bench.rounds
    for client in _NAMES:
        say(f"latency: {client}")
        url = bench.wire("stamped", count, "paced-1000")
        runs = [ask("latency", client, url) for _ in range(processes)]
        _add(table, "one event a millisecond", client, runs, _ALLOWED)
    say("latency: half-arrived chunks")
    url = bench.wire("stamped", bench.pick(200, 10), "halves")
    runs = [ask("latency", "pi_native", url)[::2] for _ in range(processes)]
    _add(table, "first event of a half-arrived chunk", "pi_native", runs, _HALF)
    table.notes.append(
        f"{count:,} events in each of {processes} processes; medians of the processes' figures. "
        "The second half of a half-arrived chunk comes 20 ms after the first."
    )
    return [table]


def _add(
    table: Table,
    wire: str,
    client: str,
    runs: Sequence[Sequence[int]],
    allowed: Sequence[float],
) -> None:
    median = statistics.median(map(statistics.median, runs)) / 1e3
    p99 = statistics.median(map(percentile_99, runs)) / 1e3
    ours = client == "pi_native"
    table.data[f"{wire}, {client}"] = {"median_us": median, "p99_us": p99}
    table.rows.append(
        (
            wire,
            _NAMES[client],
            f"{median:.0f}",
            f"{p99:.0f}",
            f"under {allowed[0]:,.0f} and {allowed[1]:,.0f}" if ours else "",
            verdict(median < allowed[0] and p99 < allowed[1]) if ours else "",
        )
    )


def percentile_99(values: Sequence[int]) -> int:
    """Return the 99th percentile."""
    return sorted(values)[int(len(values) * 0.99)]


def job(client: str, url: str) -> list[int]:
    """Return the latencies of the deltas of one turn after a warm-up turn, in nanoseconds."""
    read = {"pi_native": _with_pi_native, "socket": _with_socket}[client]
    read(_warm(url))
    return read(url)


def _warm(url: str) -> str:
    server, wire, _, framing = url.rsplit("/", 3)
    return f"{server}/{wire}/20/{framing}"


def _with_pi_native(url: str) -> list[int]:
    from pi_native import Context, Model, UserMessage, stream_pi_native

    latencies = []
    context = Context([UserMessage("Why is the sky blue?")])
    for event in stream_pi_native(Model("y", "x", base_url=url), context):
        if event.type == "text_delta":
            latencies.append(time.monotonic_ns() - int(event.delta))
    return latencies


def _with_socket(url: str) -> list[int]:
    """Return the same without a client: the share of the machine itself."""
    latencies = []
    for stamp in stamps(received(url)):
        latencies.append(time.monotonic_ns() - stamp)
    return latencies


def stamps(pieces: Iterable[bytes]) -> Iterator[int]:
    """Yield the times at which the deltas of a response were made, in nanoseconds."""
    rest = b""
    for data in pieces:
        rest += data
        end = 0
        for found in _STAMP.finditer(rest):
            yield int(found[1])
            end = found.end()
        rest = rest[end:]


def received(url: str) -> Iterator[bytes]:
    """Yield the bytes that a plain socket receives of a response, up to its last chunk."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 80)) as peer:
        peer.sendall(b"POST %b HTTP/1.1\r\nContent-Length: 0\r\n\r\n" % address.path.encode())
        end = b""
        while not end.endswith(b"\r\n0\r\n\r\n"):
            data = peer.recv(262144)
            if not data:
                return
            end = (end + data)[-16:]
            yield data
