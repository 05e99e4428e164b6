"""Every wait of a turn has a timeout, which only progress postpones.

Timeouts are short, and events that must not happen get many times as long, so that a test on a
busy machine is slow but does not fail.
"""

from __future__ import annotations

import logging
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from pi_native import (
    AbortController,
    AbortError,
    AbortSignal,
    AssistantMessage,
    AssistantMessageEventStream,
    PiNativeError,
    StreamTimeoutError,
    TextDeltaEvent,
)
from pi_native.testing import FakeGateway, Slow, Stall

from ...conftest import wait_until
from ..calls import outcome, start, workers
from ..frames import DELTA, FINISHED, START, frame
from ..peer import CHUNKED, UNTIL_CLOSE, Connection, FullBacklog, Peer, answers, chunk

ADMISSION = {"type": "inference_admission", "position": 1}

LIMIT = 0.25  # seconds
LATE = 3.0  # seconds by which a timeout may be late on a busy machine
FIRST_EVENT = "pi-native stream timed out while waiting for the first event"
IDLE = "pi-native stream stalled while waiting for the next event"
_never = threading.Event()


def ms(seconds: float) -> float:
    """Return the seconds as milliseconds, the unit of the options."""
    return seconds * 1000


def expire(
    stream: AssistantMessageEventStream, phase: str, limit: float = LIMIT
) -> StreamTimeoutError:
    """Wait until the timeout passes, neither early nor very late; return the failure."""
    began = time.monotonic()
    _, failure = outcome(stream)
    took = time.monotonic() - began
    assert type(failure) is StreamTimeoutError, repr(failure)
    assert isinstance(failure, TimeoutError)
    assert (failure.phase, failure.limit) == (phase, limit)
    assert took < limit + LATE, f"only after {took:.2f} s"
    return failure


# Each phase has its timeout.


def test_connecting_has_a_limit() -> None:
    """A SYN without a reply ends in a timeout of the phase "connect"."""
    with FullBacklog() as backlog:
        began = time.monotonic()
        stream = start(backlog.url, connect_timeout_ms=ms(LIMIT))
        failure = expire(stream, "connect")
        assert time.monotonic() - began > LIMIT * 0.95
        assert wait_until(lambda: not workers())
    assert "connecting" in str(failure)
    assert f"TCP connection to {backlog.url.removeprefix('http://')}" in str(failure)
    assert f"waited {LIMIT:g} s; raise connect_timeout" in str(failure)
    assert failure.partial is None


def test_a_tls_handshake_belongs_to_connecting() -> None:
    """A peer that accepts and sends no TLS hello causes the same timeout."""
    with Peer(lambda connection: connection.sock.recv(1)) as peer:
        url = peer.url.replace("http:", "https:")
        failure = expire(start(url, connect_timeout_ms=ms(LIMIT)), "connect")
        assert peer.closed.wait(2)
    assert failure.partial is None


def test_connecting_is_not_bounded_by_the_first_event() -> None:
    """The first-event timeout does not run during TCP connect and TLS handshake."""
    with FullBacklog() as backlog:
        stream = start(
            backlog.url, connect_timeout_ms=ms(3 * LIMIT), stream_first_event_timeout_ms=ms(LIMIT)
        )
        expire(stream, "connect", 3 * LIMIT)


def test_the_headers_have_a_limit() -> None:
    """A peer that reads the request and sends nothing causes a timeout of the phase "headers"."""
    with Peer(answers()) as peer:
        began = time.monotonic()
        failure = expire(start(peer.url, stream_first_event_timeout_ms=ms(LIMIT)), "headers")
        assert time.monotonic() - began > LIMIT * 0.95
        assert peer.closed.wait(2)
    assert "headers" in str(failure)
    assert failure.partial is None


def test_half_the_headers_are_no_headers() -> None:
    """Headers that arrive one byte at a time are limited as a whole."""

    def dribble(connection: Connection) -> None:
        connection.read_request()
        for byte in CHUNKED[:-2] + b"X-Long: " + b"x" * 10_000:
            connection.send(bytes([byte]))
            _never.wait(LIMIT / 10)

    with Peer(dribble) as peer:
        expire(start(peer.url, stream_first_event_timeout_ms=ms(LIMIT)), "headers")
        assert peer.closed.wait(2)


