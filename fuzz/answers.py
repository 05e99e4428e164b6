"""Whole HTTP responses, from a loopback socket to `stream_pi_native`.

For any bytes of the peer the turn ends in time, exactly once, with a message or a `PiNativeError`.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator

from pi_native import (
    AssistantMessageEventStream,
    ConfigurationError,
    Context,
    DoneEvent,
    ErrorEvent,
    Model,
    PiNativeError,
    StreamOptions,
    StreamTimeoutError,
    UserMessage,
    stream_pi_native,
    to_wire,
)
from pi_native._http.transport import shared_transport

from .splits import chance, check, cut

_SECONDS = 5.0  # enough, because the peer sends its bytes at once and closes
_RESET = b"\1\0\0\0\0\0\0\0"


class _Peer:
    """Server that answers each connection with the prepared bytes, and closes it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._answer = b""
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="peer", daemon=True)
        self._thread.start()

    def prepare(self, answer: bytes) -> None:
        """Set the response to the next request."""
        self._answer = answer
        self._answered.clear()

    def wait_answered(self) -> bool:
        """Wait until the connection is closed; return False after 5 s."""
        return self._answered.wait(_SECONDS)

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(_SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self._talk(connection)
            self._answered.set()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        # The request is one line of JSON.
        while not request.endswith(b'"stream":true}'):
            data = connection.recv(65536)
            if not data:
                return
            request += data
        source = chance(self._answer)
        for piece in cut(self._answer, [source.randint(0, len(self._answer)) for _ in range(2)]):
            connection.sendall(piece)
        if source.randint(0, 15) == 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class _Errors(logging.Handler):
    """Handler that collects the errors in the log, which are unexpected exceptions."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record."""
        self.found.append(record.getMessage())


@contextlib.contextmanager
def answering() -> Iterator[Callable[[bytes], None]]:
    """Yield a check of one response."""
    peer, errors, log = _Peer(), _Errors(), logging.getLogger("pi_native")
    log.addHandler(errors)

    def check_answer(answer: bytes) -> None:
        peer.prepare(answer)
        began = time.monotonic()
        stream = _start(peer.url)
        _check_ending(stream)
        _check_gone(stream)
        check(peer.wait_answered(), "the connection was not closed")
        check(time.monotonic() - began < _SECONDS, "it took too long")
        check(not errors.found, f"an error was logged: {errors.found}")

    try:
        yield check_answer
    finally:
        log.removeHandler(errors)
        peer.close()


def _start(url: str) -> AssistantMessageEventStream:
    return stream_pi_native(
        Model("y", "x", base_url=url),
        Context([UserMessage("hi", timestamp=1)]),
        StreamOptions(
            api_key="key",
            on_incomplete="error",
            stream_first_event_timeout_ms=_SECONDS * 1000,
            stream_idle_timeout_ms=_SECONDS * 1000,
        ),
    )


def _check_ending(stream: AssistantMessageEventStream) -> None:
    events = []
    try:
        for event in stream:
            events.append(event)
            to_wire(event)
    except PiNativeError as failure:
        _check_failure(stream, failure)
        ends = []
    else:
        ends = events[-1:]
        check(ends, "an ending without an event")
        check(stream.result(0) in map(_message_of, ends), "another result than the last event's")
        check(next(stream, None) is None, "an event after the end")
    terminal = [event for event in events if isinstance(event, (DoneEvent, ErrorEvent))]
    check(terminal == ends, "not one terminal event at the end")
    check(stream.done, "a stream that ended is not done")


def _message_of(event: object) -> object:
    return getattr(event, "message", None) or getattr(event, "error", None)


def _check_failure(stream: AssistantMessageEventStream, failure: PiNativeError) -> None:
    check(not isinstance(failure, StreamTimeoutError), f"nothing stalled: {failure!r}")
    check(not isinstance(failure, ConfigurationError), f"nothing was set up badly: {failure!r}")
    for ask in (stream.result, stream.__next__):
        try:
            ask()
        except PiNativeError as again:
            check(again is failure, f"two failures: {failure!r} and {again!r}")
        else:
            check(False, "a failure, and then none")
    copy = pickle.loads(pickle.dumps(failure))
    check(
        (type(copy), str(copy)) == (type(failure), str(failure)), "a pickled failure is different"
    )
    check(len(str(failure)) < 10_000, "a message without a bound")


def _check_gone(stream: AssistantMessageEventStream) -> None:
    """Check that the worker ends, and close the connection: the next input gets a new one."""
    worker = getattr(stream._producer, "worker", None)
    if worker is not None:
        worker.join(_SECONDS)
        check(not worker.is_alive(), "the worker stayed")
    shared_transport().close()
