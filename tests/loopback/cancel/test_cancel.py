"""A turn can be cancelled in every phase, in every way, with and without TLS.

Each case waits until the turn is blocked in its phase, and cancels. Then the caller is released at
once, the cancelling thread does not block, the peer sees the close, and the worker thread ends.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from pi_native import (
    AbortController,
    AbortError,
    AssistantMessage,
    AssistantMessageEventStream,
    Client,
    ErrorEvent,
)
from pi_native._http.connection import SocketHandle

from ...conftest import sockets, threads, wait_until
from ..calls import KEY, start, workers
from ..peer import CHUNKED, UNTIL_CLOSE, Connection, FullBacklog, Peer, answers, chunk

EVENT = (
    b'data: {"type":"text_delta","contentIndex":0,"delta":"Hi","partial":{"role":"assistant"}}\n\n'
)
ERROR = b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{"
STREAMING = ("first_event", "in_event", "between", "in_event_unchunked", "between_unchunked")
MEANS = ("controller", "event", "abort", "close", "with", "ctrl_c", "drop")
FREE_WITHIN = {"event": 0.1}
# A busy machine is late once; a client that polls or waits for a lock is late every time.
TRIES = 5


SCRIPTS: dict[str, Callable[[Connection], object]] = {
    "headers": answers(),
    "error_body": answers(ERROR),
    "first_event": answers(CHUNKED),
    "in_event": answers(CHUNKED, chunk(EVENT + EVENT[:20])),
    "between": answers(CHUNKED, chunk(EVENT)),
    "in_event_unchunked": answers(UNTIL_CLOSE, EVENT + EVENT[:20]),
    "between_unchunked": answers(UNTIL_CLOSE, EVENT),
}


@dataclass
class Case:
    """A turn that is blocked in a phase: its peer, the sign that it is blocked, and its outcome."""

    url: str
    is_stuck: Callable[[AssistantMessageEventStream], object]
    peer_saw_the_end: Callable[[], object]


@contextlib.contextmanager
def stuck_in(phase: str, tls: ssl.SSLContext | None) -> Iterator[Case]:
    """Return a peer that lets a turn reach the phase, and no later one."""
    if phase == "connect":
        with FullBacklog() as backlog:
            yield Case(backlog.url, lambda _: backlog.has_caller(), lambda: True)
        return
    reached = threading.Event()

    def script(connection: Connection) -> None:
        SCRIPTS[phase](connection)
        reached.set()

    if phase == "tls":
        with Peer(lambda connection: (connection.sock.recv(1), reached.set())) as peer:
            url = peer.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
            yield Case(url, lambda _: reached.is_set(), peer.closed.is_set)
        return
    with Peer(script, tls) as peer:
        yield Case(peer.url, lambda s: reached.is_set() and _arrived(phase, s), peer.closed.is_set)


def _arrived(phase: str, stream: AssistantMessageEventStream) -> bool:
    if phase == "headers":
        return True
    if phase in ("error_body", "first_event"):
        return stream.response is not None
    return stream.partial is not None


@dataclass
class Reader:
    """A thread that is blocked in a stream, and records when and how it is released."""

    stream: AssistantMessageEventStream
    events: list[object] = field(default_factory=list)
    failure: BaseException | None = None
    released_at: float = 0.0

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self.stream:
                self.events.append(event)
        except Exception as exc:  # noqa: BLE001 - checked by the test
            self.failure = exc
        self.released_at = time.monotonic()

    def join(self) -> None:
        """Wait until the thread ends."""
        self._thread.join(10)
        assert not self._thread.is_alive(), "the reader was never released"


def _client(case: Case) -> Client:
    """Return a client with long timeouts, so that only the cancel releases its callers."""
    far = 60.0
    return Client(case.url, KEY, connect_timeout=far, first_event_timeout=far, idle_timeout=far)


def _cancel_from_here(case: Case, means: str) -> tuple[float, object]:
    """Cancel from this thread while another thread is blocked in the stream."""
    controller, event = AbortController(), threading.Event()
    chosen = event if means == "event" else controller.signal
    with _client(case) as client:
        stream = client.stream("x/y", "hi", signal=chosen)
        reader = Reader(stream)
        assert wait_until(lambda: case.is_stuck(stream))
        cancel = {
            "controller": controller.abort,
            "event": event.set,
            "abort": stream.abort,
            "close": stream.close,
        }[means]
        start = time.monotonic()
        cancel()
        assert time.monotonic() - start < 0.5, "the canceller was held up"
        reader.join()
    return reader.released_at - start, reader.failure or reader.events[-1]


def _leave_the_block(case: Case) -> tuple[float, object]:
    """Leave a `with` block early."""
    with _client(case) as client:
        with client.stream("x/y", "hi") as stream:
            assert wait_until(lambda: case.is_stuck(stream))
            start = time.monotonic()
        return time.monotonic() - start, _outcome(stream)


def _interrupt(case: Case) -> tuple[float, object]:
    """Send SIGINT while the main thread is blocked in the stream, within a `with` block."""
    main = threading.get_ident()
    is_stuck: list[bool] = []
    struck_at: list[float] = []

    def strike(stream: AssistantMessageEventStream) -> None:
        is_stuck.append(wait_until(lambda: case.is_stuck(stream)))
        struck_at.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)  # always: nothing else releases the reader

    def iterate(stream: AssistantMessageEventStream) -> None:
        with stream:
            striker.start()
            for _ in stream:
                pass
            pytest.fail("the stream ended without an interrupt")

    with _client(case) as client:
        stream = client.stream("x/y", "hi")
        striker = threading.Thread(target=strike, args=(stream,), daemon=True)
        with pytest.raises(KeyboardInterrupt):
            iterate(stream)
        free = time.monotonic()
        striker.join(10)
        assert is_stuck == [True]
        return free - struck_at[0], _outcome(stream)


def _outcome(stream: AssistantMessageEventStream) -> object:
    try:
        return stream.result(10)
    except Exception as exc:  # noqa: BLE001 - checked by the test
        return exc


def _drop(case: Case) -> tuple[float, object]:
    """Drop the last reference to a stream that has no reader."""
    with _client(case) as client:
        held = [client.stream("x/y", "hi")]
        assert wait_until(lambda: case.is_stuck(held[0]))
        start = time.monotonic()
        with pytest.warns(ResourceWarning, match="dropped"):
            held.clear()
        took = time.monotonic() - start
        assert wait_until(lambda: not workers())
        return took, None


def _check_outcome(phase: str, outcome: object) -> None:
    if outcome is None:
        return
    if phase not in STREAMING:
        assert isinstance(outcome, AbortError), outcome
        return
    message = outcome.error if isinstance(outcome, ErrorEvent) else outcome
    assert isinstance(message, AssistantMessage), outcome
    assert message.stop_reason == "aborted"
    assert message.error_message == "stream closed without terminal event"
    assert message.content == []


def _cancel(case: Case, means: str) -> tuple[float, object]:
    if means == "drop":
        return _drop(case)
    if means == "with":
        return _leave_the_block(case)
    if means == "ctrl_c":
        return _interrupt(case)
    return _cancel_from_here(case, means)


HTTP = [(phase, "http") for phase in ("connect", *SCRIPTS)]
HTTPS = [(phase, "https") for phase in ("tls", *SCRIPTS)]
CASES = [(*where, means) for where, means in itertools.product(HTTP + HTTPS, MEANS)]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(("phase", "scheme", "means"), CASES)
def test_cancelling_releases_the_caller(
    phase: str, scheme: str, means: str, server_tls: ssl.SSLContext
) -> None:
    """The caller is released, the cancel does not block, and connection and worker end."""
    best = float("inf")
    for _ in range(TRIES):
        with stuck_in(phase, server_tls if scheme == "https" else None) as case:
            took, outcome = _cancel(case, means)
            assert wait_until(case.peer_saw_the_end, 1.0), "the peer saw no close within a second"
            assert wait_until(lambda: not workers()), "the worker stayed"
        _check_outcome(phase, outcome)
        best = min(best, took)
        if best < FREE_WITHIN.get(means, 0.05):
            return
    pytest.fail(f"the caller was freed after {best * 1000:.0f} ms at best")


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_repeated_cancels_leak_nothing(scheme: str, server_tls: ssl.SSLContext) -> None:
    """After cancels in every phase there are as many threads and sockets as before."""
    tls = server_tls if scheme == "https" else None
    phases = [phase for phase, of in HTTP + HTTPS if of == scheme]

    def round_of_cancels() -> None:
        for phase in phases:
            with stuck_in(phase, tls) as case:
                _cancel(case, "close")

    round_of_cancels()
    assert wait_until(lambda: not workers())
    before = len(sockets()), len(threads())
    for _ in range(5):
        round_of_cancels()
    assert wait_until(lambda: (len(sockets()), len(threads())) == before)


def test_a_cancel_just_before_connecting_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is aborted immediately before it connects does not connect."""
    controller = AbortController()
    adopt = SocketHandle.adopt

    def adopt_and_cancel(handle: SocketHandle, descriptor: int) -> None:
        adopt(handle, descriptor)
        controller.abort()

    monkeypatch.setattr(SocketHandle, "adopt", adopt_and_cancel)
    with FullBacklog() as backlog:
        with pytest.raises(AbortError):
            start(backlog.url, signal=controller.signal).result()
        assert wait_until(lambda: not workers()), "the worker connected after the abort"
        assert wait_until(lambda: not backlog.has_caller())