@pytest.mark.parametrize("head", [CHUNKED, UNTIL_CLOSE], ids=["chunked", "until close"])
def test_the_first_event_has_a_limit(head: bytes) -> None:
    """A response without any event ends in a timeout with the protocol's message."""
    with Peer(answers(head)) as peer:
        stream = start(peer.url, stream_first_event_timeout_ms=ms(LIMIT))
        failure = expire(stream, "first_event")
        assert peer.closed.wait(2)
    assert failure.args == (FIRST_EVENT,)
    assert failure.partial is None
    assert stream.response is not None


def test_the_next_event_has_a_limit() -> None:
    """A stalled response ends in a timeout with the protocol's message and the partial."""
    with Peer(answers(CHUNKED, chunk(frame(START) + frame(DELTA)))) as peer:
        stream = start(peer.url, stream_idle_timeout_ms=ms(LIMIT))
        events, failure = outcome(stream)
        assert peer.closed.wait(2)
    assert [event.type for event in events] == ["start", "text_delta"]
    assert type(failure) is StreamTimeoutError
    assert (failure.phase, failure.limit, failure.args) == ("idle", LIMIT, (IDLE,))
    assert str(failure) == (
        f"{IDLE}; waited {LIMIT:g} s; raise idle_timeout (seconds) or stream_idle_timeout_ms "
        "(milliseconds) if the wait was too short"
    )
    assert failure.partial is not None
    assert failure.partial.text == "Hello"
    assert stream.partial == failure.partial
    assert not stream.truncated


@pytest.mark.slow
def test_the_whole_turn_has_a_limit(gateway: FakeGateway) -> None:
    """A response with steady progress is ended by the total timeout."""
    gateway.reply(["word "] * 1000, fault=Slow(LIMIT / 10))
    total, idle = 6 * LIMIT, 4 * LIMIT  # an event arrives forty times as often
    stream = start(gateway.url, total_timeout_ms=ms(total), stream_idle_timeout_ms=ms(idle))
    failure = expire(stream, "total", total)
    assert gateway.wait_for_request().client_gone.wait(2)
    assert failure.partial is not None
    assert failure.partial.text.startswith("word word")


READ_SLOWLY = """
import sys
from pi_native import Context, Model, StreamOptions, UserMessage, stream_pi_native
url, key, limit = sys.argv[1:]
options = StreamOptions(api_key=key, stream_idle_timeout_ms=float(limit))
for event in stream_pi_native(Model("y", "x", base_url=url), Context([UserMessage("x")]), options):
    print(event.type, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs job control")
def test_what_came_while_the_process_was_stopped_is_no_stall(gateway: FakeGateway) -> None:
    """A process that resumes after SIGSTOP reads the events that arrived meanwhile."""
    gateway.reply("one two", fault=Stall(after=2))
    limit = 6 * LIMIT  # the process is stopped before that
    arguments = (gateway.url, gateway.api_key, str(ms(limit)))
    command = [sys.executable, "-c", READ_SLOWLY, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert [program.stdout.readline() for _ in range(2)] == ["start\n", "text_start\n"]
        program.send_signal(signal.SIGSTOP)
        try:
            request = gateway.wait_for_request()
            request.release()
            assert request.answered.wait(5)
            _never.wait(limit + 1)
        finally:
            program.send_signal(signal.SIGCONT)
        assert program.stdout.read().split()[-1] == "done"
    assert program.returncode == 0


@pytest.mark.parametrize("phase", ["connect", "headers", "first_event", "idle"])
def test_the_total_timeout_ends_every_phase(phase: str) -> None:
    """In any phase, the total timeout ends the turn if it is the first to pass."""
    sent = {
        "connect": [],
        "headers": [],
        "first_event": [CHUNKED],
        "idle": [CHUNKED, chunk(frame(DELTA))],
    }
    with FullBacklog() as backlog, Peer(answers(*sent[phase])) as peer:
        url = backlog.url if phase == "connect" else peer.url
        failure = expire(start(url, total_timeout_ms=ms(LIMIT)), "total")
        assert phase == "connect" or peer.closed.wait(2)
        assert wait_until(lambda: not workers())
    assert (failure.partial is not None) == (phase == "idle")


def test_the_total_timeout_ends_a_refusal_that_stalls() -> None:
    """An error response whose body never ends is limited by the total timeout too."""
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{"
    with Peer(answers(head)) as peer:
        expire(start(peer.url, total_timeout_ms=ms(LIMIT)), "total")
        assert peer.closed.wait(2)


def test_the_shorter_limit_comes_first() -> None:
    """If the total timeout is longer than the idle timeout, the idle timeout is raised."""
    with Peer(answers(CHUNKED, chunk(frame(DELTA)))) as peer:
        stream = start(peer.url, total_timeout_ms=ms(4 * LIMIT), stream_idle_timeout_ms=ms(LIMIT))
        expire(stream, "idle")


def test_a_finished_turn_has_no_timeout(gateway: FakeGateway) -> None:
    """After a turn has ended, none of its timeouts affects it or its connection."""
    names = (
        "connect_timeout",
        "stream_first_event_timeout",
        "stream_idle_timeout",
        "total_timeout",
    )
    limits = {f"{name}_ms": ms(3 * LIMIT) for name in names}
    gateway.reply("one").reply("two", fault=Stall(after=2, seconds=4 * LIMIT))
    first = start(gateway.url, **limits)
    assert first.result(5).text == "one"
    second = start(gateway.url)
    assert second.result(5).text == "two"
    assert gateway.connections == 1
    assert first.result().text == "one"


# Only some events are progress.


def repeated(first: list[bytes], then: bytes) -> Callable[[Connection], None]:
    """Return a script that repeats one item four times per timeout until the client closes."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED, *map(chunk, first))
        until = time.monotonic() + LIMIT + LATE + 1
        while time.monotonic() < until:
            connection.send(chunk(then))
            _never.wait(LIMIT / 4)

    return script


NO_PROGRESS = {
    "start": frame(START),
    "inference_admission": frame(ADMISSION),
    "a comment": b": keep-alive\n\n",
    "an empty frame": b"data:\n\n",
    "blank lines": b"\n\n",
    "an event without data": b"event: ping\n\n",
    "a part of an event": b"x",
    "a part of a line of a comment": b":",
}


@pytest.mark.parametrize("sent", NO_PROGRESS.values(), ids=NO_PROGRESS.keys())
def test_what_is_no_progress_does_not_end_the_first_wait(sent: bytes) -> None:
    """Its repetition does not prevent the first-event timeout."""
    with Peer(repeated([], sent)) as peer:
        stream = start(peer.url, stream_first_event_timeout_ms=ms(LIMIT))
        failure = expire(stream, "first_event")
        assert peer.closed.wait(2)
    assert failure.args == (FIRST_EVENT,)


@pytest.mark.parametrize("sent", NO_PROGRESS.values(), ids=NO_PROGRESS.keys())
def test_what_is_no_progress_does_not_postpone_the_idle_timeout(sent: bytes) -> None:
    """Its repetition does not prevent the idle timeout."""
    with Peer(repeated([frame(DELTA)], sent)) as peer:
        failure = expire(start(peer.url, stream_idle_timeout_ms=ms(LIMIT)), "idle")
        assert peer.closed.wait(2)
    assert failure.args == (IDLE,)
    assert failure.partial is not None
    assert failure.partial.text == ("" if sent == frame(START) else "Hello")


def test_events_that_are_no_progress_are_delivered(gateway: FakeGateway) -> None:
    """A `start` event that ends no wait is delivered before the wait is over."""
    gateway.events([START, ADMISSION, FINISHED], fault=Stall(after=2))
    stream = start(gateway.url)
    assert [next(stream).type, next(stream).type] == ["start", "inference_admission"]
    assert not stream.done
    gateway.release()
    assert isinstance(outcome(stream)[1], AssistantMessage)


def test_an_event_that_arrives_slowly_is_no_progress() -> None:
    """A large event that arrives slowly is a stall until it is complete."""
    event = frame({**DELTA, "delta": "x" * 100_000})

    def dribble(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED, chunk(frame(DELTA)))
        for at in range(0, len(event), 1000):
            connection.send(chunk(event[at : at + 1000]))
            _never.wait(LIMIT / 4)

    with Peer(dribble) as peer:
        expire(start(peer.url, stream_idle_timeout_ms=ms(LIMIT)), "idle")
        assert peer.closed.wait(2)


@pytest.mark.slow
@pytest.mark.parametrize("event", [DELTA, {"type": "newer"}], ids=["a delta", "an unknown event"])
def test_progress_postpones_the_idle_timeout(gateway: FakeGateway, event: dict[str, Any]) -> None:
    """Events in time prevent a timeout, though the turn takes three times the limit."""
    limit, count = 1.0, 30
    gateway.events([event] * count + [FINISHED], fault=Slow(limit / 10))
    began = time.monotonic()
    stream = start(
        gateway.url, stream_first_event_timeout_ms=ms(limit), stream_idle_timeout_ms=ms(limit)
    )
    events, message = outcome(stream)
    assert isinstance(message, AssistantMessage), message
    assert len(events) == count + 1
    assert time.monotonic() - began > 3 * limit


def test_the_first_event_ends_the_first_wait(gateway: FakeGateway) -> None:
    """After the first event only the idle timeout runs, not the first-event timeout."""
    gateway.reply("one two", fault=Stall(after=3, seconds=4 * LIMIT))
    stream = start(
        gateway.url, stream_first_event_timeout_ms=ms(LIMIT), stream_idle_timeout_ms=ms(60)
    )
    assert outcome(stream)[1].text == "one two"


@pytest.mark.slow
def test_before_the_first_event_the_idle_limit_does_not_count(gateway: FakeGateway) -> None:
    """The idle timeout does not run before the first event."""
    gateway.reply("one", fault=Stall(after=1, seconds=4 * LIMIT))
    stream = start(
        gateway.url, stream_first_event_timeout_ms=ms(60), stream_idle_timeout_ms=ms(LIMIT)
    )
    assert outcome(stream)[1].text == "one"


@pytest.mark.slow
def test_the_first_wait_starts_again_after_the_headers(gateway: FakeGateway) -> None:
    """Headers and first event may each take most of the limit."""
    limit = 1.0
    gateway.reply(
        "one", fault=[Stall(after=None, seconds=0.7 * limit), Stall(after=0, seconds=0.7 * limit)]
    )
    stream = start(gateway.url, stream_first_event_timeout_ms=ms(limit))
    assert outcome(stream)[1].text == "one"


# Limits come from options and the environment.


@pytest.mark.parametrize(
    ("environment", "sent", "phase"),
    [
        ({"PI_STREAM_FIRST_EVENT_TIMEOUT_MS": "250"}, [CHUNKED], "first_event"),
        ({"PI_STREAM_FIRST_EVENT_TIMEOUT_MS": "250"}, [], "headers"),
        ({"PI_STREAM_IDLE_TIMEOUT_MS": "250"}, [CHUNKED, chunk(frame(DELTA))], "idle"),
        ({"PI_OPENAI_STREAM_IDLE_TIMEOUT_MS": "250.9"}, [CHUNKED, chunk(frame(DELTA))], "idle"),
        (
            {"PI_STREAM_IDLE_TIMEOUT_MS": "250", "PI_OPENAI_STREAM_IDLE_TIMEOUT_MS": "9"},
            [CHUNKED, chunk(frame(DELTA))],
            "idle",
        ),
        (
            {"PI_STREAM_FIRST_EVENT_TIMEOUT_MS": "0", "PI_STREAM_IDLE_TIMEOUT_MS": "250"},
            [CHUNKED],
            "first_event",
        ),
    ],
)
def test_the_environment_sets_limits(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], sent: list[bytes], phase: str
) -> None:
    """Without an option, the environment's milliseconds at the time of the call apply."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with Peer(answers(*sent)) as peer:
        expire(start(peer.url), phase)


def test_an_option_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that is set overrides the limits of the environment."""
    monkeypatch.setenv("PI_STREAM_FIRST_EVENT_TIMEOUT_MS", "1")
    monkeypatch.setenv("PI_STREAM_IDLE_TIMEOUT_MS", "1")
    options = {"stream_first_event_timeout_ms": 60_000, "stream_idle_timeout_ms": ms(LIMIT)}
    with Peer(answers(CHUNKED, chunk(frame(DELTA)))) as peer:
        expire(start(peer.url, **options), "idle")


@pytest.mark.parametrize(
    ("option", "after"),
    [
        ("stream_first_event_timeout_ms", None),
        ("stream_first_event_timeout_ms", 0),
        ("stream_idle_timeout_ms", 3),
    ],
    ids=["headers", "first event", "idle"],
)
@pytest.mark.parametrize("off", [0, -1, 0.9])
def test_an_option_of_zero_disables_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
    gateway: FakeGateway,
    option: str,
    after: int | None,
    off: float,
) -> None:
    """A value of 0 or less disables a timeout, also one that the environment sets."""
    monkeypatch.setenv(f"PI_{option.upper()}", "100")
    gateway.reply("one two", fault=Stall(after=after, seconds=0.5))
    assert outcome(start(gateway.url, **{option: off}))[1].text == "one two"


def test_a_total_timeout_of_zero_is_none(gateway: FakeGateway) -> None:
    """With 0, the turn has no total timeout."""
    gateway.reply("one", fault=Stall(after=1, seconds=0.1))
    assert outcome(start(gateway.url, total_timeout_ms=0, connect_timeout_ms=0))[1].text == "one"


def test_the_gateway_gets_its_own_limits(gateway: FakeGateway) -> None:
    """The request has the two timeouts that the protocol defines, and no others."""
    outcome(
        start(
            gateway.url,
            stream_first_event_timeout_ms=60_000,
            stream_idle_timeout_ms=61_000,
            total_timeout_ms=62_000,
            connect_timeout_ms=9_000,
        )
    )
    assert gateway.requests[0].options == {
        "streamFirstEventTimeoutMs": 60_000,
        "streamIdleTimeoutMs": 61_000,
    }


# A cancel and a timeout at the same time.


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True], ids=["headers", "streaming"])
def test_a_cancel_that_was_first_counts(streaming: bool) -> None:
    """An event that is set before the timeout passes is a cancel, also if it is detected later."""
    sent = [CHUNKED, chunk(frame(DELTA))] if streaming else []
    limit, cancelled = 0.1, 0
    with Peer(answers(*sent)) as peer:
        for early in (0.016, 0.012, 0.008, 0.004, 0.002) * 3:
            event = threading.Event()
            began = time.monotonic()
            stream = start(peer.url, signal=event, total_timeout_ms=ms(limit))
            _never.wait(began + limit - early - time.monotonic())
            in_its_phase = not streaming or stream.partial is not None
            event.set()
            was_first = not stream.done
            ending = outcome(stream)[1]
            if not (was_first and in_its_phase):
                continue
            cancelled += 1
            if streaming:
                assert isinstance(ending, AssistantMessage), repr(ending)
                assert ending.stop_reason == "aborted"
            else:
                assert isinstance(ending, AbortError), repr(ending)
    assert cancelled, "the deadline was first every time"


def test_a_cancel_after_a_timeout_changes_nothing() -> None:
    """After the timeout has passed, an abort does not change the outcome."""
    controller = AbortController()
    with Peer(answers()) as peer:
        stream = start(peer.url, signal=controller.signal, stream_first_event_timeout_ms=ms(LIMIT))
        failure = expire(stream, "headers")
        controller.abort("too late")
        stream.abort("too late")
    with pytest.raises(StreamTimeoutError) as caught:
        stream.result()
    assert caught.value is failure


def test_a_signal_with_a_timeout_is_a_cancel() -> None:
    """`AbortSignal.timeout` ends a wait with its own TimeoutError, not with one of the package."""
    with Peer(answers()) as peer:
        ending = outcome(start(peer.url, signal=AbortSignal.timeout(LIMIT)))[1]
    assert type(ending) is TimeoutError
    assert not isinstance(ending, PiNativeError)


def test_a_timeout_affects_no_other_turn(gateway: FakeGateway) -> None:
    """Many turns that time out do not affect concurrent turns."""
    gateway.add(*[gateway.default] * 4)
    healthy = [start(gateway.url) for _ in range(4)]
    with Peer(answers(CHUNKED)) as peer:
        late = [start(peer.url, stream_first_event_timeout_ms=ms(LIMIT)) for _ in range(8)]
        assert all(isinstance(outcome(stream)[1], StreamTimeoutError) for stream in late)
        assert wait_until(lambda: peer.closed.is_set() and not workers())
    assert all(isinstance(outcome(stream)[1], AssistantMessage) for stream in healthy)


# An injected session, whose sockets the package gets only after the headers.


def test_a_session_that_cannot_connect(session: requests.Session) -> None:
    """The connect timeout limits the connect, and the error names it."""
    with FullBacklog() as backlog:
        stream = start(backlog.url, session=session, connect_timeout_ms=ms(LIMIT))
        expire(stream, "connect")
        assert wait_until(lambda: not workers())


def test_a_session_that_gets_no_handshake(session: requests.Session) -> None:
    """The connect timeout includes the TLS handshake."""
    with Peer(lambda connection: connection.sock.recv(1)) as peer:
        url = peer.url.replace("http:", "https:")
        stream = start(url, session=session, connect_timeout_ms=ms(LIMIT))
        expire(stream, "connect")
        assert peer.closed.wait(2)


def test_a_total_timeout_releases_the_caller_of_a_session(session: requests.Session) -> None:
    """The caller is released at the total timeout, whatever state the session is in."""
    with Peer(answers()) as peer:
        expire(start(peer.url, session=session, total_timeout_ms=ms(LIMIT)), "total")


def test_a_session_that_gets_no_headers(session: requests.Session) -> None:
    """The wait for headers ends with a timeout of that phase, and the worker thread ends."""
    with Peer(answers()) as peer:
        began = time.monotonic()
        stream = start(
            peer.url,
            session=session,
            connect_timeout_ms=ms(LIMIT),
            stream_first_event_timeout_ms=ms(LIMIT),
            stream_idle_timeout_ms=ms(LIMIT),
        )
        failure = outcome(stream)[1]
        took = time.monotonic() - began
        assert type(failure) is StreamTimeoutError
        assert failure.phase == "headers"
        assert LIMIT * 0.95 < took < 2 * LIMIT + LATE
        assert wait_until(lambda: not workers())
        assert peer.closed.wait(2)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("phase", ["first_event", "idle", "total"])
@pytest.mark.usefixtures("trusted")
def test_a_session_whose_answer_stalls(
    session: requests.Session, server_tls: ssl.SSLContext, phase: str, tls: bool
) -> None:
    """After the headers, every timeout closes the connection of any session."""
    sent = [CHUNKED] if phase == "first_event" else [CHUNKED, chunk(frame(DELTA))]
    name = "total_timeout_ms" if phase == "total" else f"stream_{phase}_timeout_ms"
    with Peer(answers(*sent), server_tls if tls else None) as peer:
        failure = expire(start(peer.url, session=session, **{name: ms(LIMIT)}), phase)
        assert peer.closed.wait(2)
        assert wait_until(lambda: not workers())
    if phase != "total":
        assert failure.args == (FIRST_EVENT if phase == "first_event" else IDLE,)
    assert (failure.partial is None) == (phase == "first_event")


@pytest.mark.slow
def test_a_session_that_makes_progress(session: requests.Session, gateway: FakeGateway) -> None:
    """Progress postpones the idle timeout, and no timeout of the session interferes."""
    limit = 1.0
    gateway.reply(["word "] * 20, fault=Slow(limit / 10))
    stream = start(
        gateway.url,
        session=session,
        stream_first_event_timeout_ms=ms(limit),
        stream_idle_timeout_ms=ms(limit),
    )
    events, message = outcome(stream)
    assert isinstance(message, AssistantMessage), message
    assert sum(isinstance(event, TextDeltaEvent) for event in events) == 20


def test_a_session_whose_first_event_is_late(
    session: requests.Session, gateway: FakeGateway
) -> None:
    """Its read timeout does not end a wait that only the idle timeout limits."""
    gateway.reply("one", fault=Stall(after=1, seconds=4 * LIMIT))
    stream = start(
        gateway.url,
        session=session,
        stream_first_event_timeout_ms=60_000,
        stream_idle_timeout_ms=ms(LIMIT),
    )
    assert outcome(stream)[1].text == "one"


def test_timeouts_say_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A timeout is raised by the stream, and is not logged as a failed callback."""
    with caplog.at_level(logging.WARNING), Peer(answers(CHUNKED)) as peer:
        expire(start(peer.url, stream_first_event_timeout_ms=ms(LIMIT)), "first_event")
        assert wait_until(lambda: not workers())
    assert caplog.records == []
